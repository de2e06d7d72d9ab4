//! Making one announcement: by the plugin that the build's policy names.

use std::{fmt, sync::Arc, time::Instant};

use async_trait::async_trait;
use ignite_core::{
    build::Build,
    hook::{Hook, NotifyFailure},
    ids::PluginDigest,
    notification::NotificationId,
    policy::{Mode, ResolvedEntry, ResolvedPolicy},
};
use ignite_plugins::CallError;

use crate::{error::Result, policies::Policies, store::OutboxRow, unsaid::Unsaid};

/// Who is to be told of a build's end, and the telling. Errors are ours and count as no attempt.
#[async_trait]
pub trait Announcer: fmt::Debug + Send + Sync {
    async fn announcements(&self, build: &Build) -> Result<Vec<Announcement>>;

    async fn announce(
        &self,
        build: &Build,
        row: &OutboxRow,
        id: NotificationId,
        attempt: u32,
    ) -> Result<Announced>;
}

/// One entry of a policy that is to announce a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Its index in the policy.
    pub entry: u16,
    pub policy_revision: u64,
    pub plugin: String,
    pub digest: PluginDigest,
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    pub result: std::result::Result<(), NotifyFailure>,
    pub monitored: bool,
    pub micros: u64,
}

/// The `notify` plugins of organizations' policies.
#[derive(Debug)]
pub struct Plugins {
    policies: Arc<Policies>,
    unsaid: Unsaid,
}

// === impl Plugins ===

impl Plugins {
    pub fn new(policies: Arc<Policies>, unsaid: Unsaid) -> Self {
        Self { policies, unsaid }
    }
}

#[async_trait]
impl Announcer for Plugins {
    async fn announcements(&self, build: &Build) -> Result<Vec<Announcement>> {
        let Some(revision) = build.policy_revision else {
            return Ok(Vec::new());
        };
        let policy = self.policies.revision(&build.org, revision).await?;
        Ok(policy.map(|policy| notify_entries(&policy)).unwrap_or_default())
    }

    async fn announce(
        &self,
        build: &Build,
        row: &OutboxRow,
        id: NotificationId,
        attempt: u32,
    ) -> Result<Announced> {
        let policy = self.policies.revision(&build.org, row.policy_revision).await?;
        let entry = policy
            .as_deref()
            .and_then(|policy| policy.entries.get(usize::from(id.entry)));
        let (Some(policy), Some(entry)) = (&policy, entry) else {
            let message = format!(
                "the policy's revision {} is not there any more",
                row.policy_revision
            );
            return Ok(Announced {
                result: Err(NotifyFailure::Never(message)),
                monitored: false,
                micros: 0,
            });
        };
        let began = Instant::now();
        let runtime = self.policies.chain(Arc::clone(policy)).runtime;
        let call = async {
            let plugin = runtime.plugin(&entry.digest).await?;
            plugin
                .notify(&entry.settings, &id.to_string(), attempt, build)
                .await
        };
        // A receiver may answer with what it was told, and a plugin passes it on.
        let called = self.unsaid.while_plugins_talk_of(build, call).await?;
        let result = match called.unwrap_or_else(|error| Err(failure(&error))) {
            Ok(()) => Ok(()),
            Err(NotifyFailure::Again(text)) => {
                Err(NotifyFailure::Again(self.unsaid.about(build, &text).await))
            }
            Err(NotifyFailure::Never(text)) => {
                Err(NotifyFailure::Never(self.unsaid.about(build, &text).await))
            }
        };
        Ok(Announced {
            result,
            monitored: is_monitored(entry),
            micros: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        })
    }
}

/// The entries that announce, in order. A monitored one announces too: it has nothing to say about the build.
fn notify_entries(policy: &ResolvedPolicy) -> Vec<Announcement> {
    (0..=u16::MAX)
        .zip(&policy.entries)
        .filter(|(_, entry)| entry.hooks.contains(&Hook::Notify))
        .map(|(index, entry)| Announcement {
            entry: index,
            policy_revision: policy.revision,
            plugin: entry.plugin.clone(),
            digest: entry.digest,
        })
        .collect()
}

fn is_monitored(entry: &ResolvedEntry) -> bool {
    match entry.settings.mode {
        Mode::Enforce => false,
        Mode::Monitor => true,
    }
}

/// How a call that failed counts. A trap or a timeout may be the receiver's doing, so it is tried again like all that may pass.
fn failure(error: &CallError) -> NotifyFailure {
    let text = error.to_string();
    match error {
        CallError::NotExported(_) => NotifyFailure::Never(text),
        CallError::Failed(_)
        | CallError::Timeout(_)
        | CallError::Memory(_)
        | CallError::Trapped(_)
        | CallError::Answer(_)
        | CallError::Busy
        | CallError::Unavailable(_) => NotifyFailure::Again(text),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ignite_core::policy::{CallLimits, OnFailure, Settings};

    use super::*;

    #[test]
    fn only_entries_that_announce_are_asked_and_by_their_place_in_the_policy() {
        let entry = |plugin: &str, hooks: &[Hook]| ResolvedEntry {
            plugin: plugin.to_owned(),
            version: "1.0.0".to_owned(),
            digest: PluginDigest::from_sha256([1; 32]),
            hooks: BTreeSet::from_iter(hooks.iter().copied()),
            settings: Settings {
                mode: Mode::Enforce,
                on_failure: OnFailure::Reject,
                config: "{}".to_owned(),
                limits: CallLimits::default(),
                hosts: Vec::new(),
            },
        };
        let policy = ResolvedPolicy {
            revision: 3,
            entries: vec![
                entry("rules", &[Hook::Validate]),
                entry("webhook", &[Hook::Validate, Hook::Notify]),
                entry("chat", &[Hook::Notify]),
            ],
        };
        let named: Vec<_> = notify_entries(&policy)
            .into_iter()
            .map(|found| (found.entry, found.plugin, found.policy_revision))
            .collect();
        assert_eq!(named, [(1, "webhook".to_owned(), 3), (2, "chat".to_owned(), 3)]);
    }
}
