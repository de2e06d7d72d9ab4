//! Where builds run. An executor starts, observes, follows, stops and forgets runs; each call is safe to repeat.
//!
//! A run goes through two steps that share nothing but the workspace directory: *fetch* puts the source there, *build* is
//! Kaniko on it. Git credentials and access to stored contexts exist only in the first; the user's `RUN` lines run in the second.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use futures::stream::BoxStream;
use ignite_core::{
    ids::{OrgId, RunId},
    redact::is_too_short,
    run::{FetchReport, ObservedRun, RunEnd},
    secrets::{GitLogin, RunSecrets},
    spec::{ArgValue, GitSource},
};
use serde::{Deserialize, Serialize};

use crate::sources::{
    archive::ArchiveLimits, contexts::grants::ContextGrant, fetch::FetchPlan, git::GitRules,
};

pub mod classes;
pub mod conformance;
pub(crate) mod container;
mod cursor;
pub mod kubernetes;
pub mod local;
pub mod scripted;

pub use cursor::RawCursor;

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
    /// How a fetch step elsewhere gets the archive; the local one reads it from its path.
    #[serde(skip)]
    pub context_grant: Option<ContextGrant>,
    /// Name of the [`classes::ResourceClasses`] member that says what it may use; None: the default.
    #[serde(default)]
    pub resource_class: Option<String>,
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

/// What one run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub memory_bytes: u64,
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Context, root tree and log together. Measured now and then, so a fast writer gets somewhat beyond.
    pub disk_bytes: u64,
    /// Processes and threads; on Kubernetes the kubelet's setting counts.
    pub pids: u64,
}

// === impl RunPlan ===

impl RunPlan {
    /// The login for the source, which nobody but the fetch step of a git source is given.
    pub(crate) fn git_login(&self) -> Option<&GitLogin> {
        match self.source {
            RunSource::Git(_) => self.secrets.git.as_ref(),
            RunSource::Archive { .. } => None,
        }
    }

    /// What the fetch step is told.
    pub(crate) fn fetch_plan(&self, limits: ArchiveLimits, git: GitRules) -> FetchPlan {
        let args = || self.build_args.iter();
        FetchPlan {
            source: self.source.clone(),
            dockerfile: self.dockerfile.clone(),
            limits,
            git,
            has_login: self.git_login().is_some(),
            build_args: args()
                .map(|(name, value)| (name.clone(), value.is_secret()))
                .collect(),
            unmasked: args()
                .filter(|(_, value)| value.is_secret() && is_too_short(value.reveal()))
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }
}

/// What happens in a run, in order.
#[derive(Debug)]
pub enum RunEvent {
    /// The run cannot begin yet, and why, fit for the user; None: it no longer waits. Sent again after each `follow`.
    Waiting { reason: Option<String> },
    /// The fetch step is done. Sent again after each `follow` that starts behind it: receivers must not mind.
    Fetched(FetchReport),
    /// Raw, unredacted log bytes; `end` is the position behind the last of them. The log is a byte stream, and these bytes
    /// follow the last event's: for the local executor `end` is the byte offset in the run's log file.
    Output { bytes: bytes::Bytes, end: RawCursor },
    /// A part of the log is gone, or cannot be shown not to be. `end` is the position behind it. Never sent twice to those who
    /// follow from there.
    Gap {
        /// How much it was, where that is known.
        bytes: Option<u64>,
        /// When the last line before it was written, in milliseconds since 1970; None if it is the log's first.
        after_ms: Option<i64>,
        /// When the first line behind it was written; None if nothing follows.
        before_ms: Option<i64>,
        end: RawCursor,
    },
    /// The run is over and every byte of its log was sent. Always the last event.
    Ended(RunEnd),
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 4 << 30,
            cpu_millis: 2000,
            disk_bytes: 20 << 30,
            pids: 4096,
        }
    }
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
