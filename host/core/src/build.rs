//! The record of a build and its state machine.
//!
//! ```text
//!                 Started            Ended (final)
//!   Pending ─────────────▶ Running ───────────────▶ Succeeded | Failed | Cancelled
//!    │  ▲                    │
//!    │  └────────────────────┘
//!    │    Ended (ours, attempts left)
//!    └─▶ Cancelled  CancelRequested while pending
//! ```
//!
//! [`apply`] is the only way from one state to another. It has three outcomes: applied, already so, denied.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{BuildId, ContextId, OrgId, RunId},
    run::FetchReport,
    spec::{BuildSpec, Source},
};

#[cfg(test)]
mod tests;

/// A build as it is stored and shown: nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    pub id: BuildId,
    pub org: OrgId,
    pub name: String,
    pub dockerfile: String,
    pub tags: Vec<String>,
    /// Secret values are `***`.
    pub build_args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub platform: Option<String>,
    /// The stored archive it builds from: kept as long as an attempt may need it.
    pub context: Option<ContextId>,
    pub priority: i32,
    pub created_at_ms: i64,
    pub created_by: String,

    pub status: Status,
    /// Goes up by one with each change; who waits for a change waits for a greater one.
    pub generation: u64,
    pub cancel_requested: bool,
    /// The newest is last. Today one for each attempt; with several platforms one for each of those too.
    pub runs: Vec<Run>,
    pub started_at_ms: Option<i64>,
    pub completed_at_ms: Option<i64>,
    /// Not to be started before this time: the wait between attempts.
    pub not_before_ms: i64,

    pub resolved_commit: Option<String>,
    pub context_size_bytes: u64,
    pub steps: Vec<Step>,
    pub failure: Option<Failure>,
    pub image: Option<Image>,
    /// References that were pushed, even when a later one failed.
    pub image_refs: Vec<String>,
    pub cache_used: bool,
    pub log_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub started_at_ms: i64,
    pub ended_at_ms: Option<i64>,
}

/// One instruction of the Dockerfile, as the builder's log tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub cached: bool,
    pub started_at_ms: i64,
    pub completed_at_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub reason: FailureReason,
    /// For the user: what went wrong and what to do.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    Dockerfile,
    UserStep,
    SourceFetch,
    SourceAuth,
    BaseImagePull,
    PushDenied,
    PushFailed,
    Timeout,
    OutOfMemory,
    OutOfDisk,
    Evicted,
    PolicyDenied,
    Cancelled,
    Internal,
}

/// What was pushed, read from the registry's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `sha256:<hex>`.
    pub digest: String,
    /// Compressed layers and configuration.
    pub size_bytes: u64,
    pub layer_count: u32,
}

/// Something that happened to a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The executor was asked to run this attempt.
    Started {
        run: RunId,
    },
    /// The fetch step of the current run is done.
    Fetched {
        run: RunId,
        report: FetchReport,
    },
    /// The log moved on; replaces what was known of the steps.
    Progressed {
        run: RunId,
        steps: Vec<Step>,
        log_bytes: u64,
    },
    CancelRequested,
    /// The current run is over and its log is stored.
    Ended {
        run: RunId,
        outcome: Outcome,
    },
}

/// How a run's end counts for the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Succeeded {
        image: Image,
        image_refs: Vec<String>,
    },
    Failed {
        failure: Failure,
        image_refs: Vec<String>,
    },
    Cancelled {
        image_refs: Vec<String>,
    },
    /// Nobody's build failed, ours did: worth another attempt.
    Infrastructure {
        failure: Failure,
    },
}

/// What is to be done once the new state is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Take it out of the queue.
    Dequeue,
    /// Put it (back) into the queue, to start no earlier than `not_before_ms`.
    Requeue,
    /// Stop this run.
    StopRun(RunId),
    /// The run's remains are no longer needed.
    ForgetRun(RunId),
}

/// The two outcomes of an event that was allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    Changed(Vec<Effect>),
    /// The build is as the event would have it.
    AlreadySo,
}

/// An event that does not fit the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("the build is {0:?} and stays so")]
    Terminal(Status),
    #[error("the build is not running")]
    NotRunning,
    #[error("{0} is not the build's current run")]
    OtherRun(RunId),
}

/// How infrastructure failures are retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    pub attempts_max: u32,
    /// Before the second attempt; doubles with each.
    pub backoff_ms: i64,
    pub backoff_ms_max: i64,
}

// === impl Status ===

impl Status {
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

// === impl Build ===

impl Build {
    /// A build that was just accepted.
    pub fn new(id: BuildId, org: OrgId, created_by: String, spec: &BuildSpec) -> Self {
        let created_at_ms = i64::try_from(id.created_at_ms()).unwrap_or(i64::MAX);
        Self {
            id,
            org,
            name: spec.name().to_owned(),
            dockerfile: spec.dockerfile().to_owned(),
            tags: spec.tags().to_vec(),
            build_args: spec.shown_build_args(),
            labels: spec.labels().clone(),
            platform: spec.platform().map(str::to_owned),
            context: match spec.source() {
                Source::Archive(context) => Some(context.clone()),
                Source::Git(_) => None,
            },
            priority: spec.priority(),
            created_at_ms,
            created_by,
            status: Status::Pending,
            generation: 1,
            cancel_requested: false,
            runs: Vec::new(),
            started_at_ms: None,
            completed_at_ms: None,
            not_before_ms: 0,
            resolved_commit: None,
            context_size_bytes: 0,
            steps: Vec::new(),
            failure: None,
            image: None,
            image_refs: Vec::new(),
            cache_used: false,
            log_bytes: 0,
        }
    }

    /// The run that is live, if the build is running.
    pub fn current_run(&self) -> Option<RunId> {
        match self.status {
            Status::Running => self.runs.last().map(|run| run.id),
            Status::Pending | Status::Succeeded | Status::Failed | Status::Cancelled => None,
        }
    }

    /// The run that would come next.
    pub fn next_run(&self) -> RunId {
        RunId {
            build: self.id,
            platform: 0,
            attempt: self.attempts().saturating_add(1),
        }
    }

    pub fn attempts(&self) -> u32 {
        u32::try_from(self.runs.len()).unwrap_or(u32::MAX)
    }
}

/// Moves `build` on by one event. On `Denied` and `AlreadySo` the build is unchanged.
pub fn apply(build: &mut Build, event: Event, now_ms: i64, retry: &RetryPolicy) -> Result<Applied, Denied> {
    let effects = match event {
        Event::Started { run } => match build.status {
            Status::Running if build.current_run() == Some(run) => return Ok(Applied::AlreadySo),
            Status::Running => return Err(Denied::OtherRun(run)),
            Status::Pending if run == build.next_run() => {
                build.status = Status::Running;
                build.started_at_ms.get_or_insert(now_ms);
                build.runs.push(Run {
                    id: run,
                    started_at_ms: now_ms,
                    ended_at_ms: None,
                });
                build.steps.clear();
                vec![Effect::Dequeue]
            }
            Status::Pending => return Err(Denied::OtherRun(run)),
            terminal @ (Status::Succeeded | Status::Failed | Status::Cancelled) => {
                return Err(Denied::Terminal(terminal));
            }
        },
        Event::Fetched { run, report } => {
            require_current(build, run)?;
            if build.resolved_commit == report.resolved_commit
                && build.context_size_bytes == report.context_size_bytes
            {
                return Ok(Applied::AlreadySo);
            }
            build.resolved_commit = report.resolved_commit;
            build.context_size_bytes = report.context_size_bytes;
            Vec::new()
        }
        Event::Progressed {
            run,
            steps,
            log_bytes,
        } => {
            require_current(build, run)?;
            if build.steps == steps && build.log_bytes == log_bytes {
                return Ok(Applied::AlreadySo);
            }
            build.cache_used = steps.iter().any(|step| step.cached);
            build.steps = steps;
            build.log_bytes = log_bytes;
            Vec::new()
        }
        Event::CancelRequested => match build.status {
            Status::Pending => {
                finish(build, Status::Cancelled, Some(cancelled()), now_ms);
                vec![Effect::Dequeue]
            }
            Status::Running if build.cancel_requested => return Ok(Applied::AlreadySo),
            Status::Running => {
                build.cancel_requested = true;
                build.current_run().map(Effect::StopRun).into_iter().collect()
            }
            Status::Succeeded | Status::Failed | Status::Cancelled => return Ok(Applied::AlreadySo),
        },
        Event::Ended { run, outcome } => {
            if build.status.is_terminal() && build.runs.last().is_some_and(|last| last.id == run) {
                return Ok(Applied::AlreadySo);
            }
            require_current(build, run)?;
            if let Some(last) = build.runs.last_mut() {
                last.ended_at_ms = Some(now_ms);
            }
            end(build, run, outcome, now_ms, retry)
        }
    };
    build.generation = build.generation.saturating_add(1);
    Ok(Applied::Changed(effects))
}

fn end(build: &mut Build, run: RunId, outcome: Outcome, now_ms: i64, retry: &RetryPolicy) -> Vec<Effect> {
    let mut effects = vec![Effect::ForgetRun(run)];
    match outcome {
        // A push that was already done is not undone by a late cancellation.
        Outcome::Succeeded { image, image_refs } => {
            build.image = Some(image);
            build.image_refs = image_refs;
            finish(build, Status::Succeeded, None, now_ms);
        }
        Outcome::Failed { failure, image_refs } => {
            build.image_refs = image_refs;
            finish(build, Status::Failed, Some(failure), now_ms);
        }
        Outcome::Cancelled { image_refs } => {
            build.image_refs = image_refs;
            finish(build, Status::Cancelled, Some(cancelled()), now_ms);
        }
        Outcome::Infrastructure { .. } if build.cancel_requested => {
            finish(build, Status::Cancelled, Some(cancelled()), now_ms);
        }
        Outcome::Infrastructure { failure } => {
            let attempts = build.attempts();
            if attempts < retry.attempts_max {
                build.status = Status::Pending;
                build.not_before_ms = now_ms.saturating_add(retry.backoff_ms_after(attempts));
                effects.push(Effect::Requeue);
            } else {
                finish(build, Status::Failed, Some(failure), now_ms);
            }
        }
    }
    effects
}

fn finish(build: &mut Build, status: Status, failure: Option<Failure>, now_ms: i64) {
    build.status = status;
    build.failure = failure;
    build.completed_at_ms = Some(now_ms);
    for step in &mut build.steps {
        step.completed_at_ms.get_or_insert(now_ms);
    }
}

fn cancelled() -> Failure {
    Failure {
        reason: FailureReason::Cancelled,
        message: "cancelled on request".to_owned(),
    }
}

fn require_current(build: &Build, run: RunId) -> Result<(), Denied> {
    match build.current_run() {
        Some(current) if current == run => Ok(()),
        Some(_) => Err(Denied::OtherRun(run)),
        None if build.status.is_terminal() => Err(Denied::Terminal(build.status)),
        None => Err(Denied::NotRunning),
    }
}

// === impl RetryPolicy ===

impl RetryPolicy {
    /// How long to wait once `attempts` have failed.
    pub fn backoff_ms_after(&self, attempts: u32) -> i64 {
        let doublings = attempts.saturating_sub(1).min(32);
        self.backoff_ms
            .saturating_mul(1_i64 << doublings)
            .min(self.backoff_ms_max)
    }
}
