//! Reads a build's log for one caller, at the caller's pace.
//!
//! A follower holds a position and nothing else: whether it reads from memory or from the store is decided anew at each
//! step, so one that lags loses nothing and slows nobody.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use ignite_core::ids::BuildId;
use ignite_proto::v1::BuildLogChunk;
use tokio::sync::watch;

use super::hub::{LogHub, Tip};
use crate::{
    error::Error,
    service::Streaming,
    store::logs::{Frame, LogStore},
};

/// Read from the store or from memory at once.
const READ_BYTES_MAX: usize = 256 << 10;

struct Follower {
    store: Arc<LogStore>,
    build: BuildId,
    /// None for a terminal build: what is stored is all there is.
    live: Option<(Arc<LogHub>, watch::Receiver<Tip>)>,
    position: u64,
    ready: VecDeque<BuildLogChunk>,
}

/// The log from byte `from` on, then what comes, until the hub is closed.
pub fn follow(store: Arc<LogStore>, hub: Arc<LogHub>, build: BuildId, from: u64) -> Streaming<BuildLogChunk> {
    let tip = hub.subscribe();
    Follower {
        store,
        build,
        live: Some((hub, tip)),
        position: from,
        ready: VecDeque::new(),
    }
    .into_stream()
}

/// The stored log of a terminal build from byte `from` on.
pub fn replay(store: Arc<LogStore>, build: BuildId, from: u64) -> Streaming<BuildLogChunk> {
    Follower {
        store,
        build,
        live: None,
        position: from,
        ready: VecDeque::new(),
    }
    .into_stream()
}

// === impl Follower ===

impl Follower {
    fn into_stream(self) -> Streaming<BuildLogChunk> {
        stream::try_unfold(self, |mut follower| async move {
            Ok(follower.next().await?.map(|chunk| (chunk, follower)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<BuildLogChunk>, Error> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Ok(Some(chunk));
            }
            // The tip is read before the log: what it promises is there.
            let tip = self.live.as_mut().map(|(_, tip)| *tip.borrow_and_update());
            let behind = tip.is_none_or(|tip| self.position < tip.end_offset);
            if behind {
                let frames = self.read().await?;
                if !frames.is_empty() {
                    self.take(frames);
                    continue;
                }
            }
            match (tip, &mut self.live) {
                (Some(Tip { closed: false, .. }), Some((_, receiver))) => {
                    if receiver.changed().await.is_err() {
                        return Ok(None);
                    }
                }
                (None | Some(_), _) => return Ok(None),
            }
        }
    }

    async fn read(&self) -> Result<Vec<Frame>, Error> {
        if let Some((hub, _)) = &self.live
            && let Some(frames) = hub.recent(self.position, READ_BYTES_MAX)
            && !frames.is_empty()
        {
            return Ok(frames);
        }
        let read = self
            .store
            .read(self.build, self.position, READ_BYTES_MAX)
            .await
            .map_err(Error::internal)?;
        Ok(read.map(|read| read.frames).unwrap_or_default())
    }

    fn take(&mut self, frames: Vec<Frame>) {
        for frame in frames {
            if frame.offset > self.position {
                self.ready.push_back(gap_notice(self.position, &frame));
            }
            self.position = frame.end();
            self.ready.push_back(BuildLogChunk {
                data: frame.data,
                timestamp_ms: frame.timestamp_ms,
                offset: frame.offset,
            });
        }
    }
}

/// Stands for the bytes between `from` and `next`, which the log's size limit cost. Its offset is such that resuming
/// behind it, at `offset` plus its length, goes on at `next`: a gap is always longer than its notice.
fn gap_notice(from: u64, next: &Frame) -> BuildLogChunk {
    let missing = next.offset.saturating_sub(from);
    let notice =
        format!("\n[ignite] {missing} bytes of log are missing here: the log's size limit was reached\n");
    let keep = usize::try_from(missing).unwrap_or(usize::MAX).min(notice.len());
    let data = Bytes::from(notice).slice(..keep);
    BuildLogChunk {
        offset: next.offset.saturating_sub(keep as u64),
        data,
        timestamp_ms: next.timestamp_ms,
    }
}
