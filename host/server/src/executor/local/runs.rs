//! The daemon's side of all runs under one data directory. Everything here blocks.

use std::{
    collections::HashMap,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use ignite_core::{
    ids::RunId,
    run::{EndCause, ObservedRun, RunEnd},
};
use rustix::process::{PidfdFlags, Signal};

use crate::{
    executor::{
        ExecutorError, RunPlan,
        local::{
            LocalConfig,
            layout::{GO_FILE, RunDir, Standing, create, remove_file},
            leftovers::kill_leftovers,
            orders::{Orders, Secrets},
            phase, private,
            runtime::{self, Container},
            sandbox, tree,
            wake::Wake,
        },
    },
    sources::fetch,
};

/// A supervisor that ends this often without having started its run never will.
const FALSE_STARTS_MAX: u32 = 3;

/// What the fetch and the build step leave in a run's directory.
pub(super) const SANDBOX_FOLDERS: [&str; 3] = ["etc", "workspace", "rootfs"];

pub(super) struct Runs {
    config: LocalConfig,
    runtime: PathBuf,
    root: PathBuf,
    pub(super) wake: Wake,
    spawned: Arc<Mutex<HashMap<RunId, Spawned>>>,
    /// For the supervisors of runs that this daemon was given and that have not ended; wiped with the entry.
    secrets: Arc<Mutex<HashMap<RunId, Secrets>>>,
    /// Preparing, clearing up after and removing a run are for one thread at a time.
    housekeeping: Mutex<()>,
}

/// A run whose supervisor this daemon has started.
#[derive(Debug)]
struct Spawned {
    /// A child is there; it may not have taken the lock yet.
    is_live: bool,
    false_starts: u32,
}

// === impl Runs ===

impl Runs {
    pub(super) fn open(mut config: LocalConfig) -> Result<Self, ExecutorError> {
        let doing = |what: &str, path: &Path| format!("{what} {}", path.display());
        fs::create_dir_all(&config.data_dir).map_err(io_error(doing("create", &config.data_dir)))?;
        config.data_dir =
            fs::canonicalize(&config.data_dir).map_err(io_error(doing("resolve", &config.data_dir)))?;
        let root = config.data_dir.join("runs");
        open_runs_dir(&root, &config).map_err(io_error(doing("set up", &root)))?;
        sweep(&root).map_err(io_error(doing("clear up", &root)))?;
        private::sweep(&root).map_err(io_error(doing("clear up the private folders of", &root)))?;
        let runtime = runtime::probe(&config, &root)?;
        Ok(Self {
            config,
            runtime,
            wake: Wake::new(root.clone()),
            root,
            spawned: Arc::default(),
            secrets: Arc::default(),
            housekeeping: Mutex::default(),
        })
    }

    pub(super) fn runtime(&self) -> &Path {
        &self.runtime
    }

    pub(super) fn dir(&self, run: RunId) -> RunDir {
        RunDir::new(self.root.join(run.to_string()))
    }

    /// Makes the run's directory, whole or not at all. Fine if it is there.
    pub(super) fn prepare(&self, plan: &RunPlan) -> Result<(), ExecutorError> {
        let _alone = lock(&self.housekeeping);
        let dir = self.dir(plan.run);
        let secrets = Secrets::of(plan);
        let prepare = || -> io::Result<()> {
            if dir.exists()? {
                return Ok(());
            }
            let new = RunDir::new(self.root.join(format!(".new-{}", plan.run)));
            tree::remove(new.path())?;
            runtime::make_run_dir(new.path(), self.config.user_namespace)?;
            new.write_json("orders.json", &Orders::new(plan, &self.config, &self.runtime))?;
            let fetch = plan.fetch_plan(self.config.archive.clone(), self.config.git.clone());
            new.write_json(fetch::PLAN_FILE, &fetch)?;
            create(&new.log(), 0o600)?;
            create(&new.join("run.lock"), 0o600)?;
            fs::rename(new.path(), dir.path())
        };
        prepare().map_err(io_error(format!("prepare the run {}", plan.run)))?;
        if !matches!(self.standing(plan.run)?, Standing::Ended(_)) {
            lock(&self.secrets).insert(plan.run, secrets);
        }
        Ok(())
    }

    /// Does what is due for a run that is there: starts its supervisor if it has none, clears up if it lost it.
    pub(super) fn carry_on(&self, run: RunId) -> Result<Standing, ExecutorError> {
        match self.standing(run)? {
            Standing::Prepared => {
                self.spawn(run)?;
                Ok(Standing::Prepared)
            }
            Standing::Abandoned => {
                let end = self.reap(
                    run,
                    "its supervisor is gone: it was killed, or the machine restarted",
                )?;
                Ok(Standing::Ended(end))
            }
            standing @ (Standing::Live(_) | Standing::Ended(_)) => Ok(standing),
        }
    }

    pub(super) fn observe(&self) -> Result<Vec<ObservedRun>, ExecutorError> {
        let doing = || format!("read {}", self.root.display());
        let mut observed = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(io_error(doing()))? {
            let entry = entry.map_err(io_error(doing()))?;
            let Some(run) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let standing = match self.standing(run) {
                Ok(Standing::Abandoned) => self.carry_on(run),
                other => other,
            };
            match standing {
                Ok(standing) => observed.push(ObservedRun {
                    run,
                    phase: phase(standing),
                }),
                // Forgotten since we read its name.
                Err(ExecutorError::UnknownRun(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(observed)
    }

    /// Lets a run that waits for it go on to its build step.
    pub(super) fn go_ahead(&self, run: RunId) -> Result<(), ExecutorError> {
        if let Standing::Ended(_) = self.standing(run)? {
            return Ok(());
        }
        create(&self.dir(run).join(GO_FILE), 0o600)
            .map(drop)
            .map_err(io_error(format!("let {run} go on")))
    }

    pub(super) fn stop(&self, run: RunId) -> Result<(), ExecutorError> {
        let dir = self.dir(run);
        if let Standing::Ended(_) = self.standing(run)? {
            return Ok(());
        }
        // Written before anybody is told: a supervisor that is just starting reads it once it can be told.
        create(&dir.join("stop"), 0o600).map_err(io_error(format!("stop {run}")))?;
        if let Standing::Live(_) = self.carry_on(run)? {
            self.signal(&dir, Signal::TERM)
                .map_err(io_error(format!("stop {run}")))?;
        }
        Ok(())
    }

    /// Whether a supervisor still works on the run, be it on its end.
    pub(super) fn is_held(&self, run: RunId) -> Result<bool, ExecutorError> {
        match self.standing(run)? {
            Standing::Live(_) => Ok(true),
            Standing::Ended(_) => {
                let holder = self.dir(run).holder();
                Ok(holder.map_err(io_error(format!("look at {run}")))?.is_some())
            }
            Standing::Prepared | Standing::Abandoned => {
                Ok(!matches!(self.carry_on(run)?, Standing::Ended(_)))
            }
        }
    }

    pub(super) fn kill_supervisor(&self, run: RunId) -> Result<(), ExecutorError> {
        self.signal(&self.dir(run), Signal::KILL)
            .map_err(io_error(format!("kill the supervisor of {run}")))
    }

    /// Removes an ended run and what may be left of its sandbox.
    pub(super) fn remove(&self, run: RunId) -> Result<(), ExecutorError> {
        let _alone = lock(&self.housekeeping);
        let dir = self.dir(run);
        let remove = || -> io::Result<()> {
            if !dir.exists()? {
                return Ok(());
            }
            self.container(run).delete()?;
            private::remove(dir.private())?;
            // From here on it is no run any more, whatever interrupts us.
            let gone = self.root.join(format!(".gone-{run}"));
            tree::remove(&gone)?;
            fs::rename(dir.path(), &gone)?;
            tree::remove(&gone)
        };
        remove().map_err(io_error(format!("remove the run {run}")))?;
        lock(&self.secrets).remove(&run);
        lock(&self.spawned).remove(&run);
        Ok(())
    }

    fn standing(&self, run: RunId) -> Result<Standing, ExecutorError> {
        let dir = self.dir(run);
        let look = || -> io::Result<Option<Standing>> {
            if dir.exists()? {
                dir.standing().map(Some)
            } else {
                Ok(None)
            }
        };
        look()
            .map_err(io_error(format!("look at {run}")))?
            .ok_or(ExecutorError::UnknownRun(run))
    }

    fn container(&self, run: RunId) -> Container {
        Container::new(self.runtime.clone(), self.dir(run), run.to_string())
    }

    /// Starts a supervisor unless one of ours is on its way. Two would do no harm: the lock turns the second one away.
    fn spawn(&self, run: RunId) -> Result<(), ExecutorError> {
        let dir = self.dir(run);
        let secrets = lock(&self.secrets).get(&run).cloned();
        let secrets = match secrets {
            Some(secrets) => secrets,
            // It will not get so far as to need any.
            None if dir.join("stop").exists() => Secrets::default(),
            // Another daemon was given them; this one will be, before it is asked to follow the run.
            None => return Ok(()),
        };
        let mut spawned = lock(&self.spawned);
        let false_starts = match spawned.get(&run) {
            Some(entry) if entry.is_live => return Ok(()),
            Some(entry) => entry.false_starts,
            None => 0,
        };
        if false_starts >= FALSE_STARTS_MAX {
            drop(spawned);
            let why = fs::read_to_string(dir.join("supervisor.log")).unwrap_or_default();
            let why = why.lines().last().unwrap_or("it did not say why").to_owned();
            return self
                .reap(run, &format!("its supervisor does not start: {why}"))
                .map(drop);
        }
        let doing = || format!("start a supervisor for {run}");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join("supervisor.log"))
            .map_err(io_error(doing()))?;
        let mut command = Command::new(&self.config.program);
        command.args(["supervise", "--run-dir"]).arg(dir.path());
        command
            .current_dir("/")
            .stdin(secrets.to_stdin().map_err(io_error(doing()))?)
            .stdout(Stdio::null())
            .stderr(log);
        let mut child = tokio::process::Command::from(command)
            .spawn()
            .map_err(io_error(doing()))?;
        let entry = Spawned {
            is_live: true,
            false_starts,
        };
        spawned.insert(run, entry);
        let (ours, secrets) = (Arc::clone(&self.spawned), Arc::clone(&self.secrets));
        tokio::spawn(async move {
            let status = child.wait().await;
            if note_exit(&mut lock(&ours), run, status, &dir) {
                lock(&secrets).remove(&run);
            }
        });
        Ok(())
    }

    /// Ends a run that has no supervisor: kills what is left of it, then says so.
    fn reap(&self, run: RunId, message: &str) -> Result<RunEnd, ExecutorError> {
        let _alone = lock(&self.housekeeping);
        let dir = self.dir(run);
        let reap = || -> io::Result<RunEnd> {
            if let Some(end) = dir.end()? {
                return Ok(end);
            }
            kill_leftovers(dir.path())?;
            self.container(run).delete()?;
            let end = RunEnd {
                cause: EndCause::Lost {
                    message: message.to_owned(),
                },
                ended_at_ms: now_ms(),
                digest: None,
            };
            dir.write_end(&end)?;
            clear(&dir)?;
            Ok(end)
        };
        reap().map_err(io_error(format!("clear up after the run {run}")))
    }

    /// Signals the process that holds the run's lock, and never one that got its number later.
    fn signal(&self, dir: &RunDir, signal: Signal) -> io::Result<()> {
        let Some(pid) = dir.holder()? else {
            return Ok(());
        };
        let result = rustix::process::pidfd_open(pid, PidfdFlags::empty()).and_then(|process| {
            if dir.holder().is_ok_and(|holder| holder == Some(pid)) {
                rustix::process::pidfd_send_signal(process, signal)
            } else {
                Ok(())
            }
        });
        match result {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the run was begun. One whose directory is gone has had its end: it was forgotten before its supervisor was waited
/// for.
fn note_exit(
    spawned: &mut HashMap<RunId, Spawned>,
    run: RunId,
    status: io::Result<ExitStatus>,
    dir: &RunDir,
) -> bool {
    let has_run = matches!(
        dir.standing(),
        Ok(Standing::Ended(_) | Standing::Abandoned | Standing::Live(_))
    );
    let is_over = has_run || matches!(dir.exists(), Ok(false));
    if is_over {
        spawned.remove(&run);
    } else if let Some(entry) = spawned.get_mut(&run) {
        entry.is_live = false;
        entry.false_starts = entry.false_starts.saturating_add(1);
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::warn!(run = %run, status, "supervisor ended before its run began");
    }
    is_over
}

/// The directory of all runs: a sandbox's root user must be able to pass through, nobody else.
fn open_runs_dir(root: &Path, config: &LocalConfig) -> io::Result<()> {
    fs::create_dir_all(root)?;
    fs::set_permissions(root, Permissions::from_mode(0o710))?;
    sandbox::own(root, None, config.user_namespace.map(|ns| ns.uid_base))
}

/// Removes what has no run's name: half made, half removed.
fn sweep(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            tree::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// What only a live run needs, secrets first.
pub(super) fn clear(dir: &RunDir) -> io::Result<()> {
    private::clear(dir.private())?;
    remove_file(&dir.join("fetch.json"))?;
    for folder in SANDBOX_FOLDERS {
        tree::remove(&dir.join(folder))?;
    }
    Ok(())
}

pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn io_error(doing: String) -> impl FnOnce(io::Error) -> ExecutorError {
    move |source| ExecutorError::Io { doing, source }
}

/// No critical section here leaves anything half done, so a poisoned lock is as good as any.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use ignite_core::ids::BuildId;

    use super::*;

    #[test]
    fn only_a_supervisor_that_left_its_run_unbegun_has_started_in_vain() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunId {
            build: BuildId::new(1, 1),
            platform: 0,
            attempt: 1,
        };
        let mut spawned = HashMap::from([(
            run,
            Spawned {
                is_live: true,
                false_starts: 0,
            },
        )]);
        let there = RunDir::new(folder.path().to_owned());
        note_exit(&mut spawned, run, Ok(ExitStatus::from_raw(256)), &there);
        assert!(spawned.get(&run).is_some_and(|entry| entry.false_starts == 1));
        let forgotten = RunDir::new(folder.path().join("forgotten"));
        note_exit(&mut spawned, run, Ok(ExitStatus::from_raw(0)), &forgotten);
        assert!(spawned.is_empty());
    }
}
