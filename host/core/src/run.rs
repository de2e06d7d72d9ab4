//! What a run is told and what it reports: the vocabulary between the driver and the executors.

use serde::{Deserialize, Serialize};

use crate::ids::RunId;

/// What the fetch step found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchReport {
    /// For git sources, the full commit id.
    pub resolved_commit: Option<String>,
    /// Bytes of the regular files in the context.
    pub context_size_bytes: u64,
    /// The Dockerfile's text, where it is there and is text of at most 1 MiB.
    pub dockerfile: Option<String>,
}

/// How a run ended. Only what the executor knows; the log tells the rest (see [`crate::kaniko`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    pub cause: EndCause,
    pub ended_at_ms: i64,
    /// What Kaniko's digest file says; to be trusted only after exit 0.
    pub digest: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// Kaniko ended by itself. A failing RUN's exit code becomes Kaniko's; its own errors exit 1.
    Exited { code: i32 },
    /// The source could not be fetched; the message is fit for the user.
    FetchFailed { failure: FetchFailure, message: String },
    /// Stopped because its deadline passed.
    TimedOut,
    /// The kernel killed a process of it for the memory limit.
    OutOfMemory,
    /// Stopped because it used more disk than its limit.
    OutOfDisk,
    /// Stopped because the driver asked.
    Stopped,
    /// It ended and nobody knows how: the machine restarted, its supervisor was killed. Ours, so worth another attempt.
    Lost { message: String },
    /// The cluster took the ground from under it, or never gave it any. Ours, so worth another attempt; the message is fit for
    /// the user.
    Disrupted { how: Disruption, message: String },
}

/// What a cluster does to runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disruption {
    /// Removed from its node: the node ran short of memory, disk or processes, or is drained.
    Evicted,
    /// It had to make room for something of a higher priority.
    Preempted,
    /// Its node is gone, or no longer answers.
    NodeLost,
    /// Somebody other than the gateway deleted it.
    Deleted,
    /// One of the gateway's own images cannot be pulled.
    ImagePull,
    /// It was given a node and could not be started there.
    NotStarted,
    /// No node took it in time.
    Unscheduled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FetchFailure {
    /// The server wants credentials or refused ours.
    Auth,
    /// Not found, not reachable, not allowed, or an archive that must not be unpacked.
    Source,
    /// The Dockerfile is not in the context.
    Dockerfile,
    /// Our own fault, such as a missing blob; worth another attempt.
    Internal,
}

/// A run that an executor knows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedRun {
    pub run: RunId,
    pub phase: RunPhase,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunPhase {
    /// Known but not started, or running.
    Live,
    Ended(RunEnd),
}
