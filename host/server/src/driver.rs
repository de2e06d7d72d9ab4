//! Moves builds on: queues them, starts them, follows them to their end, and finds its way back after a restart.
//!
//! A build that is not terminal has one [`live::Live`]; everything that changes its state goes through that, one change
//! after the other, each on disk before anyone learns of it. The scheduler decides *which* build starts, a task for each
//! running build does the rest (`run`), and the reconciler (`reconcile`) compares records with what the executor knows. It is woken
//! by a nudge and by a timer, takes no input, and is the same code after a restart.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ignite_core::{
    build::{Applied, Approval, Build, Effect, Event, RetryPolicy},
    ids::{BuildId, OrgId},
    queue::FairQueue,
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock,
    error::{Error, Result},
    executor::{Executor, classes::ResourceClasses},
    hooks::Gates,
    outbox::Outbox,
    registry::Registry,
    secrets::Secrets,
    sources::contexts::{ContextStore, grants::ContextGrants},
    store::{Created, Idempotency, Store, logs::LogStore},
    vault::Vault,
};

mod inspect;
mod journal;
mod live;
mod reconcile;
mod redaction;
mod run;
mod secrets;
#[cfg(test)]
pub(crate) mod tests;

pub use live::Live;

/// How often the reconciler looks by itself.
const RECONCILE_EVERY: Duration = Duration::from_secs(30);

/// What the operator set for all builds.
#[derive(Debug, Clone)]
pub struct Settings {
    pub retry: RetryPolicy,
    pub log_bytes_max: u64,
    pub registry: RegistrySettings,
    pub classes: Arc<ResourceClasses>,
    pub queue_per_org_max: usize,
    /// How long a build waits for somebody to approve it.
    pub hold_timeout_ms: i64,
}

/// Where images go.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Host and optional port.
    pub host: String,
    /// Hosts that are spoken to by plain http.
    pub insecure: Vec<String>,
    /// Tried before Docker Hub.
    pub mirrors: Vec<String>,
}

/// What the driver works with.
#[derive(Debug)]
pub struct Parts {
    pub store: Arc<Store>,
    pub logs: Arc<LogStore>,
    pub vault: Arc<Vault>,
    /// What organizations keep for their builds.
    pub secrets: Arc<Secrets>,
    pub contexts: Arc<ContextStore>,
    /// For runs that have no disk in common with the gateway.
    pub grants: Arc<ContextGrants>,
    pub executor: Arc<dyn Executor>,
    pub registry: Registry,
    /// What judges builds: the organizations' policies.
    pub gates: Arc<dyn Gates>,
    pub outbox: Arc<Outbox>,
}

#[derive(Debug)]
pub struct Driver {
    settings: Settings,
    parts: Parts,
    queue: Mutex<FairQueue>,
    /// New builds on their way into the queue: they have their place in it already.
    arriving: Mutex<HashMap<OrgId, usize>>,
    live: Mutex<HashMap<BuildId, Arc<Live>>>,
    nudge: Notify,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// Held by the task that drives a build. Whatever ends the task, the build's place among the running ones is given back,
/// and a build that is to be tried again is queued.
struct Driving {
    driver: Arc<Driver>,
    live: Arc<Live>,
}

/// A new build on its way to the disk, with its place in the queue. It goes out of sight again if it does not get there.
struct Arrival {
    driver: Arc<Driver>,
    live: Arc<Live>,
    org: OrgId,
    stored: bool,
}

// === impl Driver ===

impl Driver {
    /// A driver with nothing in it; [`Driver::start`] loads what the store has.
    pub fn new(settings: Settings, parts: Parts, queue: FairQueue) -> Arc<Self> {
        Arc::new(Self {
            settings,
            parts,
            queue: Mutex::new(queue),
            arriving: Mutex::default(),
            live: Mutex::default(),
            nudge: Notify::new(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        })
    }

    /// Takes up every stored build that is not terminal, then schedules until [`Driver::stop`].
    pub async fn start(self: &Arc<Self>) -> Result<()> {
        self.reconcile().await?;
        let driver = Arc::clone(self);
        self.tasks.spawn(async move { driver.schedule().await });
        Ok(())
    }

    /// Stops scheduling and lets go of the running builds; their runs go on and the next start takes them up again.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Stores a new build and takes it up; durable when this returns. Its caller may no longer wait: a build that is stored is
    /// taken up all the same, so none is stored and then driven by nobody. None if the organization's queue is full.
    pub async fn create(
        self: &Arc<Self>,
        build: Arc<Build>,
        sealed_spec: Vec<u8>,
        idempotency: Option<Idempotency>,
    ) -> Result<Option<Created>> {
        let Some(arrival) = Arrival::begin(self, &build) else {
            return Ok(None);
        };
        // The writing thread takes it up, not a task that would have to be woken for it.
        let stored = move || arrival.stored();
        let created = self
            .parts
            .store
            .create_build_then(build, sealed_spec, idempotency, stored)
            .await?;
        Ok(Some(created))
    }

    /// The live part of a build that is not terminal.
    pub fn live(&self, id: BuildId) -> Option<Arc<Live>> {
        self.live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .map(Arc::clone)
    }

    /// How many builds wait in the queue, and how many run.
    pub fn load(&self) -> (usize, usize) {
        let queue = self.queue();
        (queue.len(), queue.running())
    }

    /// 1 is next; none when it is not queued.
    pub fn queue_position(&self, id: BuildId) -> Option<usize> {
        self.queue().position(id)
    }

    /// Asks for the end of a build, and waits a little for it: killing takes a moment.
    pub async fn cancel(self: &Arc<Self>, live: &Arc<Live>, patience: Duration) -> Result<Arc<Build>> {
        let mut changes = live.changes();
        let (driver, target) = (Arc::clone(self), Arc::clone(live));
        // A caller that goes away must not leave the record changed and the live part as it was.
        let cancelling = self
            .tasks
            .spawn(async move { driver.apply(&target, Event::CancelRequested).await });
        cancelling.await.map_err(Error::internal)??;
        let ended = changes.wait_for(|build| build.status.is_terminal());
        match tokio::time::timeout(patience, ended).await {
            Ok(Ok(build)) => Ok(Arc::clone(&build)),
            Ok(Err(_)) | Err(_) => Ok(live.current()),
        }
    }

    /// Releases a held build into the queue.
    ///
    /// # Errors
    /// FailedPrecondition if no policy holds it.
    pub async fn approve(self: &Arc<Self>, live: &Arc<Live>, approval: Approval) -> Result<Arc<Build>> {
        let (driver, target) = (Arc::clone(self), Arc::clone(live));
        // As with cancelling: a caller that goes away leaves nothing half done.
        let approving = self.tasks.spawn(async move {
            let applied = driver.apply(&target, Event::Approved(approval)).await?;
            if applied != Applied::AlreadySo {
                driver.enqueue(&target);
            }
            Ok::<_, Error>(())
        });
        approving.await.map_err(Error::internal)??;
        Ok(live.current())
    }

    /// The only way to change a build's state: decides, stores, announces, then acts on the effects. Not to be cut off
    /// but by the end of the process.
    async fn apply(&self, live: &Arc<Live>, event: Event) -> Result<Applied> {
        let applied = live
            .apply(
                &self.parts.store,
                &self.parts.outbox,
                event,
                clock::now_ms(),
                &self.settings.retry,
            )
            .await?;
        if let Applied::Changed(effects) = &applied {
            for effect in effects {
                self.act(live, *effect);
            }
            if live.current().status.is_terminal() {
                self.retire(live);
            }
        }
        Ok(applied)
    }

    fn act(&self, live: &Arc<Live>, effect: Effect) {
        let build = live.current();
        match effect {
            Effect::Dequeue => {
                self.queue().remove(build.id);
            }
            // The task that drives the run acts on these: it owns the run.
            Effect::StopRun(_) => live.stop_requested().notify_one(),
            Effect::ForgetRun(_) | Effect::Requeue => {}
        }
    }

    /// A terminal build needs no live part: followers are let go, once its record is what they will find.
    fn retire(&self, live: &Arc<Live>) {
        self.live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&live.id());
        live.log().close();
    }

    /// The build's live part, made if it has none.
    fn show(&self, build: Arc<Build>, log_end_offset: u64) -> Arc<Live> {
        let mut all = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            all.entry(build.id)
                .or_insert_with(|| Arc::new(Live::new(build, log_end_offset))),
        )
    }

    /// Queues the build if it waits for its turn.
    fn enqueue(&self, live: &Arc<Live>) {
        let build = live.current();
        if build.is_due() {
            self.queue()
                .push(build.id, &build.org, build.priority, build.not_before_ms);
            // Cancelled in between, it was taken out before it was in.
            if !live.current().is_due() {
                self.queue().remove(build.id);
            }
            self.nudge.notify_one();
        }
    }

    /// Held builds are not queued, but they are kept in memory, so there is an end to them too.
    fn held(&self, org: &OrgId) -> usize {
        let all = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        all.values()
            .map(|live| live.current())
            .filter(|build| build.hold.is_some() && build.org == *org)
            .count()
    }

    fn take_place(&self, build: &Build) -> bool {
        let org = &build.org;
        if build.hold.is_some() && self.held(org) >= self.settings.queue_per_org_max {
            return false;
        }
        let queue = self.queue();
        let mut arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        let before = arriving.get(org).copied().unwrap_or(0);
        let has_room = queue.queued(org).saturating_add(before) < self.settings.queue_per_org_max;
        if has_room {
            arriving.insert(org.clone(), before.saturating_add(1));
        }
        has_room
    }

    fn leave_place(&self, org: &OrgId) {
        let mut arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        match arriving.get_mut(org) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            Some(_) | None => {
                arriving.remove(org);
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, FairQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn schedule(self: Arc<Self>) {
        let mut reconcile_at = tokio::time::Instant::now() + RECONCILE_EVERY;
        loop {
            self.start_what_may_start();
            let wake = self.queue().next_due_ms().map(clock::until);
            let wake = tokio::time::sleep(wake.unwrap_or(RECONCILE_EVERY));
            tokio::select! {
                // First: builds that are let go of make room, which must not be filled again.
                biased;
                () = self.stopping.cancelled() => return,
                () = self.nudge.notified() => {}
                () = wake => {}
                () = tokio::time::sleep_until(reconcile_at) => {
                    reconcile_at = tokio::time::Instant::now() + RECONCILE_EVERY;
                    let reconciled = tokio::select! {
                        () = self.stopping.cancelled() => return,
                        reconciled = self.reconcile() => reconciled,
                    };
                    if let Err(error) = reconciled {
                        tracing::error!(error = %clock::chain(&error), "reconcile.failed");
                    }
                }
            }
        }
    }

    fn start_what_may_start(self: &Arc<Self>) {
        while !self.stopping.is_cancelled() {
            let next = self.queue().pop_next(clock::now_ms());
            let Some(next) = next else { return };
            match self.live(next.build) {
                Some(live) => self.drive(live),
                None => {
                    self.queue().ended(next.build);
                }
            }
        }
    }

    /// Drives the build in a task of its own, unless one does already.
    fn drive(self: &Arc<Self>, live: Arc<Live>) {
        if !live.claim() {
            return;
        }
        let driving = Driving {
            driver: Arc::clone(self),
            live,
        };
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = driving.driver.stopping.cancelled() => {}
                () = run::drive(&driving.driver, &driving.live) => {}
            }
        });
    }
}

// === impl Arrival ===

impl Arrival {
    /// None if the organization's queue is full.
    fn begin(driver: &Arc<Driver>, build: &Arc<Build>) -> Option<Self> {
        driver.take_place(build).then(|| Self {
            driver: Arc::clone(driver),
            // In sight before its record is: whoever finds the one finds the other.
            live: driver.show(Arc::clone(build), 0),
            org: build.org.clone(),
            stored: false,
        })
    }

    fn stored(mut self) {
        self.stored = true;
        self.driver.enqueue(&self.live);
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if !self.stored {
            self.driver.retire(&self.live);
        }
        self.driver.leave_place(&self.org);
    }
}

// === impl Driving ===

impl Drop for Driving {
    fn drop(&mut self) {
        self.live.release();
        self.driver.queue().ended(self.live.id());
        self.driver.enqueue(&self.live);
        self.driver.nudge.notify_one();
    }
}
