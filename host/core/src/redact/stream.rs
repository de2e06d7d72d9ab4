//! Where a stream stands: what was found, what is held back.

use std::collections::VecDeque;

use aho_corasick::automaton::StateID;
use zeroize::Zeroize;

use super::{
    expressions::Scan,
    ranges::{Range, ShownAs, merge, weave},
    search::Search,
};

/// Positions count raw bytes from the beginning of the stream.
///
/// ```text
///   shown ──────── tail_start ──────── consumed
///     └ inside one range, ┘ └ the bytes of ┘
///       so not needed         `tail`: the beginning of a pattern
/// ```
#[derive(Debug)]
pub(super) struct Stream {
    state: StateID,
    blind: bool,
    consumed: u64,
    /// Output reflects the input up to here.
    shown: u64,
    tail_start: u64,
    tail: Vec<u8>,
    /// Found, merged, in order, none of them shown yet.
    ranges: VecDeque<Range>,
    /// Where the expressions of rules stand, if there are any.
    scan: Option<Scan>,
}

impl Stream {
    pub(super) fn new(search: Option<&Search>) -> Self {
        Self {
            state: search.map(Search::start).unwrap_or_default(),
            blind: search.is_some_and(Search::is_blind),
            consumed: 0,
            shown: 0,
            tail_start: 0,
            tail: Vec::new(),
            ranges: VecDeque::new(),
            scan: search.and_then(Search::expressions).map(Scan::new),
        }
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.consumed - self.shown
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.tail.len() + self.ranges.len()
    }

    pub(super) fn push(&mut self, search: &Search, raw: &[u8], out: &mut Vec<u8>) {
        let raw_start = self.consumed;
        self.consumed += raw.len() as u64;
        if self.blind {
            return self.withhold();
        }
        let ranges = &mut self.ranges;
        self.state = search.run(self.state, raw, |end, length, shown_as| {
            let end = raw_start + end as u64;
            let start = end - length as u64;
            merge(ranges, Range { start, end, shown_as });
        });
        let mut begun = self.consumed - search.depth(self.state);
        if let (Some(scan), Some(expressions)) = (&mut self.scan, search.expressions()) {
            let Ok((undecided, found)) = scan.push(expressions, raw) else {
                return self.withhold();
            };
            weave(&mut self.ranges, found);
            begun = begun.min(undecided);
        }
        // Whatever is found from now on begins here or later.
        let across = self.ranges.iter().rev().find(|range| range.start < begun);
        let safe = match across {
            Some(range) if range.end > begun => range.start,
            Some(_) | None => begun,
        };
        self.show(search, safe, raw, raw_start, out);
        self.keep_tail(begun, raw, raw_start);
    }

    pub(super) fn finish(&mut self, search: &Search, out: &mut Vec<u8>) {
        if let (Some(scan), Some(expressions), false) = (&mut self.scan, search.expressions(), self.blind) {
            match scan.finish(expressions) {
                Ok(found) => weave(&mut self.ranges, found),
                Err(_) => self.withhold(),
            }
        }
        self.show(search, self.consumed, &[], self.consumed, out);
    }

    /// Nothing more can be told to be fit to show, so all from here on is one range.
    fn withhold(&mut self) {
        self.blind = true;
        self.ranges = VecDeque::from([Range {
            start: self.shown,
            end: self.consumed,
            shown_as: ShownAs::Mask,
        }]);
        self.ranges.retain(|range| range.start < range.end);
    }

    /// Appends the output for everything up to `until`, across which no range lies.
    fn show(&mut self, search: &Search, until: u64, raw: &[u8], raw_start: u64, out: &mut Vec<u8>) {
        while let Some(range) = self.ranges.front().copied().filter(|range| range.end <= until) {
            self.ranges.pop_front();
            self.copy(self.shown, range.start, raw, raw_start, out);
            out.extend_from_slice(search.replacement(range.shown_as).as_bytes());
            self.shown = range.end;
        }
        self.copy(self.shown, until, raw, raw_start, out);
        self.shown = until;
    }

    /// Appends the raw bytes of a stretch that lies in the tail, in the chunk, or in both.
    fn copy(&self, from: u64, to: u64, raw: &[u8], raw_start: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(part(&self.tail, self.tail_start, from, to));
        out.extend_from_slice(part(raw, raw_start, from, to));
    }

    fn keep_tail(&mut self, start: u64, raw: &[u8], raw_start: u64) {
        let old = part(&self.tail, self.tail_start, start, u64::MAX).len();
        let gone = self.tail.len() - old;
        self.tail.rotate_left(gone);
        self.tail.truncate(old);
        self.tail.extend_from_slice(part(raw, raw_start, start, u64::MAX));
        self.tail_start = start;
    }
}

/// What it holds may be most of a secret.
impl Drop for Stream {
    fn drop(&mut self) {
        self.tail.zeroize();
    }
}

/// Those bytes of `bytes`, which begin at `start`, that lie in `from..to`.
fn part(bytes: &[u8], start: u64, from: u64, to: u64) -> &[u8] {
    let index = |position: u64| {
        let distance = position.saturating_sub(start);
        usize::try_from(distance).map_or(bytes.len(), |index| index.min(bytes.len()))
    };
    bytes.get(index(from)..index(to)).unwrap_or_default()
}
