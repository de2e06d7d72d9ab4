//! Tells followers that something in a run's directory changed, so that a silent run costs next to nothing and a line of
//! log is on its way within a millisecond. One inotify instance for all: a machine has few of those.

use std::{
    collections::HashMap,
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, Weak},
    time::Duration,
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};
use tokio::sync::Notify;

use crate::executor::local::runs::lock;

/// Something may have changed all the same: the pause after which a follower looks without being told.
const PAUSE: Duration = Duration::from_secs(1);
/// The same where the machine gives us no inotify instance.
const PAUSE_WITHOUT_INOTIFY: Duration = Duration::from_millis(25);

#[derive(Debug)]
pub(super) struct Wake {
    /// The directory that all watched ones are in.
    root: PathBuf,
    shared: OnceLock<Option<Arc<Shared>>>,
}

#[derive(Debug)]
struct Shared {
    inotify: Arc<OwnedFd>,
    /// Never fires; removing it makes the thread see that it is no longer needed.
    farewell: i32,
    /// By watch descriptor; several followers of one run have the same.
    watches: Mutex<HashMap<i32, Vec<Arc<Notify>>>>,
}

/// A follower's interest in one directory.
#[derive(Debug)]
pub(super) struct Subscription {
    notify: Arc<Notify>,
    watch: Option<(Arc<Shared>, i32)>,
}

// === impl Wake ===

impl Wake {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            shared: OnceLock::new(),
        }
    }

    /// Changes from now on wake the subscription.
    pub(super) fn subscribe(&self, dir: &Path) -> Subscription {
        let notify = Arc::new(Notify::new());
        let shared = self.shared.get_or_init(|| Shared::start(&self.root).ok());
        let watch = shared.as_ref().and_then(|shared| {
            let watch = shared.add(dir, &notify).ok()?;
            Some((Arc::clone(shared), watch))
        });
        Subscription { notify, watch }
    }
}

// === impl Shared ===

impl Shared {
    fn start(root: &Path) -> io::Result<Arc<Self>> {
        let inotify = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
        let shared = Arc::new(Self {
            farewell: inotify::add_watch(&*inotify, root, WatchFlags::MOVE_SELF)?,
            inotify: Arc::clone(&inotify),
            watches: Mutex::default(),
        });
        let weak = Arc::downgrade(&shared);
        // Tokio's own way to wait for a foreign file descriptor is unsafe; one thread for all runs does as well.
        std::thread::Builder::new()
            .name("run-changes".to_owned())
            .spawn(move || dispatch(&inotify, &weak))?;
        Ok(shared)
    }

    fn add(&self, dir: &Path, notify: &Arc<Notify>) -> io::Result<i32> {
        // The log grows; results are renamed into place; a lock file is closed when the supervisor is gone.
        let changes =
            WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR;
        // Under the lock: removing and adding the same directory must not cross.
        let mut watches = lock(&self.watches);
        let watch = inotify::add_watch(&*self.inotify, dir, changes)?;
        watches.entry(watch).or_default().push(Arc::clone(notify));
        Ok(watch)
    }

    fn remove(&self, watch: i32, notify: &Arc<Notify>) {
        let mut watches = lock(&self.watches);
        if let Some(followers) = watches.get_mut(&watch) {
            followers.retain(|follower| !Arc::ptr_eq(follower, notify));
            if followers.is_empty() {
                watches.remove(&watch);
                // The directory may be gone, and its watch with it.
                let _gone = inotify::remove_watch(&*self.inotify, watch);
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _thread_stays = inotify::remove_watch(&*self.inotify, self.farewell);
    }
}

fn dispatch(inotify: &OwnedFd, shared: &Weak<Shared>) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(inotify, &mut buffer);
    loop {
        let event = match events.next() {
            Ok(event) => event,
            Err(Errno::INTR) => continue,
            Err(_) => return,
        };
        let Some(shared) = shared.upgrade() else { return };
        let watches = lock(&shared.watches);
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            watches.values().flatten().for_each(|notify| notify.notify_one());
        } else if let Some(followers) = watches.get(&event.wd()) {
            followers.iter().for_each(|notify| notify.notify_one());
        }
    }
}

// === impl Subscription ===

impl Subscription {
    /// Returns when something changed since the last return, or might have.
    pub(super) async fn changed(&self) {
        let pause = match self.watch {
            Some(_) => PAUSE,
            None => PAUSE_WITHOUT_INOTIFY,
        };
        let _either = tokio::time::timeout(pause, self.notify.notified()).await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some((shared, watch)) = self.watch.take() {
            shared.remove(watch, &self.notify);
        }
    }
}
