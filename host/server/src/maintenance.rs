//! Lets go of what is no longer kept: contexts that nobody used for a while or nobody knows of, plugins' components likewise, logs
//! older than the retention, idempotency keys, announcements that were given up.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ignite_core::ids::{ContextId, OrgId};
use ignite_plugins::Runtime;
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    error::{Error, Result},
    plugins::PluginStore,
    sources::contexts::ContextStore,
    store::{
        Store,
        logs::{LogDay, LogStore},
    },
};

const EVERY: Duration = Duration::from_secs(600);
/// Contexts deleted in one go.
const CONTEXTS_AT_ONCE: usize = 256;
/// Idempotency keys deleted in one go.
const KEYS_AT_ONCE: usize = 1024;
/// Announcements that were given up, deleted in one go.
const NOTIFICATIONS_AT_ONCE: usize = 256;
const DAY_MS: i64 = 86_400_000;

/// What is kept for how long.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// After its last use.
    pub context_ttl: Duration,
    /// After the build was created.
    pub log_days: u32,
    /// After its first use.
    pub idempotency_ttl: Duration,
    /// After it was given up.
    pub notification_ttl: Duration,
}

#[derive(Debug)]
pub struct Maintenance {
    pub retention: Retention,
    pub store: Arc<Store>,
    pub logs: Arc<LogStore>,
    pub contexts: Arc<ContextStore>,
    pub plugins: Arc<PluginStore>,
    pub runtime: Arc<Runtime>,
}

// === impl Maintenance ===

impl Maintenance {
    pub async fn run(self, stopping: CancellationToken) {
        loop {
            // Apart: what keeps the one from working must not fill the disk with the other.
            for (what, done) in [
                ("contexts", self.expire_contexts().await),
                ("contexts without a row", self.sweep_contexts().await),
                (
                    "components without a row",
                    self.plugins.sweep(&self.runtime).await,
                ),
                ("idempotency keys", self.expire_idempotency().await),
                ("notifications", self.expire_notifications().await),
                ("logs", self.drop_logs(clock::now_ms()).await),
            ] {
                if let Err(error) = done {
                    tracing::error!(what, error = %clock::chain(&error), "maintenance.failed");
                }
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Drops the logs of the days that are no longer kept, but for days on which a live build was created.
    pub(crate) async fn drop_logs(&self, now_ms: i64) -> Result<()> {
        let kept_ms = i64::from(self.retention.log_days).saturating_mul(DAY_MS);
        let first_kept = LogDay::of_time(now_ms.saturating_sub(kept_ms));
        let live = self.store.live_builds().await?;
        let first_kept = live
            .iter()
            .map(|build| LogDay::of(build.id))
            .fold(first_kept, LogDay::min);
        let dropped = self
            .logs
            .drop_days_before(first_kept)
            .await
            .map_err(Error::internal)?;
        if dropped > 0 {
            tracing::info!(days = dropped, "logs.dropped");
        }
        Ok(())
    }

    async fn expire_contexts(&self) -> Result<()> {
        let before_ms = ago(self.retention.context_ttl);
        loop {
            let needed = self.needed_contexts().await?;
            let expired = self.store.expired_contexts(before_ms, CONTEXTS_AT_ONCE).await?;
            let count = expired.len();
            for (key, _) in expired {
                if needed.contains(&(key.org.clone(), key.id.clone())) {
                    self.store
                        .touch_context(&key.org, &key.id, clock::now_ms())
                        .await?;
                    continue;
                }
                // The row goes first: a use in between keeps both, and bytes that are left without a row are swept.
                let removal = self.contexts.begin_removal(&key.org, &key.id).await;
                if self
                    .store
                    .delete_expired_context(&key.org, &key.id, before_ms)
                    .await?
                {
                    removal.delete_bytes().await?;
                    tracing::info!(org = %key.org, context = %key.id, "context.expired");
                }
            }
            if count < CONTEXTS_AT_ONCE {
                return Ok(());
            }
        }
    }

    async fn expire_idempotency(&self) -> Result<()> {
        let before_ms = ago(self.retention.idempotency_ttl);
        loop {
            let count = self.store.expire_idempotency(before_ms, KEYS_AT_ONCE).await?;
            if count < KEYS_AT_ONCE {
                return Ok(());
            }
        }
    }

    async fn expire_notifications(&self) -> Result<()> {
        let before_ms = ago(self.retention.notification_ttl);
        loop {
            let count = self
                .store
                .expire_notifications(before_ms, NOTIFICATIONS_AT_ONCE)
                .await?;
            if count < NOTIFICATIONS_AT_ONCE {
                return Ok(());
            }
        }
    }

    /// Removes bytes that have no row: a crash, or a caller that went away, came in between.
    async fn sweep_contexts(&self) -> Result<()> {
        let stored = self.contexts.list().await?;
        let without_row = self.store.contexts_without_row(stored).await?;
        let needed = self.needed_contexts().await?;
        for context in without_row {
            let (org, id) = &context;
            if needed.contains(&context) {
                continue;
            }
            let removal = self.contexts.begin_removal(org, id).await;
            if self.store.has_no_row(org, id).await? {
                removal.delete_bytes().await?;
                tracing::info!(%org, context = %id, "context.swept");
            }
        }
        Ok(())
    }

    /// Those of builds that have not ended.
    async fn needed_contexts(&self) -> Result<BTreeSet<(OrgId, ContextId)>> {
        let live = self.store.live_builds().await?;
        Ok(live
            .iter()
            .filter_map(|build| Some((build.org.clone(), build.context.clone()?)))
            .collect())
    }
}

fn ago(duration: Duration) -> i64 {
    let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    clock::now_ms().saturating_sub(ms)
}
