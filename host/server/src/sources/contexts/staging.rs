//! Files that are being written: gone when they are dropped, or at the next start.

use std::{
    fs,
    io::{self, Write},
    mem,
    path::Path,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

/// An archive on its way in.
pub(crate) struct Staged {
    /// None only while a thread has it, or after that thread failed.
    sink: Option<Sink>,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    size_bytes: u64,
}

struct Sink {
    file: NamedTempFile,
    hasher: Sha256,
}

/// An archive that has arrived and is synced.
pub(crate) struct Written {
    pub(crate) file: NamedTempFile,
    pub(crate) sha256: [u8; 32],
    pub(crate) size_bytes: u64,
}

/// Chunks are gathered up to this before a thread is asked to write them: gRPC clients may send small ones, and holding a
/// thread for a whole upload would let slow clients use up all threads.
const BATCH_BYTES: usize = 512 << 10;

/// Makes the directory, empty.
pub(crate) fn sweep(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for entry in fs::read_dir(dir)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

// === impl Staged ===

impl Staged {
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        let file = tempfile::Builder::new().prefix("upload-").tempfile_in(dir)?;
        Ok(Self {
            sink: Some(Sink {
                file,
                hasher: Sha256::new(),
            }),
            pending: Vec::new(),
            pending_bytes: 0,
            size_bytes: 0,
        })
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(crate) async fn push(&mut self, chunk: Bytes) -> io::Result<()> {
        self.size_bytes += chunk.len() as u64;
        self.pending_bytes += chunk.len();
        self.pending.push(chunk);
        if self.pending_bytes >= BATCH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        let pending = mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let sink = self.sink.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let written = spawn_blocking(move || sink.write(&pending)).await;
        self.sink = Some(written.map_err(io::Error::other)??);
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> io::Result<Written> {
        self.flush().await?;
        let Sink { file, hasher } = self.sink.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let synced = spawn_blocking(move || file.as_file().sync_all().map(|()| file)).await;
        Ok(Written {
            file: synced.map_err(io::Error::other)??,
            sha256: hasher.finalize().into(),
            size_bytes: self.size_bytes,
        })
    }
}

// === impl Sink ===

impl Sink {
    fn write(mut self, chunks: &[Bytes]) -> io::Result<Self> {
        for chunk in chunks {
            self.file.write_all(chunk)?;
            self.hasher.update(chunk);
        }
        Ok(self)
    }
}
