//! The fetch step: a process of its own that puts a run's source into its workspace and says what it found.
//!
//! Started as `ignited fetch --run-dir DIR`. In the run's directory it reads `fetch.json` ([`FetchPlan`]), fills `workspace/`
//! and writes, last and atomically, one of `fetched.json` ([`FetchReport`]) and `fetch-failed.json` ([`Failed`]). What it
//! prints becomes the head of the build's log. A step that was interrupted starts over. The login for a git source comes by
//! standard input: it is in no file. In a pod it is started as `ignited fetch --pod`: see [`pod`].

mod dockerfile;
pub mod frames;
pub mod pod;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
    thread,
};

use ignite_core::{
    dockerfile as parser,
    redact::SECRET_BYTES_MIN,
    run::{FetchFailure, FetchReport},
    secrets::GitLogin,
    spec::ArgValue,
};
use rustix::fs::Mode;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use self::dockerfile::Dockerfile;
use super::{
    archive::{self, ArchiveError, ArchiveLimits},
    git::{self, GitRules},
};
use crate::executor::RunSource;

/// The plan, for the executor to write before it starts the step.
pub const PLAN_FILE: &str = "fetch.json";
/// Written last where the step succeeded: a [`FetchReport`].
pub const REPORT_FILE: &str = "fetched.json";
/// Written last where it failed: a [`Failed`].
pub const FAILED_FILE: &str = "fetch-failed.json";
/// The context. For git sources the whole repository: the context is `context_dir` in it.
pub const WORKSPACE_DIR: &str = "workspace";

/// What the step is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FetchPlan {
    pub source: RunSource,
    /// Relative to the context, which for git sources is `context_dir`.
    pub dockerfile: String,
    pub limits: ArchiveLimits,
    pub git: GitRules,
    /// The step's standard input is the login for its git source: a [`GitLogin`].
    #[serde(default)]
    pub has_login: bool,
    /// Names of the build args that are given, and whether each is a secret.
    #[serde(default)]
    pub build_args: BTreeMap<String, bool>,
    /// Secret build args that are too short to be masked.
    #[serde(default)]
    pub unmasked: Vec<String>,
}

/// Why the step failed. The message is fit for the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failed {
    pub failure: FetchFailure,
    pub message: String,
}

/// The text of the Dockerfile in an unpacked context; none if it is not there, or no text of an allowed size.
pub(crate) fn dockerfile_of(workspace: &Path, dockerfile: &str) -> io::Result<Option<String>> {
    match dockerfile::read(workspace, Path::new(dockerfile))? {
        Dockerfile::Found(text) => Ok(text),
        Dockerfile::Missing(_) => Ok(None),
    }
}

/// Runs the step in the current process, which should have nothing else to do: the umask is set.
pub fn run(run_dir: &Path) -> ExitCode {
    // Git writes files by it, and a build must not depend on how the daemon was started.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let mut progress = |line: &str| {
        // Whoever reads the log may be gone; that is no reason to fail.
        let _ = writeln!(io::stdout(), "{line}");
    };
    match run_with(run_dir, &mut io::stdin(), &mut progress) {
        Ok(Ok(_)) => ExitCode::SUCCESS,
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "the fetch step could not write its result: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The outcome as it was written; Err where not even that could be done.
fn run_with(
    run_dir: &Path,
    input: &mut dyn Read,
    progress: &mut dyn FnMut(&str),
) -> io::Result<Result<FetchReport, Failed>> {
    for old in [REPORT_FILE, FAILED_FILE] {
        remove_if_there(&run_dir.join(old))?;
    }
    let fetched = fetch_locally(run_dir, input, progress);
    match &fetched {
        Ok(report) => write_atomically(run_dir, REPORT_FILE, report)?,
        Err(failed) => {
            progress(&format!("Error: {failed}"));
            // What there is of the source is of no use, and may be large.
            let _ = make_empty(&run_dir.join(WORKSPACE_DIR));
            write_atomically(run_dir, FAILED_FILE, failed)?;
        }
    }
    Ok(fetched)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn fetch_locally(
    run_dir: &Path,
    input: &mut dyn Read,
    progress: &mut dyn FnMut(&str),
) -> Result<FetchReport, Failed> {
    let plan =
        read_plan(run_dir).map_err(|error| Failed::internal("reading the plan of the fetch step", error))?;
    let login = match plan.has_login {
        true => Some(read_login(input).map_err(|error| Failed::internal("reading the git login", error))?),
        false => None,
    };
    fetch(&plan, run_dir, login.as_ref(), progress)
}

/// Fills `workspace/` in `run_dir`.
fn fetch(
    plan: &FetchPlan,
    run_dir: &Path,
    login: Option<&GitLogin>,
    progress: &mut dyn FnMut(&str),
) -> Result<FetchReport, Failed> {
    let workspace = run_dir.join(WORKSPACE_DIR);
    make_empty(&workspace).map_err(|error| Failed::internal("preparing the workspace", error))?;
    let (context_dir, resolved_commit, size) = match &plan.source {
        RunSource::Archive { path, sha256 } => {
            let size = unpack(path, sha256, &workspace, &plan.limits, progress)?;
            ("", None, size)
        }
        RunSource::Git(source) => {
            let cloned = git::clone(source, login, &workspace, run_dir, &plan.git, progress)
                .map_err(|error| Failed::new(error.failure, error.message))?;
            let size = measure(&workspace.join(&source.context_dir))
                .map_err(|error| Failed::internal("measuring the context", error))?;
            (source.context_dir.as_str(), Some(cloned.commit), size)
        }
    };
    progress(&format!(
        "Context: {} {}, {}",
        size.files,
        if size.files == 1 { "file" } else { "files" },
        shown_size(size.bytes)
    ));
    let dockerfile = read_dockerfile(&workspace, context_dir, &plan.dockerfile)?;
    if let Some(text) = &dockerfile {
        warn_of_secrets(text, plan, progress);
    }
    Ok(FetchReport {
        resolved_commit,
        context_size_bytes: size.bytes,
        dockerfile,
    })
}

fn read_plan(run_dir: &Path) -> io::Result<FetchPlan> {
    let plan = fs::read(run_dir.join(PLAN_FILE))?;
    Ok(serde_json::from_slice(&plan)?)
}

fn read_login(input: &mut dyn Read) -> io::Result<GitLogin> {
    const BYTES_MAX: u64 = 4 << 20;
    let mut text = Zeroizing::new(Vec::new());
    input.take(BYTES_MAX).read_to_end(&mut text)?;
    // The parser's message could quote it.
    serde_json::from_slice(&text).map_err(|_| io::Error::other("it is damaged"))
}

/// Tells which secrets the log will show, and where the Dockerfile writes the value of a secret build arg into the image: it is
/// its owner's to decide, but rarely meant.
fn warn_of_secrets(text: &str, plan: &FetchPlan, progress: &mut dyn FnMut(&str)) {
    for name in &plan.unmasked {
        progress(&format!(
            "[ignite] warning: the value of the secret {name} is shorter than {SECRET_BYTES_MIN} bytes, so the log shows it wherever a \
             step does"
        ));
    }
    let given = plan
        .build_args
        .iter()
        .map(|(name, secret)| (name.clone(), ArgValue::new(String::new(), *secret)));
    let Ok(parsed) = parser::parse(text, &given.collect()) else {
        return;
    };
    for found in parsed.secret_uses(&plan.build_args) {
        progress(&format!(
            "[ignite] warning: {} line {}: {} puts the secret {} {}, for everybody who can pull it; in a RUN step take it \
             by --mount=type=secret,id={}",
            plan.dockerfile,
            found.line,
            found.keyword,
            found.arg,
            found.place(),
            found.arg,
        ));
    }
}

/// The directory may hold what an interrupted step left, and may be a mount point, so it is emptied and not replaced.
fn make_empty(workspace: &Path) -> io::Result<()> {
    fs::create_dir_all(workspace)?;
    for entry in fs::read_dir(workspace)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Unpacks while the archive is hashed by another thread: what it may do is bound by the rules, not by its hash.
fn unpack(
    path: &Path,
    sha256: &str,
    workspace: &Path,
    limits: &ArchiveLimits,
    progress: &mut dyn FnMut(&str),
) -> Result<Size, Failed> {
    let opening = |error| Failed::internal("opening the stored context", error);
    let file = File::open(path).map_err(opening)?;
    let hashed = File::open(path).map_err(opening)?;
    let length_bytes = file.metadata().map_err(opening)?.len();
    progress(&format!("Unpacking the context ({})", shown_size(length_bytes)));
    let (unpacked, hash) = thread::scope(|scope| {
        let hash = scope.spawn(|| hash(hashed));
        (archive::unpack(&file, workspace, limits), hash.join())
    });
    let hash = hash
        .unwrap_or_else(|_| Err(io::Error::other("the thread that hashes it died")))
        .map_err(|error| Failed::internal("reading the stored context", error))?;
    if hash != sha256 {
        let error = io::Error::other("it is not what was uploaded");
        return Err(Failed::internal("checking the stored context", error));
    }
    let unpacked = unpacked.map_err(|error| match error {
        ArchiveError::Io { doing, source } => Failed::internal(&doing, source),
        refused @ (ArchiveError::NotAnArchive { .. }
        | ArchiveError::Empty
        | ArchiveError::Entry { .. }
        | ArchiveError::Whole(_)) => Failed::new(FetchFailure::Source, refused.to_string()),
    })?;
    Ok(Size {
        files: unpacked.files,
        bytes: unpacked.unpacked_bytes,
    })
}

fn hash(mut file: File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

/// Of a context's regular files.
#[derive(Default)]
struct Size {
    files: u64,
    bytes: u64,
}

fn measure(context: &Path) -> io::Result<Size> {
    let mut size = Size::default();
    for entry in walkdir::WalkDir::new(context) {
        let entry = entry?;
        if entry.file_type().is_file() {
            size.files += 1;
            size.bytes += entry.metadata()?.len();
        }
    }
    Ok(size)
}

fn read_dockerfile(workspace: &Path, context_dir: &str, path: &str) -> Result<Option<String>, Failed> {
    let within = Path::new(context_dir).join(path);
    let found = dockerfile::read(workspace, &within)
        .map_err(|error| Failed::internal("reading the Dockerfile", error))?;
    let why = match found {
        Dockerfile::Found(text) => return Ok(text),
        Dockerfile::Missing(missing) => missing.as_str(),
    };
    let similar = dockerfile::similar(&workspace.join(context_dir));
    let known = if similar.is_empty() {
        "it has none under another name".to_owned()
    } else {
        format!("it has {}", similar.join(", "))
    };
    let message = format!("the Dockerfile {path:?} {why} the context; {known}");
    Err(Failed::new(FetchFailure::Dockerfile, message))
}

/// Whole or not at all, but not durable: no run goes on after a power failure, so nobody reads it then, and a sync would
/// have the build wait until the whole unpacked context is on disk.
fn write_atomically(run_dir: &Path, name: &str, content: &impl Serialize) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(run_dir)?;
    serde_json::to_writer(&mut file, content)?;
    file.persist(run_dir.join(name))?;
    Ok(())
}

/// In decimal units with one digit behind the point, as disks are sold.
fn shown_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    let mut tenths = bytes / 100;
    let mut unit = "kB";
    for larger in UNITS {
        unit = larger;
        if tenths < 10_000 {
            break;
        }
        tenths /= 1000;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

// === impl Failed ===

impl Failed {
    fn new(failure: FetchFailure, message: String) -> Self {
        Self { failure, message }
    }

    fn internal(doing: &str, error: impl Display) -> Self {
        Self::new(FetchFailure::Internal, format!("{doing}: {error}"))
    }
}
