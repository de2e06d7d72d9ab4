//! One sled database: opened durably, read by typed tables. Everything here blocks.

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    codec::{CodecError, Key, Value},
    rows::{self, Head, PARTS},
    table::{Bounds, KeyRange, Table, TableInfo},
};

/// How often a split value is read anew when a writer came in between.
const TORN_READS_MAX: usize = 16;
/// sled's worker threads may hold a database's lock for a moment after it was closed.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(10);

pub struct Database {
    path: PathBuf,
    /// Of sled's data file; on Linux fdatasync through any descriptor reaches the file's every dirty page.
    file: File,
    tables: HashMap<&'static str, (TableInfo, sled::Tree)>,
    parts: sled::Tree,
    db: sled::Db,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenDatabaseError {
    #[error("sled refused it")]
    Sled(#[from] sled::Error),
    #[error("its files could not be synced")]
    Io(#[from] io::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("table {table} could not be read")]
    Sled {
        table: &'static str,
        #[source]
        source: sled::Error,
    },
    #[error("a value of table {table} is damaged")]
    Value {
        table: &'static str,
        #[source]
        source: CodecError,
    },
    #[error("a key of table {table} is damaged")]
    Key { table: &'static str },
    #[error("a value of table {table} lacks some of its parts")]
    Torn { table: &'static str },
    #[error("this database has no table {table}")]
    NoTable { table: &'static str },
}

// === impl Database ===

impl Database {
    /// Opens or creates the database in the directory `path`, whose parent is there.
    pub fn open(path: &Path, cache_bytes: u64, tables: &[TableInfo]) -> Result<Self, OpenDatabaseError> {
        let db = open_sled(path, cache_bytes)?;
        let parts = db.open_tree(PARTS)?;
        let mut trees = HashMap::new();
        for info in tables {
            trees.insert(info.name, (*info, db.open_tree(info.name)?));
        }
        db.flush()?;
        let file = File::open(path.join("db"))?;
        file.sync_all()?;
        File::open(path.join("conf"))?.sync_all()?;
        sync_dir(path)?;
        if let Some(parent) = path.parent() {
            sync_dir(parent)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            tables: trees,
            parts,
            db,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn get<K: Key, V: Value>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, ReadError> {
        let name = table.info.name;
        self.get_raw(name, &key.encode())?
            .map(|payload| V::decode(&payload))
            .transpose()
            .map_err(|source| ReadError::Value { table: name, source })
    }

    /// The rows of `range` in key order; reversible. A row that changes while it is read shows one of its versions.
    pub fn scan<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        range: KeyRange<K>,
    ) -> Result<impl DoubleEndedIterator<Item = Result<(K, V), ReadError>> + '_, ReadError> {
        let name = table.info.name;
        let rows = range
            .bounds()
            .map(|bounds| self.scan_raw(name, bounds))
            .transpose()?;
        Ok(rows.into_iter().flatten().map(move |row| {
            let (key, payload) = row?;
            let key = K::decode(&key).ok_or(ReadError::Key { table: name })?;
            let value = V::decode(&payload).map_err(|source| ReadError::Value { table: name, source })?;
            Ok((key, value))
        }))
    }

    pub fn is_empty<K, V>(&self, table: &Table<K, V>) -> Result<bool, ReadError> {
        Ok(self.tree(table.info.name)?.1.is_empty())
    }

    /// Bytes of the data file.
    pub fn size_on_disk_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub(super) fn tree(&self, table: &'static str) -> Result<&(TableInfo, sled::Tree), ReadError> {
        self.tables.get(table).ok_or(ReadError::NoTable { table })
    }

    pub(super) fn parts(&self) -> &sled::Tree {
        &self.parts
    }

    /// Makes everything written so far durable: sled writes out its buffers, then the file is synced.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.db.flush().map_err(io::Error::other)?;
        self.file.sync_data()
    }

    /// A value's whole payload.
    pub(super) fn get_raw(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let (_, tree) = self.tree(table)?;
        for _ in 0..TORN_READS_MAX {
            let row = tree
                .get(key)
                .map_err(|source| ReadError::Sled { table, source })?;
            let Some(row) = row else { return Ok(None) };
            if let Some(payload) = self.join(table, key, &row)? {
                return Ok(Some(payload));
            }
        }
        Err(ReadError::Torn { table })
    }

    /// Keys and whole payloads.
    pub(super) fn scan_raw(
        &self,
        table: &'static str,
        bounds: Bounds,
    ) -> Result<impl DoubleEndedIterator<Item = Result<(sled::IVec, Vec<u8>), ReadError>> + '_, ReadError>
    {
        let (_, tree) = self.tree(table)?;
        Ok(tree.range::<Vec<u8>, _>(bounds).filter_map(move |row| match row {
            Err(source) => Some(Err(ReadError::Sled { table, source })),
            Ok((key, row)) => match self.join(table, &key, &row) {
                Err(error) => Some(Err(error)),
                Ok(Some(payload)) => Some(Ok((key, payload))),
                // Written anew or deleted since: read it as it is now.
                Ok(None) => self
                    .get_raw(table, &key)
                    .transpose()
                    .map(|payload| payload.map(|payload| (key, payload))),
            },
        }))
    }

    /// The payload whose head is `row`; none if its parts are not those of this head.
    fn join(&self, table: &'static str, key: &[u8], row: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let (parts, checksum, first) = match rows::read_head(row) {
            None => return Err(ReadError::Torn { table }),
            Some(Head::Small(payload)) => return Ok(Some(payload.to_vec())),
            Some(Head::Split {
                parts,
                checksum,
                first,
            }) => (parts, checksum, first),
        };
        let mut payload = first.to_vec();
        for index in 0..parts {
            let part = self.parts.get(rows::part_key(table, key, index));
            match part.map_err(|source| ReadError::Sled { table, source })? {
                None => return Ok(None),
                Some(part) => payload.extend_from_slice(&part),
            }
        }
        Ok((rows::checksum(&payload) == checksum).then_some(payload))
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Makes the directory's entries durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[allow(
    clippy::disallowed_methods,
    reason = "runs where blocking is allowed, and sled has no other way to wait"
)]
fn open_sled(path: &Path, cache_bytes: u64) -> sled::Result<sled::Db> {
    let started = Instant::now();
    loop {
        match sled::Config::new().path(path).cache_capacity(cache_bytes).open() {
            Err(sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock")
                    && started.elapsed() < LOCK_WAIT_MAX =>
            {
                std::thread::sleep(LOCK_POLL);
            }
            result => return result,
        }
    }
}
