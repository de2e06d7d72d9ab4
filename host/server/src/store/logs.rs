//! Build logs: frames and, committed with them, how far the executor's own log was read.
//!
//! A database for each day on which builds were created. sled never gives space back, so retention is the removal of a day's
//! directory; and a transaction cannot cross databases, so the cursor lives beside the frames it speaks of. Days are opened when
//! needed; a few stay open, and the one that was not used for longest is closed when another is opened.

use std::{
    collections::HashMap,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ignite_core::ids::BuildId;
use tokio::sync::OnceCell;

pub(super) mod day;

pub use day::{FRAME_BYTES_MAX, Frame, LogDay, LogHead, LogRead};

use day::{DayLog, HEADS};

use super::{
    DataDir, OpenError, Tenure,
    batch::Batch,
    codec::CodecError,
    committer::CommitError,
    data_dir::io_error,
    database::{OpenDatabaseError, ReadError, sync_dir},
};
use crate::error::Error;

/// A day on its way out; what is left of one after a crash goes at the next start.
const DROPPED_PREFIX: &str = "dropped-";

/// Every build's log. Share it in an `Arc`.
#[derive(Debug)]
pub struct LogStore {
    logs: PathBuf,
    options: LogOptions,
    tenure: Tenure,
    days: Mutex<HashMap<LogDay, Arc<Day>>>,
    /// Counts uses, so that days can be told by their last.
    clock: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// sled's page cache for each open day.
    pub cache_bytes: u64,
    /// Days kept open while nobody uses them.
    pub days_open_max: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log store did not take a write")]
    Commit(#[from] CommitError),
    #[error("the log store could not be read")]
    Read(#[from] ReadError),
    #[error("a record of the log store could not be encoded")]
    Codec(#[from] CodecError),
    #[error("the log database of {day} could not be opened")]
    Open {
        day: LogDay,
        #[source]
        source: OpenDatabaseError,
    },
    #[error("the log database of {day} could not be removed")]
    Drop {
        day: LogDay,
        #[source]
        source: io::Error,
    },
    /// A mistake of the caller: what is appended must be whole.
    #[error("the frames for {0} are empty, too large, or do not lead to the head's end")]
    NotContiguous(BuildId),
    #[error("the log of {0} went away while it was read")]
    Lost(BuildId),
    #[error("the log of {0} loses frames faster than it can be read")]
    Moving(BuildId),
    #[error("the thread at work on the log ended early")]
    Interrupted,
}

#[derive(Debug, Default)]
struct Day {
    log: OnceCell<DayLog>,
    last_use: AtomicU64,
}

// === impl LogOptions ===

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            days_open_max: 3,
        }
    }
}

// === impl LogStore ===

impl LogStore {
    /// Opens no database yet. Blocks.
    pub fn open(data: &DataDir, options: LogOptions) -> Result<Self, OpenError> {
        data.ensure_store()?;
        let logs = data.logs_dir();
        remove_dropped(&logs).map_err(io_error("clearing", &logs))?;
        Ok(Self {
            logs,
            options,
            tenure: data.tenure(),
            days: Mutex::default(),
            clock: AtomicU64::new(0),
        })
    }

    /// Stores frames and head in one transaction, and removes the stored frames that lie within `drop`. Ok once on disk.
    ///
    /// Frames follow each other and end at `head.end_offset`. One writer for each build.
    pub async fn append(
        &self,
        build: BuildId,
        frames: Vec<Frame>,
        head: LogHead,
        drop: Option<Range<u64>>,
    ) -> Result<(), LogError> {
        check_frames(build, &frames, &head)?;
        let day = self.day(build, true).await?.ok_or(LogError::Lost(build))?;
        let mut batch = Batch::new();
        if let Some(range) = drop {
            batch = on(&day, move |log| {
                log.delete_within(&mut batch, build, &range)?;
                Ok(batch)
            })
            .await?;
        }
        for frame in frames {
            day::put_frame(&mut batch, build, frame)?;
        }
        batch.put(&HEADS, &build, &head)?;
        match day.log.get() {
            Some(log) => Ok(log.committer.commit(batch).await?),
            None => Err(LogError::Interrupted),
        }
    }

    /// Frames from `from` on, of at most `bytes_max` bytes together but at least one if there is one. None if nothing was ever
    /// appended or the day was dropped.
    ///
    /// Starting inside a frame gives its tail; starting inside the gap, or reading across it, goes on at the gap's end.
    pub async fn read(
        &self,
        build: BuildId,
        from: u64,
        bytes_max: usize,
    ) -> Result<Option<LogRead>, LogError> {
        match self.day(build, false).await? {
            Some(day) => on(&day, move |log| log.read(build, from, bytes_max)).await,
            None => Ok(None),
        }
    }

    pub async fn head(&self, build: BuildId) -> Result<Option<LogHead>, LogError> {
        match self.day(build, false).await? {
            Some(day) => on(&day, move |log| Ok(log.db.get(&HEADS, &build)?)).await,
            None => Ok(None),
        }
    }

    /// Removes the logs of all builds created before `first_kept`; returns how many days went. Readers that are under way finish.
    pub async fn drop_days_before(&self, first_kept: LogDay) -> Result<usize, LogError> {
        let logs = self.logs.clone();
        let days = blocking(move || {
            let kept = |source| LogError::Drop {
                day: first_kept,
                source,
            };
            let days = day::days_in(&logs).map_err(kept)?;
            Ok(days
                .into_iter()
                .filter(|day| *day < first_kept)
                .collect::<Vec<_>>())
        })
        .await?;
        for day in &days {
            let open = self.lock_days().remove(day);
            let (logs, day) = (self.logs.clone(), *day);
            blocking(move || {
                let removed = remove_day(&logs, day).map_err(|source| LogError::Drop { day, source });
                // Closing a database blocks.
                drop(open);
                removed
            })
            .await?;
        }
        Ok(days.len())
    }

    /// Err if some day takes no more writes: an I/O error ends them for good, and the process should end too.
    pub fn health(&self) -> Result<(), CommitError> {
        self.lock_days().values().try_for_each(|day| day.health())
    }

    /// Commits what was accepted and closes every database. Calls that come later open them anew.
    pub async fn shutdown(&self) {
        let days: Vec<_> = self.lock_days().drain().collect();
        for (_, day) in days {
            close(day).await;
        }
    }

    /// The day's database, opened; none if there is none and it is not to be made.
    async fn day(&self, build: BuildId, create: bool) -> Result<Option<Arc<Day>>, LogError> {
        let name = LogDay::of(build);
        let day = self.enter(name);
        if day.log.initialized() {
            return Ok(Some(day));
        }
        let path = name.directory(&self.logs);
        let (cache_bytes, tenure) = (self.options.cache_bytes, self.tenure.clone());
        let open = || async {
            let opened = blocking(move || {
                if !create && !path.exists() {
                    return Ok(None);
                }
                let opened = DayLog::open(&path, cache_bytes, tenure);
                opened
                    .map(Some)
                    .map_err(|source| LogError::Open { day: name, source })
            });
            // "Not there" must not be remembered.
            opened.await.map_err(Some)?.ok_or(None)
        };
        match day.log.get_or_try_init(open).await.map(|_| ()) {
            Ok(()) => {
                self.close_surplus().await;
                Ok(Some(day))
            }
            Err(error) => {
                self.leave(name, day);
                error.map_or(Ok(None), Err)
            }
        }
    }

    /// The day's place in the map.
    fn enter(&self, name: LogDay) -> Arc<Day> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let day = Arc::clone(self.lock_days().entry(name).or_default());
        day.last_use.store(now, Ordering::Relaxed);
        day
    }

    /// Gives up the place of a day that could not be opened.
    fn leave(&self, name: LogDay, day: Arc<Day>) {
        let mut days = self.lock_days();
        drop(day);
        let unused = |day: &Arc<Day>| !day.log.initialized() && Arc::strong_count(day) == 1;
        if days.get(&name).is_some_and(unused) {
            days.remove(&name);
        }
    }

    /// Closes the idle day that was not used for longest, if too many are open.
    async fn close_surplus(&self) {
        let idle = {
            let mut days = self.lock_days();
            let open = days.iter().filter(|(_, day)| day.log.initialized());
            let surplus = open.clone().count() > self.options.days_open_max.max(1);
            // One that failed stays: opened anew, it would take writes again that the disk may have lost.
            let idle = open.filter(|(_, day)| surplus && Arc::strong_count(day) == 1 && day.health().is_ok());
            let oldest = idle.min_by_key(|(_, day)| day.last_use.load(Ordering::Relaxed));
            let oldest = oldest.map(|(name, _)| *name);
            oldest.and_then(|name| days.remove(&name))
        };
        if let Some(idle) = idle {
            close(idle).await;
        }
    }

    fn lock_days(&self) -> MutexGuard<'_, HashMap<LogDay, Arc<Day>>> {
        self.days.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Day ===

impl Day {
    fn health(&self) -> Result<(), CommitError> {
        self.log.get().map_or(Ok(()), |log| log.committer.health())
    }
}

// === impl Error ===

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        Self::internal(error)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| LogError::Interrupted)?
}

/// Runs `work` on the day's open database, where it may block.
async fn on<T: Send + 'static>(
    day: &Arc<Day>,
    work: impl FnOnce(&DayLog) -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let day = Arc::clone(day);
    blocking(move || work(day.log.get().ok_or(LogError::Interrupted)?)).await
}

async fn close(day: Arc<Day>) {
    if let Some(log) = day.log.get() {
        log.committer.shutdown().await;
    }
    let _ = tokio::task::spawn_blocking(move || drop(day)).await;
}

fn check_frames(build: BuildId, frames: &[Frame], head: &LogHead) -> Result<(), LogError> {
    let sized = |frame: &Frame| (1..=FRAME_BYTES_MAX).contains(&frame.data.len());
    let chained = frames
        .iter()
        .zip(frames.iter().skip(1))
        .all(|(a, b)| a.end() == b.offset);
    let ends = frames.last().is_none_or(|last| last.end() == head.end_offset);
    if chained && ends && frames.iter().all(sized) {
        Ok(())
    } else {
        Err(LogError::NotContiguous(build))
    }
}

/// First out of sight by one rename, so that a crash leaves a day whole or gone.
fn remove_day(logs: &Path, day: LogDay) -> io::Result<()> {
    let dropped = logs.join(format!("{DROPPED_PREFIX}{day}"));
    fs::rename(day.directory(logs), &dropped)?;
    sync_dir(logs)?;
    fs::remove_dir_all(&dropped)
}

fn remove_dropped(logs: &Path) -> io::Result<()> {
    for entry in fs::read_dir(logs)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(DROPPED_PREFIX) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
