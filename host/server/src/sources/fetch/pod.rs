//! The fetch step as the first container of a pod: `ignited fetch --pod`.
//!
//! ```text
//!   /ignite/plan/fetch.json           PodPlan                            from the pod's Secret
//!   /ignite/plan/context.json         PodContext, for an archive             "
//!   /ignite/plan/git-login.json       a GitLogin, where has_login            "
//!   /ignite/pod/annotations           the pod's annotations, kept up to date by the kubelet
//!   /ignite/run/                      what `--run-dir` is for a local run; the build step sees its `workspace/`
//!   /ignite/bin/ignite-shim           put there for the build step
//! ```
//!
//! What it says, it says in [`frames`] on standard output. The exit code is 0 behind a report, 1 behind a failure. A gated step
//! ends only when the pod is annotated with [`GO_AHEAD`]. SIGTERM ends it wherever it stands.

mod download;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use ignite_core::{run::FetchReport, secrets::SecretText};
use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};
use rustix::fs::Mode;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::{
    Failed, FetchPlan, PLAN_FILE, WORKSPACE_DIR, frames::FrameWriter, make_empty, read_login, remove_if_there,
};
use crate::executor::{RunSource, local::tree};

/// In the plan's folder: a [`PodContext`].
pub const CONTEXT_FILE: &str = "context.json";
/// In the plan's folder: a [`GitLogin`](ignite_core::secrets::GitLogin).
pub const LOGIN_FILE: &str = "git-login.json";
/// In the pod's folder, as the downward API writes it: `key="value"` lines.
pub const ANNOTATIONS_FILE: &str = "annotations";
/// The annotation that lets a gated run go on, with the value `true`.
pub const GO_AHEAD: &str = "ignite.dodil.io/go-ahead";
/// Where a pod has its volumes, for the step and whoever mounts them: the plan, the annotations, the run, the programs.
pub const PLAN_DIR: &str = "/ignite/plan";
pub const POD_DIR: &str = "/ignite/pod";
pub const RUN_DIR: &str = "/ignite/run";
pub const BIN_DIR: &str = "/ignite/bin";
/// In the folder of programs.
pub const SHIM_FILE: &str = "ignite-shim";

const GO_PAUSE: Duration = Duration::from_millis(100);
/// 128 and SIGTERM, as shells have it.
const TERMINATED: i32 = 143;

/// The folders of a pod, where it has its volumes.
#[derive(Debug, Clone)]
pub struct PodFolders {
    pub plan: PathBuf,
    pub pod: PathBuf,
    pub run: PathBuf,
    pub bin: PathBuf,
    /// The shim's own place in the image.
    pub shim: PathBuf,
}

/// What the step is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodPlan {
    /// The path of an archive is where it is downloaded to; it is removed again.
    #[serde(flatten)]
    pub fetch: FetchPlan,
    /// Once it has reported, the step waits for the go-ahead.
    pub gated: bool,
    /// After this the step gives up by itself, counted from its own start: the pod's deadline comes first.
    pub timeout: Duration,
}

/// Where an archive is to be had.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodContext {
    /// Of the gateway, with the path of a [`ContextGrant`](crate::sources::contexts::grants::ContextGrant).
    pub url: String,
    pub token: SecretText,
}

/// Runs the step in the current process, which should have nothing else to do: the umask is set, and signals end it.
pub fn run(folders: &PodFolders) -> ExitCode {
    let started = Instant::now();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let mut frames = FrameWriter::new(io::stdout());
    let mut log = |line: &str| {
        // Whoever reads the log may be gone; that is no reason to fail.
        let _ = frames.log(line);
    };
    let outcome = end_on_sigterm()
        .map_err(|error| Failed::internal("preparing for signals", error))
        .and_then(|()| read_plan(folders))
        .and_then(|plan| {
            let deadline = started + plan.timeout;
            let report = work(folders, &plan, deadline, &mut log)?;
            Ok((report, plan.gated.then_some(deadline)))
        });
    let (result, gate) = match outcome {
        Ok((report, gate)) => (Ok(report), gate),
        Err(failed) => {
            log(&format!("Error: {failed}"));
            // What there is of the source is of no use to anyone.
            let _ = make_empty(&folders.run.join(WORKSPACE_DIR));
            (Err(failed), None)
        }
    };
    let may_go_on = frames.finish(&result).is_ok()
        && result.is_ok()
        && gate.is_none_or(|deadline| wait_for_go_ahead(&folders.pod.join(ANNOTATIONS_FILE), deadline));
    match may_go_on {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// A container's first process takes no signal that it has not asked for, and git may wait long for a server.
fn end_on_sigterm() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut terminate = {
        let _entered = runtime.enter();
        signal(SignalKind::terminate())?
    };
    thread::Builder::new().spawn(move || {
        runtime.block_on(terminate.recv());
        std::process::exit(TERMINATED);
    })?;
    Ok(())
}

/// Git and ssh read the login from files that this process has open. A process that keeps its memory to itself shows these to
/// nobody without a capability that a container does not have. There is nobody else in this one; no core is dumped all the same.
fn open_to_children() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(prctl::set_dumpable(true)?)
}

fn work(
    folders: &PodFolders,
    plan: &PodPlan,
    deadline: Instant,
    log: &mut dyn FnMut(&str),
) -> Result<FetchReport, Failed> {
    place_shim(folders).map_err(|error| Failed::internal("putting the shim in place", error))?;
    let login = match plan.fetch.has_login {
        true => {
            let login = open_to_children()
                .and_then(|()| fs::File::open(folders.plan.join(LOGIN_FILE)))
                .and_then(|mut file| read_login(&mut file));
            Some(login.map_err(|error| Failed::internal("reading the git login", error))?)
        }
        false => None,
    };
    let fetch = |log: &mut dyn FnMut(&str)| super::fetch(&plan.fetch, &folders.run, login.as_ref(), log);
    let report = match &plan.fetch.source {
        RunSource::Archive { path, .. } => {
            let context = read_context(&folders.plan.join(CONTEXT_FILE))
                .map_err(|error| Failed::internal("reading where the context is", error))?;
            let fetched = download::download(&context, path, deadline, log).and_then(|()| fetch(log));
            remove_if_there(path).map_err(|error| Failed::internal("removing the archive", error))?;
            fetched?
        }
        RunSource::Git(_) => fetch(log)?,
    };
    own_by_root(&folders.run.join(WORKSPACE_DIR))
        .map_err(|error| Failed::internal("handing over the context", error))?;
    Ok(report)
}

fn read_plan(folders: &PodFolders) -> Result<PodPlan, Failed> {
    let read = || Ok(serde_json::from_slice(&fs::read(folders.plan.join(PLAN_FILE))?)?);
    read().map_err(|error: io::Error| Failed::internal("reading the plan of the fetch step", error))
}

fn read_context(path: &Path) -> io::Result<PodContext> {
    let text = Zeroizing::new(fs::read(path)?);
    // The parser's message could quote it.
    serde_json::from_slice(&text).map_err(|_| io::Error::other("it is damaged"))
}

/// The build step's image has nothing but Kaniko.
fn place_shim(folders: &PodFolders) -> io::Result<()> {
    let mut from = fs::File::open(&folders.shim)?;
    let mut file = tempfile::NamedTempFile::new_in(&folders.bin)?;
    io::copy(&mut from, &mut file)?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o755))?;
    file.persist(folders.bin.join(SHIM_FILE))?;
    Ok(())
}

/// Kaniko takes the owners of files into the image. They are root's unless the pod's volumes belong to a group.
fn own_by_root(workspace: &Path) -> io::Result<()> {
    let meta = fs::metadata(workspace)?;
    match meta.uid() == 0 && meta.gid() != 0 {
        true => tree::chown(workspace, 0, 0),
        false => Ok(()),
    }
}

/// False if it did not come in time.
#[allow(
    clippy::disallowed_methods,
    reason = "the process's own thread, with nothing else to do"
)]
fn wait_for_go_ahead(annotations: &Path, deadline: Instant) -> bool {
    let line = format!("{GO_AHEAD}=\"true\"");
    loop {
        // The kubelet replaces the file; it may be away for a moment.
        let text = fs::read(annotations).unwrap_or_default();
        // Values are quoted, so none of them can have a line of its own.
        if text
            .split(|byte| *byte == b'\n')
            .any(|found| found == line.as_bytes())
        {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(GO_PAUSE);
    }
}

// === impl PodFolders ===

impl Default for PodFolders {
    fn default() -> Self {
        let own = std::env::current_exe().unwrap_or_default();
        Self {
            plan: PLAN_DIR.into(),
            pod: POD_DIR.into(),
            run: RUN_DIR.into(),
            bin: BIN_DIR.into(),
            shim: own.with_file_name(SHIM_FILE),
        }
    }
}
