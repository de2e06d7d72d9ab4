//! The slow way to take something out of a log: whole lines are shown to plugins, which say what must go.

use std::{mem, sync::Arc};

use ignite_plugins::chain::lines;

use crate::{executor::RawCursor, hooks::Gate};

/// A line of more is shown in pieces: it has to wait in memory for its end.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Redacted text that waits for the end of its line.
#[derive(Debug)]
pub(super) struct Scanner {
    gate: Arc<dyn Gate>,
    waiting: Vec<u8>,
    /// How much of `waiting` is whole lines, and where in the raw log they end.
    whole: usize,
    whole_raw_end: RawCursor,
}

/// A stretch of the log that was scanned.
pub(super) struct Scanned {
    pub(super) text: Vec<u8>,
    /// What it was before, where all of it was withheld.
    pub(super) withheld: Option<Vec<u8>>,
}

// === impl Scanner ===

impl Scanner {
    pub(super) fn new(gate: Arc<dyn Gate>, raw_start: RawCursor) -> Self {
        Self {
            gate,
            waiting: Vec::new(),
            whole: 0,
            whole_raw_end: raw_start,
        }
    }

    /// Takes what the redactor let go; its output then reflects the raw log up to `raw_end`.
    pub(super) fn push(&mut self, redacted: &[u8], raw_end: RawCursor) {
        self.waiting.extend_from_slice(redacted);
        let is_long = self.waiting.len().saturating_sub(self.whole) > LINE_BYTES_MAX;
        if self.waiting.ends_with(b"\n") || is_long {
            self.end_line(raw_end);
        }
    }

    /// The log is over, or what waits is to be scanned as it is.
    pub(super) fn end_line(&mut self, raw_end: RawCursor) {
        self.whole = self.waiting.len();
        self.whole_raw_end = raw_end;
    }

    /// Where the log is to be taken up again once all that [`Self::scan`] gives is stored.
    pub(super) fn raw_cursor(&self) -> RawCursor {
        self.whole_raw_end
    }

    /// Scans all whole lines.
    pub(super) async fn scan(&mut self) -> Vec<Scanned> {
        let rest = self.waiting.split_off(self.whole);
        let whole = mem::replace(&mut self.waiting, rest);
        self.whole = 0;
        let mut scanned = Vec::new();
        for piece in lines::pieces(&whole) {
            let found = self.gate.scan(piece).await;
            scanned.push(match found.and_then(|ranges| lines::without(piece, ranges)) {
                Ok(text) => Scanned { text, withheld: None },
                Err(why) => Scanned {
                    text: lines::withheld(piece.len(), &why).into_bytes(),
                    withheld: Some(piece.to_vec()),
                },
            });
        }
        scanned
    }
}
