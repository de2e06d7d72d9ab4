//! A run's pod, told as events: what it waits for, the words of the fetch step, Kaniko's log, the end.
//!
//! ```text
//!   minder:  pod ──▶ Waiting … Waiting                 kills a run that waits for too long
//!   reader:       log of fetch ──▶ Output … Fetched    log of build ──▶ Output …
//!   then:                                                             Ended
//! ```
//!
//! Both look at the pod as the watcher has it. The log of a container is read until the container is over and its log is at its end.

use std::{sync::Arc, time::Duration};

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use ignite_core::{
    ids::RunId,
    run::{EndCause, RunEnd},
};
use k8s_openapi::api::core::v1::Pod;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use super::{
    Shared, end,
    logs::{self, Item, Place, PodLog, Standing},
    names::{BUILD_CONTAINER, FETCH_CONTAINER},
    pods::PodReceiver,
    waiting::{self, Waiting},
};
use crate::{
    clock,
    executor::{ExecutorError, RawCursor, RunEvent},
    sources::fetch::Failed,
};

/// Events that wait to be taken; the log's are up to 64 KiB each.
const EVENTS_MAX: usize = 8;
/// Between looks at a pod whose standing changes with time alone.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Exit codes from here on are signals'.
const SIGNALED: i32 = 128;

/// A run's containers in the order in which they run: cursors name them by their index.
const CONTAINERS: [&str; 2] = [FETCH_CONTAINER, BUILD_CONTAINER];
const FETCH: u16 = 0;
const BUILD: u16 = 1;

type Sent<T> = Result<T, Unheard>;

/// Nobody takes the events any more.
struct Unheard;

struct Follower {
    shared: Arc<Shared>,
    run: RunId,
    changes: PodReceiver,
    events: mpsc::Sender<Result<RunEvent, ExecutorError>>,
}

pub(super) fn follow(
    shared: Arc<Shared>,
    run: RunId,
    from: RawCursor,
) -> BoxStream<'static, Result<RunEvent, ExecutorError>> {
    let (sender, mut receiver) = mpsc::channel(EVENTS_MAX);
    // Begins with the first look at the stream.
    let mut start = Some((shared, sender));
    stream::poll_fn(move |context| {
        if let Some((shared, events)) = start.take() {
            tokio::spawn(async move {
                let unheard = events.clone();
                tokio::select! {
                    () = unheard.closed() => {}
                    () = told(shared, run, from, events) => {}
                }
            });
        }
        receiver.poll_recv(context)
    })
    .boxed()
}

/// Waits for the end of a run; None if its pod is gone.
pub(super) async fn ended(changes: &mut PodReceiver) -> Option<RunEnd> {
    loop {
        let pod = changes.borrow_and_update().clone()?;
        if let Some(end) = end::of(&pod, clock::now_ms()) {
            return Some(end);
        }
        changed(changes).await;
    }
}

async fn changed(changes: &mut PodReceiver) {
    tokio::select! {
        _ = changes.changed() => {}
        () = sleep(BETWEEN_LOOKS) => {}
    }
}

async fn told(
    shared: Arc<Shared>,
    run: RunId,
    from: RawCursor,
    events: mpsc::Sender<Result<RunEvent, ExecutorError>>,
) {
    let changes = match shared.pods.find(run).await {
        Ok((_, changes)) => changes,
        Err(error) => {
            let _unheard = events.send(Err(error)).await;
            return;
        }
    };
    let follower = Follower {
        shared,
        run,
        changes,
        events,
    };
    let _unheard = follower.tell(from).await;
}

// === impl Follower ===

impl Follower {
    async fn tell(&self, from: RawCursor) -> Sent<()> {
        let (end, failed) = tokio::try_join!(self.mind(), self.read(from))?;
        let end = match (end.cause, failed) {
            // The kubelet keeps but the end of what a step says last; the log has all of it.
            (EndCause::FetchFailed { .. }, Some(failed)) => RunEnd {
                cause: EndCause::FetchFailed {
                    failure: failed.failure,
                    message: failed.message,
                },
                ..end
            },
            (cause, _) => RunEnd { cause, ..end },
        };
        self.send(RunEvent::Ended(end)).await
    }

    /// Tells what the run waits for, and gives its end.
    async fn mind(&self) -> Sent<RunEnd> {
        let mut changes = self.changes.clone();
        let mut told: Option<String> = None;
        let mut since: Option<(Waiting, Instant)> = None;
        loop {
            let Some(pod) = changes.borrow_and_update().clone() else {
                return Ok(gone());
            };
            if let Some(end) = end::of(&pod, clock::now_ms()) {
                return Ok(end);
            }
            let waiting = waiting::of(&pod);
            let reason = waiting.as_ref().map(|waiting| waiting.reason.clone());
            if reason != told {
                self.send(RunEvent::Waiting {
                    reason: reason.clone(),
                })
                .await?;
                told = reason;
            }
            since = waiting.map(|waiting| match since.take() {
                // What is said of it changes; what it waits for has not.
                Some((before, since)) if before.kind == waiting.kind => (waiting, since),
                Some(_) | None => (waiting, Instant::now()),
            });
            if let Some((waiting, since)) = &since {
                self.lose_patience(&pod, waiting, since.elapsed()).await;
            }
            changed(&mut changes).await;
        }
    }

    /// Kills a run that has waited for too long.
    async fn lose_patience(&self, pod: &Arc<Pod>, waiting: &Waiting, waited: Duration) {
        let deadline = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
        // The deadline counts from when a node has it.
        let schedule = Duration::from_secs(u64::try_from(deadline.unwrap_or_default()).unwrap_or_default());
        let waited = match waiting.kind {
            waiting::Kind::Node => age(pod),
            waiting::Kind::Image { .. } | waiting::Kind::Container => waited,
        };
        let (patience, how) = waiting.patience(schedule);
        if waited < patience {
            return;
        }
        let message = format!("gave up after {} s: {}", waited.as_secs(), waiting.reason);
        if let Err(error) = self.shared.end(pod, EndCause::Disrupted { how, message }).await {
            // Tried again with the next look.
            tracing::warn!(run = %self.run, error = %clock::chain(&error), "pod.not_ended");
        }
    }

    /// Reads both logs; gives what the fetch step said of its failure.
    async fn read(&self, from: RawCursor) -> Sent<Option<Failed>> {
        if Place::of(from).container >= BUILD {
            self.pass_on(BUILD, from).await?;
            return Ok(None);
        }
        let failed = self.pass_on(FETCH, from).await?;
        self.pass_on(BUILD, Place::start_of(BUILD).cursor()).await?;
        Ok(failed)
    }

    async fn pass_on(&self, container: u16, from: RawCursor) -> Sent<Option<Failed>> {
        let mut log = self.log(container, from);
        let mut failed = None;
        while let Some(item) = log.next().await {
            match item {
                Item::Output { bytes, end } => self.send(RunEvent::Output { bytes, end }).await?,
                Item::Gap {
                    bytes,
                    after_ms,
                    before_ms,
                    end,
                } => {
                    self.send(RunEvent::Gap {
                        bytes,
                        after_ms,
                        before_ms,
                        end,
                    })
                    .await?;
                }
                Item::Fetched(Ok(report)) if container == FETCH => {
                    self.send(RunEvent::Fetched(report)).await?;
                }
                Item::Fetched(Err(error)) if container == FETCH => failed = Some(error),
                // Kaniko fetches nothing.
                Item::Fetched(_) => {}
            }
        }
        Ok(failed)
    }

    /// The container's log from `from` on.
    fn log(&self, container: u16, from: RawCursor) -> BoxStream<'static, Item> {
        let pod = self.changes.borrow().clone();
        let namespace = pod.and_then(|pod| pod.metadata.namespace.clone());
        let name = CONTAINERS
            .get(usize::from(container))
            .copied()
            .unwrap_or(BUILD_CONTAINER);
        let source = PodLog {
            client: self.shared.client.clone(),
            namespace: namespace.unwrap_or_else(|| self.shared.config.namespace.clone()),
            pod: self.run.to_string(),
            container: name.to_owned(),
        };
        let (teller, standing) = watch::channel(Standing::Waiting);
        let telling = stream::once(tell_standing(self.changes.clone(), name, teller));
        let log = logs::follow(source, standing, from, logs::Options::default());
        // Ends with the log: the container is over by then, and there is no more to tell of it.
        stream::select(log, telling.filter_map(|()| async { None })).boxed()
    }

    async fn send(&self, event: RunEvent) -> Sent<()> {
        self.events.send(Ok(event)).await.map_err(|_| Unheard)
    }
}

/// Keeps `teller` to how the container stands, until it is over or will never run.
async fn tell_standing(mut changes: PodReceiver, container: &str, teller: watch::Sender<Standing>) {
    loop {
        let pod = changes.borrow_and_update().clone();
        let before = *teller.borrow();
        let standing = standing(pod.as_deref(), container, before);
        teller.send_if_modified(|known| std::mem::replace(known, standing) != standing);
        if matches!(standing, Standing::Over { .. } | Standing::Never) {
            return;
        }
        changed(&mut changes).await;
    }
}

/// How the container stands, by its pod; None: that is gone. `before`: how it stood.
fn standing(pod: Option<&Pod>, container: &str, before: Standing) -> Standing {
    let state = pod.and_then(|pod| end::state_of(pod, container));
    if let Some(over) = state.and_then(|state| state.terminated.as_ref()) {
        // One that was never made has ended as well, without a word.
        return match over.container_id {
            Some(_) => Standing::Over {
                was_killed: over.exit_code >= SIGNALED || over.reason.as_deref() == Some("OOMKilled"),
            },
            None => Standing::Never,
        };
    }
    let is_over = pod.is_none_or(|pod| end::of(pod, clock::now_ms()).is_some());
    let is_running = before == Standing::Running || state.is_some_and(|state| state.running.is_some());
    match (is_running, is_over) {
        (true, true) => Standing::Over { was_killed: true },
        (true, false) => Standing::Running,
        (false, true) => Standing::Never,
        (false, false) => Standing::Waiting,
    }
}

/// Since the pod was made.
fn age(pod: &Pod) -> Duration {
    let made = end::millis(pod.metadata.creation_timestamp.as_ref()).unwrap_or_default();
    let age_ms = clock::now_ms().saturating_sub(made);
    Duration::from_millis(u64::try_from(age_ms).unwrap_or_default())
}

/// Of a pod that somebody took out of sight, finalizer and all.
fn gone() -> RunEnd {
    RunEnd {
        cause: end::deleted(),
        ended_at_ms: clock::now_ms(),
        digest: None,
    }
}
