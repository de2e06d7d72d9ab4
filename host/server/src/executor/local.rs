//! Runs builds in a sandbox on this machine: Kaniko in an OCI bundle under `crun` or `runc`.
//!
//! ```text
//!   daemon ── ensure ──▶ run directory ◀── supervisor (`ignited supervise`, own session)
//!     ▲                      │                 ├─ fetch step  (`ignited fetch`)
//!     └─── follow, observe ──┘                 └─ build step  (runtime → Kaniko)
//! ```
//!
//! Daemon and supervisor share nothing but the run's directory (see [`layout`]), so a run outlives the daemon, and any later
//! daemon over the same directory sees it as the first one did. A service manager must be told to leave the daemon's
//! children alone when it stops it (systemd: `KillMode=process`).
//!
//! The network of a build is the machine's own. One daemon at a time may use a data directory.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::stream::BoxStream;
use ignite_core::{
    ids::RunId,
    run::{ObservedRun, RunPhase},
};
use serde::{Deserialize, Serialize};

use crate::{
    executor::{Executor, ExecutorError, Limits, RawCursor, RunEvent, RunPlan},
    sources::{archive::ArchiveLimits, git::GitRules},
};

mod cgroups;
mod follow;
mod layout;
mod leftovers;
mod orders;
mod private;
mod raw_log;
mod runs;
mod runtime;
mod sandbox;
mod supervisor;
pub(crate) mod tree;
mod wake;
mod watch;

pub use supervisor::supervise;

use layout::Standing;
use runs::Runs;
use sandbox::SandboxConfig;

/// How the local executor is set up.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// Runs live in `<data_dir>/runs/<run id>/`. With a user namespace every folder above must be passable for others.
    pub data_dir: PathBuf,
    /// Kaniko's `executor`, a static binary.
    pub kaniko: PathBuf,
    /// An OCI runtime; none: the first of `crun` and `runc` in `PATH` that works here.
    pub runtime: Option<PathBuf>,
    /// None: a build's root is the machine's root, held back by capabilities and namespaces only.
    pub user_namespace: Option<UserNamespace>,
    pub limits: Limits,
    /// What the fetch step accepts.
    pub archive: ArchiveLimits,
    pub git: GitRules,
    /// Registry credentials, in the form of Docker's `config.json`. Steps of a build can read them.
    pub docker_config: Option<PathBuf>,
    /// More environment of Kaniko itself; steps do not see it.
    pub env: BTreeMap<String, String>,
    /// PEM certificates of the authorities that Kaniko is to trust.
    pub ca_bundle: Option<PathBuf>,
    /// More of them.
    pub registry_ca_file: Option<PathBuf>,
    /// The program that is started as `<it> supervise --run-dir DIR` and `<it> fetch --run-dir DIR`.
    pub program: PathBuf,
    /// Started instead of `program` for the fetch step: `<it> --run-dir DIR`.
    pub fetch_program: Option<PathBuf>,
}

/// The ids on the machine that stand for 0 to `size - 1` inside a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    pub uid_base: u32,
    pub size: u32,
}

/// See the module.
#[derive(Clone)]
pub struct LocalExecutor {
    runs: Arc<Runs>,
}

// === impl LocalConfig ===

impl LocalConfig {
    /// The defaults for runs under `data_dir` with this Kaniko.
    ///
    /// # Errors
    /// If the path of the running program cannot be found out.
    pub fn new(data_dir: PathBuf, kaniko: PathBuf) -> io::Result<Self> {
        let ca_bundle = PathBuf::from("/etc/ssl/certs/ca-certificates.crt");
        Ok(Self {
            data_dir,
            kaniko,
            runtime: None,
            user_namespace: Some(UserNamespace::default()),
            limits: Limits::default(),
            archive: ArchiveLimits::default(),
            git: GitRules::default(),
            docker_config: None,
            env: BTreeMap::new(),
            ca_bundle: ca_bundle.is_file().then_some(ca_bundle),
            registry_ca_file: None,
            program: std::env::current_exe()?,
            fetch_program: None,
        })
    }

    fn sandbox(&self) -> SandboxConfig {
        SandboxConfig {
            kaniko: self.kaniko.clone(),
            user_namespace: self.user_namespace,
            limits: self.limits,
            docker_config: self.docker_config.clone(),
            ca_bundle: self.ca_bundle.clone(),
            registry_ca_file: self.registry_ca_file.clone(),
            env: self.env.clone(),
        }
    }

    fn check(&self) -> Result<(), ExecutorError> {
        let unsupported = |text: String| Err(ExecutorError::Unsupported(text));
        if !rustix::process::geteuid().is_root() {
            return unsupported("the local executor makes sandboxes, which takes root".to_owned());
        }
        if !self.kaniko.is_absolute() || !self.kaniko.is_file() {
            return unsupported(format!(
                "Kaniko's executor is not at {}: build it from deploy/kaniko (`make setup` does) and say where it is \
                 (the setting kaniko)",
                self.kaniko.display()
            ));
        }
        let files = [
            &self.docker_config,
            &self.ca_bundle,
            &self.registry_ca_file,
            &self.git.ca_file,
        ];
        for file in files.into_iter().flatten() {
            if !file.is_absolute() || !file.is_file() {
                return unsupported(format!("{} is not the absolute path of a file", file.display()));
            }
        }
        Ok(())
    }
}

impl Default for UserNamespace {
    fn default() -> Self {
        Self {
            uid_base: 200_000,
            size: 65_536,
        }
    }
}

// === impl LocalExecutor ===

impl LocalExecutor {
    /// Checks that this machine can run builds, by running Kaniko's `version` in a sandbox, and clears away what an
    /// interrupted daemon left half made or half removed. Blocks for about a tenth of a second.
    ///
    /// # Errors
    /// [`ExecutorError::Unsupported`] says what is missing and how to get it.
    pub fn new(config: LocalConfig) -> Result<Self, ExecutorError> {
        config.check()?;
        Ok(Self {
            runs: Arc::new(Runs::open(config)?),
        })
    }

    /// The OCI runtime that was found to work.
    pub fn runtime(&self) -> &Path {
        self.runs.runtime()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Runs) -> Result<T, ExecutorError> + Send + 'static,
    ) -> Result<T, ExecutorError> {
        let runs = Arc::clone(&self.runs);
        tokio::task::spawn_blocking(move || work(&runs))
            .await
            .map_err(|error| ExecutorError::Other(format!("a task of the executor failed: {error}")))?
    }
}

impl fmt::Debug for LocalExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalExecutor")
            .field("runtime", &self.runs.runtime())
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Executor for LocalExecutor {
    async fn ensure(&self, plan: &RunPlan) -> Result<(), ExecutorError> {
        let plan = plan.clone();
        self.blocking(move |runs| {
            runs.prepare(&plan)?;
            runs.carry_on(plan.run).map(drop)
        })
        .await
    }

    async fn observe(&self) -> Result<Vec<ObservedRun>, ExecutorError> {
        self.blocking(Runs::observe).await
    }

    fn follow(&self, run: RunId, from: RawCursor) -> BoxStream<'static, Result<RunEvent, ExecutorError>> {
        follow::follow(Arc::clone(&self.runs), run, &from)
    }

    async fn go_ahead(&self, run: RunId) -> Result<(), ExecutorError> {
        self.blocking(move |runs| runs.go_ahead(run)).await
    }

    async fn stop(&self, run: RunId) -> Result<(), ExecutorError> {
        self.blocking(move |runs| runs.stop(run)).await
    }

    async fn forget(&self, run: RunId) -> Result<(), ExecutorError> {
        // A supervisor that was told to stop kills its container and tidies up; a tree of a million files takes a while.
        const PATIENCE: Duration = Duration::from_secs(60);
        const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        match self.blocking(move |runs| runs.stop(run)).await {
            Ok(()) => {}
            Err(ExecutorError::UnknownRun(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        while self.blocking(move |runs| runs.is_held(run)).await? {
            if tokio::time::Instant::now() > deadline {
                self.blocking(move |runs| runs.kill_supervisor(run)).await?;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        self.blocking(move |runs| runs.remove(run)).await
    }
}

fn phase(standing: Standing) -> RunPhase {
    match standing {
        Standing::Prepared | Standing::Live(_) | Standing::Abandoned => RunPhase::Live,
        Standing::Ended(end) => RunPhase::Ended(end),
    }
}
