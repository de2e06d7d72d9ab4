//! The record of a build and its state machine.
//!
//! ```text
//!                 Started            Ended (final)
//!   Pending ─────────────▶ Running ───────────────▶ Succeeded | Failed | Cancelled
//!    │  ▲ ▲                  │  │
//!    │  │ └──────────────────┘  │ Ended (a policy holds it)
//!    │  │  Ended (ours,         ▼
//!    │  │  attempts left)   Pending, held ─▶ Cancelled  CancelRequested
//!    │  └───────────────────────┘     └────▶ Failed     HoldExpired
//!    │           Approved
//!    └─▶ Cancelled  CancelRequested while pending
//! ```
//!
//! A new build may be held from the start: see [`Build::held`]. A held build is pending without a place in the queue.
//!
//! What `inspect` says of a run is recorded before it is acted on ([`Event::Inspected`]), so that a restart acts on the same
//! word: the run that is not to go on is stopped, and its end is then counted by that word.
//!
//! [`apply`] is the only way from one state to another. It has three outcomes: applied, already so, denied.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    hook::HookReport,
    ids::{BuildId, ContextId, OrgId, RunId},
    run::FetchReport,
    spec::{BuildSpec, Source},
};

pub mod judgement;
#[cfg(test)]
mod tests;
mod transitions;

pub use judgement::{Approval, Hold, Inspected, Word};
pub use transitions::apply;

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

    /// Of the policy that it is judged by, whatever is put later; none: no plugin acts.
    #[serde(default)]
    pub policy_revision: Option<u64>,
    /// Bounded: see [`judgement::add_reports`].
    #[serde(default)]
    pub hook_reports: Vec<HookReport>,
    /// Why it waits, while a policy holds it.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// Who released it last; none while it is held.
    #[serde(default)]
    pub approved_by: Option<Approval>,
    /// What `inspect` said last, and of what.
    #[serde(default)]
    pub inspected: Option<Inspected>,
    /// What its current run waits for, while it has not begun.
    #[serde(default)]
    pub waiting: Option<String>,
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
    /// It ended because a policy holds the build, so it does not count as a failed attempt.
    #[serde(default)]
    pub held: bool,
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
    /// A stored secret that an arg takes its value from is not there any more.
    SecretMissing,
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
    /// The current run cannot begin yet, and why; None: it no longer waits.
    Waiting {
        run: RunId,
        reason: Option<String>,
    },
    /// The log moved on; replaces what was known of the steps.
    Progressed {
        run: RunId,
        steps: Vec<Step>,
        log_bytes: u64,
    },
    CancelRequested,
    /// Plugins judged what the current run has fetched.
    Inspected {
        run: RunId,
        inspected: Inspected,
        reports: Vec<HookReport>,
    },
    /// Plugins were called for the current run.
    Reported {
        run: RunId,
        reports: Vec<HookReport>,
    },
    /// Somebody with the right to do so released it.
    Approved(Approval),
    /// Nobody released it in time.
    HoldExpired,
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
    /// A policy wants somebody to look at it first. The run was stopped before its build step.
    Held {
        reasons: Vec<String>,
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
    #[error("a policy holds the build")]
    Held,
    #[error("the build is not held")]
    NotHeld,
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
            policy_revision: None,
            hook_reports: Vec::new(),
            hold: None,
            approved_by: None,
            inspected: None,
            waiting: None,
        }
    }

    /// The new build, held from the start.
    pub fn held(mut self, reasons: Vec<String>) -> Self {
        self.hold = Some(Hold::new(reasons, self.created_at_ms));
        self
    }

    /// Whether it waits for its turn, and not for a person.
    pub fn is_due(&self) -> bool {
        self.status == Status::Pending && self.hold.is_none()
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

    /// Those attempts that no policy has stopped.
    fn failed_attempts(&self) -> u32 {
        let counted = self.runs.iter().filter(|run| !run.held).count();
        u32::try_from(counted).unwrap_or(u32::MAX)
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
