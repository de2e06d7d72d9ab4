//! Compares what is stored with what the executor knows, and acts on the difference: at start, and then on a timer.

use std::{collections::HashMap, sync::Arc};

use ignite_core::{
    build::{Build, Event},
    ids::{BuildId, RunId},
    reconcile::{self, Action},
};

use super::{Driver, Live, run};
use crate::{
    clock,
    error::{Error, Result},
};

// === impl Driver ===

impl Driver {
    /// Compares records and runs, and acts on the difference.
    pub(super) async fn reconcile(self: &Arc<Self>) -> Result<()> {
        let observed = self.parts.executor.observe().await.map_err(Error::internal)?;
        let builds = self.parts.store.live_builds().await?;
        let actions = reconcile::plan(builds.iter().map(Arc::as_ref), &observed);
        let builds: HashMap<BuildId, Arc<Build>> =
            builds.into_iter().map(|build| (build.id, build)).collect();
        for action in actions {
            // One build that cannot be taken up is tried again with the next look, and keeps no other waiting.
            if let Err(error) = self.carry_out(action, &builds).await {
                tracing::error!(?action, error = %clock::chain(&error), "reconcile.action_failed");
            }
        }
        self.expire_holds(builds.values()).await;
        Ok(())
    }

    pub(super) async fn carry_out(
        self: &Arc<Self>,
        action: Action,
        builds: &HashMap<BuildId, Arc<Build>>,
    ) -> Result<()> {
        match action {
            Action::Enqueue(id) | Action::Await(id) => {
                if let Some(build) = builds.get(&id) {
                    self.take_up(build).await?;
                }
            }
            Action::Adopt(run) => {
                if let Some(build) = builds.get(&run.build) {
                    self.adopt(run, build).await?;
                }
            }
            Action::Recover(run) => {
                let Some(build) = builds.get(&run.build) else {
                    return Ok(());
                };
                let head = self.parts.logs.head(run.build).await.map_err(Error::internal)?;
                if head.is_some_and(|head| head.run == run) {
                    self.report_lost(run, build).await?;
                } else {
                    self.adopt(run, build).await?;
                }
            }
            Action::ReportLost(run) => {
                if let Some(build) = builds.get(&run.build) {
                    self.report_lost(run, build).await?;
                }
            }
            // The task that drives the run stops it as soon as it has taken it up.
            Action::Stop(_) => {}
            Action::Forget(run) => self.forget(run),
        }
        Ok(())
    }

    async fn adopt(self: &Arc<Self>, run: RunId, build: &Arc<Build>) -> Result<()> {
        if let Some(live) = self.undriven(run, build).await? {
            self.queue().started(live.id(), &build.org);
            self.drive(live);
        }
        Ok(())
    }

    /// Ends a run of which nothing is left but its record.
    async fn report_lost(self: &Arc<Self>, run: RunId, build: &Arc<Build>) -> Result<()> {
        let Some(live) = self.undriven(run, build).await? else {
            return Ok(());
        };
        run::report_lost(self, &live, run).await?;
        self.enqueue(&live);
        Ok(())
    }

    /// The live part of the build, if `run` is still its current one and nobody drives it: the plan may be old by now.
    async fn undriven(&self, run: RunId, build: &Arc<Build>) -> Result<Option<Arc<Live>>> {
        let live = self.take_up(build).await?;
        Ok(live.filter(|live| !live.is_driven() && live.current().current_run() == Some(run)))
    }

    /// None if the build is over: it was not when `build` was read.
    async fn take_up(&self, build: &Arc<Build>) -> Result<Option<Arc<Live>>> {
        if let Some(live) = self.live(build.id) {
            return Ok(Some(live));
        }
        // New builds are in sight before their records are, so this one is of before the start, or was retired since.
        // A record read now tells: its end is on disk before it goes out of sight.
        let current = self.parts.store.get_build(&build.org, build.id).await?;
        let Some(current) = current.filter(|current| !current.status.is_terminal()) else {
            return Ok(None);
        };
        // What never ran has no log. There may be very many of these.
        let head = match current.runs.is_empty() {
            true => None,
            false => self.parts.logs.head(current.id).await.map_err(Error::internal)?,
        };
        let live = self.show(current, head.map_or(0, |head| head.end_offset));
        self.enqueue(&live);
        Ok(Some(live))
    }

    /// Ends the builds that nobody has approved in time.
    async fn expire_holds(&self, builds: impl Iterator<Item = &Arc<Build>>) {
        let now_ms = clock::now_ms();
        let timeout_ms = self.settings.hold_timeout_ms;
        let expired = |build: &Build| {
            let hold = build.hold.as_ref();
            hold.is_some_and(|hold| hold.expires_at_ms(timeout_ms) <= now_ms)
        };
        for build in builds.filter(|build| expired(build)) {
            // It may have been released, and even held anew, since it was read.
            let live = self.live(build.id).filter(|live| expired(&live.current()));
            if let Some(live) = live
                && let Err(error) = self.apply(&live, Event::HoldExpired).await
            {
                tracing::warn!(build = %build.id, error = %clock::chain(&error), "build.hold_not_expired");
            }
        }
    }

    /// Removes what is left of a run, in a task of its own: a live one has to be killed first, and that takes a while.
    fn forget(self: &Arc<Self>, run: RunId) {
        let driver = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = driver.stopping.cancelled() => {}
                forgotten = driver.parts.executor.forget(run) => {
                    if let Err(error) = forgotten {
                        // The next look finds it again.
                        tracing::warn!(run = %run, error = %clock::chain(&error), "run.forget_failed");
                    }
                }
            }
        });
    }
}
