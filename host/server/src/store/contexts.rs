//! What is known of uploaded contexts; their bytes are elsewhere.

use ignite_core::ids::{ContextId, OrgId};
use serde::{Deserialize, Serialize};

use super::{
    Store, StoreError,
    batch::Batch,
    committer::CommitError,
    schema::{CONTEXTS, ContextKey},
    table::KeyRange,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextRow {
    pub name: String,
    pub size_bytes: u64,
    pub created_at_ms: i64,
    /// Moves forward only; a context expires some time after it.
    pub last_used_at_ms: i64,
}

impl Store {
    /// Stores a context's row; one that is there keeps its time of creation and its later use.
    pub async fn put_context(&self, org: &OrgId, id: &ContextId, row: ContextRow) -> Result<(), StoreError> {
        self.change_context(org, id, |stored| {
            let mut row = row.clone();
            if let Some(stored) = stored {
                row.created_at_ms = stored.created_at_ms;
                row.last_used_at_ms = row.last_used_at_ms.max(stored.last_used_at_ms);
            }
            Some(row)
        })
        .await
        .map(|_| ())
    }

    /// Notes that a context was used. False if it is not there.
    pub async fn touch_context(&self, org: &OrgId, id: &ContextId, now_ms: i64) -> Result<bool, StoreError> {
        self.change_context(org, id, |stored| {
            stored.map(|stored| ContextRow {
                last_used_at_ms: now_ms.max(stored.last_used_at_ms),
                ..stored.clone()
            })
        })
        .await
    }

    pub async fn context(&self, org: &OrgId, id: &ContextId) -> Result<Option<ContextRow>, StoreError> {
        let key = context_key(org, id);
        self.read(move |db| Ok(db.get(&CONTEXTS, &key)?)).await
    }

    /// Up to `limit` contexts of any organization, last used before `before_ms`.
    pub async fn expired_contexts(
        &self,
        before_ms: i64,
        limit: usize,
    ) -> Result<Vec<(ContextKey, ContextRow)>, StoreError> {
        self.read(move |db| {
            let expired = |row: &Result<(ContextKey, ContextRow), _>| match row {
                Ok((_, row)) => row.last_used_at_ms < before_ms,
                Err(_) => true,
            };
            let rows = db.scan(&CONTEXTS, KeyRange::all())?.filter(expired).take(limit);
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Deletes a context's row unless it was used at or after `before_ms`. True if it is gone now by this call: only then may its
    /// bytes go, and only while no upload of them is under way.
    pub async fn delete_expired_context(
        &self,
        org: &OrgId,
        id: &ContextId,
        before_ms: i64,
    ) -> Result<bool, StoreError> {
        let key = context_key(org, id);
        let mut batch = Batch::new();
        batch.require(&CONTEXTS, &key, "expired", move |row| {
            row.is_some_and(|row| row.last_used_at_ms < before_ms)
        });
        batch.delete(&CONTEXTS, &key);
        match self.committer.commit(batch).await {
            Ok(()) => Ok(true),
            Err(CommitError::Rejected { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Those of `contexts` that have no row.
    pub async fn contexts_without_row(
        &self,
        contexts: Vec<(OrgId, ContextId)>,
    ) -> Result<Vec<(OrgId, ContextId)>, StoreError> {
        self.read(move |db| {
            let mut without = Vec::new();
            for (org, id) in contexts {
                if db.get(&CONTEXTS, &context_key(&org, &id))?.is_none() {
                    without.push((org, id));
                }
            }
            Ok(without)
        })
        .await
    }

    /// Whether the context has no row, not even one that is still on its way to disk: the writing thread answers.
    pub async fn has_no_row(&self, org: &OrgId, id: &ContextId) -> Result<bool, StoreError> {
        let mut batch = Batch::new();
        batch.require_absent(&CONTEXTS, &context_key(org, id));
        match self.committer.commit(batch).await {
            Ok(()) => Ok(true),
            Err(CommitError::Rejected { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// How many contexts an organization has, and how many bytes they are.
    pub async fn count_contexts(&self, org: &OrgId) -> Result<(u64, u64), StoreError> {
        let range = ContextKey::range(org);
        self.read(move |db| {
            let (mut count, mut bytes) = (0, 0);
            for row in db.scan(&CONTEXTS, range)? {
                count += 1;
                bytes += row?.1.size_bytes;
            }
            Ok((count, bytes))
        })
        .await
    }

    /// Reads, changes and writes a row, again if someone else came in between. False if `change` wants nothing written.
    async fn change_context(
        &self,
        org: &OrgId,
        id: &ContextId,
        change: impl Fn(Option<&ContextRow>) -> Option<ContextRow>,
    ) -> Result<bool, StoreError> {
        let key = context_key(org, id);
        loop {
            let stored = self.context(org, id).await?;
            let Some(row) = change(stored.as_ref()) else {
                return Ok(false);
            };
            if stored.as_ref() == Some(&row) {
                return Ok(true);
            }
            let mut batch = Batch::new();
            batch.require(&CONTEXTS, &key, "unchanged", move |now| now == stored);
            batch.put(&CONTEXTS, &key, &row)?;
            match self.committer.commit(batch).await {
                Ok(()) => return Ok(true),
                Err(CommitError::Rejected { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn context_key(org: &OrgId, id: &ContextId) -> ContextKey {
    ContextKey {
        org: org.clone(),
        id: id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::builds::tests::open;

    fn org(name: &str) -> OrgId {
        name.parse().unwrap()
    }

    fn id(byte: u8) -> ContextId {
        ContextId::from_sha256([byte; 32])
    }

    fn row(at_ms: i64) -> ContextRow {
        ContextRow {
            name: "src".to_owned(),
            size_bytes: 10,
            created_at_ms: at_ms,
            last_used_at_ms: at_ms,
        }
    }

    #[tokio::test]
    async fn a_context_sent_again_stays_as_old_and_becomes_as_used() {
        let dir = tempfile::tempdir().unwrap();
        let (_data, store) = open(&dir);
        let (acme, other) = (org("acme"), org("other"));
        store.put_context(&acme, &id(1), row(100)).await.unwrap();
        store.put_context(&acme, &id(1), row(200)).await.unwrap();
        let stored = store.context(&acme, &id(1)).await.unwrap().unwrap();
        assert_eq!((stored.created_at_ms, stored.last_used_at_ms), (100, 200));
        assert!(store.touch_context(&acme, &id(1), 150).await.unwrap());
        assert!(store.touch_context(&acme, &id(1), 300).await.unwrap());
        assert_eq!(
            store
                .context(&acme, &id(1))
                .await
                .unwrap()
                .unwrap()
                .last_used_at_ms,
            300
        );
        assert!(!store.touch_context(&other, &id(1), 300).await.unwrap());
        assert_eq!(store.context(&other, &id(1)).await.unwrap(), None);
        store.put_context(&acme, &id(2), row(1)).await.unwrap();
        assert_eq!(store.count_contexts(&acme).await.unwrap(), (2, 20));
        assert_eq!(store.count_contexts(&other).await.unwrap(), (0, 0));
    }

    #[tokio::test]
    async fn only_what_nobody_used_since_expires() {
        let dir = tempfile::tempdir().unwrap();
        let (_data, store) = open(&dir);
        for i in 1..=5 {
            store
                .put_context(&org("acme"), &id(i), row(i64::from(i) * 100))
                .await
                .unwrap();
        }
        assert_eq!(store.expired_contexts(301, 2).await.unwrap().len(), 2);
        let expired = store.expired_contexts(301, 100).await.unwrap();
        assert_eq!(expired.len(), 3);
        store.touch_context(&org("acme"), &id(2), 900).await.unwrap();
        for (key, _) in &expired {
            let deleted = store
                .delete_expired_context(&key.org, &key.id, 301)
                .await
                .unwrap();
            assert_eq!(deleted, key.id != id(2));
        }
        assert_eq!(store.count_contexts(&org("acme")).await.unwrap().0, 3);
        assert!(
            !store
                .delete_expired_context(&org("acme"), &id(1), 301)
                .await
                .unwrap()
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn concurrent_uses_all_count() {
        let dir = tempfile::tempdir().unwrap();
        let (_data, store) = open(&dir);
        let store = Arc::new(store);
        store.put_context(&org("acme"), &id(1), row(0)).await.unwrap();
        let tasks: Vec<_> = (1..=20)
            .map(|at_ms| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.touch_context(&org("acme"), &id(1), at_ms).await.unwrap() })
            })
            .collect();
        for task in tasks {
            assert!(task.await.unwrap());
        }
        assert_eq!(
            store
                .context(&org("acme"), &id(1))
                .await
                .unwrap()
                .unwrap()
                .last_used_at_ms,
            20
        );
    }
}
