//! The data directory: one user at a time, one layout version.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{database::sync_dir, tenure::Tenure};

/// Goes up when an older daemon could no longer read the store.
pub const STORE_VERSION: u32 = 3;

const LOCK: &str = "LOCK";
const STORE: &str = "store";
/// A store in the making; becomes [`STORE`] by one rename.
const STAGING: &str = "store.new";
const VERSION: &str = "STORE_VERSION";

/// A data directory that this process alone uses for as long as the value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    tenure: Tenure,
    _lock: File,
}

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("{path} is in use by another ignited{holder}")]
    InUse { path: PathBuf, holder: String },
    #[error(
        "{path} was written by a newer version (its layout is {found}, this one knows up to {STORE_VERSION}): upgrade \
         ignited, or import an export into an empty directory"
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("{path} is not a version number: the data directory is damaged or not one of ignited")]
    BadVersion { path: PathBuf },
    #[error("{path} holds a store already")]
    NotEmpty { path: PathBuf },
    #[error("{doing} {path}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

// === impl DataDir ===

impl DataDir {
    /// Locks the directory, made if need be, and checks the version of the store in it. Blocks.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        Self::open_for(path, Tenure::default())
    }

    /// As [`Self::open`]; what is opened in it takes writes no longer than `tenure` lasts.
    pub fn open_for(path: &Path, tenure: Tenure) -> Result<Self, DataDirError> {
        let mut builder = fs::DirBuilder::new();
        // Others may pass but not look: a sandbox's mapped root has to reach its own directory below.
        builder.recursive(true).mode(0o711);
        builder.create(path).map_err(io_error("making", path))?;
        let lock = lock(path)?;
        let data = Self {
            path: path.to_owned(),
            tenure,
            _lock: lock,
        };
        if data.has_store() {
            check_version(&data.store_dir().join(VERSION))?;
        }
        Ok(data)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    pub fn has_store(&self) -> bool {
        self.store_dir().exists()
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        state_dir(&self.store_dir())
    }

    pub(super) fn logs_dir(&self) -> PathBuf {
        logs_dir(&self.store_dir())
    }

    /// Makes an empty store unless there is one. From here on an older daemon takes neither.
    pub(super) fn ensure_store(&self) -> Result<(), DataDirError> {
        if self.has_store() {
            return mark_version(&self.store_dir());
        }
        self.begin_store()?;
        self.finish_store()
    }

    /// An empty store beside the real one, at the path returned: nobody sees it before [`Self::finish_store`].
    pub(super) fn begin_store(&self) -> Result<PathBuf, DataDirError> {
        if self.has_store() {
            return Err(DataDirError::NotEmpty {
                path: self.store_dir(),
            });
        }
        self.abandon_store()?;
        let staging = self.path.join(STAGING);
        let write = || {
            fs::DirBuilder::new().mode(0o700).create(&staging)?;
            fs::create_dir(logs_dir(&staging))?;
            write_version(&staging)
        };
        write().map_err(io_error("making", &staging))?;
        Ok(staging)
    }

    pub(super) fn finish_store(&self) -> Result<(), DataDirError> {
        let staging = self.path.join(STAGING);
        let rename = || {
            sync_dir(&staging)?;
            fs::rename(&staging, self.store_dir())?;
            sync_dir(&self.path)
        };
        rename().map_err(io_error("putting in place", &staging))
    }

    /// Removes what an interrupted [`Self::begin_store`] left.
    pub(super) fn abandon_store(&self) -> Result<(), DataDirError> {
        let staging = self.path.join(STAGING);
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("removing", &staging)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn store_dir(&self) -> PathBuf {
        self.path.join(STORE)
    }
}

pub(super) fn state_dir(store: &Path) -> PathBuf {
    store.join("state")
}

pub(super) fn logs_dir(store: &Path) -> PathBuf {
    store.join("logs")
}

fn lock(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join(LOCK);
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let mut file = open.map_err(io_error("opening", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = (&file).take(16).read_to_string(&mut pid);
            let holder = match pid.trim().parse::<u32>() {
                Ok(pid) => format!(" (process {pid})"),
                Err(_) => String::new(),
            };
            return Err(DataDirError::InUse {
                path: dir.to_owned(),
                holder,
            });
        }
        Err(TryLockError::Error(error)) => return Err(io_error("locking", &path)(error)),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(io_error("writing", &path))?;
    Ok(file)
}

/// Whole or not at all. Layouts of earlier versions need no other change: what differs is read both ways.
fn write_version(store: &Path) -> io::Result<()> {
    let mut version = tempfile::NamedTempFile::new_in(store)?;
    writeln!(version, "{STORE_VERSION}")?;
    version.as_file().sync_all()?;
    version.persist(store.join(VERSION))?;
    sync_dir(store)
}

fn mark_version(store: &Path) -> Result<(), DataDirError> {
    let path = store.join(VERSION);
    let text = fs::read_to_string(&path).map_err(io_error("reading", &path))?;
    if text.trim() != STORE_VERSION.to_string() {
        write_version(store).map_err(io_error("writing", &path))?;
    }
    Ok(())
}

fn check_version(path: &Path) -> Result<(), DataDirError> {
    let text = fs::read_to_string(path).map_err(io_error("reading", path))?;
    match text.trim().parse() {
        Ok(1..=STORE_VERSION) => Ok(()),
        Ok(found) if found > STORE_VERSION => Err(DataDirError::Newer {
            path: path.to_owned(),
            found,
        }),
        Ok(_) | Err(_) => Err(DataDirError::BadVersion {
            path: path.to_owned(),
        }),
    }
}

pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_user_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(matches!(error, DataDirError::InUse { .. }));
        assert!(
            error
                .to_string()
                .contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(first);
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn a_newer_or_damaged_layout_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        data.ensure_store().unwrap();
        let version = data.store_dir().join(VERSION);
        drop(data);
        fs::write(&version, "4\n").unwrap();
        assert!(matches!(
            DataDir::open(dir.path()),
            Err(DataDirError::Newer { found: 4, .. })
        ));
        for text in ["", "0", "x", "-1"] {
            fs::write(&version, text).unwrap();
            assert!(matches!(
                DataDir::open(dir.path()),
                Err(DataDirError::BadVersion { .. })
            ));
        }
        fs::write(&version, "1\n").unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        assert_eq!(
            fs::read_to_string(&version).unwrap(),
            "1\n",
            "looking changes nothing"
        );
        data.ensure_store().unwrap();
        assert_eq!(fs::read_to_string(&version).unwrap(), "3\n");
    }

    #[test]
    fn a_store_that_was_never_finished_is_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        data.begin_store().unwrap();
        assert!(!data.has_store());
        data.ensure_store().unwrap();
        assert!(data.has_store() && !dir.path().join(STAGING).exists());
    }
}
