//! A run's directory, read as a stream of events.

use std::{
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use ignite_core::{ids::RunId, run::FetchReport, run::RunEnd};

use crate::executor::{
    ExecutorError, RawCursor, RunEvent,
    local::{
        layout::Standing,
        raw_log::{self, Part},
        runs::{Runs, io_error, lock},
        wake::Subscription,
    },
};

pub(super) fn follow(
    runs: Arc<Runs>,
    run: RunId,
    from: &RawCursor,
) -> BoxStream<'static, Result<RunEvent, ExecutorError>> {
    let reader = Reader {
        runs,
        run,
        log: None,
        offset: from.behind(),
        has_fetched: false,
    };
    stream::unfold(Some(Follower::new(reader)), |follower| async {
        let mut follower = follower?;
        let event = follower.next().await;
        let is_last = matches!(event, Err(_) | Ok(RunEvent::Ended(_)));
        Some((event, (!is_last).then_some(follower)))
    })
    .boxed()
}

struct Follower {
    reader: Arc<Mutex<Reader>>,
    /// From the first event on.
    subscription: Option<Subscription>,
}

/// The blocking half.
struct Reader {
    runs: Arc<Runs>,
    run: RunId,
    log: Option<raw_log::Reader>,
    offset: u64,
    has_fetched: bool,
}

enum Look {
    Fetched(FetchReport),
    Output(Bytes),
    Lost(u64),
    Ended(RunEnd),
    Nothing,
}

// === impl Follower ===

impl Follower {
    fn new(reader: Reader) -> Self {
        Self {
            reader: Arc::new(Mutex::new(reader)),
            subscription: None,
        }
    }

    async fn next(&mut self) -> Result<RunEvent, ExecutorError> {
        loop {
            // Before the first look, so that no change falls between the two.
            let subscription = match &self.subscription {
                Some(subscription) => subscription,
                None => {
                    let subscription = {
                        let reader = lock(&self.reader);
                        reader.runs.wake.subscribe(reader.runs.dir(reader.run).path())
                    };
                    self.subscription.insert(subscription)
                }
            };
            let reader = Arc::clone(&self.reader);
            let (look, offset) = tokio::task::spawn_blocking(move || {
                let mut reader = lock(&reader);
                reader.look().map(|look| (look, reader.offset))
            })
            .await
            .map_err(|error| ExecutorError::Other(format!("a task of the executor failed: {error}")))??;
            match look {
                Look::Fetched(report) => return Ok(RunEvent::Fetched(report)),
                Look::Output(bytes) => {
                    let end = RawCursor::START.plus(offset);
                    return Ok(RunEvent::Output { bytes, end });
                }
                Look::Lost(bytes) => {
                    return Ok(RunEvent::Gap {
                        bytes: Some(bytes),
                        after_ms: None,
                        before_ms: None,
                        end: RawCursor::START.plus(offset),
                    });
                }
                Look::Ended(end) => return Ok(RunEvent::Ended(end)),
                Look::Nothing => subscription.changed().await,
            }
        }
    }
}

// === impl Reader ===

impl Reader {
    fn look(&mut self) -> Result<Look, ExecutorError> {
        // Looked up before the log is: it is written after the log's last byte.
        let standing = self.runs.carry_on(self.run)?;
        let doing = format!("follow {}", self.run);
        let is_over = matches!(standing, Standing::Ended(_));
        let found = self
            .fetched()
            .transpose()
            .or_else(|| self.output(is_over).transpose());
        match (found, standing) {
            (Some(found), _) => found.map_err(io_error(doing)),
            (None, Standing::Ended(end)) => Ok(Look::Ended(end)),
            (None, Standing::Prepared | Standing::Live(_) | Standing::Abandoned) => Ok(Look::Nothing),
        }
    }

    fn fetched(&mut self) -> io::Result<Option<Look>> {
        if self.has_fetched {
            return Ok(None);
        }
        let fetched = self.runs.dir(self.run).fetched()?;
        self.has_fetched = fetched.is_some();
        Ok(fetched.map(Look::Fetched))
    }

    fn output(&mut self, is_over: bool) -> io::Result<Option<Look>> {
        let log = match &mut self.log {
            Some(log) => log,
            None => self.log.insert(raw_log::Reader::open(self.runs.dir(self.run))?),
        };
        let Some(part) = log.read(self.offset, is_over)? else {
            return Ok(None);
        };
        let (count, look) = match part {
            Part::Bytes(bytes) => (
                u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                Look::Output(bytes),
            ),
            Part::Lost(count) => (count, Look::Lost(count)),
        };
        self.offset = self.offset.saturating_add(count);
        Ok(Some(look))
    }
}
