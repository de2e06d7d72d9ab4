//! Where a live build's followers meet its log: they learn that it grew, and read the newest part from memory.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;

use crate::store::logs::Frame;

/// Followers within this much of the end read from memory; those behind it read from the store.
const RECENT_BYTES_MAX: usize = 1 << 20;

/// How far a live log has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tip {
    pub end_offset: u64,
    /// The build is terminal and nothing will follow.
    pub closed: bool,
}

#[derive(Debug)]
pub struct LogHub {
    tip: watch::Sender<Tip>,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    frames: VecDeque<Frame>,
    bytes: usize,
}

// === impl LogHub ===

impl LogHub {
    /// The hub of a log that has `end_offset` bytes in the store.
    pub fn new(end_offset: u64) -> Self {
        Self {
            tip: watch::Sender::new(Tip {
                end_offset,
                closed: false,
            }),
            recent: Mutex::default(),
        }
    }

    /// Bytes of log so far.
    pub fn end_offset(&self) -> u64 {
        self.tip.borrow().end_offset
    }

    pub fn subscribe(&self) -> watch::Receiver<Tip> {
        self.tip.subscribe()
    }

    /// Announces frames that are on disk; they continue the log where it ended.
    pub fn publish(&self, frames: Vec<Frame>) {
        let Some(end_offset) = frames.last().map(Frame::end) else {
            return;
        };
        {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            for frame in frames {
                recent.bytes = recent.bytes.saturating_add(frame.data.len());
                recent.frames.push_back(frame);
            }
            while recent.bytes > RECENT_BYTES_MAX {
                let Some(oldest) = recent.frames.pop_front() else {
                    break;
                };
                recent.bytes = recent.bytes.saturating_sub(oldest.data.len());
            }
        }
        self.tip.send_modify(|tip| tip.end_offset = end_offset);
    }

    /// Tells followers that the build is terminal. To be called once its record says so.
    pub fn close(&self) {
        self.tip.send_modify(|tip| tip.closed = true);
    }

    /// The frames from `from` on, at most `bytes_max`, if all of them are still in memory.
    pub fn recent(&self, from: u64, bytes_max: usize) -> Option<Vec<Frame>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = recent.frames.front()?.offset;
        if from < oldest {
            return None;
        }
        let first = recent.frames.partition_point(|frame| frame.end() <= from);
        let mut bytes = 0_usize;
        let mut frames = Vec::new();
        for frame in recent.frames.iter().skip(first) {
            bytes = bytes.saturating_add(frame.data.len());
            if bytes > bytes_max && !frames.is_empty() {
                break;
            }
            frames.push(tail_from(frame, from));
        }
        Some(frames)
    }
}

/// What of the frame lies at or behind `from`.
fn tail_from(frame: &Frame, from: u64) -> Frame {
    let skip = usize::try_from(from.saturating_sub(frame.offset))
        .unwrap_or(usize::MAX)
        .min(frame.data.len());
    Frame {
        offset: frame.offset.max(from),
        timestamp_ms: frame.timestamp_ms,
        data: frame.data.slice(skip..),
    }
}
