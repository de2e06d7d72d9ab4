//! State and logs on disk, in sled.
//!
//! Writes go one way: a [`batch::Batch`] of typed rows to the [`committer::Committer`] of its database, which answers once the rows
//! are on disk. Reads go straight to the [`database::Database`], on threads that may block; only the build cache answers on the
//! caller's own thread. Callers see typed tables ([`table::Table`]); that sled must not be given large values is [`rows`]' secret.
//!
//! ```text
//! <data>/LOCK                   held by the one process that uses the directory
//! <data>/store/STORE_VERSION    the layout's version
//! <data>/store/state/           builds, specs, indexes, contexts, outbox, plugins, policies, secrets, keys, meta
//! <data>/store/logs/2026-11-22/ frames and heads of the builds created on that day (UTC)
//! ```

use std::sync::Arc;

use ignite_core::{
    build::Build,
    ids::{BuildId, OrgId},
};
use quick_cache::sync::Cache;

use crate::error::Error;

pub mod backup;
pub mod batch;
pub(crate) mod builds;
pub mod codec;
pub mod committer;
mod contexts;
pub mod data_dir;
pub mod database;
pub mod logs;
mod outbox;
mod plugins;
mod policies;
pub mod rows;
pub mod schema;
pub mod table;
pub mod tenure;
mod vault;

pub use builds::{BuildFilter, BuildPage, Created, Idempotency, Live};
pub use contexts::ContextRow;
pub use data_dir::{DataDir, DataDirError};
pub use outbox::{Due, OutboxEntry, OutboxPage, OutboxRow, OutboxState};
pub use plugins::{PluginPlace, PluginRow, StoredRow};
pub use policies::{InForceRow, PutOutcome, RevisionRow};
pub use schema::OutboxKey;
pub use tenure::Tenure;
pub use vault::{DataKey, RunSecretsRow, SealedRows};

use batch::Batch;
use codec::CodecError;
use committer::{CommitError, Committer, CommitterOptions};
use database::{Database, ReadError};
use schema::MetaKey;

/// The state database: everything but logs. Share it in an `Arc`.
#[derive(Debug)]
pub struct Store {
    db: Arc<Database>,
    committer: Committer,
    /// Filled by the writing thread in the order of commits, and by reads that no write came in between.
    cache: Arc<Cache<BuildId, Arc<Build>>>,
}

#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// sled's page cache; its real use of memory is several times that.
    pub cache_bytes: u64,
    /// Build records kept decoded.
    pub builds_cached: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store did not take a write")]
    Commit(#[from] CommitError),
    #[error("the store could not be read")]
    Read(#[from] ReadError),
    #[error("a record could not be encoded")]
    Codec(#[from] CodecError),
    #[error("{0} is stored already")]
    Exists(BuildId),
    /// The record was not there, or was not older than the one to be written.
    #[error("{0} is missing or was changed by someone else")]
    Stale(BuildId),
    #[error("a record of the store points to {0}, which is not there")]
    Dangling(BuildId),
    #[error("the reading thread ended early")]
    Interrupted,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("the database {path} could not be opened")]
    Database {
        path: String,
        #[source]
        source: database::OpenDatabaseError,
    },
    #[error("the writing thread could not be started")]
    Thread(#[source] std::io::Error),
}

// === impl StoreOptions ===

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            builds_cached: 8192,
        }
    }
}

// === impl Store ===

impl Store {
    /// Opens the state database of `data`, or makes a new one. Blocks.
    pub fn open(data: &DataDir, options: StoreOptions) -> Result<Self, OpenError> {
        data.ensure_store()?;
        let path = data.state_dir();
        let db = Database::open(&path, options.cache_bytes, schema::STATE_TABLES).map_err(|source| {
            OpenError::Database {
                path: path.display().to_string(),
                source,
            }
        })?;
        let db = Arc::new(db);
        let options_of_writes = CommitterOptions {
            tenure: data.tenure(),
            ..CommitterOptions::default()
        };
        let committer = Committer::start(Arc::clone(&db), options_of_writes).map_err(OpenError::Thread)?;
        Ok(Self {
            db,
            committer,
            cache: Arc::new(Cache::new(options.builds_cached)),
        })
    }

    /// Whether writes still work: an I/O error ends them for good, and the process should end too.
    pub fn health(&self) -> Result<(), CommitError> {
        self.committer.health()
    }

    /// Commits what was accepted, refuses what comes later, and ends the writing thread.
    pub async fn shutdown(&self) {
        self.committer.shutdown().await;
    }

    /// A small named value of the store itself.
    pub async fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |db| Ok(db.get(&schema::META, &key)?.map(|value| value.0)))
            .await
    }

    /// Writes a small named value. Rejected if the key has one already.
    pub async fn put_meta_once(&self, key: &MetaKey, value: Vec<u8>) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.require_absent(&schema::META, key);
        batch.put(&schema::META, key, &schema::Blob(value))?;
        Ok(self.committer.commit(batch).await?)
    }

    /// Whether no build was ever created here.
    pub async fn is_new(&self) -> Result<bool, StoreError> {
        self.read(|db| Ok(db.is_empty(&schema::BUILDS)? && db.is_empty(&schema::SPECS)?))
            .await
    }

    /// Runs a read where it may block.
    async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    {
        let db = Arc::clone(&self.db);
        tokio::task::spawn_blocking(move || read(&db))
            .await
            .map_err(|_| StoreError::Interrupted)?
    }
}

// === impl Error ===

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::internal(error)
    }
}

/// What is shown to `org`: an owner's check for values that came from the cache.
fn owned_by(build: Arc<Build>, org: &OrgId) -> Option<Arc<Build>> {
    (build.org == *org).then_some(build)
}
