//! Where builds run. An executor starts, observes, follows, stops and forgets runs; each call is safe to repeat.
//!
//! A run goes through two steps that share nothing but the workspace directory: *fetch* puts the source there, *build* is
//! Kaniko on it. Git credentials and access to stored contexts exist only in the first; the user's `RUN` lines run in the second.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use futures::stream::BoxStream;
use ignite_core::{
    ids::{OrgId, RunId},
    run::{FetchReport, ObservedRun, RunEnd},
    secrets::RunSecrets,
    spec::{ArgValue, GitSource},
};
use serde::{Deserialize, Serialize};

pub mod conformance;
pub mod local;
pub mod scripted;

/// Everything an executor needs to run one attempt of one platform of a build.
///
/// Carries secret values in `build_args` and `secrets`: an executor hands them on by environment or by a file that only the run can read,
/// never by argv, and never keeps them in clear once the run has started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunPlan {
    pub run: RunId,
    pub org: OrgId,
    pub source: RunSource,
    /// Relative to the context directory, checked; the fetch step reports its text.
    pub dockerfile: String,
    /// Arguments of Kaniko's executor, without `--build-arg`s' values: see [`ignite_core::kaniko`].
    pub kaniko_args: Vec<String>,
    /// Kaniko's `--build-arg NAME` reads each of these from its own environment.
    pub build_args: BTreeMap<String, ArgValue>,
    /// What the organization keeps for its builds, as far as this run needs it.
    #[serde(default)]
    pub secrets: RunSecrets,
    /// For the fetch and the build step together.
    pub timeout: Duration,
    /// Once it has fetched, the run waits for [`Executor::go_ahead`] before it builds. The wait counts towards `timeout`.
    #[serde(default)]
    pub gated: bool,
}

/// Where the fetch step takes the context from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunSource {
    /// An archive on this machine, to be checked against its hash.
    Archive {
        path: PathBuf,
        sha256: String,
    },
    Git(GitSource),
}

/// A position in a run's raw log. Opaque to all but the executor that made it; ordered within one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RawCursor(pub u64);

/// What happens in a run, in order.
#[derive(Debug)]
pub enum RunEvent {
    /// The fetch step is done. Sent again after each `follow` that starts behind it: receivers must not mind.
    Fetched(FetchReport),
    /// Raw, unredacted log bytes; `end` is the position behind the last of them. The log is a byte stream: for
    /// the local executor `end` is the byte offset in the run's log file.
    Output { bytes: bytes::Bytes, end: RawCursor },
    /// The run is over and every byte of its log was sent. Always the last event.
    Ended(RunEnd),
}

#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    #[error("run {0} is not known to this executor")]
    UnknownRun(RunId),
    #[error("this machine cannot run builds: {0}")]
    Unsupported(String),
    #[error("{doing}")]
    Io {
        doing: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Other(String),
}

#[async_trait::async_trait]
pub trait Executor: Send + Sync + std::fmt::Debug {
    /// Makes sure that the run exists: starts it, or finds it live or ended. Never starts the same run twice. To be called
    /// again by a new daemon: the plan's secrets are kept in memory only, so a run that was not begun yet waits for them.
    async fn ensure(&self, plan: &RunPlan) -> Result<(), ExecutorError>;

    /// Every run this executor knows, live and ended, until it is forgotten.
    async fn observe(&self) -> Result<Vec<ObservedRun>, ExecutorError>;

    /// The run's events from `from` on. Ends after [`RunEvent::Ended`]; an `Err` item ends the stream too, and following
    /// again from the last `end` continues without loss or doubling.
    fn follow(&self, run: RunId, from: RawCursor) -> BoxStream<'static, Result<RunEvent, ExecutorError>>;

    /// Lets a gated run go on from fetch to build. Outlasts the daemon; ok if it was given before, or the run has ended. To be
    /// given only after [`RunEvent::Fetched`]: what comes before the fetch step's report may be forgotten.
    async fn go_ahead(&self, run: RunId) -> Result<(), ExecutorError>;

    /// Kills the run; its end is [`ignite_core::run::EndCause::Stopped`] unless it had ended before. Ok if it has ended.
    async fn stop(&self, run: RunId) -> Result<(), ExecutorError>;

    /// Removes what is left of an ended run, log included; a live one is killed first. Ok if it is unknown.
    async fn forget(&self, run: RunId) -> Result<(), ExecutorError>;
}
