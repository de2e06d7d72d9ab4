//! A run's directory: the only thing the daemon and the supervisor share, so every file in it is written such that a crash
//! of either leaves nothing, or something that the other can carry on with. A power failure may undo what was prepared (the
//! store knows that the run is due), but not that it was started nor how it ended.
//!
//! ```text
//! <data_dir>/runs/<run id>/
//!   orders.json   what the supervisor is to do                    written before the directory gets its name
//!   fetch.json    what the fetch step is to do                              "
//!   run.lock      locked by the supervisor for as long as it lives
//!   started       durable before the build step: a run starts once
//!   go            what was fetched may be built: only gated runs wait for it
//!   stop          somebody wants it stopped
//!   workspace/  fetched.json  fetch-failed.json                   the fetch step's results
//!   rootfs/  etc/                                                 the sandbox, gone after the end
//!   log           raw output of both steps, enciphered: see [`raw_log`]
//!   end.json      how it ended; written once the log is complete
//! <private folder>, in memory where the machine has a place there: see [`private`]
//!   bundle/       config.json, with build args and mounted secrets: gone once Kaniko has started
//!   state/        the runtime's
//!   docker.json   the run's registry logins, gone after the end
//!   log.key       what the log is read with; gone with the run
//! ```
//!
//! Nothing in the run's directory holds a secret: the supervisor is given them by its standard input, from the memory of the
//! daemon that starts it. A run that nobody had started when its daemon died waits until the next is given its plan again.
//!
//! The lock is a POSIX one: it ends with its process, is not inherited, can be tested without being taken (a test by taking
//! it could turn the real supervisor away), and names its holder.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ignite_core::run::{EndCause, FetchFailure, FetchReport, RunEnd};
use rustix::{
    fs::FlockOperation,
    process::{Flock, FlockOffsetType, FlockType, Pid},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::executor::local::private;

/// Files that steps outside our trust may have written are read up to this size.
const JSON_BYTES_MAX: u64 = 8 << 20;

/// The go-ahead. Not durable: a power failure ends the run that it was for.
pub(super) const GO_FILE: &str = "go";

/// The directory of one run. Copies refer to the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunDir {
    path: PathBuf,
    private: PathBuf,
}

/// What a run's directory says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody has started it yet.
    Prepared,
    /// Its supervisor is this process.
    Live(Pid),
    /// It was started and its supervisor went without a word.
    Abandoned,
    Ended(RunEnd),
}

/// Content of `fetch-failed.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FetchFailed {
    pub(super) failure: FetchFailure,
    pub(super) message: String,
}

// === impl RunDir ===

impl RunDir {
    pub(super) fn new(path: PathBuf) -> Self {
        let private = private::folder_of(&path);
        Self { path, private }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.join("log")
    }

    pub(super) fn rootfs(&self) -> PathBuf {
        self.join("rootfs")
    }

    pub(super) fn workspace(&self) -> PathBuf {
        self.join("workspace")
    }

    /// The private folder.
    pub(super) fn private(&self) -> &Path {
        &self.private
    }

    pub(super) fn bundle(&self) -> PathBuf {
        self.private.join("bundle")
    }

    pub(super) fn exists(&self) -> io::Result<bool> {
        self.path.try_exists()
    }

    /// How the run stands. The order of the three looks is what makes the answer true: a supervisor writes `started` only
    /// under the lock, and `end.json` before it lets go.
    pub(super) fn standing(&self) -> io::Result<Standing> {
        let started = self.join("started").try_exists()?;
        let holder = self.holder()?;
        if let Some(end) = self.end()? {
            return Ok(Standing::Ended(end));
        }
        Ok(match (holder, started) {
            (Some(pid), _) => Standing::Live(pid),
            (None, true) => Standing::Abandoned,
            (None, false) => Standing::Prepared,
        })
    }

    /// The process that holds the lock.
    pub(super) fn holder(&self) -> io::Result<Option<Pid>> {
        let file = match File::open(self.join("run.lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let test = Flock {
            start: 0,
            length: 0,
            pid: None,
            typ: FlockType::WriteLock,
            offset_type: FlockOffsetType::Set,
        };
        let blocker = rustix::process::fcntl_getlk(file, &test)?;
        Ok(blocker.and_then(|lock| lock.pid))
    }

    /// Takes the lock for the life of this process, or says that another has it. To be called once in a process: closing
    /// any second handle of the file would drop the lock.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        let file = create(&self.join("run.lock"), 0o600)?;
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How the run ended. An end that cannot be read is still an end.
    pub(super) fn end(&self) -> io::Result<Option<RunEnd>> {
        match self.read_json("end.json") {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(RunEnd {
                cause: EndCause::Lost {
                    message: format!("its end.json is damaged: {error}"),
                },
                ended_at_ms: 0,
                digest: None,
            })),
            end => end,
        }
    }

    /// Says how the run ended, for good: there with its whole content or not at all, also after a power failure. The caller
    /// has made the log durable.
    pub(super) fn write_end(&self, end: &RunEnd) -> io::Result<()> {
        let partial = self.join(".end.json.partial");
        let mut file = create(&partial, 0o600)?;
        file.write_all(&serde_json::to_vec(end)?)?;
        file.sync_all()?;
        fs::rename(partial, self.join("end.json"))
    }

    /// What the fetch step found. It is not durable when it is written: after a power failure it may have lost its content,
    /// which is no reason to lose a run whose end is known.
    pub(super) fn fetched(&self) -> io::Result<Option<FetchReport>> {
        match self.read_json("fetched.json") {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            fetched => fetched,
        }
    }

    pub(super) fn fetch_failed(&self) -> io::Result<Option<FetchFailed>> {
        self.read_json("fetch-failed.json")
    }

    /// Makes the directory's own name and those in it durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync_dir(&self.path)?;
        self.path.parent().map_or(Ok(()), sync_dir)
    }

    pub(super) fn read_json<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let mut text = Vec::new();
        match File::open(self.join(name)) {
            Ok(file) => file.take(JSON_BYTES_MAX).read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Readable by root only.
    pub(super) fn write_json<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        create(&self.join(name), 0o600)?.write_all(&serde_json::to_vec(value)?)
    }
}

/// Creates or truncates a file with exactly this mode on creation.
pub(super) fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
}

pub(super) fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a file that may be gone already.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_report_that_lost_its_content_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let dir = RunDir::new(folder.path().to_owned());
        fs::write(dir.join("fetched.json"), "").unwrap();
        assert_eq!(dir.fetched().unwrap(), None);
        fs::write(dir.join("fetched.json"), r#"{"context_size_bytes":7}"#).unwrap();
        assert_eq!(dir.fetched().unwrap().unwrap().context_size_bytes, 7);
    }
}
