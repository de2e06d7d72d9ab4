//! What a build is to do, once its request has been checked.
//!
//! Holds real build-arg values: it is stored sealed only, and neither `Debug` nor anything shown carries them.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::ids::ContextId;

/// A checked build request. Made by [`crate::request::check`] only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSpec {
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) dockerfile: String,
    pub(crate) tags: Vec<String>,
    pub(crate) build_args: BTreeMap<String, ArgValue>,
    pub(crate) no_cache: bool,
    pub(crate) timeout: Duration,
    /// `os/arch[/variant]`; none means the builder's own.
    pub(crate) platform: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) priority: i32,
}

/// Where a build takes its context from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// An archive that the gateway holds.
    Archive(ContextId),
    Git(GitSource),
}

/// A git source whose fields have the right form. Whether the host may be reached is decided when it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSource {
    /// Without credentials.
    pub url: String,
    /// Branch, tag or commit.
    pub reference: String,
    /// Relative, normalized, empty for the root.
    pub context_dir: String,
}

/// The value of a build arg. Shown as `***` where the arg is a secret, and never by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArgValue {
    value: String,
    secret: bool,
}

// === impl BuildSpec ===

impl BuildSpec {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Relative to the context root.
    pub fn dockerfile(&self) -> &str {
        &self.dockerfile
    }

    /// At least one.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    pub fn build_args(&self) -> &BTreeMap<String, ArgValue> {
        &self.build_args
    }

    pub fn no_cache(&self) -> bool {
        self.no_cache
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    pub fn platform(&self) -> Option<&str> {
        self.platform.as_deref()
    }

    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    pub fn priority(&self) -> i32 {
        self.priority
    }

    /// The build args as the record shows them.
    pub fn shown_build_args(&self) -> BTreeMap<String, String> {
        self.build_args
            .iter()
            .map(|(name, value)| (name.clone(), value.shown().to_owned()))
            .collect()
    }

    /// What must never appear in a log or an error of this build.
    pub fn secret_values(&self) -> impl Iterator<Item = &str> {
        self.build_args
            .values()
            .filter(|arg| arg.secret)
            .map(ArgValue::reveal)
    }
}

// === impl ArgValue ===

impl ArgValue {
    /// Stands for a secret value wherever one is shown.
    pub const MASK: &str = "***";

    pub fn new(value: String, secret: bool) -> Self {
        Self { value, secret }
    }

    /// The value itself. For Kaniko's environment and the redactor, nowhere else.
    pub fn reveal(&self) -> &str {
        &self.value
    }

    pub fn is_secret(&self) -> bool {
        self.secret
    }

    pub fn shown(&self) -> &str {
        if self.secret { Self::MASK } else { &self.value }
    }
}

impl fmt::Debug for ArgValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secret {
            "ArgValue(secret)"
        } else {
            "ArgValue(plain)"
        })
    }
}

impl Drop for ArgValue {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}
