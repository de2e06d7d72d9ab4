//! The OCI runtime's command line: `crun` and `runc` share all of it that is used here.
//!
//! Containers are started detached, so that no runtime process stays; the supervisor, being a subreaper, becomes the
//! parent of the container's first process and waits for it like for any child.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::executor::{
    ExecutorError,
    local::{
        LocalConfig, UserNamespace, cgroups,
        layout::{RunDir, create_dir},
        private,
        sandbox::{self, Sandbox},
        tree,
    },
};

/// In order of preference; crun starts containers faster, but refuses some machines' cgroups.
const CANDIDATES: [&str; 2] = ["crun", "runc"];

/// Marks every process that is started for a run, so that what outlives its supervisor can be found.
pub(super) const RUN_DIR_ENV: &str = "IGNITE_RUN_DIR";

/// One container of one runtime. Its state is inside its run's private folder: a runtime may keep a copy of the configuration.
#[derive(Debug, Clone)]
pub(super) struct Container {
    runtime: PathBuf,
    dir: RunDir,
    id: String,
}

// === impl Container ===

impl Container {
    pub(super) fn new(runtime: PathBuf, dir: RunDir, id: String) -> Self {
        Self { runtime, dir, id }
    }

    /// The command that starts the container of the bundle and returns once it runs. What it writes to its standard
    /// streams is the container's output; its own troubles go to [`Self::trouble`].
    pub(super) fn start_command(&self) -> io::Result<Command> {
        let mut command = self.command();
        command
            .args(["run", "--detach", "--bundle"])
            .arg(self.dir.bundle());
        command.arg("--pid-file").arg(self.pid_file()).arg(&self.id);
        command.stdin(no_input()?);
        Ok(command)
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.dir.bundle().join("pid")
    }

    /// Kills every process in the container; fails if it does not run (yet or any more).
    pub(super) fn kill_command(&self) -> Command {
        let mut command = self.command();
        command.args(["kill", &self.id, "KILL"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Kills what runs in the container and removes its cgroups and state. Fine if there is none. Blocks.
    pub(super) fn delete(&self) -> io::Result<()> {
        if self.state_dir().try_exists()? {
            // It fails for a container that is only half there, which is no reason to leave that half alive.
            let output = self.command().args(["delete", "--force", &self.id]).output()?;
            tracing::debug!(container = self.id, status = %output.status, "container deleted");
        }
        cgroups::remove(&self.id)?;
        tree::remove(&self.state_dir())
    }

    /// What the runtime itself complained of, for people.
    pub(super) fn trouble(&self) -> String {
        let log = fs::read_to_string(self.runtime_log()).unwrap_or_default();
        log.lines()
            .last()
            .unwrap_or("it did not say why")
            .trim()
            .to_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.runtime);
        command.arg("--root").arg(self.state_dir());
        command.arg("--log").arg(self.runtime_log());
        command.env(RUN_DIR_ENV, self.dir.path());
        command
    }

    fn state_dir(&self) -> PathBuf {
        self.dir.private().join("state")
    }

    fn runtime_log(&self) -> PathBuf {
        self.dir.join("runtime.log")
    }
}

/// Finds a runtime that runs Kaniko here, by having it do so.
///
/// # Errors
/// [`ExecutorError::Unsupported`] with what each candidate said and what to do about it.
pub(super) fn probe(config: &LocalConfig, runs: &Path) -> Result<PathBuf, ExecutorError> {
    let candidates: Vec<PathBuf> = match &config.runtime {
        Some(runtime) => vec![runtime.clone()],
        None => CANDIDATES.iter().filter_map(|name| find_in_path(name)).collect(),
    };
    if candidates.is_empty() {
        return Err(ExecutorError::Unsupported(
            "no OCI runtime was found: install the package `runc` or `crun`, or configure the path of one"
                .to_owned(),
        ));
    }
    let mut troubles = Vec::new();
    for runtime in candidates {
        match probe_one(&runtime, config, runs) {
            Ok(()) => return Ok(runtime),
            Err(error) => troubles.push(format!("{}: {error}", runtime.display())),
        }
    }
    let hint = match config.user_namespace {
        Some(_) => " (if this machine does not allow user namespaces, turn them off in the configuration)",
        None => "",
    };
    Err(ExecutorError::Unsupported(format!(
        "no OCI runtime can run a sandbox: {}{hint}",
        troubles.join("; ")
    )))
}

/// Runs `executor version` in a sandbox like those of builds.
fn probe_one(runtime: &Path, config: &LocalConfig, runs: &Path) -> io::Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let id = format!("probe-{}-{count}", std::process::id());
    let dir = RunDir::new(runs.join(format!(".{id}")));
    tree::remove(dir.path())?;
    private::remove(dir.private())?;
    make_run_dir(dir.path(), config.user_namespace)?;
    make_run_dir(dir.private(), config.user_namespace)?;
    let container = Container::new(runtime.to_owned(), dir.clone(), id);
    let result = (|| {
        let sandbox_config = config.sandbox();
        let mut sandbox = Sandbox::new(&sandbox_config, &dir, &container.id);
        sandbox.args = vec!["version".to_owned()];
        sandbox.prepare()?;
        sandbox.log_in(&BTreeMap::new())?;
        sandbox.write_bundle()?;
        let mut command = container.command();
        command
            .arg("run")
            .arg("--bundle")
            .arg(dir.bundle())
            .arg(&container.id);
        let output = command.stdin(no_input()?).output()?;
        if output.status.success() {
            Ok(())
        } else if output.stderr.is_empty() {
            Err(io::Error::other(container.trouble()))
        } else {
            Err(io::Error::other(last_words(&output)))
        }
    })();
    let removed = container
        .delete()
        .and_then(|()| private::remove(dir.private()))
        .and_then(|()| tree::remove(dir.path()));
    result.and(removed)
}

/// A run's directory: the sandbox's root user must be able to pass through to its root tree, nobody else.
pub(super) fn make_run_dir(path: &Path, user_namespace: Option<UserNamespace>) -> io::Result<()> {
    create_dir(path, 0o710)?;
    sandbox::own(
        path,
        user_namespace.map(|_| 0),
        user_namespace.map(|ns| ns.uid_base),
    )
}

/// An empty standard input for a container. Not `/dev/null`: runtimes give the standard streams to the container's root,
/// and whoever owns the machine's `/dev/null` may close it to everybody else.
fn no_input() -> io::Result<Stdio> {
    let (reader, _closed) = io::pipe()?;
    Ok(Stdio::from(reader))
}

fn last_words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned())
}

fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(OsStr::new(name)))
        .find(|candidate| candidate.is_file())
}
