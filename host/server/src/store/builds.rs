//! Builds, their specs and the keys that make creating them repeatable.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use ignite_core::{
    build::{Build, Status},
    ids::{BuildId, OrgId},
};

use super::{
    Store, StoreError,
    batch::Batch,
    committer::CommitError,
    database::Database,
    outbox::{OutboxEntry, put_notification},
    owned_by,
    schema::{
        BUILDS, BUILDS_BY_STATUS, Blob, BuildKey, IDEMPOTENCY, IdempotencyKey, IdempotencyRow, LIVE, LiveRow,
        REDACTIONS, RUN_SECRETS, SPECS, STATUSES, StatusKey,
    },
    table::KeyRange,
};

/// What a caller gave to make a creation repeatable.
#[derive(Debug, Clone)]
pub struct Idempotency {
    pub key: String,
    /// A hash of all that matters in the request.
    pub fingerprint: [u8; 32],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    New,
    /// The same request came before under the same key, and made this build.
    Replayed(BuildId),
    /// The key was used for another request.
    KeyReused,
}

/// Whether the reconciler must go on looking at a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    Keep,
    /// It has ended and nothing of its runs is left.
    Retire,
}

/// All that is set must match.
#[derive(Debug, Clone, Default)]
pub struct BuildFilter {
    pub status: Option<Status>,
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default)]
pub struct BuildPage {
    /// Newest first.
    pub builds: Vec<Arc<Build>>,
    /// Where the next page starts, if there is one: the last build of this page.
    pub next: Option<BuildId>,
}

// === impl BuildFilter ===

impl BuildFilter {
    fn matches(&self, build: &Build) -> bool {
        self.status.is_none_or(|status| build.status == status)
            && self.name.as_ref().is_none_or(|name| build.name == *name)
            && self
                .labels
                .iter()
                .all(|(name, value)| build.labels.get(name) == Some(value))
    }
}

// === impl IdempotencyRow ===

impl IdempotencyRow {
    /// To a request under its key.
    fn answer(&self, fingerprint: &[u8; 32]) -> Created {
        match self.fingerprint == *fingerprint {
            true => Created::Replayed(self.build),
            false => Created::KeyReused,
        }
    }
}

// === impl Store ===

impl Store {
    /// Stores a new build, its sealed spec, its index rows and the idempotency row, all or nothing.
    pub async fn create_build(
        &self,
        build: Arc<Build>,
        sealed_spec: Vec<u8>,
        idempotency: Option<Idempotency>,
    ) -> Result<Created, StoreError> {
        self.create_build_then(build, sealed_spec, idempotency, || ())
            .await
    }

    /// As [`Self::create_build`]. Once the build is on disk `stored` runs on the writing thread, before the answer and whether or
    /// not anyone still waits for it; it is dropped if the build is not stored.
    pub async fn create_build_then(
        &self,
        build: Arc<Build>,
        sealed_spec: Vec<u8>,
        idempotency: Option<Idempotency>,
        stored: impl FnOnce() + Send + 'static,
    ) -> Result<Created, StoreError> {
        let key = BuildKey::of(&build);
        let mut batch = Batch::new();
        // Checked first, so that a repeated request is told as such whatever else is wrong with it.
        let earlier = Arc::new(OnceLock::new());
        if let Some(given) = idempotency {
            let key = IdempotencyKey {
                org: build.org.clone(),
                key: given.key,
            };
            let row = IdempotencyRow {
                fingerprint: given.fingerprint,
                build: build.id,
                created_at_ms: build.created_at_ms,
            };
            // The row may expire as soon as it was seen, so what it says is kept.
            let seen = Arc::clone(&earlier);
            batch.require(&IDEMPOTENCY, &key, "absent", move |row| {
                let Some(row) = row else { return true };
                let _ = seen.set(row.answer(&given.fingerprint));
                false
            });
            batch.put(&IDEMPOTENCY, &key, &row)?;
        }
        batch.require_absent(&BUILDS, &key).put(&BUILDS, &key, &*build)?;
        batch.put(&BUILDS_BY_STATUS, &StatusKey::of(&build, build.status), &())?;
        let live = LiveRow {
            org: build.org.clone(),
        };
        batch.put(&LIVE, &build.id, &live)?;
        batch.put(&SPECS, &build.id, &Blob(sealed_spec))?;

        self.cache_when_committed(&mut batch, &build, stored);
        match (self.committer.commit(batch).await, earlier.get()) {
            (Ok(()), _) => Ok(Created::New),
            (Err(CommitError::Rejected { .. }), Some(earlier)) => Ok(*earlier),
            (Err(CommitError::Rejected { .. }), None) => Err(StoreError::Exists(build.id)),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Stores a changed build. Stale unless its generation is above that of the stored record.
    pub async fn update_build(&self, build: Arc<Build>, live: Live) -> Result<(), StoreError> {
        self.update_build_and_announce(build, live, &[]).await
    }

    /// As [`Self::update_build`], and writes these announcements of it.
    pub async fn update_build_and_announce(
        &self,
        build: Arc<Build>,
        live: Live,
        announcements: &[OutboxEntry],
    ) -> Result<(), StoreError> {
        let key = BuildKey::of(&build);
        let generation = build.generation;
        let mut batch = Batch::new();
        batch.require(&BUILDS, &key, "older", move |stored| {
            stored.is_some_and(|stored| stored.generation < generation)
        });
        batch.put(&BUILDS, &key, &*build)?;
        for status in STATUSES {
            if status != build.status {
                batch.delete(&BUILDS_BY_STATUS, &StatusKey::of(&build, status));
            }
        }
        batch.put(&BUILDS_BY_STATUS, &StatusKey::of(&build, build.status), &())?;
        match live {
            Live::Keep => {}
            Live::Retire => {
                batch.delete(&LIVE, &build.id);
                batch.delete(&RUN_SECRETS, &build.id);
                if build.policy_revision.is_some() {
                    batch.delete(&REDACTIONS, &build.id);
                }
            }
        }
        for (key, row) in announcements {
            put_notification(&mut batch, key, row)?;
        }
        self.cache_when_committed(&mut batch, &build, || ());
        match self.committer.commit(batch).await {
            Ok(()) => Ok(()),
            Err(CommitError::Rejected { .. }) => Err(StoreError::Stale(build.id)),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a build out of [`Self::live_builds`]; ok if it is not there.
    pub async fn retire(&self, id: BuildId) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.delete(&LIVE, &id);
        Ok(self.committer.commit(batch).await?)
    }

    /// None also for a build of another organization. Does not leave the caller's thread if the record is cached.
    pub async fn get_build(&self, org: &OrgId, id: BuildId) -> Result<Option<Arc<Build>>, StoreError> {
        // The guard shares one read among all who ask, and its insert gives way to a write that came in between.
        let guard = match self.cache.get_value_or_guard_async(&id).await {
            Ok(build) => return Ok(owned_by(build, org)),
            Err(guard) => guard,
        };
        let key = BuildKey { org: org.clone(), id };
        let build = self
            .read(move |db| Ok(db.get(&BUILDS, &key)?))
            .await?
            .map(Arc::new);
        if let Some(build) = &build {
            let _ = guard.insert(Arc::clone(build));
        }
        Ok(build)
    }

    /// A page of at most `limit` builds, newest first, older than `before`. Reads until the page is full or there is no more, so a
    /// short page is the last one.
    pub async fn list_builds(
        &self,
        org: &OrgId,
        filter: BuildFilter,
        before: Option<BuildId>,
        limit: usize,
    ) -> Result<BuildPage, StoreError> {
        let org = org.clone();
        self.read(move |db| list(db, &org, &filter, before, limit)).await
    }

    /// Every build that was not retired, oldest first.
    pub async fn live_builds(&self) -> Result<Vec<Arc<Build>>, StoreError> {
        self.read(|db| {
            let mut builds = Vec::new();
            for row in db.scan(&LIVE, KeyRange::all())? {
                let (id, LiveRow { org }) = row?;
                let build = db.get(&BUILDS, &BuildKey { org, id })?;
                builds.push(Arc::new(build.ok_or(StoreError::Dangling(id))?));
            }
            Ok(builds)
        })
        .await
    }

    /// The sealed spec of a build.
    pub async fn spec(&self, id: BuildId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |db| Ok(db.get(&SPECS, &id)?.map(|blob| blob.0)))
            .await
    }

    /// What is kept of a build's redaction: see [`Self::put_redaction`].
    pub async fn redaction(&self, id: BuildId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |db| Ok(db.get(&REDACTIONS, &id)?.map(|blob| blob.0)))
            .await
    }

    /// Keeps it until the build has ended.
    pub async fn put_redaction(&self, id: BuildId, sealed: Vec<u8>) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.put(&REDACTIONS, &id, &Blob(sealed))?;
        Ok(self.committer.commit(batch).await?)
    }

    /// What [`Self::create_build`] would answer for the key alone. None if it was never used.
    pub async fn replayed(&self, org: &OrgId, given: &Idempotency) -> Result<Option<Created>, StoreError> {
        let key = IdempotencyKey {
            org: org.clone(),
            key: given.key.clone(),
        };
        let row = self.read(move |db| Ok(db.get(&IDEMPOTENCY, &key)?)).await?;
        Ok(row.map(|row| row.answer(&given.fingerprint)))
    }

    /// Forgets up to `limit` idempotency keys that were first used before `before_ms`. How many they were.
    pub async fn expire_idempotency(&self, before_ms: i64, limit: usize) -> Result<usize, StoreError> {
        let expired: Vec<IdempotencyKey> = self
            .read(move |db| {
                let expired = |row: &Result<(IdempotencyKey, IdempotencyRow), _>| match row {
                    Ok((_, row)) => row.created_at_ms < before_ms,
                    Err(_) => true,
                };
                let rows = db.scan(&IDEMPOTENCY, KeyRange::all())?;
                let keys = rows.filter(expired).take(limit).map(|row| Ok(row?.0));
                keys.collect()
            })
            .await?;
        // A row is never changed, and none takes its place while it is there: what was read is what is deleted.
        let mut batch = Batch::new();
        for key in &expired {
            batch.delete(&IDEMPOTENCY, key);
        }
        self.committer.commit(batch).await?;
        Ok(expired.len())
    }

    /// A caller that goes away must not leave an old record in the cache, so the writing thread puts the new one there.
    pub(super) fn cache_when_committed(
        &self,
        batch: &mut Batch,
        build: &Arc<Build>,
        then: impl FnOnce() + Send + 'static,
    ) {
        let (cache, build) = (Arc::clone(&self.cache), Arc::clone(build));
        batch.when_committed(move || {
            cache.insert(build.id, build);
            then();
        });
    }
}

fn list(
    db: &Database,
    org: &OrgId,
    filter: &BuildFilter,
    before: Option<BuildId>,
    limit: usize,
) -> Result<BuildPage, StoreError> {
    let mut page = BuildPage::default();
    let candidates: Box<dyn Iterator<Item = Result<Option<Build>, StoreError>> + '_> = match filter.status {
        None => {
            let mut range = BuildKey::range(org);
            if let Some(id) = before {
                range = range.ending_before(&BuildKey { org: org.clone(), id });
            }
            Box::new(db.scan(&BUILDS, range)?.rev().map(|row| Ok(Some(row?.1))))
        }
        Some(status) => {
            let mut range = StatusKey::range(org, status);
            if let Some(id) = before {
                range = range.ending_before(&StatusKey {
                    org: org.clone(),
                    status,
                    id,
                });
            }
            Box::new(db.scan(&BUILDS_BY_STATUS, range)?.rev().map(|row| {
                let (StatusKey { org, id, .. }, ()) = row?;
                // Its status may have changed since the index was read; the filter looks again.
                Ok(db.get(&BUILDS, &BuildKey { org, id })?)
            }))
        }
    };
    for build in candidates {
        let Some(build) = build?.filter(|build| filter.matches(build)) else {
            continue;
        };
        if page.builds.len() == limit {
            page.next = page.builds.last().map(|last| last.id);
            break;
        }
        page.builds.push(Arc::new(build));
    }
    Ok(page)
}

#[cfg(test)]
pub(crate) mod tests;
