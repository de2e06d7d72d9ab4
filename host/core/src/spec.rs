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

/// The value of a build arg, or the name of the stored secret that it is taken from when a run starts. Shown as `***` where the
/// arg is a secret, and never by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArgValue {
    /// Empty where it is stored.
    value: String,
    secret: bool,
    /// Name of the organization's stored secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored: Option<String>,
}

/// Args take their values from secrets that are not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingSecrets {
    /// Arg and secret, at least one.
    pub args: Vec<(String, String)>,
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

    /// Has each of these stored secrets given as an arg of its name, unless the request has one of that name itself.
    pub fn with_stored_secrets<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        for name in names {
            self.build_args
                .entry(name.to_owned())
                .or_insert_with(|| ArgValue::stored(name.to_owned()));
        }
        self
    }

    /// Names of the stored secrets that args take their values from.
    pub fn stored_secrets(&self) -> impl Iterator<Item = &str> {
        self.build_args.values().filter_map(ArgValue::stored_name)
    }

    /// The args as a run is given them, with the values of stored secrets.
    ///
    /// # Errors
    /// All args whose secret `find` does not know.
    pub fn resolved_build_args<'a>(
        &self,
        find: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<BTreeMap<String, ArgValue>, MissingSecrets> {
        let mut args = BTreeMap::new();
        let mut missing = Vec::new();
        for (name, value) in &self.build_args {
            let value = match value.stored_name() {
                None => value.clone(),
                Some(secret) => match find(secret) {
                    Some(value) => ArgValue::new(value.to_owned(), true),
                    None => {
                        missing.push((name.clone(), secret.to_owned()));
                        continue;
                    }
                },
            };
            args.insert(name.clone(), value);
        }
        match missing.is_empty() {
            true => Ok(args),
            false => Err(MissingSecrets { args: missing }),
        }
    }

    /// What must never appear in a log or an error of this build, as far as the request itself has it: what is stored comes with
    /// the run.
    pub fn secret_values(&self) -> impl Iterator<Item = &str> {
        self.build_args
            .values()
            .filter(|arg| arg.secret && arg.stored.is_none())
            .map(ArgValue::reveal)
    }
}

// === impl ArgValue ===

impl ArgValue {
    /// Stands for a secret value wherever one is shown.
    pub const MASK: &str = "***";

    pub fn new(value: String, secret: bool) -> Self {
        Self {
            value,
            secret,
            stored: None,
        }
    }

    /// Taken from the organization's stored secret of this name.
    pub fn stored(name: String) -> Self {
        Self {
            value: String::new(),
            secret: true,
            stored: Some(name),
        }
    }

    pub fn stored_name(&self) -> Option<&str> {
        self.stored.as_deref()
    }

    /// The value itself; empty where it is stored. For Kaniko's environment and the redactor, nowhere else.
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
        f.write_str(match (self.secret, &self.stored) {
            (_, Some(_)) => "ArgValue(stored)",
            (true, None) => "ArgValue(secret)",
            (false, None) => "ArgValue(plain)",
        })
    }
}

impl Drop for ArgValue {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

// === impl MissingSecrets ===

/// For the build's sender: what is missing and what to do.
impl fmt::Display for MissingSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (arg, secret) in &self.args {
            write!(
                f,
                "build arg {arg} takes its value from the stored secret {secret}, which is not stored any more; "
            )?;
        }
        f.write_str("store it again, or send a new build with a value")
    }
}

#[cfg(test)]
mod tests;
