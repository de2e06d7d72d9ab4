//! The slow way to take something out of a log: whole lines are shown to plugins, which say what must go.

use std::{mem, ops::Range, sync::Arc};

use ignite_core::spec::ArgValue;

use crate::{executor::RawCursor, hooks::Gate};

/// Shown at once; a longer line is shown by itself.
const CHUNK_BYTES_MAX: usize = 64 << 10;
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
        let lines = mem::replace(&mut self.waiting, rest);
        self.whole = 0;
        let mut scanned = Vec::new();
        for chunk in chunks(&lines) {
            let found = self.gate.scan(chunk).await;
            let blanked = found.and_then(|ranges| {
                blank(chunk, ranges)
                    .ok_or_else(|| "a plugin named bytes that were not shown to it".to_owned())
            });
            scanned.push(match blanked {
                Ok(text) => Scanned { text, withheld: None },
                Err(why) => Scanned {
                    text: format!("[ignite] {} bytes of the log are withheld: {why}\n", chunk.len())
                        .into_bytes(),
                    withheld: Some(chunk.to_vec()),
                },
            });
        }
        scanned
    }
}

/// Cuts at ends of lines.
fn chunks(lines: &[u8]) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    let mut rest = lines;
    while !rest.is_empty() {
        let head = rest.get(..CHUNK_BYTES_MAX).unwrap_or(rest);
        let within = head.iter().rposition(|byte| *byte == b'\n');
        let end = match within {
            _ if head.len() == rest.len() => rest.len(),
            Some(at) => at + 1,
            // One line alone.
            None => rest
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(rest.len(), |at| at + 1),
        };
        let (chunk, behind) = rest.split_at(end);
        chunks.push(chunk);
        rest = behind;
    }
    chunks
}

/// Each range, or run of ranges that overlap, becomes `***`. None if one is not within `lines`.
fn blank(lines: &[u8], mut ranges: Vec<Range<usize>>) -> Option<Vec<u8>> {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut out = Vec::with_capacity(lines.len());
    let mut shown = 0;
    for range in ranges {
        if range.start > range.end || range.end > lines.len() {
            return None;
        }
        if range.is_empty() || range.end <= shown {
            continue;
        }
        if range.start >= shown {
            out.extend_from_slice(lines.get(shown..range.start)?);
            out.extend_from_slice(ArgValue::MASK.as_bytes());
        }
        shown = range.end;
    }
    out.extend_from_slice(lines.get(shown..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_blanked_once_however_they_overlap_and_none_outside_is_taken() {
        let blanked = |ranges: &[Range<usize>]| blank(b"0123456789", ranges.to_vec());
        assert_eq!(blanked(&[]).unwrap(), b"0123456789");
        assert_eq!(blanked(&[2..4, 3..6]).unwrap(), b"01***6789");
        assert_eq!(blanked(&[8..10, 0..1, 0..1]).unwrap(), b"***1234567***");
        assert_eq!(blanked(&[1..9, 2..3]).unwrap(), b"0***9");
        assert_eq!(blanked(&[3..3, 5..5]).unwrap(), b"0123456789");
        assert_eq!(blanked(&[0..1, 9..11]), None);
    }

    #[test]
    fn chunks_are_whole_lines_and_long_lines_stand_alone() {
        let long = [vec![b'x'; CHUNK_BYTES_MAX + 5], b"\n".to_vec()].concat();
        let lines = [b"a\n".repeat(CHUNK_BYTES_MAX), long.clone(), b"end\n".to_vec()].concat();
        let cut = chunks(&lines);
        assert_eq!(cut.concat(), lines);
        assert!(cut.iter().all(|chunk| chunk.ends_with(b"\n")));
        assert!(
            cut.iter()
                .all(|chunk| chunk.len() <= CHUNK_BYTES_MAX || **chunk == *long)
        );
    }
}
