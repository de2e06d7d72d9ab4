//! Reading one answer, from where the log was taken to the answer's end.

use std::time::Duration;

use futures::{StreamExt as _, stream::BoxStream};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    super::{
        lines::Lines,
        source::{Query, Source, SourceError},
        take::{Stop, Taker},
    },
    Follower, Unheard,
};

/// Until an answer begins.
const OPEN: Duration = Duration::from_secs(30);
/// Until our place is found in an answer that goes on and on.
const SEEK: Duration = Duration::from_secs(10);

/// What came of an answer.
pub(super) struct Answer {
    pub(super) end: End,
    pub(super) is_found: bool,
    /// Something was passed on.
    pub(super) has_news: bool,
}

#[derive(Debug)]
pub(super) enum End {
    /// It said that it is.
    Whole,
    Idle,
    /// More and more came, and not the line at our place.
    Unfound,
    Stopped(Stop),
    /// What stands there is no line of a log.
    Stray(String),
    Failed(SourceError),
}

impl End {
    fn why(&self) -> String {
        match self {
            Self::Whole => "it ended".to_owned(),
            Self::Idle => "nothing came".to_owned(),
            Self::Unfound | Self::Stopped(Stop::Passed) => "the line to go on from is not there".to_owned(),
            Self::Stopped(Stop::SetBack) => "the node's clock was set back".to_owned(),
            Self::Stray(text) => format!("it says {text:?}"),
            Self::Failed(error) => error.to_string(),
        }
    }
}

// === impl Follower ===

impl<S: Source> Follower<S> {
    /// Reads one answer to its end, or to where it is of no more use.
    pub(super) async fn read(&mut self, query: Query, is_over: bool) -> Result<Answer, Unheard> {
        let mut taker = Taker::new(self.taken, self.start);
        let mut lines = Lines::new(query.since_s.is_some());
        let mut has_news = false;
        let opened = match timeout(OPEN, self.source.open(query)).await {
            Ok(opened) => opened,
            Err(_) => Err(SourceError::Unreachable("the cluster does not answer".to_owned())),
        };
        let end = match opened {
            Err(error) => End::Failed(error),
            Ok(mut bytes) => {
                let began = Instant::now();
                let mut heard = began;
                let items = self.items.clone();
                loop {
                    // The kubelet sends each line by itself. Whoever takes them slowly gets many at once.
                    let next = tokio::select! {
                        biased;
                        room = items.reserve(), if taker.has_items() => {
                            drop(room);
                            has_news |= self.pass_on(&mut taker).await?;
                            continue;
                        }
                        next = self.next(&mut bytes, heard), if !taker.is_full() => next,
                    };
                    let chunk = match next {
                        None => break End::Idle,
                        Some(None) => break End::Whole,
                        Some(Some(Err(error))) => break End::Failed(error),
                        Some(Some(Ok(chunk))) => chunk,
                    };
                    heard = Instant::now();
                    lines.push(&chunk);
                    if let Some(end) = take(&mut lines, &mut taker) {
                        break end;
                    }
                    if query.follow && !taker.is_found() && heard.duration_since(began) > SEEK {
                        break End::Unfound;
                    }
                }
            }
        };
        has_news |= self.pass_on(&mut taker).await?;
        // A last line that nothing ended. Elsewhere it comes again, whole.
        let end = match end {
            End::Whole if is_over && !query.follow => match lines.finish() {
                Ok(rest) => {
                    let stopped = rest.and_then(|piece| taker.take(&piece).err());
                    has_news |= self.pass_on(&mut taker).await?;
                    stopped.map_or(End::Whole, End::Stopped)
                }
                Err(stray) => End::Stray(stray.0),
            },
            end => {
                if let Ok(Some(piece)) = lines.finish() {
                    taker.remember(&piece);
                    has_news |= self.pass_on(&mut taker).await?;
                }
                end
            }
        };
        if !matches!(end, End::Whole) {
            let (why, start) = (end.why(), self.start);
            tracing::debug!(why, ?start, "pod_log.interrupted");
        }
        Ok(Answer {
            end,
            is_found: taker.is_found(),
            has_news,
        })
    }

    /// None once nothing came for too long.
    async fn next<T>(&mut self, bytes: &mut BoxStream<'static, T>, heard: Instant) -> Option<Option<T>> {
        loop {
            let idle = if self.is_over() {
                self.options.idle_over
            } else {
                self.options.idle
            };
            tokio::select! {
                biased;
                chunk = bytes.next() => return Some(chunk),
                () = sleep_until(heard + idle) => return None,
                Ok(()) = self.standing.changed() => {}
            }
        }
    }

    /// True if there was something.
    async fn pass_on(&mut self, taker: &mut Taker) -> Result<bool, Unheard> {
        let items = taker.items();
        self.taken = taker.taken();
        let has_news = !items.is_empty();
        for item in items {
            self.items.send(item).await.map_err(|_| Unheard)?;
        }
        Ok(has_news)
    }
}

/// Takes all whole lines; Some if the rest is of no use.
fn take(lines: &mut Lines, taker: &mut Taker) -> Option<End> {
    loop {
        match lines.next() {
            Ok(None) => return None,
            Ok(Some(piece)) => {
                if let Err(stop) = taker.take(&piece) {
                    return Some(End::Stopped(stop));
                }
            }
            Err(stray) => return Some(End::Stray(stray.0)),
        }
    }
}
