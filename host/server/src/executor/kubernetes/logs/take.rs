//! What of an answer is new, and what is missing, given how far the text was taken: the decisions of following a log, without any waiting.

use bytes::{Bytes, BytesMut};
use ignite_core::run::FetchReport;

use super::{lines::Line, place::Place};
use crate::{
    executor::RawCursor,
    sources::fetch::{Failed, frames::Frame},
};

/// So much is passed on at once.
const PIECE_BYTES: usize = 64 << 10;

/// A part of what one container says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Text, and the position behind it.
    Output { bytes: Bytes, end: RawCursor },
    /// As [`crate::executor::RunEvent::Gap`].
    Gap {
        bytes: Option<u64>,
        after_ms: Option<i64>,
        before_ms: Option<i64>,
        end: RawCursor,
    },
    /// The last of the fetch step's, and no more than once.
    Fetched(Result<FetchReport, Failed>),
}

/// Why the rest of an answer is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// All was taken.
    End,
    /// What would come next is not there; an answer from the oldest line on may have it.
    Missing,
}

/// Takes the lines of one answer.
#[derive(Debug)]
pub(super) struct Taker {
    place: Place,
    /// The answer begins with the oldest line there is: what is missing is lost.
    from_oldest: bool,
    is_found: bool,
    bytes: BytesMut,
    items: Vec<Item>,
}

// === impl Taker ===

impl Taker {
    pub(super) fn new(place: Place, from_oldest: bool) -> Self {
        Self {
            place,
            from_oldest,
            is_found: place.bytes == 0,
            bytes: BytesMut::new(),
            items: Vec::new(),
        }
    }

    pub(super) const fn place(&self) -> Place {
        self.place
    }

    /// Whether our place was reached: what comes is new.
    pub(super) const fn is_found(&self) -> bool {
        self.is_found
    }

    /// A line that is no frame is none of the container's own: the runtime's, perhaps.
    pub(super) fn take(&mut self, line: &Line) -> Result<(), Stop> {
        match Frame::parse(&line.text) {
            Ok(Frame::Text {
                at,
                text,
                has_newline,
            }) => {
                self.reach(at, line)?;
                // Whatever was cut off behind it, the newline was, too.
                self.text(at, text, has_newline && line.is_whole, line);
                Ok(())
            }
            Ok(Frame::End { at }) if line.is_whole => {
                self.reach(at, line)?;
                Err(Stop::End)
            }
            Ok(Frame::Report { at, report }) => {
                self.reach(at, line)?;
                self.fetched(Ok(report))
            }
            Ok(Frame::Failed { at, failed }) => {
                self.reach(at, line)?;
                self.fetched(Err(failed))
            }
            Ok(Frame::End { .. }) | Err(_) => Ok(()),
        }
    }

    fn fetched(&mut self, result: Result<FetchReport, Failed>) -> Result<(), Stop> {
        self.flush();
        self.items.push(Item::Fetched(result));
        Err(Stop::End)
    }

    /// The line begins behind `at` bytes.
    fn reach(&mut self, at: u64, line: &Line) -> Result<(), Stop> {
        let missing = at.saturating_sub(self.place.bytes);
        if missing == 0 {
            return Ok(());
        }
        if !self.from_oldest {
            return Err(Stop::Missing);
        }
        self.flush();
        let after_ms = self.place.after_ms();
        self.place.bytes = at;
        self.see(line);
        self.items.push(Item::Gap {
            bytes: Some(missing),
            after_ms,
            before_ms: i64::try_from(line.stamp_ms).ok(),
            end: self.place.cursor(),
        });
        Ok(())
    }

    fn text(&mut self, at: u64, text: &[u8], has_newline: bool, line: &Line) {
        let newline: &[u8] = if has_newline { b"\n" } else { b"" };
        let end = at
            .saturating_add(text.len() as u64)
            .saturating_add(newline.len() as u64);
        self.is_found |= end >= self.place.bytes;
        // Taken before.
        let mut skip = usize::try_from(self.place.bytes.saturating_sub(at)).unwrap_or(usize::MAX);
        for part in [text, newline] {
            self.bytes.extend_from_slice(part.get(skip..).unwrap_or_default());
            skip = skip.saturating_sub(part.len());
        }
        if end > self.place.bytes {
            self.place.bytes = end;
            self.see(line);
        }
        if self.bytes.len() >= PIECE_BYTES {
            self.flush();
        }
    }

    fn see(&mut self, line: &Line) {
        self.is_found = true;
        self.place.seen_ms = self.place.seen_ms.max(line.stamp_ms);
    }

    fn flush(&mut self) {
        if !self.bytes.is_empty() {
            self.items.push(Item::Output {
                bytes: self.bytes.split().freeze(),
                end: self.place.cursor(),
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
