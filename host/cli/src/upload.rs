//! Uploads a file of any size in chunks, in constant memory. Repeating it is safe: contexts and plugins are
//! content-addressed.

use std::{
    fs::File,
    io::Seek as _,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use ignite_proto::v1::{self, upload_build_context_request::Payload};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::io::ReaderStream;
use tonic::Status;

use crate::{
    client::Client,
    error::{Error, Result},
    patience::{Patience, is_transient, retry_after},
    progress::Progress,
};

const CHUNK_BYTES: usize = 512 * 1024;

/// A file as it is sent.
pub(crate) type Chunks = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// A packed build context.
#[derive(Debug)]
pub(crate) struct Archive {
    /// Read from its start by each attempt.
    pub(crate) file: File,
    pub(crate) size_bytes: u64,
    /// Shown in the gateway's logs.
    pub(crate) name: String,
}

/// Shared between the stream that sends and the watch over it.
#[derive(Debug)]
struct Sent {
    bytes: u64,
    moved_at: Instant,
    progress: Progress,
    failed: Option<std::io::Error>,
}

/// Uploads a build context.
pub(crate) async fn upload(
    client: &Client,
    archive: &Archive,
    progress: Progress,
) -> Result<v1::UploadBuildContextResponse> {
    let metadata = v1::UploadBuildContextMetadata {
        content_type: "application/gzip".to_owned(),
        name: archive.name.clone(),
        expected_size_bytes: i64::try_from(archive.size_bytes).unwrap_or(i64::MAX),
    };
    let call = async |chunks: Chunks| {
        let requests = stream::once(std::future::ready(Payload::Metadata(metadata.clone())))
            .chain(chunks.map(Payload::Chunk))
            .map(|payload| v1::UploadBuildContextRequest {
                payload: Some(payload),
            });
        let response = client.grpc().upload_build_context(requests).await?;
        Ok(response.into_inner())
    };
    let done = |response: &v1::UploadBuildContextResponse| format!("Uploaded {}", response.context_id);
    send(client, &archive.file, progress, call, done).await
}

/// Sends a file by `call` until it is done; gives up when nothing moves for the client's timeout, or the server stays away
/// that long. A read error ends the chunks early; the answer to that is not heard.
pub(crate) async fn send<R>(
    client: &Client,
    file: &File,
    progress: Progress,
    call: impl AsyncFn(Chunks) -> Result<R, Status>,
    done: impl Fn(&R) -> String,
) -> Result<R> {
    let mut patience = Patience::new(client.timeout());
    let sent = Arc::new(Mutex::new(Sent {
        bytes: 0,
        moved_at: Instant::now(),
        progress,
        failed: None,
    }));
    loop {
        let status = match attempt(client, file, &sent, &call).await? {
            Ok(response) => {
                if let Some(sent) = Arc::into_inner(sent) {
                    let sent = sent.into_inner().unwrap_or_else(PoisonError::into_inner);
                    sent.progress.finish(&done(&response));
                }
                return Ok(response);
            }
            Err(status) => status,
        };
        let wait = if is_transient(&status) {
            patience.failed(std::time::Instant::now(), retry_after(&status))
        } else {
            None
        };
        match wait {
            Some(wait) => sleep(wait).await,
            None => return Err(client.explain(status).into()),
        }
    }
}

/// The outer error is ours and final, the inner one the server's or the connection's.
async fn attempt<R>(
    client: &Client,
    file: &File,
    sent: &Arc<Mutex<Sent>>,
    call: &impl AsyncFn(Chunks) -> Result<R, Status>,
) -> Result<Result<R, Status>> {
    let unreadable = |error| Error::local("cannot read what is to be uploaded", error);
    let mut file = file.try_clone().map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    {
        let mut sent = lock(sent);
        sent.bytes = 0;
        sent.moved_at = Instant::now();
    }
    let result = tokio::select! {
        result = call(chunks(file, Arc::clone(sent))) => result,
        () = standstill(sent, client.timeout()) => Err(client.out_of_time()),
    };
    match lock(sent).failed.take() {
        Some(error) => Err(unreadable(error)),
        None => Ok(result),
    }
}

fn chunks(file: File, sent: Arc<Mutex<Sent>>) -> Chunks {
    let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK_BYTES).scan(
        (),
        move |(), chunk| {
            let mut sent = lock(&sent);
            let chunk = match chunk {
                Ok(chunk) => {
                    sent.bytes += chunk.len() as u64;
                    sent.moved_at = Instant::now();
                    let bytes = sent.bytes;
                    sent.progress.at(bytes);
                    Some(chunk)
                }
                Err(error) => {
                    sent.failed = Some(error);
                    None
                }
            };
            std::future::ready(chunk)
        },
    );
    Box::pin(chunks)
}

/// Returns once nothing was taken for `timeout`; the answer after the last chunk has as long.
async fn standstill(sent: &Mutex<Sent>, timeout: Duration) {
    loop {
        let deadline = lock(sent).moved_at + timeout;
        if deadline <= Instant::now() {
            return;
        }
        sleep_until(deadline).await;
    }
}

fn lock(sent: &Mutex<Sent>) -> std::sync::MutexGuard<'_, Sent> {
    sent.lock().unwrap_or_else(PoisonError::into_inner)
}
