//! What one run is given and what its log must not show, as it was when the run started.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ignite_core::{
    secrets::{GitLogin, RunSecrets, SecretText},
    spec::{BuildSpec, Source},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Stored;

/// Taken once for a run and kept until its build ends: a restart must redact as before, and hand over what was handed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub given: RunSecrets,
    /// What is not given to the run and must not appear in its log either: it may have come there by other ways.
    hidden: Vec<SecretText>,
}

// === impl Snapshot ===

impl Snapshot {
    /// What a run of `spec` is given: every registry login, for what it pulls is known to Kaniko only; the login to git servers
    /// where its source is one; every build secret.
    pub fn take(stored: Stored, spec: &BuildSpec) -> Self {
        let mut snapshot = Self::default();
        if let Some(registries) = stored.registries {
            // As it stands in the run's Docker configuration.
            let auths = registries.content.values();
            snapshot
                .hidden
                .extend(auths.map(|login| basic(&login.username, &login.password)));
            snapshot.given.registries = registries.content;
        }
        if let Some(git) = stored.git {
            let login = git.content;
            // As it goes over the wire.
            let https = login.https.iter();
            snapshot
                .hidden
                .extend(https.map(|login| basic(&login.username, &login.password)));
            match spec.source() {
                Source::Git(_) => snapshot.given.git = Some(login),
                Source::Archive(_) => snapshot.hidden.extend(values_of(login)),
            }
        }
        if let Some(build) = stored.build {
            snapshot.given.mounts = build.content;
        }
        snapshot
    }

    /// Whether nothing is given and nothing is hidden.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The value of a build secret.
    pub fn build_secret(&self, name: &str) -> Option<&str> {
        self.given.mounts.get(name).map(SecretText::reveal)
    }

    /// What must never appear in a log or an error of the run.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        let hidden = self.hidden.iter().map(SecretText::reveal);
        self.given.values().chain(hidden)
    }
}

fn basic(username: &str, password: &SecretText) -> SecretText {
    let plain = Zeroizing::new(format!("{username}:{}", password.reveal()));
    SecretText::new(STANDARD.encode(plain.as_bytes()))
}

fn values_of(login: GitLogin) -> impl Iterator<Item = SecretText> {
    let https = login.https.map(|login| login.password);
    let ssh = login.ssh.map(|login| login.private_key);
    https.into_iter().chain(ssh)
}
