//! Uploaded build contexts: archives kept by their content, each organization's apart.
//!
//! An upload is written to a staging file while it is hashed, inspected there, and only then moved to
//! `contexts/<org>/<sha256>`, synced to disk before it is acknowledged. Whatever fails before leaves nothing; what a crash
//! leaves in staging is swept at the next start. Who used a context last and when it expires is not known here: that is in the
//! context's row, and a row never stands without bytes. So an upload holds on to its bytes until its row is written
//! ([`StoredContext`]), and whoever removes bytes decides so while no upload does ([`Removal`]).

pub mod grants;
mod read;
pub(crate) mod staging;

#[cfg(test)]
mod tests;

use std::{
    array,
    error::Error as StdError,
    io, iter,
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use ignite_core::ids::{ContextId, OrgId};
use object_store::{
    ObjectStore, ObjectStoreExt, buffered::BufWriter, local::LocalFileSystem, path::Path as Key,
};
use tempfile::TempPath;
use tokio::{
    io::AsyncWriteExt,
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, Semaphore},
    task::spawn_blocking,
};

pub use self::read::{ContextBytes, ContextFile};
use self::staging::Staged;
use super::archive::{self, ArchiveError, ArchiveLimits, ArchiveSummary};
use crate::{clock, error::Error};

/// Where contexts are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ContextStore {
    store: Arc<dyn ObjectStore>,
    /// Set where the store is a directory of this machine: staging is inside it, and moving in place is a rename.
    directory: Option<LocalFileSystem>,
    staging: PathBuf,
    /// Inspecting takes a whole core each time.
    inspections: Arc<Semaphore>,
    locks: Locks,
}

/// One for all contexts whose hash starts with the same byte: enough that uploads hardly ever wait for a removal.
type Locks = Arc<[Arc<RwLock<()>>; 256]>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadLimits {
    /// Of the archive as it is sent.
    pub upload_bytes_max: u64,
    pub archive: ArchiveLimits,
}

/// A context that is on disk. Its bytes are not removed while this lives: keep it until the context's row is written.
#[derive(Debug)]
pub struct StoredContext {
    pub id: ContextId,
    pub size_bytes: u64,
    pub sha256_hex: String,
    pub summary: ArchiveSummary,
    _shared: OwnedRwLockReadGuard<()>,
}

/// While it lives, no upload is between a context's bytes and its row: whether there is a row decides about the bytes.
#[derive(Debug)]
pub struct Removal<'a> {
    contexts: &'a ContextStore,
    key: Key,
    _alone: OwnedRwLockWriteGuard<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The archive is not acceptable; `field` is that of the request it came in.
    #[error("{refusal}")]
    Refused { field: &'static str, refusal: Refusal },
    /// The caller's stream failed.
    #[error("the upload broke off")]
    Stream(#[source] Error),
    #[error("{doing}")]
    Internal {
        doing: &'static str,
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the archive is larger than {max} bytes")]
    TooLarge { max: u64 },
    #[error("{expected} bytes were announced, {received} came")]
    SizeMismatch { expected: u64, received: u64 },
    #[error(transparent)]
    Archive(ArchiveError),
}

/// Where an archive came in, in proto names.
const UPLOADED: &str = "chunk";
const INLINE: &str = "zipped_code";
const EXPECTED_SIZE: &str = "metadata.expected_size_bytes";

const STAGING: &str = "staging";
const CONTEXTS: &str = "contexts";

// === impl ContextStore ===

impl ContextStore {
    /// Keeps contexts in a directory, made if it is missing. What earlier uploads left unfinished there is removed.
    pub fn local(directory: &Path) -> Result<Self, ContextError> {
        let staging = directory.join(STAGING);
        staging::sweep(&staging).map_err(|source| internal("preparing the directory of contexts", source))?;
        let files = LocalFileSystem::new_with_prefix(directory)
            .map_err(|source| internal("opening the directory of contexts", source))?
            .with_fsync(true);
        Ok(Self {
            store: Arc::new(files.clone()),
            directory: Some(files),
            staging,
            inspections: inspections(),
            locks: locks(),
        })
    }

    /// Keeps contexts in any object store. `staging` is a local directory of this store's own, swept now.
    pub fn remote(store: Arc<dyn ObjectStore>, staging: PathBuf) -> Result<Self, ContextError> {
        staging::sweep(&staging).map_err(|source| internal("preparing the staging directory", source))?;
        Ok(Self {
            store,
            directory: None,
            staging,
            inspections: inspections(),
            locks: locks(),
        })
    }

    /// Stores an archive as it arrives. `expected_size_bytes` of 0 means that the size was not announced.
    pub async fn upload(
        &self,
        org: &OrgId,
        mut archive: impl Stream<Item = Result<Bytes, Error>> + Send + Unpin,
        expected_size_bytes: u64,
        limits: &UploadLimits,
    ) -> Result<StoredContext, ContextError> {
        let mut staged = Staged::new(&self.staging).map_err(writing)?;
        while let Some(chunk) = archive.next().await {
            let chunk = chunk.map_err(ContextError::Stream)?;
            // Refused as soon as it is known, so that nobody sends gigabytes for nothing.
            let size_bytes = staged.size_bytes().saturating_add(chunk.len() as u64);
            if size_bytes > limits.upload_bytes_max {
                let max = limits.upload_bytes_max;
                return Err(ContextError::refused(UPLOADED, Refusal::TooLarge { max }));
            }
            check_size(expected_size_bytes, size_bytes, |expected, received| {
                received > expected
            })?;
            staged.push(chunk).await.map_err(writing)?;
        }
        check_size(expected_size_bytes, staged.size_bytes(), |expected, received| {
            received != expected
        })?;
        self.keep(org, staged, &limits.archive, UPLOADED).await
    }

    /// Stores an archive that came within a request.
    pub async fn put_inline(
        &self,
        org: &OrgId,
        archive: Bytes,
        limits: &UploadLimits,
    ) -> Result<StoredContext, ContextError> {
        if archive.len() as u64 > limits.upload_bytes_max {
            let max = limits.upload_bytes_max;
            return Err(ContextError::refused(INLINE, Refusal::TooLarge { max }));
        }
        let mut staged = Staged::new(&self.staging).map_err(writing)?;
        staged.push(archive).await.map_err(writing)?;
        self.keep(org, staged, &limits.archive, INLINE).await
    }

    async fn keep(
        &self,
        org: &OrgId,
        staged: Staged,
        limits: &ArchiveLimits,
        field: &'static str,
    ) -> Result<StoredContext, ContextError> {
        let written = staged.finish().await.map_err(writing)?;
        let permit = Arc::clone(&self.inspections).acquire_owned().await;
        let limits = limits.clone();
        let inspected = spawn_blocking(move || {
            let _permit = permit;
            let summary = archive::inspect(written.file.as_file(), &limits)?;
            Ok((written, summary))
        });
        let (written, summary) = inspected
            .await
            .map_err(|source| internal("inspecting the archive", source))?
            .map_err(|error: ArchiveError| ContextError::archive(field, error))?;
        let id = ContextId::from_sha256(written.sha256);
        let shared = self.lock(&id).read_owned().await;
        self.place(&key(org, &id), written.file.into_temp_path()).await?;
        Ok(StoredContext {
            sha256_hex: id.sha256_hex(),
            id,
            size_bytes: written.size_bytes,
            summary,
            _shared: shared,
        })
    }

    /// Makes the staged file the object of this key. The same content may be there already; then it replaces itself.
    async fn place(&self, key: &Key, staged: TempPath) -> Result<(), ContextError> {
        let failed = |source| internal("moving the context in place", source);
        if self.directory.is_some() {
            let name = staged
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            self.store
                .rename(&Key::from_iter([STAGING, name]), key)
                .await
                .map_err(failed)?;
            // It has another name now; this one may be somebody else's any moment.
            let _ = staged.keep();
            return Ok(());
        }
        let copying = |source| internal("sending the context to its store", source);
        let mut from = tokio::fs::File::open(&staged).await.map_err(copying)?;
        let mut to = BufWriter::new(Arc::clone(&self.store), key.clone());
        if let Err(error) = tokio::io::copy(&mut from, &mut to).await {
            // An upload that is not aborted stays in the store, unseen and paid for.
            let _ = to.abort().await;
            return Err(copying(error));
        }
        to.shutdown().await.map_err(copying)
    }

    pub async fn exists(&self, org: &OrgId, id: &ContextId) -> Result<bool, ContextError> {
        match self.store.head(&key(org, id)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(internal("looking for a context", error)),
        }
    }

    /// Waits for the uploads of this context that have no row yet, and keeps later ones waiting.
    pub async fn begin_removal(&self, org: &OrgId, id: &ContextId) -> Removal<'_> {
        Removal {
            contexts: self,
            key: key(org, id),
            _alone: self.lock(id).write_owned().await,
        }
    }

    /// Every stored context, so that those nobody remembers can be deleted.
    pub async fn list(&self) -> Result<Vec<(OrgId, ContextId)>, ContextError> {
        let listed = self.store.list(Some(&Key::from(CONTEXTS)));
        listed
            .try_filter_map(async |object| Ok(parse_key(&object.location)))
            .try_collect()
            .await
            .map_err(|source| internal("listing the contexts", source))
    }

    fn lock(&self, id: &ContextId) -> Arc<RwLock<()>> {
        let [first, ..] = *id.sha256();
        self.locks
            .get(usize::from(first))
            .map(Arc::clone)
            .unwrap_or_default()
    }
}

fn locks() -> Locks {
    Arc::new(array::from_fn(|_| Arc::default()))
}

fn inspections() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(
        thread::available_parallelism().map_or(1, NonZero::get),
    ))
}

fn key(org: &OrgId, id: &ContextId) -> Key {
    Key::from_iter([CONTEXTS, org.as_str(), &id.sha256_hex()])
}

fn parse_key(key: &Key) -> Option<(OrgId, ContextId)> {
    let mut parts = key.parts().skip(1);
    let (org, sha256) = (parts.next()?, parts.next()?);
    let id = format!("{}{}", ContextId::PREFIX, sha256.as_ref());
    Some((org.as_ref().parse().ok()?, id.parse().ok()?))
}

fn check_size(expected: u64, received: u64, wrong: impl Fn(u64, u64) -> bool) -> Result<(), ContextError> {
    if expected > 0 && wrong(expected, received) {
        let refusal = Refusal::SizeMismatch { expected, received };
        return Err(ContextError::refused(EXPECTED_SIZE, refusal));
    }
    Ok(())
}

fn writing(source: io::Error) -> ContextError {
    internal("writing an uploaded archive", source)
}

fn internal(doing: &'static str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> ContextError {
    ContextError::Internal {
        doing,
        source: source.into(),
    }
}

// === impl Removal ===

impl Removal<'_> {
    /// Removes the bytes. Ok if they are not there.
    pub async fn delete_bytes(self) -> Result<(), ContextError> {
        match self.contexts.store.delete(&self.key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(internal("deleting a context", error)),
        }
    }
}

// === impl ContextError ===

impl ContextError {
    fn refused(field: &'static str, refusal: Refusal) -> Self {
        Self::Refused { field, refusal }
    }

    fn archive(field: &'static str, error: ArchiveError) -> Self {
        if error.is_internal() {
            internal("inspecting the archive", error)
        } else {
            Self::refused(field, Refusal::Archive(error))
        }
    }
}

impl From<ContextError> for Error {
    fn from(error: ContextError) -> Self {
        match error {
            ContextError::Refused { field, refusal } => Self::invalid(field, refusal.to_string()),
            ContextError::Stream(error) => error,
            full @ ContextError::Internal { .. } if is_for_want_of_space(&full) => {
                tracing::error!(error = %clock::chain(&full), "contexts.disk_full");
                Self::ResourceExhausted {
                    reason: "DISK_FULL",
                    subject: "contexts".to_owned(),
                    message: "the gateway has no space left for the archive".to_owned(),
                    retry_after: None,
                }
            }
            internal @ ContextError::Internal { .. } => Self::internal(internal),
        }
    }
}

fn is_for_want_of_space(error: &(dyn StdError + 'static)) -> bool {
    let is_full = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    };
    iter::successors(Some(error), |&error| error.source())
        .any(|error| error.downcast_ref::<io::Error>().is_some_and(is_full))
}
