//! What an organization keeps for its builds, as one run is given it.
//!
//! Serialized only into what is sealed, or into a pipe between our own processes.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// A secret value. `Debug` does not show it, and its memory is wiped when it goes.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

/// A login to one registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryLogin {
    pub username: String,
    pub password: SecretText,
}

/// A login to git servers: by name and password or token over https, by key over ssh, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitLogin {
    /// Hosts it is shown to, each `name` or `name:port`. Empty: the host of the build's own URL, whichever that is.
    pub hosts: Vec<String>,
    pub https: Option<GitHttpsLogin>,
    pub ssh: Option<GitSshLogin>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitHttpsLogin {
    pub username: String,
    pub password: SecretText,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSshLogin {
    /// In OpenSSH's or PEM's text form, without a passphrase.
    pub private_key: SecretText,
    /// Lines of a `known_hosts` file; a host that is not in them is refused.
    pub known_hosts: String,
}

/// What one run is given. Taken when the run starts and kept, sealed, until it ends: a value that is changed meanwhile acts from
/// the next run on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSecrets {
    /// By registry host as it stands in image references, for pull and push. `docker.io` stands for Docker Hub.
    pub registries: BTreeMap<String, RegistryLogin>,
    /// For the fetch step of a git source, and only for that.
    pub git: Option<GitLogin>,
    /// By name: what `RUN --mount=type=secret,id=NAME` may ask for.
    pub mounts: BTreeMap<String, SecretText>,
}

// === impl SecretText ===

impl SecretText {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The value itself. For the process that needs it and the redactor, nowhere else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

// === impl RunSecrets ===

impl RunSecrets {
    /// What must never appear in a log or an error of the run.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        let registries = self.registries.values().map(|login| &login.password);
        let git = self.git.iter().flat_map(|login| {
            let https = login.https.iter().map(|login| &login.password);
            https.chain(login.ssh.iter().map(|login| &login.private_key))
        });
        registries
            .chain(git)
            .chain(self.mounts.values())
            .map(SecretText::reveal)
    }
}
