//! What of an answer is new, given how far the log was taken: the decisions of following a log, without any waiting.

use bytes::{Bytes, BytesMut};

use super::{
    lines::{PIECE_BYTES, Piece},
    place::{Place, stamp_ms},
    stamp::Stamp,
};
use crate::executor::RawCursor;

/// A part of one container's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Log bytes, and the position behind them. May be empty at the very start: then it tells a position that can be found again.
    Output { bytes: Bytes, end: RawCursor },
    /// As [`crate::executor::RunEvent::Gap`].
    Gap {
        after_ms: Option<i64>,
        before_ms: Option<i64>,
        end: RawCursor,
    },
}

/// How far a container's log was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) place: Place,
    /// Bytes behind it that were taken too.
    pub(super) behind: u64,
}

/// How an answer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With the log's first line, unless that is younger than this: the first line was then rotated away.
    Beginning { latest: Stamp },
    /// Somewhere before what comes next: the line at our place is in it, if the log is whole. Lines of before some second were left
    /// out, and a line that is cut by that may look like any other.
    Since,
    /// As before, but with the first line that is still there. If that is younger than our place, what is between them is gone.
    Oldest,
    /// With lines that are all behind our place, and not known to follow it.
    Lost,
    /// As [`Self::Oldest`], where the node's clock may have been set back: only the line itself tells its place.
    Unordered,
}

/// Why the rest of an answer is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Younger lines came before the line at our place did.
    Passed,
    /// The node's clock was set back: lines of the time between were perhaps left out.
    SetBack,
}

/// Takes the lines of one answer.
#[derive(Debug)]
pub(super) struct Taker {
    taken: Taken,
    start: Start,
    /// Looking for our place: lines with its timestamp that are still to come before it.
    seeking: Option<u32>,
    /// Bytes that were taken before.
    skip: u64,
    /// Behind a gap: so many bytes of what comes may have been taken before, and are left out.
    dropping: Option<u64>,
    /// The last of the lines left out, and how many there are with its time.
    dropped: (Stamp, u32),
    /// The youngest of them.
    dropped_latest: Stamp,
    /// Where the line starts that is being read, and how much of it was.
    line: Place,
    inside: u64,
    lines_seen: u64,
    bytes: BytesMut,
    items: Vec<Item>,
}

// === impl Taken ===

impl Taken {
    pub(super) fn at(cursor: RawCursor) -> Self {
        Self {
            place: Place::of(cursor),
            behind: cursor.behind(),
        }
    }

    pub(super) fn cursor(self) -> RawCursor {
        self.place.cursor().plus(self.behind)
    }
}

// === impl Taker ===

impl Taker {
    pub(super) fn new(taken: Taken, start: Start) -> Self {
        let seeking = match start {
            Start::Beginning { .. } | Start::Lost => None,
            Start::Since | Start::Oldest | Start::Unordered => Some(taken.place.lines),
        };
        Self {
            taken,
            start,
            seeking,
            skip: taken.behind,
            dropping: None,
            dropped: (0, 0),
            dropped_latest: 0,
            line: taken.place,
            inside: 0,
            lines_seen: 0,
            bytes: BytesMut::new(),
            items: Vec::new(),
        }
    }

    pub(super) fn taken(&self) -> Taken {
        self.taken
    }

    /// Whether our place was reached: what comes is new.
    pub(super) fn is_found(&self) -> bool {
        self.seeking.is_none() && self.dropping.is_none() && self.skip == 0
    }

    pub(super) fn take(&mut self, piece: &Piece) -> Result<(), Stop> {
        if let Some(stamp) = piece.stamp {
            let is_first = self.lines_seen == 0;
            self.lines_seen = self.lines_seen.saturating_add(1);
            self.begin_line(stamp, is_first)?;
        }
        if let Some(left) = self.dropping {
            self.dropping = Some(left.saturating_sub(piece.text.len() as u64));
            return Ok(());
        }
        if let Some(lines) = self.seeking {
            // The last of the lines that were taken at this time: what follows it is new.
            if piece.ends && self.line.stamp == self.taken.place.stamp {
                self.seeking = lines.checked_sub(1).filter(|left| *left > 0);
            }
            return Ok(());
        }
        self.emit(piece);
        Ok(())
    }

    /// Takes note of the beginning of a line that is left for the next answer: the log's first line is a place to find again,
    /// unlike its start.
    pub(super) fn remember(&mut self, piece: &Piece) {
        let place = self.taken.place;
        let is_start = matches!(self.start, Start::Beginning { .. }) && place.stamp == 0;
        if let Some(stamp) = piece.stamp
            && is_start
            && self.is_found()
            && !self.is_lost(stamp)
        {
            self.taken.place = place.before(stamp);
            self.items.push(Item::Output {
                bytes: Bytes::new(),
                end: self.taken.cursor(),
            });
        }
    }

    fn begin_line(&mut self, stamp: Stamp, is_first: bool) -> Result<(), Stop> {
        let place = self.taken.place;
        if let Some(left) = self.dropping {
            if left == 0 {
                self.dropping = None;
                self.lose(stamp);
            } else {
                self.drop_line(stamp);
            }
        } else if self.seeking.is_some() {
            let is_younger = stamp > place.stamp;
            match self.start {
                Start::Oldest if is_younger && is_first => self.lose(stamp),
                Start::Since | Start::Oldest if is_younger => return Err(Stop::Passed),
                _ if stamp == place.stamp && self.seeking == Some(0) => self.seeking = None,
                _ => {}
            }
        } else if is_first && self.is_lost(stamp) {
            self.lose(stamp);
        } else if self.start == Start::Since && stamp < place.stamp {
            return Err(Stop::SetBack);
        } else if place.stamp == 0 && is_first && self.skip == 0 {
            // A position that can be shown to be this one, unlike the start of whatever file is there later.
            self.items.push(Item::Output {
                bytes: Bytes::new(),
                end: place.before(stamp).cursor(),
            });
        }
        self.inside = 0;
        self.line = match self.seeking {
            Some(_) => Place { stamp, ..place },
            None => self.taken.place.before(stamp),
        };
        Ok(())
    }

    /// Whether an answer that begins with this line shows that lines before it are gone.
    fn is_lost(&self, stamp: Stamp) -> bool {
        match self.start {
            Start::Lost => true,
            Start::Beginning { latest } => stamp > latest,
            Start::Since | Start::Oldest | Start::Unordered => false,
        }
    }

    /// Goes on at a line with this timestamp, whatever was before it.
    fn lose(&mut self, stamp: Stamp) {
        self.seeking = None;
        if self.skip > 0 {
            // They followed a line that is gone, and nothing tells how far they reached into what is left. Rather too few
            // than any of them twice: of a gap, the log tells.
            self.dropping = Some(std::mem::take(&mut self.skip));
            self.drop_line(stamp);
            return;
        }
        let lost = self.taken.place;
        // Also by lines that will stand before this one whenever it is looked for.
        let was_set_back = stamp <= lost.stamp || stamp < self.dropped_latest;
        let place = Place {
            era: lost.era.saturating_add(u16::from(was_set_back)),
            stamp,
            lines: if self.dropped.0 == stamp {
                self.dropped.1
            } else {
                0
            },
            ..lost
        };
        self.taken = Taken { place, behind: 0 };
        self.items.push(Item::Gap {
            after_ms: lost.stamp_ms(),
            before_ms: stamp_ms(stamp),
            end: place.cursor(),
        });
    }

    fn drop_line(&mut self, stamp: Stamp) {
        let before = if self.dropped.0 == stamp {
            self.dropped.1
        } else {
            0
        };
        self.dropped = (stamp, before.saturating_add(1));
        self.dropped_latest = self.dropped_latest.max(stamp);
    }

    /// Passes on what of the piece was not taken before.
    fn emit(&mut self, piece: &Piece) {
        let len = piece.text.len() as u64;
        let skipped = self.skip.min(len);
        self.skip -= skipped;
        self.inside = self.inside.saturating_add(len);
        let new = piece.text.get(usize::try_from(skipped).unwrap_or(usize::MAX)..);
        self.bytes.extend_from_slice(new.unwrap_or_default());
        if piece.ends {
            self.taken = Taken {
                place: self.line.behind_line(),
                // Of what follows.
                behind: self.skip,
            };
        } else if self.skip == 0 {
            self.taken = Taken {
                place: self.line,
                behind: self.inside,
            };
        }
        if self.bytes.len() >= PIECE_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.bytes.is_empty() {
            self.items.push(Item::Output {
                bytes: self.bytes.split().freeze(),
                end: self.taken.cursor(),
            });
        }
    }

    /// Whether there is anything to pass on.
    pub(super) fn has_items(&self) -> bool {
        !self.items.is_empty() || !self.bytes.is_empty()
    }

    /// There is so much to pass on that no more should be taken before.
    pub(super) fn is_full(&self) -> bool {
        self.items.len() > 1
    }

    /// All there is to pass on by now.
    pub(super) fn items(&mut self) -> Vec<Item> {
        self.flush();
        std::mem::take(&mut self.items)
    }
}
