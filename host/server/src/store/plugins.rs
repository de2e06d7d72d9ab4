//! What is known of stored plugins; their components' bytes are elsewhere.

use std::{cmp::Reverse, collections::BTreeSet};

use ignite_core::{
    hook::Hook,
    ids::{OrgId, PluginDigest},
};
use serde::{Deserialize, Serialize};

use super::{
    Store, StoreError,
    batch::Batch,
    committer::CommitError,
    database::Database,
    policies::InForceRow,
    schema::{PLUGINS, POLICIES, PluginKey},
    table::KeyRange,
};

/// One version of a plugin. Once stored it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginRow {
    pub digest: PluginDigest,
    pub size_bytes: u64,
    pub summary: String,
    /// Those that it exports.
    pub hooks: BTreeSet<Hook>,
    pub imports: Vec<String>,
    /// JSON Schema; empty if the plugin takes no configuration.
    pub config_schema: String,
    pub created_at_ms: i64,
    pub created_by: String,
    /// Where it came from, if it was not uploaded.
    pub imported_from: Option<String>,
}

/// A row with what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    pub name: String,
    pub version: String,
    pub row: PluginRow,
}

/// A place in the list of an organization's plugins: by name, then newest first. It stands though its row is gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PluginPlace {
    pub name: String,
    pub created_at_ms: Reverse<i64>,
    pub version: Reverse<String>,
}

// === impl StoredRow ===

impl StoredRow {
    pub fn place(&self) -> PluginPlace {
        PluginPlace {
            name: self.name.clone(),
            created_at_ms: Reverse(self.row.created_at_ms),
            version: Reverse(self.version.clone()),
        }
    }

    fn of((key, row): (PluginKey, PluginRow)) -> Self {
        Self {
            name: key.name,
            version: key.version,
            row,
        }
    }
}

// === impl Store ===

impl Store {
    /// Stores a new version. False if it is there already, whatever its bytes.
    pub async fn create_plugin(
        &self,
        org: &OrgId,
        name: &str,
        version: &str,
        row: &PluginRow,
    ) -> Result<bool, StoreError> {
        let key = plugin_key(org, name, version);
        let mut batch = Batch::new();
        batch.require_absent(&PLUGINS, &key).put(&PLUGINS, &key, row)?;
        self.committed(batch).await
    }

    pub async fn plugin(
        &self,
        org: &OrgId,
        name: &str,
        version: &str,
    ) -> Result<Option<PluginRow>, StoreError> {
        let key = plugin_key(org, name, version);
        self.read(move |db| Ok(db.get(&PLUGINS, &key)?)).await
    }

    /// Every version of a plugin, the one stored last first.
    pub async fn plugin_versions(&self, org: &OrgId, name: &str) -> Result<Vec<StoredRow>, StoreError> {
        let range = PluginKey::versions(org, name);
        self.read(move |db| read_sorted(db, range)).await
    }

    /// Every version of every plugin of an organization, by name, then newest first.
    pub async fn plugins(&self, org: &OrgId) -> Result<Vec<StoredRow>, StoreError> {
        let range = PluginKey::range(org);
        self.read(move |db| read_sorted(db, range)).await
    }

    /// At most `limit` of an organization's plugins, those behind `after`; true if there are more.
    pub async fn list_plugins(
        &self,
        org: &OrgId,
        after: Option<PluginPlace>,
        limit: usize,
    ) -> Result<(Vec<StoredRow>, bool), StoreError> {
        let org = org.clone();
        self.read(move |db| {
            // The versions of its plugin are read as a whole: their keys do not say which is the newest.
            let mut range = PluginKey::range(&org);
            if let Some(after) = &after {
                range = range.starting_at(&plugin_key(&org, &after.name, ""));
            }
            let mut page: Vec<StoredRow> = Vec::new();
            let mut versions: Vec<StoredRow> = Vec::new();
            for row in db.scan(&PLUGINS, range)? {
                let row = StoredRow::of(row?);
                if versions.last().is_some_and(|last| last.name != row.name) {
                    take(&mut page, &mut versions, after.as_ref());
                    if page.len() > limit {
                        break;
                    }
                }
                versions.push(row);
            }
            take(&mut page, &mut versions, after.as_ref());
            let more = page.len() > limit;
            page.truncate(limit);
            Ok((page, more))
        })
        .await
    }

    /// How many versions of plugins an organization has.
    pub async fn count_plugins(&self, org: &OrgId) -> Result<usize, StoreError> {
        let range = PluginKey::range(org);
        self.read(move |db| Ok(db.scan(&PLUGINS, range)?.count())).await
    }

    /// Deletes rows, all or none. False if one is gone, or if another policy is in force than `in_force` by now: the caller then
    /// looks again.
    pub async fn delete_plugins(
        &self,
        org: &OrgId,
        rows: &[StoredRow],
        in_force: Option<InForceRow>,
    ) -> Result<bool, StoreError> {
        let mut batch = Batch::new();
        batch.require(&POLICIES, org, "unchanged", move |now| now == in_force);
        for stored in rows {
            let key = plugin_key(org, &stored.name, &stored.version);
            batch.require_equals(&PLUGINS, &key, &stored.row)?;
            batch.delete(&PLUGINS, &key);
        }
        self.committed(batch).await
    }

    /// The components that an organization's rows are of.
    pub async fn components(&self, org: &OrgId) -> Result<BTreeSet<PluginDigest>, StoreError> {
        let range = PluginKey::range(org);
        self.read(move |db| {
            let mut digests = BTreeSet::new();
            for row in db.scan(&PLUGINS, range)? {
                digests.insert(row?.1.digest);
            }
            Ok(digests)
        })
        .await
    }

    /// Waits for what was handed to the writing thread before, though whoever did so has gone.
    pub async fn settle_plugins(&self, org: &OrgId) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        // No plugin has this name, so it always holds.
        batch.require_absent(&PLUGINS, &plugin_key(org, "", ""));
        self.committed(batch).await.map(|_| ())
    }

    /// True if it was taken, false if one of its conditions did not hold.
    pub(super) async fn committed(&self, batch: Batch) -> Result<bool, StoreError> {
        match self.committer.commit(batch).await {
            Ok(()) => Ok(true),
            Err(CommitError::Rejected { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn read_sorted(db: &Database, range: KeyRange<PluginKey>) -> Result<Vec<StoredRow>, StoreError> {
    let mut rows = Vec::new();
    for row in db.scan(&PLUGINS, range)? {
        rows.push(StoredRow::of(row?));
    }
    rows.sort_by_cached_key(StoredRow::place);
    Ok(rows)
}

/// Moves the versions of one plugin to the page, newest first, but for those up to `after`.
fn take(page: &mut Vec<StoredRow>, versions: &mut Vec<StoredRow>, after: Option<&PluginPlace>) {
    versions.sort_by_cached_key(StoredRow::place);
    page.extend(
        versions
            .drain(..)
            .filter(|row| after.is_none_or(|after| row.place() > *after)),
    );
}

pub(super) fn plugin_key(org: &OrgId, name: &str, version: &str) -> PluginKey {
    PluginKey {
        org: org.clone(),
        name: name.to_owned(),
        version: version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::builds::tests::open;

    fn org(name: &str) -> OrgId {
        name.parse().unwrap()
    }

    fn row(byte: u8, created_at_ms: i64) -> PluginRow {
        PluginRow {
            digest: PluginDigest::from_sha256([byte; 32]),
            size_bytes: 1,
            summary: String::new(),
            hooks: [Hook::Validate].into(),
            imports: Vec::new(),
            // More than one row of the database holds.
            config_schema: "x".repeat(60_000),
            created_at_ms,
            created_by: "ci".to_owned(),
            imported_from: None,
        }
    }

    #[tokio::test]
    async fn a_version_is_stored_once_and_stays_with_its_organization() {
        let dir = tempfile::tempdir().unwrap();
        let (_data, store) = open(&dir);
        let (acme, other) = (org("acme"), org("other"));
        assert!(
            store
                .create_plugin(&acme, "a", "1.0.0", &row(1, 1))
                .await
                .unwrap()
        );
        assert!(
            !store
                .create_plugin(&acme, "a", "1.0.0", &row(2, 2))
                .await
                .unwrap()
        );
        assert_eq!(store.plugin(&acme, "a", "1.0.0").await.unwrap(), Some(row(1, 1)));
        assert_eq!(store.plugin(&other, "a", "1.0.0").await.unwrap(), None);
        let digest = PluginDigest::from_sha256([1; 32]);
        assert_eq!(store.components(&acme).await.unwrap(), [digest].into());
        assert_eq!(store.components(&other).await.unwrap(), [].into());
        assert_eq!(store.count_plugins(&acme).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn pages_go_by_name_then_newest_first_though_rows_go_in_between() {
        let dir = tempfile::tempdir().unwrap();
        let (_data, store) = open(&dir);
        let acme = org("acme");
        for (name, version, at_ms) in [
            ("b", "1.0.0", 5),
            ("a", "1.0.0", 3),
            ("a", "0.9.0", 4),
            ("a-b", "1.0.0", 1),
        ] {
            store
                .create_plugin(&acme, name, version, &row(1, at_ms))
                .await
                .unwrap();
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let (page, more) = store.list_plugins(&acme, after, 1).await.unwrap();
            let last = page.last().unwrap().clone();
            // The row that the cursor points to need not be there any more.
            assert!(store.delete_plugins(&acme, &page, None).await.unwrap());
            seen.push(format!("{}@{}", last.name, last.version));
            after = Some(last.place());
            if !more {
                break;
            }
        }
        assert_eq!(seen, ["a@0.9.0", "a@1.0.0", "a-b@1.0.0", "b@1.0.0"]);
        assert_eq!(store.plugins(&acme).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_deletion_is_refused_when_a_policy_came_in_between() {
        let dir = tempfile::tempdir().unwrap();
        let (_data, store) = open(&dir);
        let acme = org("acme");
        store
            .create_plugin(&acme, "a", "1.0.0", &row(1, 1))
            .await
            .unwrap();
        let rows = store.plugin_versions(&acme, "a").await.unwrap();
        let seen = Some(InForceRow { revision: 1 });
        assert!(!store.delete_plugins(&acme, &rows, seen).await.unwrap());
        assert!(store.delete_plugins(&acme, &rows, None).await.unwrap());
        assert!(!store.delete_plugins(&acme, &rows, None).await.unwrap());
    }
}
