//! What is to be done, from what is stored and what is running. Restart is the same code as running: the plan is made from
//! scratch at start, on a timer and on a nudge, and each action is safe to repeat.
//!
//! | the record says | the executor knows the current run | plan |
//! | --- | --- | --- |
//! | pending | | `Enqueue` |
//! | pending, held by a policy | | `Await` |
//! | running | live or ended | `Adopt` |
//! | running, cancellation requested | live | `Adopt`, `Stop` |
//! | running | no | `Recover` |
//! | running, cancellation requested | no | `ReportLost` |
//! | terminal, or no record | | |
//!
//! Every other run that the executor knows is forgotten: of an earlier attempt, of a terminal build, of none.
//!
//! The runs must be observed *before* the records are read. A run exists only after its record is on disk, so each run that is
//! observed then finds its record; the other way round, one that started in between would look like nobody's and be killed.

use std::collections::{HashMap, HashSet};

use crate::{
    build::{Build, Status},
    ids::{BuildId, RunId},
    run::{ObservedRun, RunPhase},
};

#[cfg(test)]
mod tests;

/// One thing to do. Whoever already does it may ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Put the build into the queue, with its own `not_before_ms`.
    Enqueue(BuildId),
    /// Keep the build in sight until somebody approves or cancels it, or the hold expires.
    Await(BuildId),
    /// Drive the run: follow its log from the stored cursor, wait for its end.
    Adopt(RunId),
    /// The record has the run, the executor does not: it was never started, or it is lost. Where nothing of its log is stored,
    /// ensure it and drive it; otherwise report it lost, because a second start would run the build twice in one attempt.
    Recover(RunId),
    /// End the run as lost, without starting it.
    ReportLost(RunId),
    /// Kill the run; its end then comes by the driver.
    Stop(RunId),
    /// Remove what is left of the run; kill it first if it is live.
    Forget(RunId),
}

/// `builds` are all that are not terminal (terminal ones do no harm), read after `observed`.
pub fn plan<'a>(builds: impl IntoIterator<Item = &'a Build>, observed: &[ObservedRun]) -> Vec<Action> {
    let known: HashMap<RunId, &RunPhase> = observed.iter().map(|seen| (seen.run, &seen.phase)).collect();
    let mut actions = Vec::new();
    let mut wanted = HashSet::new();
    for build in builds {
        match build.status {
            Status::Pending if build.is_due() => actions.push(Action::Enqueue(build.id)),
            Status::Pending => actions.push(Action::Await(build.id)),
            Status::Running => {
                if let Some(run) = build.current_run() {
                    wanted.insert(run);
                    actions.extend(drive(run, build.cancel_requested, known.get(&run).copied()));
                }
            }
            Status::Succeeded | Status::Failed | Status::Cancelled => {}
        }
    }
    let unwanted = observed.iter().filter(|seen| !wanted.contains(&seen.run));
    actions.extend(unwanted.map(|seen| Action::Forget(seen.run)));
    actions
}

fn drive(run: RunId, cancel_requested: bool, phase: Option<&RunPhase>) -> Vec<Action> {
    match (phase, cancel_requested) {
        (Some(RunPhase::Live), true) => vec![Action::Adopt(run), Action::Stop(run)],
        (Some(RunPhase::Live), false) | (Some(RunPhase::Ended(_)), _) => vec![Action::Adopt(run)],
        (None, true) => vec![Action::ReportLost(run)],
        (None, false) => vec![Action::Recover(run)],
    }
}
