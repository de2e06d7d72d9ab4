//! Policies and their revisions. A revision never changes and stays for ever: builds say which one judged them.

use ignite_core::{ids::OrgId, policy::ResolvedPolicy};
use serde::{Deserialize, Serialize};

use super::{
    Store, StoreError,
    batch::Batch,
    plugins::plugin_key,
    schema::{PLUGINS, POLICIES, POLICY_REVISIONS, RevisionKey},
};

/// Which revision judges new builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForceRow {
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RevisionRow {
    /// TOML, as it was put.
    pub text: String,
    pub policy: ResolvedPolicy,
    pub updated_at_ms: i64,
    pub updated_by: String,
    /// Put by the operator's policy directory.
    pub from_file: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    Stored,
    /// Another revision came in between, or one of its plugins went: to be resolved anew.
    Stale,
}

impl Store {
    /// Makes `row` the revision in force after `before` (0: there was none). Once it is on disk `stored` runs on the writing thread,
    /// in the order of commits.
    pub async fn put_policy(
        &self,
        org: &OrgId,
        before: u64,
        row: &RevisionRow,
        stored: impl FnOnce() + Send + 'static,
    ) -> Result<PutOutcome, StoreError> {
        let revision = row.policy.revision;
        let key = RevisionKey {
            org: org.clone(),
            revision,
        };
        let mut batch = Batch::new();
        batch.require(&POLICIES, org, "unchanged", move |now| {
            now.map_or(0, |now| now.revision) == before
        });
        for entry in &row.policy.entries {
            let digest = entry.digest;
            let plugin = plugin_key(org, &entry.plugin, &entry.version);
            batch.require(&PLUGINS, &plugin, "stored", move |row| {
                row.is_some_and(|row| row.digest == digest)
            });
        }
        batch.require_absent(&POLICY_REVISIONS, &key);
        batch.put(&POLICIES, org, &InForceRow { revision })?;
        batch.put(&POLICY_REVISIONS, &key, row)?;
        batch.when_committed(stored);
        Ok(match self.committed(batch).await? {
            true => PutOutcome::Stored,
            false => PutOutcome::Stale,
        })
    }

    pub async fn policy_in_force(&self, org: &OrgId) -> Result<Option<InForceRow>, StoreError> {
        let org = org.clone();
        self.read(move |db| Ok(db.get(&POLICIES, &org)?)).await
    }

    pub async fn policy_revision(
        &self,
        org: &OrgId,
        revision: u64,
    ) -> Result<Option<RevisionRow>, StoreError> {
        let key = RevisionKey {
            org: org.clone(),
            revision,
        };
        self.read(move |db| Ok(db.get(&POLICY_REVISIONS, &key)?)).await
    }

    /// At most `limit` revisions below `before`, newest first; true if there are more.
    pub async fn policy_revisions(
        &self,
        org: &OrgId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<RevisionRow>, bool), StoreError> {
        let mut range = RevisionKey::range(org);
        if let Some(revision) = before {
            let key = RevisionKey {
                org: org.clone(),
                revision,
            };
            range = range.ending_before(&key);
        }
        self.read(move |db| {
            let rows = db.scan(&POLICY_REVISIONS, range)?.rev();
            let mut page = Vec::new();
            for row in rows.take(limit.saturating_add(1)) {
                page.push(row?.1);
            }
            let more = page.len() > limit;
            page.truncate(limit);
            Ok((page, more))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use ignite_core::{
        hook::Hook,
        ids::PluginDigest,
        policy::{CallLimits, Mode, OnFailure, ResolvedEntry, Settings},
    };

    use super::*;
    use crate::store::{PluginRow, builds::tests::open};

    fn revision(revision: u64, entries: Vec<ResolvedEntry>) -> RevisionRow {
        RevisionRow {
            text: format!("# {revision}"),
            policy: ResolvedPolicy { revision, entries },
            updated_at_ms: 1,
            updated_by: "ci".to_owned(),
            from_file: false,
        }
    }

    fn entry() -> ResolvedEntry {
        ResolvedEntry {
            plugin: "a".to_owned(),
            version: "1.0.0".to_owned(),
            digest: PluginDigest::from_sha256([1; 32]),
            hooks: [Hook::Validate].into(),
            settings: Settings {
                mode: Mode::Enforce,
                on_failure: OnFailure::Reject,
                config: "{}".to_owned(),
                limits: CallLimits::default(),
                hosts: Vec::new(),
            },
        }
    }

    #[tokio::test]
    async fn revisions_follow_each_other_and_none_is_put_over_one_that_was_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (_data, store) = open(&dir);
        let acme: OrgId = "acme".parse().unwrap();
        let told = Arc::new(AtomicU64::new(0));
        for (before, number, expected) in [
            (0, 1, PutOutcome::Stored),
            (0, 1, PutOutcome::Stale),
            (1, 2, PutOutcome::Stored),
            (1, 2, PutOutcome::Stale),
            (2, 3, PutOutcome::Stored),
        ] {
            let told = Arc::clone(&told);
            let stored = move || told.store(number, Ordering::SeqCst);
            let row = revision(number, Vec::new());
            let outcome = store.put_policy(&acme, before, &row, stored).await;
            assert_eq!(outcome.unwrap(), expected);
        }
        assert_eq!(told.load(Ordering::SeqCst), 3);
        let in_force = store.policy_in_force(&acme).await.unwrap();
        assert_eq!(in_force, Some(InForceRow { revision: 3 }));
        let (page, more) = store.policy_revisions(&acme, None, 2).await.unwrap();
        assert_eq!(
            (page[0].policy.revision, page[1].policy.revision, more),
            (3, 2, true)
        );
        let (page, more) = store.policy_revisions(&acme, Some(2), 2).await.unwrap();
        assert_eq!((page.len(), page[0].text.as_str(), more), (1, "# 1", false));
        let other: OrgId = "other".parse().unwrap();
        assert_eq!(store.policy_in_force(&other).await.unwrap(), None);
        assert_eq!(store.policy_revision(&other, 1).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_policy_whose_plugin_has_gone_is_not_put() {
        let dir = tempfile::tempdir().unwrap();
        let (_data, store) = open(&dir);
        let acme: OrgId = "acme".parse().unwrap();
        let put = async || {
            let row = revision(1, vec![entry()]);
            store.put_policy(&acme, 0, &row, || ()).await.unwrap()
        };
        assert_eq!(put().await, PutOutcome::Stale);
        let mut row = PluginRow {
            digest: PluginDigest::from_sha256([2; 32]),
            size_bytes: 1,
            summary: String::new(),
            hooks: [Hook::Validate].into(),
            imports: Vec::new(),
            config_schema: String::new(),
            created_at_ms: 1,
            created_by: "ci".to_owned(),
            imported_from: None,
        };
        store.create_plugin(&acme, "a", "1.0.0", &row).await.unwrap();
        assert_eq!(put().await, PutOutcome::Stale, "other bytes");
        let rows = store.plugin_versions(&acme, "a").await.unwrap();
        store.delete_plugins(&acme, &rows, None).await.unwrap();
        row.digest = entry().digest;
        store.create_plugin(&acme, "a", "1.0.0", &row).await.unwrap();
        assert_eq!(put().await, PutOutcome::Stored);
        assert_eq!(
            store.policy_revision(&acme, 1).await.unwrap(),
            Some(revision(1, vec![entry()]))
        );
    }
}
