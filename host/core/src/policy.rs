//! An organization's policy: which plugins act on its builds, where, in which order, with what configuration.
//!
//! A document is TOML. It is read and checked as a whole ([`Policy::parse`]), then each entry is bound to one stored
//! component ([`Policy::resolve`]). Whether a plugin accepts its configuration, only the plugin can say: not decided here.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{hook::Hook, ids::PluginDigest};

mod document;
mod entry;
mod resolve;
mod schema;

#[cfg(test)]
mod tests;

pub use resolve::StoredPlugin;
pub use schema::schema;

/// Of a whole document.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
pub const ENTRIES_MAX: usize = 64;
/// Of one entry's configuration as JSON.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;
pub const HOSTS_MAX: usize = 32;
pub const TIMEOUT_MIN: Duration = Duration::from_millis(10);
pub const TIMEOUT_MAX: Duration = Duration::from_secs(60);
pub const MEMORY_BYTES_MIN: u64 = 1 << 20;
pub const MEMORY_BYTES_MAX: u64 = 512 << 20;

/// A policy as its document says it. Order is the order of the calls.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    pub entries: Vec<Entry>,
}

/// One plugin's part in a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub plugin: String,
    pub pin: Pin,
    /// None means all that the plugin exports.
    pub hooks: Option<BTreeSet<Hook>>,
    pub settings: Settings,
}

/// Which component a policy means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    Digest(PluginDigest),
    /// A stored version; resolved to its digest when the policy is put.
    Version(semver::Version),
}

/// How a plugin is called and what its word counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub mode: Mode,
    pub on_failure: OnFailure,
    /// JSON object, handed to every call.
    pub config: String,
    pub limits: CallLimits,
    /// `host` or `host:port` that `notify` may reach.
    pub hosts: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Enforce,
    /// Called and reported; changes, refuses and holds nothing.
    Monitor,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// A call that fails refuses the build.
    #[default]
    Reject,
    Ignore,
}

/// What one call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallLimits {
    /// Wall time of the whole call.
    pub timeout: Duration,
    /// Of all its memories together.
    pub memory_bytes: u64,
}

/// A policy whose every entry names one stored component: what a build is judged by and pins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ResolvedPolicy {
    pub revision: u64,
    pub entries: Vec<ResolvedEntry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResolvedEntry {
    pub plugin: String,
    pub version: String,
    pub digest: PluginDigest,
    /// Never empty.
    pub hooks: BTreeSet<Hook>,
    pub settings: Settings,
}

// === impl CallLimits ===

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            memory_bytes: 64 << 20,
        }
    }
}

// === impl ResolvedPolicy ===

impl ResolvedPolicy {
    /// The entries that act at `hook`, in order.
    pub fn at(&self, hook: Hook) -> impl Iterator<Item = &ResolvedEntry> {
        self.entries
            .iter()
            .filter(move |entry| entry.hooks.contains(&hook))
    }
}
