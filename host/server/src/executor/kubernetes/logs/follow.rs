//! Asks for a container's log again and again until all of its text is taken.
//!
//! An answer begins a little before what was taken, or, where something is missing then, with the oldest line there is: what is
//! still missing is lost. It is over with the container's own last line; where there is none, because it was killed, with an answer
//! from the oldest line on in which nothing was new. One that ended by itself has printed a last line: if that does not come, the
//! container runtime has lost it.

use std::time::Duration;

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    lines::Lines,
    place::Place,
    source::{Query, Source, SourceError},
    take::{Item, Stop, Taker},
};
use crate::executor::RawCursor;

/// How a container stands, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may start yet.
    Waiting,
    Running,
    /// It has ended. Whoever was not killed has printed a last line.
    Over {
        was_killed: bool,
    },
    /// It will never run.
    Never,
}

#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A stream on which nothing comes for so long is asked for anew: nobody tells of a connection that is cut.
    pub idle: Duration,
    /// As `idle`, once the container is over: the kubelet ends the stream then.
    pub idle_over: Duration,
    /// How far before our place an answer begins: clocks are not exact.
    pub margin: Duration,
    /// The longest wait between two questions.
    pub backoff_max: Duration,
    /// How long the cluster may refuse the log of a container that is over before the rest of it counts as lost.
    pub patience: Duration,
    /// After a container is over, for its runtime to write the last line.
    pub settle: Duration,
}

const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Until an answer begins.
const OPEN: Duration = Duration::from_secs(30);

/// One container's text from `from` on, which is of this container; ends when there is nothing more to come.
///
/// Never fails: what may pass is waited for, and what does not is a gap. `standing` may lag behind.
pub fn follow<S: Source + 'static>(
    source: S,
    standing: watch::Receiver<Standing>,
    from: RawCursor,
    options: Options,
) -> BoxStream<'static, Item> {
    let (items, mut received) = mpsc::channel(1);
    let follower = Follower {
        source,
        standing,
        options,
        place: Place::of(from),
        from_oldest: false,
        is_settled: false,
        failing: None,
        backoff: BACKOFF_MIN,
        items,
    };
    // Reads on while nobody takes, and no longer than somebody might.
    let reading = AbortOnDropHandle::new(tokio::spawn(follower.run()));
    stream::poll_fn(move |context| {
        let _reading = &reading;
        received.poll_recv(context)
    })
    .boxed()
}

struct Follower<S> {
    source: S,
    standing: watch::Receiver<Standing>,
    options: Options,
    /// How far it was taken.
    place: Place,
    /// The next answer is to begin with the oldest line.
    from_oldest: bool,
    is_settled: bool,
    /// Since when the log of a container that is over is refused.
    failing: Option<Instant>,
    backoff: Duration,
    items: mpsc::Sender<Item>,
}

/// Nobody listens any more.
struct Unheard;

/// What came of an answer.
struct Answer {
    end: End,
    is_found: bool,
    /// Something was passed on.
    has_news: bool,
}

#[derive(Debug)]
enum End {
    /// It said that it is.
    Whole,
    Idle,
    Stopped(Stop),
    /// What stands there is no line of a log.
    Stray(String),
    Failed(SourceError),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            idle_over: Duration::from_secs(5),
            margin: Duration::from_secs(2),
            backoff_max: Duration::from_secs(5),
            patience: Duration::from_secs(60),
            settle: Duration::from_millis(100),
        }
    }
}

// === impl Follower ===

impl<S: Source> Follower<S> {
    async fn run(mut self) -> Result<(), Unheard> {
        if self.place.is_end() || !self.begun().await {
            return Ok(());
        }
        loop {
            let is_over = self.is_over();
            if is_over && !self.is_settled {
                self.is_settled = true;
                sleep(self.options.settle).await;
            }
            // Before anything was taken, nothing is left out either way.
            let from_oldest = self.from_oldest || self.place.seen_ms == 0;
            let query = Query {
                follow: !is_over,
                since_s: (!from_oldest).then(|| self.since()),
            };
            let answer = self.read(query).await?;
            if answer.has_news {
                self.failing = None;
                self.backoff = BACKOFF_MIN;
            }
            // Of an answer that was cut short, our place would not be the end.
            let is_all = is_over && from_oldest && matches!(answer.end, End::Whole);
            match answer.end {
                End::Stopped(Stop::End) => return Ok(()),
                _ if is_all && self.was_killed() && answer.is_found && !answer.has_news => return Ok(()),
                _ if is_over && self.is_given_up(&answer, from_oldest) => return self.lose_the_rest().await,
                // What was written by a clock that was set back may have been left out.
                End::Stopped(Stop::Missing) | End::Idle => self.from_oldest = true,
                End::Whole | End::Stray(_) | End::Failed(_) => {
                    self.from_oldest = is_over && !answer.has_news;
                    if !answer.has_news {
                        self.pause().await;
                    }
                }
            }
        }
    }

    fn since(&self) -> i64 {
        let seen = Duration::from_millis(self.place.seen_ms);
        i64::try_from(seen.saturating_sub(self.options.margin).as_secs()).unwrap_or(0)
    }

    /// Whether what is left of the log counts as lost, of a container that is over.
    fn is_given_up(&mut self, answer: &Answer, from_oldest: bool) -> bool {
        let is_there = match &answer.end {
            End::Failed(SourceError::Refused { .. }) | End::Stray(_) => false,
            End::Whole => !from_oldest || answer.is_found && self.was_killed(),
            // Nobody was asked whether the log is there, or there is more to do.
            End::Failed(SourceError::Unreachable(_)) | End::Idle | End::Stopped(_) => return false,
        };
        if is_there {
            self.failing = None;
            return false;
        }
        let since = *self.failing.get_or_insert_with(Instant::now);
        since.elapsed() >= self.options.patience
    }

    async fn lose_the_rest(&mut self) -> Result<(), Unheard> {
        let gap = Item::Gap {
            bytes: None,
            after_ms: self.place.after_ms(),
            before_ms: None,
            end: self.place.at_end().cursor(),
        };
        self.items.send(gap).await.map_err(|_| Unheard)
    }

    /// Reads one answer to its end, or to where it is of no more use.
    async fn read(&mut self, query: Query) -> Result<Answer, Unheard> {
        let mut taker = Taker::new(self.place, query.since_s.is_none());
        let mut lines = Lines::new(query.since_s.is_some());
        let mut has_news = false;
        let opened = match timeout(OPEN, self.source.open(query)).await {
            Ok(opened) => opened,
            Err(_) => Err(SourceError::Unreachable("the cluster does not answer".to_owned())),
        };
        let end = match opened {
            Err(error) => End::Failed(error),
            Ok(mut bytes) => {
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
                        next = self.next(&mut bytes), if !taker.is_full() => next,
                    };
                    let chunk = match next {
                        None => break End::Idle,
                        Some(None) => break End::Whole,
                        Some(Some(Err(error))) => break End::Failed(error),
                        Some(Some(Ok(chunk))) => chunk,
                    };
                    lines.push(&chunk);
                    if let Some(end) = take(&mut lines, &mut taker) {
                        break end;
                    }
                }
            }
        };
        has_news |= self.pass_on(&mut taker).await?;
        // A last line that nothing ended: its container was killed. Elsewhere it comes again, whole.
        let end = match end {
            End::Whole if !query.follow => match lines.finish() {
                Ok(rest) => {
                    let stopped = rest.and_then(|line| taker.take(&line).err());
                    has_news |= self.pass_on(&mut taker).await?;
                    stopped.map_or(End::Whole, End::Stopped)
                }
                Err(stray) => End::Stray(stray.0),
            },
            end => end,
        };
        if !matches!(end, End::Whole | End::Stopped(Stop::End)) {
            let why = match &end {
                End::Stray(text) => format!("it says {text:?}"),
                other => format!("{other:?}"),
            };
            tracing::debug!(why, from_oldest = query.since_s.is_none(), "pod_log.interrupted");
        }
        Ok(Answer {
            end,
            is_found: taker.is_found(),
            has_news,
        })
    }

    /// None once nothing came for too long.
    async fn next<T>(&mut self, bytes: &mut BoxStream<'static, T>) -> Option<Option<T>> {
        let heard = Instant::now();
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
        self.place = taker.place();
        let has_news = !items.is_empty();
        for item in items {
            self.items.send(item).await.map_err(|_| Unheard)?;
        }
        Ok(has_news)
    }

    /// Waits for the container to start; false if it never will.
    async fn begun(&mut self) -> bool {
        loop {
            match self.now() {
                Standing::Never => return false,
                Standing::Running | Standing::Over { .. } => return true,
                Standing::Waiting => {}
            }
            if self.standing.changed().await.is_err() {
                // Nobody will tell: the log itself does.
                return true;
            }
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.now(), Standing::Over { .. })
    }

    fn was_killed(&self) -> bool {
        self.now() == Standing::Over { was_killed: true }
    }

    fn now(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Before the next question, unless the container's standing changes.
    async fn pause(&mut self) {
        let _ = timeout(self.backoff, async {
            if self.standing.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
        .await;
        self.backoff = (self.backoff * 2).min(self.options.backoff_max);
    }
}

/// Takes all whole lines; Some if the rest is of no use.
fn take(lines: &mut Lines, taker: &mut Taker) -> Option<End> {
    loop {
        match lines.next() {
            Ok(None) => return None,
            Ok(Some(line)) => {
                if let Err(stop) = taker.take(&line) {
                    return Some(End::Stopped(stop));
                }
            }
            Err(stray) => return Some(End::Stray(stray.0)),
        }
    }
}
