//! The live part of a build: its state, who waits for it, its log.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use ignite_core::{
    build::{self, Applied, Build, Event, RetryPolicy},
    ids::BuildId,
};
use tokio::sync::{Mutex, Notify, broadcast, watch};

use crate::{
    error::{Error, Result},
    logs::LogHub,
    outbox::Outbox,
    store::{self, Store},
};

/// Changes that a watcher may lag behind before it is shown the newest state instead of each.
const CHANGES_KEPT: usize = 64;

#[derive(Debug)]
pub struct Live {
    id: BuildId,
    /// Held over the commit: changes are stored in the order in which they were decided.
    changing: Mutex<()>,
    current: watch::Sender<Arc<Build>>,
    /// Made for the first watcher: a hundred thousand queued builds that nobody watches need none.
    history: OnceLock<broadcast::Sender<Arc<Build>>>,
    log: Arc<LogHub>,
    stop: Notify,
    driven: AtomicBool,
}

// === impl Live ===

impl Live {
    pub fn new(build: Arc<Build>, log_end_offset: u64) -> Self {
        Self {
            id: build.id,
            changing: Mutex::new(()),
            current: watch::Sender::new(build),
            history: OnceLock::new(),
            log: Arc::new(LogHub::new(log_end_offset)),
            stop: Notify::new(),
            driven: AtomicBool::new(false),
        }
    }

    pub fn id(&self) -> BuildId {
        self.id
    }

    pub fn current(&self) -> Arc<Build> {
        Arc::clone(&self.current.borrow())
    }

    /// The newest state, whenever there is one.
    pub fn changes(&self) -> watch::Receiver<Arc<Build>> {
        self.current.subscribe()
    }

    /// Every state from now on. Subscribe before reading [`Live::current`], and skip what is not newer.
    pub fn history(&self) -> broadcast::Receiver<Arc<Build>> {
        self.history
            .get_or_init(|| broadcast::Sender::new(CHANGES_KEPT))
            .subscribe()
    }

    pub fn log(&self) -> &Arc<LogHub> {
        &self.log
    }

    /// Signalled when the run is to be stopped.
    pub fn stop_requested(&self) -> &Notify {
        &self.stop
    }

    /// True for the one caller that is to drive the build.
    pub(super) fn claim(&self) -> bool {
        !self.driven.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_driven(&self) -> bool {
        self.driven.load(Ordering::Acquire)
    }

    pub(super) fn release(&self) {
        self.driven.store(false, Ordering::Release);
    }

    pub(super) async fn apply(
        &self,
        store: &Store,
        outbox: &Outbox,
        event: Event,
        now_ms: i64,
        retry: &RetryPolicy,
    ) -> Result<Applied> {
        let _changing = self.changing.lock().await;
        let mut next = Build::clone(&self.current.borrow());
        next.log_bytes = self.log.end_offset();
        let applied =
            build::apply(&mut next, event, now_ms, retry).map_err(|denied| Error::FailedPrecondition {
                reason: "BUILD_STATE",
                message: denied.to_string(),
            })?;
        match applied {
            Applied::AlreadySo => {}
            Applied::Changed(_) => {
                let next = Arc::new(next);
                // Written with the end itself: neither is there without the other.
                let (row, announcements) = if next.status.is_terminal() {
                    (store::Live::Retire, outbox.announcements(&next, now_ms).await?)
                } else {
                    (store::Live::Keep, Vec::new())
                };
                store
                    .update_build_and_announce(Arc::clone(&next), row, &announcements)
                    .await?;
                if !announcements.is_empty() {
                    outbox.wake();
                }
                super::journal::note(&self.current.send_replace(Arc::clone(&next)), &next);
                if let Some(history) = self.history.get() {
                    // No watcher any more is no error.
                    let _ = history.send(next);
                }
            }
        }
        Ok(applied)
    }
}
