//! Announces builds that have ended, at least once.
//!
//! ```text
//!   the build's end ─▶ one transaction: record + a row for each announcement
//!                                                     │ wake
//!   due rows ◀── reread ◀── wake, timer, one is done ◀┘
//!      └─▶ choose: fair between organizations ─▶ announce ┬▶ delivered: row gone, report in the record
//!                                                        ├▶ again: row due later, waits that double
//!                                                        └▶ never, or too often: row dead, report in the record
//! ```
//!
//! What is under way is known to memory only. A process that ends in between leaves the row as it was, so the next one announces
//! again, under the same idempotency key: receivers tell a repetition by it. A dead row is kept until it is replayed or its time
//! is over.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use ignite_core::{
    build::Build,
    hook::{Hook, HookReport, NotifyFailure, ReportVerdict},
    ids::OrgId,
    notification::{Lanes, NotificationId, Schedule, choose},
};
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    error::Result,
    store::{OutboxEntry, OutboxKey, OutboxRow, OutboxState, Store},
};

pub mod announce;
#[cfg(test)]
pub(crate) mod tests;

pub use announce::{Announced, Announcement, Announcer, Plugins};

/// How often the rows are reread without a reason: a clock that was set back, a wake that was missed.
const REREAD_EVERY: Duration = Duration::from_secs(30);
/// After what the store did not let us do.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// What is under way at the end may finish for so long: each that is cut off is announced twice.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Of what went wrong, in row and report.
const ERROR_BYTES_MAX: usize = 1024;

#[derive(Debug, Clone, Copy)]
pub struct OutboxSettings {
    pub schedule: Schedule,
    pub lanes: Lanes,
}

#[derive(Debug)]
pub struct Outbox {
    settings: OutboxSettings,
    store: Arc<Store>,
    announcer: Arc<dyn Announcer>,
    wake: Notify,
}

/// What is under way.
#[derive(Debug, Default)]
struct UnderWay {
    tasks: JoinSet<()>,
    keys: HashMap<tokio::task::Id, OutboxKey>,
}

// === impl OutboxSettings ===

impl Default for OutboxSettings {
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            lanes: Lanes { all: 32, per_org: 8 },
        }
    }
}

// === impl Outbox ===

impl Outbox {
    pub fn new(settings: OutboxSettings, store: Arc<Store>, announcer: Arc<dyn Announcer>) -> Self {
        Self {
            settings,
            store,
            announcer,
            wake: Notify::new(),
        }
    }

    /// The rows to be written with the end of this build: one for each entry of its policy that announces.
    pub async fn announcements(&self, build: &Build, now_ms: i64) -> Result<Vec<OutboxEntry>> {
        let announcements = self.announcer.announcements(build).await?;
        let row = |announcement: Announcement| {
            let id = NotificationId {
                build: build.id,
                entry: announcement.entry,
            };
            let key = OutboxKey {
                org: build.org.clone(),
                id,
            };
            let row = OutboxRow {
                policy_revision: announcement.policy_revision,
                plugin: announcement.plugin,
                digest: announcement.digest,
                attempts: 0,
                since_ms: now_ms,
                next_at_ms: now_ms,
                state: OutboxState::Pending,
                last_error: String::new(),
            };
            (key, row)
        };
        Ok(announcements.into_iter().map(row).collect())
    }

    /// There are new rows.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Announces at once what waits or was given up, under the same key. None if there is nothing of this name.
    pub async fn replay(&self, key: &OutboxKey, now_ms: i64) -> Result<Option<OutboxRow>> {
        let row = self.store.replay_notification(key, now_ms).await?;
        if row.is_some() {
            self.wake();
        }
        Ok(row)
    }

    /// Announces what is due until `stopping`.
    pub async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let mut under_way = UnderWay::default();
        loop {
            let next = match self.begin_due(&mut under_way).await {
                Ok(next_at_ms) => next_at_ms.map_or(REREAD_EVERY, clock::until).min(REREAD_EVERY),
                Err(error) => {
                    tracing::error!(error = %clock::chain(&error), "outbox.unread");
                    TRY_AGAIN_AFTER
                }
            };
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                () = under_way.one_done() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(next) => {}
            }
        }
        let deadline = Instant::now() + DRAIN_MAX;
        while !under_way.tasks.is_empty() && Instant::now() < deadline {
            let _late = tokio::time::timeout_at(deadline, under_way.one_done()).await;
        }
    }

    /// Begins what is due and may begin; when more will be due.
    async fn begin_due(self: &Arc<Self>, under_way: &mut UnderWay) -> Result<Option<i64>> {
        let lanes = self.settings.lanes;
        // What is under way is still due: twice the lanes, so that it does not hide what waits behind it.
        let due = self
            .store
            .due_notifications(clock::now_ms(), lanes.per_org.saturating_mul(2))
            .await?;
        let keys: BTreeSet<&OutboxKey> = under_way.keys.values().collect();
        let waiting: Vec<(OrgId, Vec<OutboxEntry>)> = due
            .by_org
            .into_iter()
            .map(|(org, mut entries)| {
                entries.retain(|(key, _)| !keys.contains(key));
                (org, entries)
            })
            .collect();
        for (key, row) in choose(waiting, &under_way.by_org(), lanes) {
            let outbox = Arc::clone(self);
            let of_task = key.clone();
            let task = under_way.tasks.spawn(async move {
                if let Err(error) = outbox.deliver(&key, &row).await {
                    tracing::error!(notification = %key.id, error = %clock::chain(&error), "outbox.failed");
                    tokio::time::sleep(TRY_AGAIN_AFTER).await;
                }
            });
            under_way.keys.insert(task.id(), of_task);
        }
        Ok(due.next_at_ms)
    }

    /// One attempt, and what comes of it on disk.
    async fn deliver(&self, key: &OutboxKey, row: &OutboxRow) -> Result<()> {
        let Some(build) = self.store.get_build(&key.org, key.id.build).await? else {
            // Nothing is left to tell.
            self.store.settle_notification(key, row, None, None).await?;
            return Ok(());
        };
        let attempt = row.attempts.saturating_add(1);
        let announced = self.announcer.announce(&build, row, key.id, attempt).await?;
        let after = self.after(row, attempt, &announced.result);
        let state = after.as_ref().map(|row| row.state);
        let report = match state {
            Some(OutboxState::Pending) => None,
            Some(OutboxState::Dead) | None => Some(report(row, attempt, &announced)),
        };
        self.store
            .settle_notification(key, row, after.as_ref(), report.as_ref())
            .await?;
        let error = after.as_ref().map(|row| row.last_error.as_str());
        let (org, plugin) = (&key.org, &row.plugin);
        match state {
            None => tracing::info!(notification = %key.id, %org, plugin, attempt, "outbox.delivered"),
            Some(OutboxState::Pending) => {
                tracing::info!(notification = %key.id, %org, plugin, attempt, error, "outbox.to_be_retried");
            }
            Some(OutboxState::Dead) => {
                tracing::warn!(notification = %key.id, %org, plugin, attempt, error, "outbox.dead");
            }
        }
        Ok(())
    }

    /// The row after an attempt; None if it is done with.
    fn after(
        &self,
        row: &OutboxRow,
        attempt: u32,
        result: &std::result::Result<(), NotifyFailure>,
    ) -> Option<OutboxRow> {
        let now_ms = clock::now_ms();
        let (again_at_ms, error) = match result {
            Ok(()) => return None,
            Err(NotifyFailure::Never(error)) => (None, error),
            Err(NotifyFailure::Again(error)) => {
                let at_ms = self
                    .settings
                    .schedule
                    .next_ms(attempt, row.since_ms, now_ms, rand::random());
                (at_ms, error)
            }
        };
        Some(OutboxRow {
            attempts: attempt,
            next_at_ms: again_at_ms.unwrap_or(now_ms),
            state: match again_at_ms {
                Some(_) => OutboxState::Pending,
                None => OutboxState::Dead,
            },
            last_error: cut(error),
            ..row.clone()
        })
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// Waits until one is done; forever if none is under way.
    async fn one_done(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            // Its row is as it was, and is taken up again.
            Some(Err(error)) => error.id(),
            None => std::future::pending().await,
        };
        self.keys.remove(&id);
    }

    fn by_org(&self) -> BTreeMap<OrgId, usize> {
        let mut counts = BTreeMap::new();
        for key in self.keys.values() {
            let count: &mut usize = counts.entry(key.org.clone()).or_default();
            *count = count.saturating_add(1);
        }
        counts
    }
}

fn report(row: &OutboxRow, attempt: u32, announced: &Announced) -> HookReport {
    let (verdict, message) = match &announced.result {
        Ok(()) if attempt == 1 => (ReportVerdict::Delivered, None),
        Ok(()) => (
            ReportVerdict::Delivered,
            Some(format!("delivered at attempt {attempt}")),
        ),
        Err(NotifyFailure::Again(error) | NotifyFailure::Never(error)) => (
            ReportVerdict::Failed,
            Some(format!("given up after attempt {attempt}: {}", cut(error))),
        ),
    };
    HookReport {
        plugin: row.plugin.clone(),
        digest: row.digest,
        hook: Hook::Notify,
        monitored: announced.monitored,
        verdict,
        changes: Vec::new(),
        messages: message.into_iter().collect(),
        micros: announced.micros,
    }
}

fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(ERROR_BYTES_MAX);
    text.get(..end).unwrap_or_default().to_owned()
}
