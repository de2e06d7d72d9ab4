//! An executor that runs nothing: a test or a benchmark says what its runs do, and when.
//!
//! For orders of events that real runs show too rarely. Everything else is tested with real ones.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use ignite_core::{
    ids::RunId,
    run::{EndCause, FetchReport, ObservedRun, RunEnd, RunPhase},
};
use tokio::sync::watch;

use super::{Executor, ExecutorError, RawCursor, RunEvent, RunPlan};

#[derive(Debug, Default)]
pub struct Scripted {
    runs: Mutex<BTreeMap<RunId, watch::Sender<State>>>,
    starts: Mutex<Vec<RunId>>,
    /// What the next calls of `ensure` fail with, the last first.
    refusals: Mutex<Vec<ExecutorError>>,
    manner: watch::Sender<Manner>,
    /// Handed over and not looked at yet, of runs that are not forgotten.
    plans: Mutex<BTreeMap<RunId, RunPlan>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    log: Vec<u8>,
    waiting: Option<String>,
    fetched: Option<FetchReport>,
    end: Option<RunEnd>,
    is_gated: bool,
    may_build: bool,
    /// Goes up with each break: a follower of an earlier count fails.
    breaks: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Manner {
    starts_held: bool,
    stops_refused: bool,
}

struct Follower {
    state: watch::Receiver<State>,
    from: RawCursor,
    waiting: Option<String>,
    has_fetched: bool,
    breaks: u64,
    over: bool,
}

// === impl Scripted ===

impl Scripted {
    /// Every run that was started, in order, twice if it was started twice.
    pub fn starts(&self) -> Vec<RunId> {
        lock(&self.starts).clone()
    }

    /// Runs that are there, live or ended.
    pub fn known(&self) -> Vec<RunId> {
        lock(&self.runs).keys().copied().collect()
    }

    /// What the run was handed since this was asked last.
    pub fn take_plan(&self, run: RunId) -> Option<RunPlan> {
        lock(&self.plans).remove(&run)
    }

    /// The run prints.
    pub fn print(&self, run: RunId, text: &str) {
        self.change(run, |state| state.log.extend_from_slice(text.as_bytes()));
    }

    /// The run cannot begin, and why; None: it can.
    pub fn wait(&self, run: RunId, reason: Option<&str>) {
        self.change(run, |state| state.waiting = reason.map(str::to_owned));
    }

    /// The run's fetch step is done.
    pub fn fetched(&self, run: RunId, report: FetchReport) {
        self.change(run, |state| state.fetched = Some(report));
    }

    /// Whether the run was told to wait for a go-ahead, and whether it was given; None if there is no such run.
    pub fn gate(&self, run: RunId) -> Option<(bool, bool)> {
        let runs = lock(&self.runs);
        let state = runs.get(&run)?.borrow();
        Some((state.is_gated, state.may_build))
    }

    /// The run ends, unless it has.
    pub fn end(&self, run: RunId, cause: EndCause) {
        self.end_with(run, cause, None);
    }

    /// The run ends, unless it has, and this is in its digest file.
    pub fn end_with(&self, run: RunId, cause: EndCause, digest: Option<String>) {
        self.change(run, |state| {
            state.end.get_or_insert(RunEnd {
                cause,
                ended_at_ms: crate::clock::now_ms(),
                digest,
            });
        });
    }

    /// Every stream of the run's events breaks off; the run goes on.
    pub fn break_streams(&self, run: RunId) {
        self.change(run, |state| state.breaks = state.breaks.saturating_add(1));
    }

    /// The run is gone, and nobody knows how.
    pub fn lose(&self, run: RunId) {
        lock(&self.runs).remove(&run);
    }

    /// An ended run whose remains were not removed after all.
    pub fn revive(&self, run: RunId) {
        let end = RunEnd {
            cause: EndCause::Exited { code: 1 },
            ended_at_ms: 0,
            digest: None,
        };
        lock(&self.runs).insert(
            run,
            watch::Sender::new(State {
                end: Some(end),
                ..State::default()
            }),
        );
    }

    /// One of the next starts fails with this.
    pub fn refuse_start(&self, error: ExecutorError) {
        lock(&self.refusals).push(error);
    }

    /// While held, starting a run takes without end.
    pub fn hold_starts(&self, held: bool) {
        self.manner.send_modify(|manner| manner.starts_held = held);
    }

    /// While refused, runs cannot be stopped.
    pub fn refuse_stops(&self, refused: bool) {
        self.manner.send_modify(|manner| manner.stops_refused = refused);
    }

    fn change(&self, run: RunId, change: impl FnOnce(&mut State)) {
        if let Some(state) = lock(&self.runs).get(&run) {
            state.send_modify(change);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait::async_trait]
impl Executor for Scripted {
    async fn ensure(&self, plan: &RunPlan) -> Result<(), ExecutorError> {
        let released = self
            .manner
            .subscribe()
            .wait_for(|manner| !manner.starts_held)
            .await
            .is_ok();
        let refusal = lock(&self.refusals).pop();
        if let Some(refusal) = refusal.filter(|_| released) {
            return Err(refusal);
        }
        lock(&self.plans).insert(plan.run, plan.clone());
        lock(&self.runs).entry(plan.run).or_insert_with(|| {
            lock(&self.starts).push(plan.run);
            watch::Sender::new(State {
                is_gated: plan.gated,
                ..State::default()
            })
        });
        Ok(())
    }

    async fn observe(&self) -> Result<Vec<ObservedRun>, ExecutorError> {
        let phase = |state: &State| state.end.clone().map_or(RunPhase::Live, RunPhase::Ended);
        let runs = lock(&self.runs);
        Ok(runs
            .iter()
            .map(|(run, state)| ObservedRun {
                run: *run,
                phase: phase(&state.borrow()),
            })
            .collect())
    }

    fn follow(&self, run: RunId, from: RawCursor) -> BoxStream<'static, Result<RunEvent, ExecutorError>> {
        let Some(state) = lock(&self.runs).get(&run).map(watch::Sender::subscribe) else {
            return stream::iter([Err(ExecutorError::UnknownRun(run))]).boxed();
        };
        let breaks = state.borrow().breaks;
        let follower = Follower {
            state,
            from,
            waiting: None,
            has_fetched: false,
            breaks,
            over: false,
        };
        stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await?;
            Some((event, follower))
        })
        .boxed()
    }

    async fn go_ahead(&self, run: RunId) -> Result<(), ExecutorError> {
        self.change(run, |state| state.may_build = true);
        Ok(())
    }

    async fn stop(&self, run: RunId) -> Result<(), ExecutorError> {
        if self.manner.borrow().stops_refused {
            return Err(ExecutorError::Other("it will not stop".to_owned()));
        }
        self.end(run, EndCause::Stopped);
        Ok(())
    }

    async fn forget(&self, run: RunId) -> Result<(), ExecutorError> {
        lock(&self.runs).remove(&run);
        lock(&self.plans).remove(&run);
        Ok(())
    }
}

// === impl Follower ===

impl Follower {
    async fn next(&mut self) -> Option<Result<RunEvent, ExecutorError>> {
        while !self.over {
            let state = self.state.borrow_and_update().clone();
            if state.breaks != self.breaks {
                self.over = true;
                return Some(Err(ExecutorError::Other("the stream broke".to_owned())));
            }
            if state.waiting != self.waiting {
                self.waiting.clone_from(&state.waiting);
                return Some(Ok(RunEvent::Waiting {
                    reason: state.waiting,
                }));
            }
            if let Some(report) = state.fetched.filter(|_| !self.has_fetched) {
                self.has_fetched = true;
                return Some(Ok(RunEvent::Fetched(report)));
            }
            let from = usize::try_from(self.from.behind()).unwrap_or(usize::MAX);
            if let Some(rest) = state.log.get(from..).filter(|rest| !rest.is_empty()) {
                let end = RawCursor::START.plus(state.log.len() as u64);
                self.from = end;
                return Some(Ok(RunEvent::Output {
                    bytes: Bytes::copy_from_slice(rest),
                    end,
                }));
            }
            if let Some(end) = state.end {
                self.over = true;
                return Some(Ok(RunEvent::Ended(end)));
            }
            self.state.changed().await.ok()?;
        }
        None
    }
}
