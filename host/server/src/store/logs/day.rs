//! The log database of one day.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use bytes::Bytes;
use chrono::{DateTime, NaiveDate};
use ignite_core::ids::{BuildId, RunId};
use serde::{Deserialize, Serialize};

use super::LogError;
use crate::{
    executor::RawCursor,
    store::{
        batch::Batch,
        codec::{self, CodecError, FORMAT_1, Key, Value, record_values},
        committer::{Committer, CommitterOptions},
        database::{Database, OpenDatabaseError, ReadError},
        table::{KeyRange, Table, TableInfo},
        tenure::Tenure,
    },
};

/// Data bytes of one frame.
pub const FRAME_BYTES_MAX: usize = 4096;
/// How often a read starts anew because a gap opened under it.
const MOVED_READS_MAX: usize = 16;

pub(in crate::store) const FRAMES: Table<FrameKey, FrameRow> = Table::small("frames");
pub(in crate::store) const HEADS: Table<BuildId, LogHead> = Table::small("heads");
pub(in crate::store) const LOG_TABLES: &[TableInfo] = &[FRAMES.info, HEADS.info];

/// A day in UTC; shown as `2026-11-22`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogDay(NaiveDate);

/// A piece of a build's log, of at most [`FRAME_BYTES_MAX`] bytes and at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Of its first byte in the build's log.
    pub offset: u64,
    pub timestamp_ms: i64,
    pub data: Bytes,
}

/// How far a build's log is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHead {
    /// The run that `raw_cursor` is of.
    pub run: RunId,
    /// The executor's position behind the last raw byte that is accounted for in the frames.
    pub raw_cursor: RawCursor,
    /// Where the log of `run` begins; before it stands what earlier attempts said.
    pub run_start_offset: u64,
    /// Behind the last frame.
    pub end_offset: u64,
    /// What was removed for the size limit.
    pub gap: Option<Range<u64>>,
    /// A part of the raw log of `run` never came.
    #[serde(default)]
    pub lost: bool,
    /// Nothing of `run` will follow.
    pub closed: bool,
}

/// What a read found. Frames follow each other without holes, but for the gap of `head`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRead {
    pub frames: Vec<Frame>,
    /// As it was once the frames were read.
    pub head: LogHead,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct FrameKey {
    build: BuildId,
    offset: u64,
}

pub(in crate::store) struct FrameRow {
    timestamp_ms: i64,
    data: Bytes,
}

#[derive(Debug)]
pub(super) struct DayLog {
    pub(super) committer: Committer,
    pub(super) db: Arc<Database>,
}

record_values!(LogHead);

// === impl LogDay ===

impl LogDay {
    /// The day on which the build was created.
    pub fn of(build: BuildId) -> Self {
        Self::of_time(i64::try_from(build.created_at_ms()).unwrap_or(i64::MAX))
    }

    pub fn of_time(unix_ms: i64) -> Self {
        // A ULID's 48 bits of milliseconds end in the year 10889, well within the calendar.
        Self(DateTime::from_timestamp_millis(unix_ms).map_or(NaiveDate::MAX, |time| time.date_naive()))
    }

    pub fn directory(self, logs: &Path) -> PathBuf {
        logs.join(self.to_string())
    }
}

impl fmt::Display for LogDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for LogDay {
    type Err = chrono::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

// === impl Frame ===

impl Frame {
    pub fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }

    /// What of it lies in `range`, if anything does.
    fn clip(&self, range: &Range<u64>) -> Option<Self> {
        let start = range.start.max(self.offset);
        let end = range.end.min(self.end());
        if start >= end {
            return None;
        }
        let within = |offset: u64| usize::try_from(offset - self.offset).unwrap_or(self.data.len());
        Some(Self {
            offset: start,
            timestamp_ms: self.timestamp_ms,
            data: self.data.slice(within(start)..within(end)),
        })
    }
}

// === impl FrameKey ===

impl Key for FrameKey {
    fn encode(&self) -> Vec<u8> {
        [self.build.to_bytes().as_slice(), &self.offset.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (build, offset) = bytes.split_first_chunk()?;
        Some(Self {
            build: BuildId::from_bytes(*build),
            offset: u64::from_be_bytes(offset.try_into().ok()?),
        })
    }
}

// === impl FrameRow ===

impl Value for FrameRow {
    fn encode(&self) -> Result<Vec<u8>, CodecError> {
        Ok([
            &[FORMAT_1],
            self.timestamp_ms.to_be_bytes().as_slice(),
            &self.data,
        ]
        .concat())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let short = || CodecError::Decode("a frame is shorter than its timestamp".to_owned());
        let (timestamp, data) = codec::body(FORMAT_1, bytes)?
            .split_first_chunk()
            .ok_or_else(short)?;
        Ok(Self {
            timestamp_ms: i64::from_be_bytes(*timestamp),
            data: Bytes::copy_from_slice(data),
        })
    }
}

// === impl DayLog ===

impl DayLog {
    /// Blocks.
    pub(super) fn open(path: &Path, cache_bytes: u64, tenure: Tenure) -> Result<Self, OpenDatabaseError> {
        let db = Arc::new(Database::open(path, cache_bytes, LOG_TABLES)?);
        let options = CommitterOptions {
            tenure,
            ..CommitterOptions::default()
        };
        let committer = Committer::start(Arc::clone(&db), options)?;
        Ok(Self { committer, db })
    }

    /// Blocks. Starting inside a frame gives its tail, starting inside the gap starts behind it.
    pub(super) fn read(
        &self,
        build: BuildId,
        from: u64,
        bytes_max: usize,
    ) -> Result<Option<LogRead>, LogError> {
        let Some(mut head) = self.db.get(&HEADS, &build)? else {
            return Ok(None);
        };
        for _ in 0..MOVED_READS_MAX {
            let frames = self.read_around(build, from, bytes_max, head.gap.as_ref())?;
            let gap = head.gap;
            head = self.db.get(&HEADS, &build)?.ok_or(LogError::Lost(build))?;
            // Frames that were removed while they were read would look like a hole that nobody speaks of.
            if head.gap == gap {
                return Ok(Some(LogRead { frames, head }));
            }
        }
        Err(LogError::Moving(build))
    }

    fn read_around(
        &self,
        build: BuildId,
        from: u64,
        bytes_max: usize,
        gap: Option<&Range<u64>>,
    ) -> Result<Vec<Frame>, ReadError> {
        let empty = 0..0;
        let gap = gap.unwrap_or(&empty);
        let before_gap = from..gap.start.max(from);
        let behind_gap = gap.end.max(from)..u64::MAX;
        let mut frames = Vec::new();
        let mut bytes = 0;
        for frame in self.frames_from(build, from, gap)? {
            let frame = frame?;
            for part in [frame.clip(&before_gap), frame.clip(&behind_gap)]
                .into_iter()
                .flatten()
            {
                if bytes > 0 && bytes + part.data.len() > bytes_max {
                    return Ok(frames);
                }
                bytes += part.data.len();
                frames.push(part);
            }
        }
        Ok(frames)
    }

    /// The frames from the one that holds `from` on; from the one that holds the gap's end, if `from` is in the gap.
    fn frames_from(
        &self,
        build: BuildId,
        from: u64,
        gap: &Range<u64>,
    ) -> Result<impl Iterator<Item = Result<Frame, ReadError>>, ReadError> {
        let from = if gap.contains(&from) { gap.end } else { from };
        let all = frames_of(build);
        let upto = all.clone().ending_at(&FrameKey { build, offset: from });
        let holder = self.db.scan(&FRAMES, upto)?.next_back().transpose()?;
        let start = holder.map_or(from, |(key, _)| key.offset);
        let rows = self
            .db
            .scan(&FRAMES, all.starting_at(&FrameKey { build, offset: start }))?;
        Ok(rows.map(|row| row.map(|(key, row)| frame(key, row))))
    }

    /// Deletes the frames that lie within `range`. Blocks.
    pub(super) fn delete_within(
        &self,
        batch: &mut Batch,
        build: BuildId,
        range: &Range<u64>,
    ) -> Result<(), ReadError> {
        let key = |offset| FrameKey { build, offset };
        let rows = frames_of(build)
            .starting_at(&key(range.start))
            .ending_before(&key(range.end));
        for row in self.db.scan(&FRAMES, rows)? {
            let (key, row) = row?;
            if frame(key, row).end() <= range.end {
                batch.delete(&FRAMES, &key);
            }
        }
        Ok(())
    }
}

pub(super) fn put_frame(batch: &mut Batch, build: BuildId, frame: Frame) -> Result<(), CodecError> {
    let key = FrameKey {
        build,
        offset: frame.offset,
    };
    let row = FrameRow {
        timestamp_ms: frame.timestamp_ms,
        data: frame.data,
    };
    batch.put(&FRAMES, &key, &row).map(|_| ())
}

fn frames_of(build: BuildId) -> KeyRange<FrameKey> {
    KeyRange::of_prefix(build.to_bytes().to_vec())
}

fn frame(key: FrameKey, row: FrameRow) -> Frame {
    Frame {
        offset: key.offset,
        timestamp_ms: row.timestamp_ms,
        data: row.data,
    }
}

/// The days that have a database in `logs`, oldest first.
pub(in crate::store) fn days_in(logs: &Path) -> io::Result<Vec<LogDay>> {
    let mut days = Vec::new();
    for entry in std::fs::read_dir(logs)? {
        let name = entry?.file_name();
        if let Some(Ok(day)) = name.to_str().map(str::parse) {
            days.push(day);
        }
    }
    days.sort_unstable();
    Ok(days)
}
