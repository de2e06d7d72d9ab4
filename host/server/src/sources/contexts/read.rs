//! Stored contexts, given out again: as a file of this machine, or as a stream of bytes.

use std::{
    error::Error as StdError,
    fmt, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use ignite_core::ids::{ContextId, OrgId};
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, path::Path as Key};
use tempfile::TempPath;
use tokio::{fs::File, io::AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{ContextError, ContextStore, internal, key, staging::Staged, writing};

/// A stored context as a file of this machine, for as long as this lives.
#[derive(Debug)]
pub enum ContextFile {
    Stored(PathBuf),
    /// A copy out of a remote store.
    Copied(TempPath),
}

/// A stored context's bytes from some offset on, read as they are taken.
pub struct ContextBytes {
    /// Of the whole context.
    pub size_bytes: u64,
    /// As many as there are from the offset on: none where it is not before the end.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

/// Read and passed on in one piece.
const READ_BYTES: usize = 256 << 10;

// === impl ContextStore ===

impl ContextStore {
    /// The context as a file, or none if it is not stored.
    pub async fn open(&self, org: &OrgId, id: &ContextId) -> Result<Option<ContextFile>, ContextError> {
        let key = key(org, id);
        let found = match self.store.get(&key).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(reading(error)),
        };
        if let Some(directory) = &self.directory {
            let path = directory.path_to_filesystem(&key).map_err(reading)?;
            return Ok(Some(ContextFile::Stored(path)));
        }
        let mut copy = Staged::new(&self.staging).map_err(writing)?;
        let mut content = found.into_stream();
        while let Some(chunk) = content.next().await {
            copy.push(chunk.map_err(reading)?).await.map_err(writing)?;
        }
        let written = copy.finish().await.map_err(writing)?;
        Ok(Some(ContextFile::Copied(written.file.into_temp_path())))
    }

    /// The context's bytes from `offset` on, or none if it is not stored. What was begun goes on though the context is removed
    /// meanwhile, where the store is a directory.
    pub async fn read(
        &self,
        org: &OrgId,
        id: &ContextId,
        offset: u64,
    ) -> Result<Option<ContextBytes>, ContextError> {
        let key = key(org, id);
        let read = match &self.directory {
            Some(directory) => {
                let path = directory.path_to_filesystem(&key).map_err(reading)?;
                read_file(&path, offset).await
            }
            None => self.read_object(&key, offset).await,
        };
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(reading(error)),
        }
    }

    async fn read_object(&self, key: &Key, offset: u64) -> io::Result<ContextBytes> {
        let size_bytes = self.store.head(key).await?.size;
        let bytes = if offset < size_bytes {
            let options = GetOptions {
                range: Some(GetRange::Offset(offset)),
                ..GetOptions::default()
            };
            let found = self.store.get_opts(key, options).await?;
            found.into_stream().map_err(io::Error::from).boxed()
        } else {
            stream::empty().boxed()
        };
        Ok(ContextBytes { size_bytes, bytes })
    }
}

async fn read_file(path: &Path, offset: u64) -> io::Result<ContextBytes> {
    let mut file = File::open(path).await?;
    let size_bytes = file.metadata().await?.len();
    // Beyond what is too far for a file there is nothing either.
    file.seek(io::SeekFrom::Start(offset.min(size_bytes))).await?;
    Ok(ContextBytes {
        size_bytes,
        bytes: ReaderStream::with_capacity(file, READ_BYTES).boxed(),
    })
}

fn reading(source: impl Into<Box<dyn StdError + Send + Sync>>) -> ContextError {
    internal("reading a context", source)
}

// === impl ContextFile ===

impl ContextFile {
    pub fn path(&self) -> &Path {
        match self {
            Self::Stored(path) => path,
            Self::Copied(path) => path,
        }
    }
}

// === impl ContextBytes ===

impl fmt::Debug for ContextBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextBytes")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}
