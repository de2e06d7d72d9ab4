//! Runs `git` with nothing but what is written here: no configuration of the machine or the user, no prompts, no hooks,
//! no helpers, no other transports, no redirects.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    GitRules,
    error::{self, GitError, Shown},
    logins::Access,
    origin::Origin,
};

#[derive(Debug)]
pub(super) struct Git {
    home: PathBuf,
    /// The system's authorities and the operator's, where the operator has any.
    authorities: Option<PathBuf>,
}

/// How a command of git's ended; of each output its beginning.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// A directory that may not grow past a size while a command runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch<'a> {
    pub(super) dir: &'a Path,
    pub(super) bytes_max: u64,
}

const KEPT_BYTES_MAX: u64 = 256 << 10;
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

const CONFIG: [&str; 25] = [
    "advice.detachedHead=false",
    "core.askPass=",
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.symlinks=true",
    "credential.helper=",
    "fetch.recurseSubmodules=false",
    // One pack is quicker to write and to watch than its objects.
    "fetch.unpackLimit=1",
    "filter.lfs.process=",
    "filter.lfs.required=false",
    "filter.lfs.smudge=",
    "gc.auto=0",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=30",
    "http.proxy=",
    "maintenance.auto=false",
    "protocol.ext.allow=never",
    "protocol.file.allow=never",
    "safe.directory=*",
    "submodule.recurse=false",
    "transfer.bundleURI=false",
    "transfer.credentialsInUrl=die",
];

/// Objects are checked as they come. These faults are common in old histories and harm nobody.
const HARMLESS: [&str; 9] = [
    "badDate",
    "badDateOverflow",
    "badEmail",
    "badFilemode",
    "badTimezone",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "zeroPaddedFilemode",
];

// === impl Git ===

impl Git {
    /// `scratch` is an empty directory, for git's idea of a home.
    pub(super) fn new(scratch: &Path, rules: &GitRules) -> io::Result<Self> {
        let home = scratch.join("home");
        fs::create_dir(&home)?;
        let authorities = match &rules.ca_file {
            Some(ca_file) => Some(join_authorities(ca_file, scratch.join("authorities.pem"))?),
            None => None,
        };
        Ok(Self { home, authorities })
    }

    /// A command on a repository.
    pub(super) fn at(&self, git_dir: &Path) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let mut command = Command::new("git");
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", &self.home)
            .env("XDG_CONFIG_HOME", &self.home)
            .env("LC_ALL", "C")
            // Nothing is fetched but by `to`.
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_DIR", git_dir)
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for setting in CONFIG {
            command.args(["-c", setting]);
        }
        command
    }

    /// A command that talks to the origin, and by no other way than the origin's.
    pub(super) fn to(&self, git_dir: &Path, origin: &Origin, access: &Access) -> Command {
        let mut command = self.at(git_dir);
        command.env("GIT_ALLOW_PROTOCOL", origin.place().scheme.as_str());
        if let Some(pin) = origin.pin() {
            command.arg("-c").arg(format!("http.curloptResolve={pin}"));
        }
        if let Some(authorities) = &self.authorities {
            let mut setting = OsString::from("http.sslCAInfo=");
            setting.push(authorities);
            command.arg("-c").arg(setting);
        }
        access.grant(&mut command, origin);
        command.args(["-c", "fetch.fsckObjects=true"]);
        for fault in HARMLESS {
            command.arg("-c").arg(format!("fetch.fsck.{fault}=ignore"));
        }
        command
    }
}

/// Writes the system's authorities and the operator's into one file: git takes one.
fn join_authorities(ours: &Path, to: PathBuf) -> io::Result<PathBuf> {
    const SYSTEM: [&str; 2] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
    ];
    let mut all = SYSTEM
        .iter()
        .find_map(|path| fs::read(path).ok())
        .unwrap_or_default();
    all.push(b'\n');
    all.extend(fs::read(ours)?);
    fs::write(&to, all)?;
    Ok(to)
}

/// Runs to the end, or until the watched directory has grown too large.
pub(super) fn run(command: &mut Command, watch: Option<Watch<'_>>) -> Result<Ended, GitError> {
    let mut child = spawn(command)?;
    let (done, finished) = mpsc::channel::<()>();
    let stdout = keep_reading(child.stdout.take(), done.clone());
    let stderr = keep_reading(child.stderr.take(), done);
    // Nothing is ever sent: the channel closes when both outputs have ended.
    while let Err(RecvTimeoutError::Timeout) = finished.recv_timeout(WATCH_INTERVAL) {
        if let Some(watch) = watch
            && let Err(error) = watch.check()
        {
            kill(&mut child);
            return Err(error);
        }
    }
    let status = child
        .wait()
        .map_err(|source| GitError::internal("waiting for git", &source))?;
    if let Some(watch) = watch {
        watch.check()?;
    }
    Ok(Ended {
        status,
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
    })
}

/// Runs and hands over each record of the output that ends with NUL; the first error kills the command.
pub(super) fn each_record(
    command: &mut Command,
    mut take: impl FnMut(&[u8]) -> Result<(), GitError>,
) -> Result<(), GitError> {
    let mut child = spawn(command)?;
    let (done, _finished) = mpsc::channel();
    let stderr = keep_reading(child.stderr.take(), done);
    let taken = match child.stdout.take() {
        Some(output) => records(output, &mut take),
        None => Ok(()),
    };
    if let Err(error) = taken {
        kill(&mut child);
        return Err(error);
    }
    let status = child
        .wait()
        .map_err(|source| GitError::internal("waiting for git", &source))?;
    let stderr = stderr.join().unwrap_or_default();
    if status.success() {
        Ok(())
    } else {
        Err(error::classify(&stderr, "the repository", Shown::Nothing))
    }
}

fn records(output: impl Read, take: &mut dyn FnMut(&[u8]) -> Result<(), GitError>) -> Result<(), GitError> {
    const RECORD_BYTES_MAX: u64 = 64 << 10;
    let mut output = BufReader::new(output);
    let mut record = Vec::new();
    loop {
        record.clear();
        let read = (&mut output)
            .take(RECORD_BYTES_MAX)
            .read_until(0, &mut record)
            .map_err(|source| GitError::internal("reading from git", &source))?;
        if read == 0 {
            return Ok(());
        }
        if record.pop() != Some(0) {
            return Err(GitError::source(
                "the repository has a name that is too long".to_owned(),
            ));
        }
        take(&record)?;
    }
}

fn spawn(command: &mut Command) -> Result<Child, GitError> {
    command
        .spawn()
        .map_err(|source| GitError::internal("starting git", &source))
}

/// Reads everything, so that the writer never waits, and keeps the beginning.
fn keep_reading(
    output: Option<impl Read + Send + 'static>,
    done: mpsc::Sender<()>,
) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut output) = output {
            let _ = (&mut output).take(KEPT_BYTES_MAX).read_to_end(&mut kept);
            let _ = io::copy(&mut output, &mut io::sink());
        }
        drop(done);
        String::from_utf8_lossy(&kept).into_owned()
    })
}

/// Kills git and the helpers it started: one that only waits for the network would not notice.
fn kill(child: &mut Child) {
    let mut family = Vec::new();
    let mut next = vec![child.id()];
    while let Some(parent) = next.pop() {
        let children = children_of(parent);
        next.extend(&children);
        family.extend(children);
    }
    let _ = child.kill();
    for pid in family {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = child.wait();
}

fn children_of(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    found
}

// === impl Watch ===

impl Watch<'_> {
    fn check(&self) -> Result<(), GitError> {
        let size_bytes: u64 = walkdir::WalkDir::new(self.dir)
            .into_iter()
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .filter(fs::Metadata::is_file)
            .map(|meta| meta.len())
            .sum();
        if size_bytes > self.bytes_max {
            let message = format!("the repository is larger than {} bytes", self.bytes_max);
            return Err(GitError::source(message));
        }
        Ok(())
    }
}
