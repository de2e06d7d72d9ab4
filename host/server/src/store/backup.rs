//! Everything in the store as one portable file, and back.
//!
//! The file holds rows as the tables see them and nothing of sled, so it outlives a change of the engine, and an import gives back
//! the space that sled never does. Sealed values stay sealed: the master key is not in it, nor are the contexts' archives.
//!
//! An import builds the store beside its place and moves it there by one rename after all was checked and synced: what is refused
//! leaves nothing behind.

use std::{
    collections::HashSet,
    fmt, fs,
    io::{self, Read, Write},
    ops::Bound,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

pub mod format;

use format::{FormatError, Record, RecordReader, RecordWriter};

use super::{
    DataDir, DataDirError,
    batch::Batch,
    committer::{CommitError, Committer, CommitterOptions},
    data_dir::{STORE_VERSION, logs_dir, state_dir},
    database::{Database, OpenDatabaseError, ReadError, sync_dir},
    logs::{LogDay, day},
    schema,
    table::TableInfo,
};

const CACHE_BYTES: u64 = 32 << 20;
const BATCH_BYTES: usize = 512 << 10;

/// What was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub databases: u64,
    pub rows: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("{0} holds no store")]
    NoStore(PathBuf),
    #[error("{0} is there already")]
    Exists(PathBuf),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("the export is of a newer version (its layout is {found}, this one knows up to {STORE_VERSION})")]
    Newer { found: u32 },
    #[error("the export names {kind} {name:?}, which this version does not know")]
    Unknown { kind: &'static str, name: String },
    #[error("the export is not in order: {0}")]
    Order(&'static str),
    #[error("the database {name} could not be opened")]
    Open {
        name: String,
        #[source]
        source: OpenDatabaseError,
    },
    #[error("a database could not be read")]
    Read(#[from] ReadError),
    #[error("a database could not be written")]
    Commit(#[from] CommitError),
    #[error("{doing} {path}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A database of the store, as an export names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    State,
    Logs(LogDay),
}

/// The database that an import is filling.
struct Target {
    tables: &'static [TableInfo],
    committer: Committer,
    batch: Batch,
    bytes: usize,
}

/// Writes everything in the store to `path`, which appears once it is whole. A file that is there is replaced only if
/// `overwrite` says so. Blocks; the store must not be open.
pub fn export_to(data: &DataDir, path: &Path, overwrite: bool) -> Result<Summary, BackupError> {
    let io_error = |source| BackupError::Io {
        doing: "writing",
        path: path.to_owned(),
        source,
    };
    // Told before the work, and below by the file system, should the file have come meanwhile.
    if !overwrite && path.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(path.to_owned()));
    }
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(io_error)?;
    let summary = export(data, file.as_file_mut())?;
    file.as_file().sync_all().map_err(io_error)?;
    let placed = match overwrite {
        true => file.persist(path),
        false => file.persist_noclobber(path),
    };
    placed.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(path.to_owned()),
        _ => io_error(error.error),
    })?;
    sync_dir(dir).map_err(io_error)?;
    Ok(summary)
}

/// Writes everything in the store. Blocks; the store must not be open.
pub fn export(data: &DataDir, out: impl Write) -> Result<Summary, BackupError> {
    if !data.has_store() {
        return Err(BackupError::NoStore(data.path().to_owned()));
    }
    let logs = data.logs_dir();
    let days = day::days_in(&logs).map_err(|source| BackupError::Io {
        doing: "reading",
        path: logs,
        source,
    })?;
    let mut writer = RecordWriter::start(out)?;
    writer.write(&Record::Start {
        store_version: STORE_VERSION,
    })?;
    let mut summary = Summary::default();
    for name in std::iter::once(Name::State).chain(days.into_iter().map(Name::Logs)) {
        summary.rows += export_database(data, name, &mut writer)?;
        summary.databases += 1;
    }
    writer.finish()?;
    Ok(summary)
}

fn export_database<W: Write>(
    data: &DataDir,
    name: Name,
    writer: &mut RecordWriter<W>,
) -> Result<u64, BackupError> {
    let db = open(name, &name.path(&data.state_dir(), &data.logs_dir()))?;
    writer.write(&Record::Database {
        name: name.to_string(),
    })?;
    let mut rows = 0;
    for table in name.tables() {
        for row in db.scan_raw(table.name, (Bound::Unbounded, Bound::Unbounded))? {
            let (key, value) = row?;
            writer.write(&Record::Row {
                table: table.name.to_owned(),
                key: key.to_vec(),
                value,
            })?;
            rows += 1;
        }
    }
    Ok(rows)
}

/// Fills an empty data directory from an export, or leaves it empty. Blocks; not from async code.
pub fn import(data: &DataDir, input: impl Read) -> Result<Summary, BackupError> {
    let staging = data.begin_store()?;
    let imported = import_into(&staging, input).and_then(|summary| {
        data.finish_store()?;
        Ok(summary)
    });
    if imported.is_err() {
        data.abandon_store()?;
    }
    imported
}

fn import_into(staging: &Path, input: impl Read) -> Result<Summary, BackupError> {
    let mut reader = RecordReader::start(input)?;
    match reader.read()? {
        Some(Record::Start { store_version }) if store_version <= STORE_VERSION => {}
        Some(Record::Start { store_version }) => {
            return Err(BackupError::Newer { found: store_version });
        }
        Some(Record::Database { .. } | Record::Row { .. }) | None => {
            return Err(BackupError::Order("it has no start"));
        }
    }
    let mut summary = Summary::default();
    let mut seen = HashSet::new();
    let mut target: Option<Target> = None;
    while let Some(record) = reader.read()? {
        match record {
            Record::Start { .. } => return Err(BackupError::Order("it starts twice")),
            Record::Database { name } => {
                finish(target.take())?;
                let name: Name = name.parse().map_err(|()| BackupError::Unknown {
                    kind: "database",
                    name,
                })?;
                if !seen.insert(name) {
                    return Err(BackupError::Order("it has a database twice"));
                }
                target = Some(Target::open(name, staging)?);
                summary.databases += 1;
            }
            Record::Row { table, key, value } => {
                let target = target
                    .as_mut()
                    .ok_or(BackupError::Order("it has rows of no database"))?;
                target.put(table, key, value)?;
                summary.rows += 1;
            }
        }
    }
    finish(target)?;
    if !seen.contains(&Name::State) {
        return Err(BackupError::Order("it has no state"));
    }
    let synced = sync_dir(&logs_dir(staging)).and_then(|()| sync_dir(staging));
    synced.map_err(|source| BackupError::Io {
        doing: "syncing",
        path: staging.to_owned(),
        source,
    })?;
    Ok(summary)
}

fn finish(target: Option<Target>) -> Result<(), BackupError> {
    if let Some(mut target) = target {
        target.flush()?;
        target.committer.shutdown_blocking();
    }
    Ok(())
}

fn open(name: Name, path: &Path) -> Result<Database, BackupError> {
    Database::open(path, CACHE_BYTES, name.tables()).map_err(|source| BackupError::Open {
        name: name.to_string(),
        source,
    })
}

// === impl Name ===

impl Name {
    fn tables(self) -> &'static [TableInfo] {
        match self {
            Self::State => schema::STATE_TABLES,
            Self::Logs(_) => day::LOG_TABLES,
        }
    }

    fn path(self, state: &Path, logs: &Path) -> PathBuf {
        match self {
            Self::State => state.to_owned(),
            Self::Logs(day) => day.directory(logs),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State => f.write_str("state"),
            Self::Logs(day) => write!(f, "logs/{day}"),
        }
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let name = match text.strip_prefix("logs/") {
            Some(day) => Self::Logs(day.parse().map_err(|_| ())?),
            None => Self::State,
        };
        // One spelling each, and nothing that could lead out of the directory.
        if name.to_string() == text {
            Ok(name)
        } else {
            Err(())
        }
    }
}

// === impl Target ===

impl Target {
    fn open(name: Name, staging: &Path) -> Result<Self, BackupError> {
        let path = name.path(&state_dir(staging), &logs_dir(staging));
        let db = Arc::new(open(name, &path)?);
        let committer = Committer::start(db, CommitterOptions::default());
        Ok(Self {
            tables: name.tables(),
            committer: committer.map_err(|source| BackupError::Io {
                doing: "starting to write",
                path,
                source,
            })?,
            batch: Batch::new(),
            bytes: 0,
        })
    }

    fn put(&mut self, table: String, key: Vec<u8>, value: Vec<u8>) -> Result<(), BackupError> {
        let Some(info) = self.tables.iter().find(|info| info.name == table) else {
            return Err(BackupError::Unknown {
                kind: "table",
                name: table,
            });
        };
        self.bytes += key.len() + value.len();
        self.batch.put_raw(*info, key, value);
        if self.bytes < BATCH_BYTES {
            Ok(())
        } else {
            self.flush()
        }
    }

    fn flush(&mut self) -> Result<(), BackupError> {
        self.bytes = 0;
        Ok(self.committer.commit_blocking(std::mem::take(&mut self.batch))?)
    }
}

/// Opens the export at `path` for [`import`].
pub fn open_export(path: &Path) -> Result<impl Read, BackupError> {
    let file = fs::File::open(path).map_err(|source| BackupError::Io {
        doing: "opening",
        path: path.to_owned(),
        source,
    })?;
    Ok(io::BufReader::new(file))
}

#[cfg(test)]
mod tests;
