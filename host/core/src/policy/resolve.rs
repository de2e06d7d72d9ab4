//! Binds each entry of a policy to one stored component.

use std::collections::BTreeSet;

use super::{Entry, Pin, Policy, ResolvedEntry, ResolvedPolicy, document::Problems};
use crate::{hook::Hook, ids::PluginDigest, request::FieldViolation};

/// A component that the organization has uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPlugin {
    pub version: String,
    pub digest: PluginDigest,
    /// Those that it exports.
    pub hooks: BTreeSet<Hook>,
}

impl Policy {
    /// Names the exact component of every entry and the hooks that it acts at.
    ///
    /// # Errors
    /// All that is wrong, each with its place in the document: a plugin that `lookup` does not find, a hook that it does
    /// not export, hosts without `notify`.
    pub fn resolve(
        &self,
        revision: u64,
        lookup: impl Fn(&str, &Pin) -> Option<StoredPlugin>,
    ) -> Result<ResolvedPolicy, Vec<FieldViolation>> {
        let mut found = Problems::default();
        let entries: Vec<ResolvedEntry> = self
            .entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| {
                let place = format!("plugin[{index}]");
                match lookup(&entry.plugin, &entry.pin) {
                    Some(stored) => Some(resolve(entry, stored, &place, &mut found)),
                    None => {
                        not_stored(entry, &place, &mut found);
                        None
                    }
                }
            })
            .collect();
        let problems = found.into_inner();
        match problems.is_empty() {
            true => Ok(ResolvedPolicy { revision, entries }),
            false => Err(problems),
        }
    }
}

fn not_stored(entry: &Entry, place: &str, found: &mut Problems) {
    let key = match entry.pin {
        Pin::Digest(_) => "digest",
        Pin::Version(_) => "version",
    };
    let description = format!(
        "no plugin {:?} of this {key} is stored: upload it first",
        entry.plugin
    );
    found.add(&format!("{place}.{key}"), description);
}

fn resolve(entry: &Entry, stored: StoredPlugin, place: &str, found: &mut Problems) -> ResolvedEntry {
    let exported = || {
        let names: Vec<&str> = stored.hooks.iter().copied().map(Hook::as_str).collect();
        names.join(", ")
    };
    if stored.hooks.is_empty() {
        found.add(
            place,
            "the plugin has no hooks: it must export at least one besides describe",
        );
    }
    let asked = entry.hooks.as_ref().unwrap_or(&stored.hooks);
    for hook in asked.difference(&stored.hooks) {
        let description = format!("the plugin does not export {hook}; it exports: {}", exported());
        found.add(&format!("{place}.hooks"), description);
    }
    if !entry.settings.hosts.is_empty() && !asked.contains(&Hook::Notify) {
        let description = "only notify calls out: leave hosts out, or name a plugin and hooks with notify";
        found.add(&format!("{place}.hosts"), description);
    }
    ResolvedEntry {
        plugin: entry.plugin.clone(),
        hooks: asked.clone(),
        version: stored.version,
        digest: stored.digest,
        settings: entry.settings.clone(),
    }
}
