//! The local executor with all that it needs around it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use ignite_core::ids::{BuildId, RunId};
use ignite_server::executor::{
    Executor, Limits, RawCursor, RunEvent, RunPlan, RunSource,
    conformance::{self, Fixture},
    local::{LocalConfig, LocalExecutor},
};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::registry::Registry;

/// Fetches like the real step, by the same files, in a line of shell.
const FETCH: &str = r#"#!/bin/sh -e
[ "$1" = --run-dir ]; cd "$2"
archive=$(sed 's/.*"path":"\([^"]*\)".*/\1/' fetch.json)
echo "fetching"
if [ ! -f "$archive" ]; then
  echo '{"failure":"internal","message":"the archive is gone"}' > fetch-failed.json
  exit 0
fi
mkdir workspace && tar -xf "$archive" -C workspace
[ ! -f workspace/fetch-sleeps ] || { echo asleep; sleep 1000 & sleep 1000; }
echo '{"resolved_commit":null,"context_size_bytes":7,"dockerfile":null}' > .fetched && mv .fetched fetched.json
"#;

pub(crate) struct Local {
    pub(crate) executor: Arc<LocalExecutor>,
    pub(crate) config: LocalConfig,
    pub(crate) registry: Registry,
    contexts: TempDir,
    _data: TempDir,
}

static NEXT_RUN: AtomicU64 = AtomicU64::new(0);

impl Local {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut LocalConfig)) -> Self {
        Self::at(Registry::start(), change)
    }

    pub(crate) fn at(registry: Registry, change: impl FnOnce(&mut LocalConfig)) -> Self {
        let contexts = passable_dir();
        let data = passable_dir();
        let fetch = contexts.path().join("fetch");
        fs::write(&fetch, FETCH).unwrap();
        fs::set_permissions(&fetch, fs::Permissions::from_mode(0o755)).unwrap();
        let mut config = LocalConfig::new(data.path().to_owned(), kaniko()).unwrap();
        config.program = PathBuf::from(env!("CARGO_BIN_EXE_ignited"));
        config.fetch_program = Some(fetch);
        config.limits = Limits {
            memory_bytes: 96 << 20,
            cpu_millis: 2000,
            disk_bytes: 256 << 20,
            pids: 512,
        };
        change(&mut config);
        Self {
            executor: Arc::new(LocalExecutor::new(config.clone()).unwrap()),
            config,
            registry,
            contexts,
            _data: data,
        }
    }

    pub(crate) fn runs(&self) -> Vec<RunId> {
        let entries = fs::read_dir(self.config.data_dir.join("runs")).unwrap().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }

    pub(crate) fn run_dir(&self, run: RunId) -> PathBuf {
        self.config.data_dir.join("runs").join(run.to_string())
    }

    pub(crate) fn new_run(&self) -> RunId {
        let count = NEXT_RUN.fetch_add(1, Ordering::Relaxed);
        let random = u128::from(std::process::id()) << 32 | u128::from(count);
        RunId {
            build: BuildId::new(1_700_000_000_000, random),
            platform: 0,
            attempt: 1,
        }
    }

    pub(crate) fn plan_with(&self, dockerfile: &str, files: &[&str]) -> RunPlan {
        let run = self.new_run();
        let context = self.contexts.path().join(run.to_string());
        fs::create_dir(&context).unwrap();
        fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        fs::copy("/bin/busybox", context.join("busybox")).unwrap();
        for file in files {
            fs::write(context.join(file), file).unwrap();
        }
        let archive = self.contexts.path().join(format!("{run}.tar"));
        let tar = std::process::Command::new("tar")
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(&context)
            .arg(".")
            .status();
        assert!(tar.unwrap().success());
        let destination = format!("{}/{run}:latest", self.registry.address());
        RunPlan {
            run,
            org: "acme".parse().unwrap(),
            source: RunSource::Archive {
                path: archive,
                sha256: String::new(),
            },
            dockerfile: "Dockerfile".to_owned(),
            kaniko_args: conformance::kaniko_args(&destination),
            build_args: Default::default(),
            secrets: Default::default(),
            timeout: Duration::from_secs(100),
            resource_class: None,
            context_grant: None,
            gated: false,
        }
    }

    /// Ids of the processes with the run's name on their command line or in their container's.
    pub(crate) fn pids(&self, run: RunId) -> Vec<u32> {
        let name = run.to_string();
        let mut pids = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
            let stat = String::from_utf8_lossy(&read("stat")).into_owned();
            let is_zombie = stat
                .rsplit(')')
                .next()
                .is_some_and(|rest| rest.trim_start().starts_with('Z'));
            let text = [read("cmdline"), read("cgroup"), read("environ")].concat();
            if !is_zombie && String::from_utf8_lossy(&text).contains(&name) {
                pids.push(pid);
            }
        }
        pids
    }

    pub(crate) fn supervisor(&self, run: RunId) -> u32 {
        self.find_supervisor(run).expect("a live supervisor")
    }

    pub(crate) fn find_supervisor(&self, run: RunId) -> Option<u32> {
        let is_supervisor = |pid: &u32| {
            let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&cmdline).contains("supervise")
        };
        self.pids(run).into_iter().find(is_supervisor)
    }

    pub(crate) async fn tidied(&self, run: RunId) {
        let start = Instant::now();
        while !self.pids(run).is_empty() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "processes stay: {:?}",
                self.pids(run)
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Asked first, so that sandboxes and their cgroups go the regular way.
        for (patience, signal) in [
            (Duration::from_secs(10), Signal::TERM),
            (Duration::ZERO, Signal::KILL),
        ] {
            let start = Instant::now();
            for run in self.runs() {
                self.pids(run).into_iter().for_each(|pid| send(pid, signal));
            }
            while start.elapsed() < patience && self.runs().iter().any(|run| !self.pids(*run).is_empty()) {
                #[expect(clippy::disallowed_methods, reason = "nothing else runs at the end of a test")]
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // Nobody forgets these runs.
        for folder in self.runs().into_iter().flat_map(private_dirs) {
            let _gone_already = fs::remove_dir_all(folder);
        }
        let left: Vec<_> = self.runs().into_iter().filter(|run| cgroups(*run) > 0).collect();
        assert!(
            left.is_empty() || std::thread::panicking(),
            "cgroups of {left:?} are left"
        );
    }
}

#[async_trait::async_trait]
impl Fixture for Local {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::clone(&self.executor) as Arc<dyn Executor>
    }

    async fn restarted(&self) -> Arc<dyn Executor> {
        Arc::new(LocalExecutor::new(self.config.clone()).unwrap())
    }

    async fn plan(&self, dockerfile: &str) -> RunPlan {
        self.plan_with(dockerfile, &[])
    }

    async fn lose(&self, run: RunId) {
        send(self.supervisor(run), Signal::KILL);
    }

    async fn pushed(&self, plan: &RunPlan) -> Option<String> {
        self.registry.digest(&plan.run.to_string(), "latest")
    }

    async fn processes(&self, run: RunId) -> usize {
        let is_sandboxed = |pid: &u32| {
            let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            cgroup.contains("/ignite/")
        };
        self.pids(run).into_iter().filter(is_sandboxed).count()
    }
}

pub(crate) fn kaniko() -> PathBuf {
    std::env::var_os("IGNITE_TEST_KANIKO")
        .expect("IGNITE_TEST_KANIKO: the path of Kaniko's executor")
        .into()
}

/// A sandbox's root user must be able to pass through.
pub(crate) fn passable_dir() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    dir
}

/// How many control groups the run's sandbox has.
pub(crate) fn cgroups(run: RunId) -> usize {
    let controllers = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let group = |controller: fs::DirEntry| controller.path().join("ignite").join(run.to_string());
    controllers.map(group).filter(|group| group.exists()).count()
}

/// Waits until the run's log holds a text.
pub(crate) async fn until_logged(local: &Local, run: RunId, text: &str) {
    let mut log = Vec::new();
    let mut events = local.executor.follow(run, RawCursor::START);
    let logged = async {
        while let Some(event) = events.next().await {
            if let RunEvent::Output { bytes, .. } = event.unwrap() {
                log.extend_from_slice(&bytes);
            }
            if String::from_utf8_lossy(&log).contains(text) {
                return;
            }
        }
        panic!("it ended before");
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), logged).await;
    assert!(in_time.is_ok(), "{}", String::from_utf8_lossy(&log));
}

/// What is in [`private_dirs`].
pub(crate) fn private_names(run: RunId) -> Vec<String> {
    let entries = private_dirs(run)
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap().flatten());
    entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

/// Folders in memory that belong to the run.
pub(crate) fn private_dirs(run: RunId) -> Vec<PathBuf> {
    let entries = ["/run", "/dev/shm"].map(|place| fs::read_dir(place).unwrap().flatten());
    let paths = entries.into_iter().flatten().map(|entry| entry.path());
    let name = format!("-{run}");
    paths
        .filter(|path| path.to_string_lossy().contains(&name))
        .collect()
}

pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _gone_already = rustix::process::kill_process(pid, signal);
}
