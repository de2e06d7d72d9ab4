//! The pods of all runs, as one watcher sees them: whoever wants to know how a run stands looks here, and asks no server.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use ignite_core::ids::RunId;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::{WatchStreamExt as _, utils::Backoff, watcher},
};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::names;
use crate::{clock, executor::ExecutorError};

/// A call that needs to know all pods waits for the first list so long.
const SYNC_PATIENCE: Duration = Duration::from_secs(20);
/// For one pod's change to arrive.
const CHANGE_PATIENCE: Duration = Duration::from_secs(20);

/// A watch that is cut without a word is noticed when it should have ended.
const WATCH_SECS: u32 = 60;
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Runs that start wait for it.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A pod, and its changes; None once it is gone.
pub(super) type PodReceiver = watch::Receiver<Option<Arc<Pod>>>;

/// See the module. Copies see the same.
#[derive(Clone)]
pub(super) struct Pods {
    shared: Arc<Shared>,
    /// The watcher ends with the last of them.
    _watching: Arc<DropGuard>,
}

struct Shared {
    instance: String,
    pods: Mutex<HashMap<RunId, watch::Sender<Option<Arc<Pod>>>>>,
    /// Goes up with each complete list.
    lists: watch::Sender<u64>,
    /// Wakes who waits for a pod that is not known yet.
    arrivals: watch::Sender<u64>,
}

/// Between tries to watch again: longer and longer, until something comes.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<Duration>,
}

// === impl Pods ===

impl Pods {
    /// Watches from now on, in a task of its own.
    pub(super) fn watch(api: Api<Pod>, instance: &str) -> Self {
        let shared = Arc::new(Shared {
            instance: instance.to_owned(),
            pods: Mutex::default(),
            lists: watch::Sender::new(0),
            arrivals: watch::Sender::new(0),
        });
        let stop = CancellationToken::new();
        let (watching, ours) = (stop.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            tokio::select! {
                () = watching.cancelled() => {}
                () = keep(api, &ours) => {}
            }
        });
        Self {
            shared,
            _watching: Arc::new(stop.drop_guard()),
        }
    }

    /// Every run that has a pod.
    pub(super) async fn all(&self) -> Result<Vec<(RunId, Arc<Pod>)>, ExecutorError> {
        self.synced().await?;
        let pods = self.shared.pods();
        let all = pods.iter().filter_map(|(run, sender)| {
            let pod = sender.borrow().clone();
            Some((*run, pod?))
        });
        Ok(all.collect())
    }

    /// The run's pod and its changes.
    ///
    /// # Errors
    /// [`ExecutorError::UnknownRun`] if it has none.
    pub(super) async fn find(&self, run: RunId) -> Result<(Arc<Pod>, PodReceiver), ExecutorError> {
        self.synced().await?;
        self.shared.find(run).ok_or(ExecutorError::UnknownRun(run))
    }

    /// Waits until the run's pod is seen: it was just made, or found there.
    pub(super) async fn seen(&self, run: RunId) -> Result<(), ExecutorError> {
        let mut arrivals = self.shared.arrivals.subscribe();
        let arrival = async {
            while self.shared.find(run).is_none() {
                if arrivals.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(CHANGE_PATIENCE, arrival)
            .await
            .map_err(|_| not_told(&format!("the pod of {run}")))
    }

    /// Waits until the run's pod is gone.
    pub(super) async fn gone(&self, mut pod: PodReceiver) -> Result<(), ExecutorError> {
        let gone = pod.wait_for(Option::is_none);
        match tokio::time::timeout(CHANGE_PATIENCE, gone).await {
            // Err: it is forgotten already.
            Ok(Ok(_) | Err(_)) => Ok(()),
            Err(_) => Err(not_told("the end of a deleted pod")),
        }
    }

    async fn synced(&self) -> Result<(), ExecutorError> {
        let mut lists = self.shared.lists.subscribe();
        let listed = lists.wait_for(|lists| *lists > 0);
        match tokio::time::timeout(SYNC_PATIENCE, listed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(not_told("which pods there are")),
        }
    }
}

fn not_told(what: &str) -> ExecutorError {
    ExecutorError::Other(format!("the cluster's API server does not say {what}"))
}

impl fmt::Debug for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pods").finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    fn pods(&self) -> MutexGuard<'_, HashMap<RunId, watch::Sender<Option<Arc<Pod>>>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, run: RunId) -> Option<(Arc<Pod>, PodReceiver)> {
        let receiver = self.pods().get(&run)?.subscribe();
        let pod = receiver.borrow().clone()?;
        Some((pod, receiver))
    }

    fn put(&self, pod: Pod) -> Option<RunId> {
        let run = names::run_of(&pod, &self.instance)?;
        let pod = Some(Arc::new(pod));
        self.pods()
            .entry(run)
            .and_modify(|sender| {
                sender.send_replace(pod.clone());
            })
            .or_insert_with(|| watch::Sender::new(pod.clone()));
        self.arrivals.send_modify(|count| *count = count.wrapping_add(1));
        Some(run)
    }

    fn remove(&self, run: RunId) {
        if let Some(sender) = self.pods().remove(&run) {
            sender.send_replace(None);
        }
    }

    /// What a complete list does not have is gone.
    fn keep_only(&self, listed: &HashSet<RunId>) {
        let gone: Vec<RunId> = {
            let pods = self.pods();
            pods.keys().filter(|run| !listed.contains(run)).copied().collect()
        };
        gone.into_iter().for_each(|run| self.remove(run));
    }
}

// === impl Pauses ===

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let next = self.last.map_or(PAUSE_MIN, |last| last.saturating_mul(2));
        self.last = Some(next.min(PAUSE_MAX));
        self.last
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.last = None;
    }
}

/// Lists, watches, and lists again where the watch was lost for too long (410), with pauses that grow while the server is away.
async fn keep(api: Api<Pod>, shared: &Shared) {
    let config = watcher::Config::default()
        .labels(&names::selector(&shared.instance))
        .timeout(WATCH_SECS);
    let mut events = watcher(api, config).backoff(Pauses::default()).boxed();
    let mut listing: HashSet<RunId> = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listing.clear(),
            Ok(watcher::Event::InitApply(pod)) => listing.extend(shared.put(pod)),
            Ok(watcher::Event::InitDone) => {
                shared.keep_only(&std::mem::take(&mut listing));
                shared.lists.send_modify(|lists| *lists = lists.saturating_add(1));
            }
            Ok(watcher::Event::Apply(pod)) => {
                shared.put(pod);
            }
            Ok(watcher::Event::Delete(pod)) => {
                if let Some(run) = names::run_of(&pod, &shared.instance) {
                    shared.remove(run);
                }
            }
            Err(error) => {
                tracing::warn!(error = %clock::chain(&error), "pods.watch_interrupted");
            }
        }
    }
}
