//! Asks for a container's log again and again until all of it is taken.
//!
//! ```text
//!            found, ended ┌───────┐ younger lines first ┌────────┐ older ones too ┌───────────┐ not there ┌──────┐
//!           ┌────────────▶│ Since ├────────────────────▶│ Oldest ├───────────────▶│ Unordered ├──────────▶│ Lost │
//!           │             └───┬───┘                     └───┬────┘                └─────┬─────┘           └──┬───┘
//!           │                 │ found                       │ found, or a gap           │ found              │ a gap
//!           └─────────────────┴─────────────────────────────┴───────────────────────────┴────────────────────┘
//! ```
//!
//! Only an answer from the oldest line on shows a gap: one from some second on may begin with the rest of a line, which is whatever a
//! build prints. And only the line itself shows where it is once the node's clock was set back. That an answer ends without our line shows
//! nothing: an API server that loses the kubelet halfway ends its answer as if it were whole.

use std::time::Duration;

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use self::read::{Answer, End};
use super::{
    place::Place,
    source::{Query, Source, SourceError},
    stamp::{NANOS_IN_SECOND, Stamp},
    take::{Item, Start, Stop, Taken},
};
use crate::executor::RawCursor;

mod read;

/// How a container stands, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may start yet.
    Waiting,
    /// Since when by the node's clock, in milliseconds since 1970.
    Running { started_ms: Option<i64> },
    /// It has ended.
    Over { started_ms: Option<i64> },
    /// It will never run.
    Never,
}

#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A stream on which nothing comes for so long is asked for anew: nobody tells of a connection that is cut.
    pub idle: Duration,
    /// As `idle`, once the container is over: the kubelet ends the stream then.
    pub idle_over: Duration,
    /// How far before our place an answer begins, so that a clock that is set back by less hides nothing. To be more than `idle`.
    pub margin: Duration,
    /// After an answer that ends by itself, as it does when its container ends, to be told that this is so. Asked before, the
    /// cluster would only say the same again.
    pub news: Duration,
    /// The longest wait between two questions.
    pub backoff_max: Duration,
    /// How long the cluster may refuse the log of a container that is over before the rest of it counts as lost.
    pub patience: Duration,
    /// After a container is over, for its runtime to write the last line.
    pub settle: Duration,
    /// A log whose first line is so much younger than its container is not whole, if we were not there when it started.
    pub first_line: Duration,
}

const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// One container's log from `from` on, which is of this container; ends when there is nothing more to come.
///
/// Never fails: what may pass is waited for, and what does not is a gap. `standing` may lag behind.
pub fn follow<S: Source + 'static>(
    source: S,
    standing: watch::Receiver<Standing>,
    from: RawCursor,
    options: Options,
) -> BoxStream<'static, Item> {
    let (items, mut received) = mpsc::channel(1);
    // As it is now, not when the task gets to look.
    let was_waiting = *standing.borrow() == Standing::Waiting;
    let follower = Follower {
        source,
        standing,
        options,
        taken: Taken::at(from),
        start: Start::Oldest,
        was_waiting,
        is_settled: false,
        idle_unfound: false,
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
    taken: Taken,
    /// How the next answer is to begin.
    start: Start,
    /// We were there before the container was.
    was_waiting: bool,
    is_settled: bool,
    /// Nothing more came of the last answer, and our place was not in it, wherever it might have been.
    idle_unfound: bool,
    /// Since when the log of a container that is over is refused.
    failing: Option<Instant>,
    backoff: Duration,
    items: mpsc::Sender<Item>,
}

/// Nobody listens any more.
struct Unheard;

impl Default for Options {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            idle_over: Duration::from_secs(5),
            margin: Duration::from_secs(70),
            news: Duration::from_secs(3),
            backoff_max: Duration::from_secs(5),
            patience: Duration::from_secs(60),
            settle: Duration::from_millis(100),
            first_line: Duration::from_secs(10),
        }
    }
}

// === impl Follower ===

impl<S: Source> Follower<S> {
    async fn run(mut self) -> Result<(), Unheard> {
        let container = self.taken.place.container;
        if self.taken.place >= Place::end_of(container) || !self.begun().await {
            return Ok(());
        }
        if self.taken.place.stamp == 0 {
            self.start = self.beginning();
        } else if self.taken.place.era > 0 {
            self.start = Start::Unordered;
        }
        loop {
            let is_over = self.is_over();
            if is_over && !self.is_settled {
                self.is_settled = true;
                sleep(self.options.settle).await;
            }
            // The last answer must hide nothing.
            if is_over && self.start == Start::Since {
                self.start = Start::Oldest;
            }
            // However far the last answer led: from here on, times tell no order.
            if self.taken.place.era > 0 && matches!(self.start, Start::Since | Start::Oldest) {
                self.start = Start::Unordered;
            }
            let query = Query {
                follow: !is_over,
                since_s: (self.start == Start::Since).then(|| self.since()),
            };
            let answer = self.read(query, is_over).await?;
            // Whoever was away may be too late for the first line.
            self.was_waiting &= matches!(answer.end, End::Idle);
            if answer.has_news {
                self.failing = None;
                self.backoff = BACKOFF_MIN;
            }
            let is_whole = matches!(answer.end, End::Whole);
            // From the oldest line on: of an answer that was cut short, our place would not be the end.
            let hides_nothing = query.since_s.is_none() && !query.follow;
            let shows_the_end = hides_nothing && is_whole && self.start != Start::Lost;
            if is_over && shows_the_end && answer.is_found && !answer.has_news {
                return Ok(());
            }
            if is_over && self.is_given_up(&answer) {
                if self.start == Start::Lost || !is_whole {
                    return self.lose_the_rest().await;
                }
                self.start = Start::Lost;
            } else {
                let is_at_once = self.decide(&answer);
                let is_told = is_whole && !is_over && self.is_told_of_the_end().await;
                if !is_told && !is_at_once {
                    self.pause().await;
                }
            }
        }
    }

    /// What to ask for next; whether at once.
    fn decide(&mut self, answer: &Answer) -> bool {
        let (next, at_once) = match (&answer.end, answer.is_found) {
            (End::Stopped(Stop::SetBack), _) => (Start::Unordered, true),
            (End::Stopped(Stop::Passed), _) if self.start == Start::Since => (Start::Oldest, true),
            (End::Stopped(Stop::Passed), _) => (Start::Unordered, true),
            // It may have left out lines of a clock that was set back.
            (End::Idle | End::Unfound, true) => (self.regular(Start::Oldest), true),
            (End::Whole | End::Failed(_) | End::Stray(_), true) => {
                (self.regular(Start::Since), answer.has_news)
            }
            // It may have been cut short.
            (End::Whole | End::Failed(_) | End::Stray(_), false) => (
                if self.start == Start::Since && matches!(answer.end, End::Whole) {
                    Start::Oldest
                } else {
                    self.start
                },
                false,
            ),
            (End::Idle | End::Unfound, false) if self.start == Start::Since => (Start::Oldest, true),
            (End::Unfound, false) if self.start == Start::Unordered => (Start::Lost, true),
            (End::Idle, false) if self.idle_unfound => (Start::Lost, true),
            (End::Idle | End::Unfound, false) => (Start::Unordered, true),
        };
        self.idle_unfound =
            matches!(answer.end, End::Idle) && self.start == Start::Unordered && !answer.is_found;
        self.start = next;
        at_once
    }

    /// How to ask for what follows a place that was found.
    fn regular(&self, ordered: Start) -> Start {
        match self.taken.place {
            Place { stamp: 0, .. } => self.beginning(),
            Place { era: 0, .. } => ordered,
            Place { .. } => Start::Unordered,
        }
    }

    fn beginning(&self) -> Start {
        let started_ms = match self.now() {
            Standing::Running { started_ms } | Standing::Over { started_ms } => started_ms,
            Standing::Waiting | Standing::Never => None,
        };
        let latest = started_ms
            .filter(|_| !self.was_waiting)
            .and_then(|ms| {
                Duration::from_millis(u64::try_from(ms).ok()?).checked_add(self.options.first_line)
            })
            .and_then(|time| Stamp::try_from(time.as_nanos()).ok());
        Start::Beginning {
            latest: latest.unwrap_or(Stamp::MAX),
        }
    }

    fn since(&self) -> i64 {
        let second = self.taken.place.stamp / NANOS_IN_SECOND;
        i64::try_from(second.saturating_sub(self.options.margin.as_secs())).unwrap_or(0)
    }

    /// Whether what is left of the log counts as lost, of a container that is over.
    fn is_given_up(&mut self, answer: &Answer) -> bool {
        let is_there = match &answer.end {
            End::Failed(SourceError::Refused { .. }) | End::Stray(_) => false,
            End::Whole => answer.is_found && (answer.has_news || self.start != Start::Lost),
            // Nobody was asked whether the log is there, or there is more to do.
            End::Failed(SourceError::Unreachable(_)) | End::Idle | End::Unfound | End::Stopped(_) => {
                return false;
            }
        };
        if is_there {
            self.failing = None;
            return false;
        }
        let since = *self.failing.get_or_insert_with(Instant::now);
        since.elapsed() >= self.options.patience
    }

    async fn lose_the_rest(&mut self) -> Result<(), Unheard> {
        let place = self.taken.place;
        let gap = Item::Gap {
            after_ms: place.stamp_ms(),
            before_ms: None,
            end: Place::end_of(place.container).cursor(),
        };
        self.items.send(gap).await.map_err(|_| Unheard)
    }

    /// Waits for the container to start; false if it never will.
    async fn begun(&mut self) -> bool {
        loop {
            match self.now() {
                Standing::Never => return false,
                Standing::Running { .. } | Standing::Over { .. } => return true,
                Standing::Waiting => self.was_waiting = true,
            }
            if self.standing.changed().await.is_err() {
                // Nobody will tell: the log itself does.
                return true;
            }
        }
    }

    async fn is_told_of_the_end(&mut self) -> bool {
        let over = self
            .standing
            .wait_for(|standing| matches!(standing, Standing::Over { .. }));
        timeout(self.options.news, async {
            if over.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
        .await
        .is_ok()
    }

    fn is_over(&self) -> bool {
        matches!(self.now(), Standing::Over { .. })
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
