//! Announcements to be made, and those that were given up.
//!
//! Each has a row; one that is pending has an index row besides, in the order in which they are due within its organization. The
//! rows are written with the record of the build's end, and what comes of an announcement is written with the report in its record.

use std::sync::Arc;

use ignite_core::{
    build::Build,
    hook::HookReport,
    ids::{OrgId, PluginDigest},
    notification::NotificationId,
};
use serde::{Deserialize, Serialize};

use super::{
    Store, StoreError,
    batch::Batch,
    committer::CommitError,
    database::Database,
    schema::{BUILDS, BuildKey, OUTBOX, OUTBOX_DUE, OutboxDueKey, OutboxKey},
    table::KeyRange,
};

/// Of one build.
const NOTIFY_REPORTS_MAX: usize = 64;

/// One announcement of one build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    pub policy_revision: u64,
    pub plugin: String,
    pub digest: PluginDigest,
    /// Attempts that failed since it was written or replayed.
    pub attempts: u32,
    /// When the first of these was due.
    pub since_ms: i64,
    /// Pending: not before this time. Dead: since.
    pub next_at_ms: i64,
    pub state: OutboxState,
    /// Of the last attempt; empty before.
    pub last_error: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxState {
    Pending,
    /// Given up: kept until it is replayed or its time is over.
    Dead,
}

pub type OutboxEntry = (OutboxKey, OutboxRow);

/// What is due, and when more will be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// For each organization with something due, the longest due first.
    pub by_org: Vec<(OrgId, Vec<OutboxEntry>)>,
    /// The earliest that is not due yet.
    pub next_at_ms: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxPage {
    /// Of the newest build first.
    pub entries: Vec<OutboxEntry>,
    /// Where the next page starts, if there is one.
    pub next: Option<NotificationId>,
}

// === impl Store ===

impl Store {
    /// What is due at `now_ms`: at most `per_org` of each organization, so that a heap of one does not hide the others'.
    pub async fn due_notifications(&self, now_ms: i64, per_org: usize) -> Result<Due, StoreError> {
        self.read(move |db| due(db, now_ms, per_org)).await
    }

    pub async fn notification(&self, key: &OutboxKey) -> Result<Option<OutboxRow>, StoreError> {
        let key = key.clone();
        self.read(move |db| Ok(db.get(&OUTBOX, &key)?)).await
    }

    /// A page of at most `limit` of an organization's announcements that are not made yet, those before `before`.
    pub async fn list_notifications(
        &self,
        org: &OrgId,
        before: Option<NotificationId>,
        limit: usize,
    ) -> Result<OutboxPage, StoreError> {
        let mut range = OutboxKey::range(org);
        if let Some(id) = before {
            range = range.ending_before(&OutboxKey { org: org.clone(), id });
        }
        self.read(move |db| {
            let rows = db.scan(&OUTBOX, range)?.rev().take(limit.saturating_add(1));
            let mut entries = rows.collect::<Result<Vec<_>, _>>()?;
            let more = entries.len() > limit;
            entries.truncate(limit);
            let last = entries.last().map(|(key, _)| key.id);
            Ok(OutboxPage {
                entries,
                next: last.filter(|_| more),
            })
        })
        .await
    }

    /// Those of one organization, or of all, that are `wanted`.
    pub async fn select_notifications(
        &self,
        org: Option<&OrgId>,
        wanted: impl Fn(&OutboxEntry) -> bool + Send + 'static,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let range = org.map_or_else(KeyRange::all, OutboxKey::range);
        self.read(move |db| {
            let rows = db.scan(&OUTBOX, range)?;
            let is_wanted = |row: &Result<OutboxEntry, _>| row.as_ref().map_or(true, &wanted);
            Ok(rows.filter(is_wanted).collect::<Result<Vec<_>, _>>()?)
        })
        .await
    }

    /// Makes it due at once, under the same key and with attempts counted from the first again, whether it waits or was given up.
    /// None if there is nothing of this name.
    pub async fn replay_notification(
        &self,
        key: &OutboxKey,
        now_ms: i64,
    ) -> Result<Option<OutboxRow>, StoreError> {
        loop {
            let Some(row) = self.notification(key).await? else {
                return Ok(None);
            };
            let fresh = OutboxRow {
                attempts: 0,
                since_ms: now_ms,
                next_at_ms: now_ms,
                state: OutboxState::Pending,
                ..row.clone()
            };
            if self.settle_notification(key, &row, Some(&fresh), None).await? {
                return Ok(Some(fresh));
            }
        }
    }

    /// Replaces `before` by `after`, or removes it where that is None; `report` goes into the build's record in the same
    /// transaction. False if the row is another by now: somebody else was here.
    pub async fn settle_notification(
        &self,
        key: &OutboxKey,
        before: &OutboxRow,
        after: Option<&OutboxRow>,
        report: Option<&HookReport>,
    ) -> Result<bool, StoreError> {
        let of_build = BuildKey {
            org: key.org.clone(),
            id: key.id.build,
        };
        loop {
            let mut batch = Batch::new();
            batch.require_equals(&OUTBOX, key, before)?;
            batch.delete(&OUTBOX_DUE, &OutboxDueKey::of(key, before));
            match after {
                Some(row) => put_notification(&mut batch, key, row)?,
                None => {
                    batch.delete(&OUTBOX, key);
                }
            }
            let build = match report {
                Some(report) => self
                    .get_build(&key.org, key.id.build)
                    .await?
                    .map(|build| (build, report)),
                None => None,
            };
            if let Some((build, report)) = build {
                let generation = build.generation;
                batch.require(&BUILDS, &of_build, "unchanged", move |stored: Option<Build>| {
                    stored.is_some_and(|stored| stored.generation == generation)
                });
                let build = Arc::new(with_report(&build, report));
                batch.put(&BUILDS, &of_build, &*build)?;
                self.cache_when_committed(&mut batch, &build, || ());
            }
            match self.committer.commit(batch).await {
                Ok(()) => return Ok(true),
                // Another announcement of the same build may have been reported in between.
                Err(CommitError::Rejected { .. }) => {
                    if self.notification(key).await?.as_ref() != Some(before) {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes up to `limit` that were given up before `before_ms`; how many there were.
    pub async fn expire_notifications(&self, before_ms: i64, limit: usize) -> Result<usize, StoreError> {
        let expired = self
            .read(move |db| {
                let old = |row: &Result<OutboxEntry, _>| match row {
                    Ok((_, row)) => row.state == OutboxState::Dead && row.next_at_ms < before_ms,
                    Err(_) => true,
                };
                let rows = db.scan(&OUTBOX, KeyRange::all())?.filter(old).take(limit);
                Ok(rows.collect::<Result<Vec<_>, _>>()?)
            })
            .await?;
        for (key, row) in &expired {
            self.settle_notification(key, row, None, None).await?;
        }
        Ok(expired.len())
    }
}

/// Writes a row and, while it is pending, its place among the due ones.
pub(super) fn put_notification(
    batch: &mut Batch,
    key: &OutboxKey,
    row: &OutboxRow,
) -> Result<(), StoreError> {
    batch.put(&OUTBOX, key, row)?;
    match row.state {
        OutboxState::Pending => {
            batch.put(&OUTBOX_DUE, &OutboxDueKey::of(key, row), &())?;
        }
        OutboxState::Dead => {}
    }
    Ok(())
}

fn due(db: &Database, now_ms: i64, per_org: usize) -> Result<Due, StoreError> {
    let mut due = Due::default();
    let mut from = KeyRange::all();
    // From organization to organization, without reading what lies between.
    while let Some(first) = db.scan(&OUTBOX_DUE, from)?.next() {
        let (OutboxDueKey { org, .. }, ()) = first?;
        let mut entries = Vec::new();
        for row in db.scan(&OUTBOX_DUE, OutboxDueKey::range(&org))? {
            let (key, ()) = row?;
            if key.at_ms > now_ms {
                due.next_at_ms = Some(due.next_at_ms.map_or(key.at_ms, |next| next.min(key.at_ms)));
                break;
            }
            if entries.len() == per_org {
                break;
            }
            let key = key.row();
            // Settled since its index row was read, if it is gone.
            if let Some(row) = db.get(&OUTBOX, &key)? {
                entries.push((key, row));
            }
        }
        if !entries.is_empty() {
            due.by_org.push((org.clone(), entries));
        }
        from = OutboxDueKey::after(&org);
    }
    Ok(due)
}

/// The record with one more report. Watchers of a build that has ended are gone, so nobody but readers learns of it.
fn with_report(build: &Build, report: &HookReport) -> Build {
    let mut build = build.clone();
    build.generation = build.generation.saturating_add(1);
    // Somebody may replay for ever: the newest are kept.
    let of_hook = build.hook_reports.iter().filter(|old| old.hook == report.hook);
    if of_hook.count() >= NOTIFY_REPORTS_MAX
        && let Some(oldest) = build.hook_reports.iter().position(|old| old.hook == report.hook)
    {
        build.hook_reports.remove(oldest);
    }
    build.hook_reports.push(report.clone());
    build
}

#[cfg(test)]
mod tests;
