//! The process that sees one run through: `ignited supervise --run-dir DIR`.
//!
//! ```text
//!   lock ─▶ started ─▶ fetch step ─▶ go-ahead ─▶ build step ─▶ log complete ─▶ end.json ─▶ tidy up
//!                          └─────────────┴────────────┴── deadline, stop, disk: kill ──┘
//! ```
//!
//! Nothing of the user's happens before `started` is on disk, and a supervisor that finds it there does not start the run
//! again. It depends on no other process of ours and ends by itself.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use ignite_core::{
    dockerfile::{self, SecretMounts},
    kaniko,
    run::{EndCause, FetchFailure, RunEnd},
    secrets::SecretText,
};
use rustix::process::{Pid, Signal, WaitOptions};
use tokio::{sync::oneshot, time};

use crate::executor::local::{
    cgroups,
    layout::{GO_FILE, RunDir, create, remove_file},
    orders::{Orders, Secrets, stdin_of},
    private, raw_log,
    runs::{SANDBOX_FOLDERS, clear, lock, now_ms},
    runtime::{Container, RUN_DIR_ENV, make_run_dir},
    sandbox::Sandbox,
    tree,
    watch::Watch,
};

mod ending;

use ending::read_digest;

/// How long killed processes may take to be gone; the kernel may have to write out or free much memory first.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
const KILL_PAUSE: Duration = Duration::from_millis(50);
/// Between looks for the go-ahead.
const GO_PAUSE: Duration = Duration::from_millis(20);
/// Once the container is gone its output is in the pipe and is read in no time.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

/// Sees the run in `run_dir` through to its end. Returns at once if another process does, or did.
pub fn supervise(run_dir: &Path) -> ExitCode {
    match run(&RunDir::new(run_dir.to_owned())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The daemon shows the last line of this as the reason of a false start.
            let _nobody_left_to_tell = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &RunDir) -> io::Result<()> {
    let secrets = Secrets::from_stdin()?;
    // Fails for a group's leader, which a terminal's signals reach no more than they reach a session's.
    let _leader = rustix::process::setsid();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        // Signals must not kill any more once the lock tells others where to send them.
        let watch = Watch::new(dir.clone())?;
        let Some(_lock) = dir.lock()? else {
            return Ok(());
        };
        if dir.end()?.is_some() || dir.join("started").try_exists()? {
            return Ok(());
        }
        see_through(dir, secrets, watch).await
    });
    // A disk measurement may still be under way.
    runtime.shutdown_background();
    done
}

async fn see_through(dir: &RunDir, secrets: Secrets, mut watch: Watch) -> io::Result<()> {
    let orders: Orders = dir
        .read_json("orders.json")?
        .ok_or_else(|| io::Error::other("orders.json is missing"))?;
    // Nobody saw it start, yet it may have: a power failure forgets what was not on disk yet.
    clear_remains(dir)?;
    create(&dir.join("started"), 0o600)?;
    let mut run = Supervisor::new(dir, &orders, secrets)?;
    watch.limit(run.id.clone(), orders.timeout, orders.sandbox.limits.disk_bytes);
    let cause = match run.steps(&mut watch).await {
        Ok(code) => run.read_exit(code),
        Err(cause) => cause,
    };
    lock(&run.log).sync()?;
    dir.write_end(&RunEnd {
        cause,
        ended_at_ms: now_ms(),
        digest: run.digest(),
    })?;
    // Nobody waits for what follows but who wants to forget the run.
    dir.sync()?;
    run.container.delete()?;
    clear(dir)
}

fn clear_remains(dir: &RunDir) -> io::Result<()> {
    private::remove(dir.private())?;
    for folder in SANDBOX_FOLDERS {
        tree::remove(&dir.join(folder))?;
    }
    remove_file(&dir.join("fetched.json"))?;
    // It was for what was fetched before.
    remove_file(&dir.join(GO_FILE))?;
    remove_file(&dir.join("fetch-failed.json"))
}

struct Supervisor<'a> {
    dir: &'a RunDir,
    orders: &'a Orders,
    secrets: Secrets,
    id: String,
    container: Container,
    log: Arc<Mutex<raw_log::Writer>>,
}

/// Whether all that a step wrote could be written to the log, once it has ended.
type Output = oneshot::Receiver<io::Result<()>>;

/// What a step came to, or what kept it from that.
type StepResult<T> = Result<T, EndCause>;

// === impl Supervisor ===

impl<'a> Supervisor<'a> {
    fn new(dir: &'a RunDir, orders: &'a Orders, secrets: Secrets) -> io::Result<Self> {
        let id = orders.run.to_string();
        make_run_dir(dir.private(), orders.sandbox.user_namespace)?;
        Ok(Self {
            dir,
            orders,
            secrets,
            container: Container::new(orders.runtime.clone(), dir.clone(), id.clone()),
            id,
            log: Arc::new(Mutex::new(raw_log::Writer::create(dir)?)),
        })
    }

    async fn steps(&mut self, watch: &mut Watch) -> StepResult<i32> {
        if let Some(cause) = watch.stop_request() {
            return Err(cause);
        }
        let id = self.id.clone();
        let mut sandbox = Sandbox::new(&self.orders.sandbox, self.dir, &id);
        self.fetch(watch, &sandbox).await?;
        self.go_ahead(watch).await?;
        sandbox.args.clone_from(&self.orders.kaniko_args);
        self.build(watch, sandbox).await
    }

    /// Runs the fetch step; makes the sandbox's root and the start durable meanwhile.
    async fn fetch(&mut self, watch: &mut Watch, sandbox: &Sandbox<'_>) -> StepResult<()> {
        let (mut child, output) = self.start_fetch().map_err(lost("start the fetch step"))?;
        // Nothing that comes later has a use for it.
        self.secrets.run.git = None;
        // Meanwhile: neither shows on the clock when the source takes a while.
        let prepared = sandbox.prepare().and_then(|()| self.dir.sync());
        let waited = watch.over(child.wait()).await;
        if let Some(pid) = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
        {
            // Still there: cut short. Its children are in its group.
            let _gone_already = rustix::process::kill_process_group(pid, Signal::KILL);
            let _reaped = time::timeout(KILL_PATIENCE, child.wait()).await;
        }
        let logged = log_complete(output).await;
        let status = waited?.map_err(lost("wait for the fetch step"))?;
        logged?;
        prepared.map_err(lost("make the sandbox"))?;
        remove_file(&self.dir.join("fetch.json")).map_err(lost("tidy up after the fetch step"))?;

        let failed = self
            .dir
            .fetch_failed()
            .map_err(lost("read what the fetch step says"))?;
        if let Some(failed) = failed {
            return Err(EndCause::FetchFailed {
                failure: failed.failure,
                message: failed.message,
            });
        }
        let fetched = self
            .dir
            .fetched()
            .map_err(lost("read what the fetch step says"))?;
        if fetched.is_none() || !status.success() {
            return Err(EndCause::FetchFailed {
                failure: FetchFailure::Internal,
                message: format!("the fetch step ended without a result ({status})"),
            });
        }
        if let Some(ns) = self.orders.sandbox.user_namespace {
            let workspace = self.dir.workspace();
            let own = move || tree::chown(&workspace, ns.uid_base, ns.uid_base);
            let owned = watch.over(tokio::task::spawn_blocking(own)).await?;
            owned
                .map_err(io::Error::other)
                .flatten()
                .map_err(lost("hand the context to the sandbox"))?;
        }
        Ok(())
    }

    /// Waits until what was fetched may be built, if the run is to wait at all.
    async fn go_ahead(&self, watch: &mut Watch) -> StepResult<()> {
        if !self.orders.gated {
            return Ok(());
        }
        let go = self.dir.join(GO_FILE);
        watch
            .over(async {
                while !go.exists() {
                    time::sleep(GO_PAUSE).await;
                }
            })
            .await
    }

    fn start_fetch(&self) -> io::Result<(tokio::process::Child, Output)> {
        let (program, args) = self
            .orders
            .fetch
            .split_first()
            .ok_or_else(|| io::Error::other("no program is configured"))?;
        let mut command = Command::new(program);
        command.args(args).arg("--run-dir").arg(self.dir.path());
        command
            .env(RUN_DIR_ENV, self.dir.path())
            .current_dir(self.dir.path());
        command.stdin(match &self.secrets.run.git {
            Some(login) => stdin_of(login)?,
            None => Stdio::null(),
        });
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        self.start_logged(command)
    }

    async fn build(&self, watch: &mut Watch, mut sandbox: Sandbox<'_>) -> StepResult<i32> {
        // The container's first process becomes our child once the runtime has gone.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| lost("become the container's parent")(error.into()))?;
        self.hand_over(&mut sandbox)
            .map_err(lost("hand the secrets to the sandbox"))?;
        sandbox.write_bundle().map_err(lost("write the bundle"))?;

        let started = self.container.start_command();
        let (mut child, output) = started
            .and_then(|command| self.start_logged(command))
            .map_err(lost("start the runtime"))?;
        let started = match watch.over(child.wait()).await {
            Ok(status) => status.map_err(lost("wait for the runtime"))?,
            Err(cause) => {
                // Cut short in the middle of its work it would leave it half done.
                if time::timeout(KILL_PATIENCE, child.wait()).await.is_err() {
                    let _dead = child.kill().await;
                }
                return Err(self
                    .kill_container(wait_for_init(&self.container).ok(), cause)
                    .await);
            }
        };
        remove_file(&sandbox.config_path()).map_err(lost("remove the secrets"))?;
        if !started.success() {
            let trouble = self.container.trouble();
            return Err(lost("start the sandbox")(io::Error::other(trouble)));
        }

        let mut init = wait_for_init(&self.container).map_err(lost("find the container's first process"))?;
        let result = match watch.over(&mut init).await {
            Ok(code) => code
                .map_err(io::Error::other)
                .flatten()
                .map_err(lost("wait for the container")),
            Err(cause) => Err(self.kill_container(Some(init), cause).await),
        };
        log_complete(output).await.and(result)
    }

    /// Gives the sandbox the build's secrets: those of them that its Dockerfile mounts, where that can be told.
    fn hand_over(&self, sandbox: &mut Sandbox<'_>) -> io::Result<()> {
        let text = self.dir.fetched()?.and_then(|fetched| fetched.dockerfile);
        let wanted = text
            .and_then(|text| dockerfile::parse(&text, &BTreeMap::new()).ok())
            .map_or(SecretMounts::All, |dockerfile| dockerfile.secret_mounts());
        let (args, mut env) = kaniko::secret_mounts(&self.secrets.run.mounts, &wanted);
        sandbox.args.extend(args);
        let build_args = self.secrets.build_args.iter();
        env.extend(
            build_args.map(|(name, value)| (name.clone(), SecretText::new(value.reveal().to_owned()))),
        );
        sandbox.secret_env = env;
        sandbox.log_in(&self.secrets.run.registries)
    }

    /// Starts a program with its output, and that of what it starts, going to the log by way of a pipe: with the file itself in
    /// hand a build could cut the log short or blow it up, and would write it in clear.
    fn start_logged(&self, mut command: Command) -> io::Result<(tokio::process::Child, Output)> {
        let (reader, writer) = io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let child = tokio::process::Command::from(command).spawn()?;
        let (done, output) = oneshot::channel();
        let log = Arc::clone(&self.log);
        std::thread::spawn(move || {
            let copied = copy(reader, &log);
            let _nobody_waits = done.send(copied);
        });
        Ok((child, output))
    }

    async fn kill_container(&self, init: Option<Init>, cause: EndCause) -> EndCause {
        let deadline = time::Instant::now() + KILL_PATIENCE;
        if let Some(mut init) = init {
            while time::Instant::now() < deadline {
                let _not_yet = tokio::process::Command::from(self.container.kill_command())
                    .status()
                    .await;
                if time::timeout(KILL_PAUSE, &mut init).await.is_ok() {
                    return cause;
                }
            }
        }
        // Slower, and kills what a runtime cut short has left half made.
        let _deleted_later_again = self.container.delete();
        cause
    }

    /// What Kaniko's exit code means, given what the kernel did to the sandbox.
    fn read_exit(&self, code: i32) -> EndCause {
        // A step may have got over it: then it is the build's business alone.
        if code != 0 && cgroups::oom_kills(&self.id) > 0 {
            EndCause::OutOfMemory
        } else {
            EndCause::Exited { code }
        }
    }

    fn digest(&self) -> Option<String> {
        read_digest(&self.dir.rootfs(), self.orders.digest_file()?)
    }
}

/// Waits for the container's first process on a thread of its own, and gives its exit code: 128 and the signal if it was
/// killed.
type Init = tokio::task::JoinHandle<io::Result<i32>>;

fn wait_for_init(container: &Container) -> io::Result<Init> {
    let text = fs::read_to_string(container.pid_file())?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the runtime wrote no process id"))?;
    Ok(tokio::task::spawn_blocking(move || {
        let waited = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()))?;
        let status = waited
            .ok_or_else(|| io::Error::other("it ended without a status"))?
            .1;
        let signal = status
            .terminating_signal()
            .map(|signal| signal.saturating_add(128));
        status
            .exit_status()
            .or(signal)
            .ok_or_else(|| io::Error::other("it ended in no known way"))
    }))
}

/// Waits until all that a step wrote is in the log; the step has ended.
async fn log_complete(output: Output) -> StepResult<()> {
    match time::timeout(LOG_PATIENCE, output).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(lost("write the log")(error)),
        Ok(Err(_)) | Err(_) => Err(lost("read the log")(io::Error::other("its end did not come"))),
    }
}

/// Copies to the end of input. After a failed write it goes on reading, or who writes to the pipe would stand still.
fn copy(mut from: impl Read, to: &Mutex<raw_log::Writer>) -> io::Result<()> {
    let mut result = Ok(());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return result,
            Ok(count) => {
                if let (Ok(()), Some(bytes)) = (&result, buffer.get_mut(..count)) {
                    result = lock(to).push(bytes);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn lost(doing: &'static str) -> impl Fn(io::Error) -> EndCause {
    move |error| EndCause::Lost {
        message: format!("could not {doing}: {error}"),
    }
}
