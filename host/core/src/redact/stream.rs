//! Where a stream stands: what was found, what is held back.

use zeroize::Zeroize;

use super::{
    Search, detectors,
    expressions::{self, Scan},
    few::{Few, Standing},
    needles,
    ranges::{Range, Ranges},
    show,
};

/// A long push is taken in pieces of so many bytes, so that no more than that is read again when everything begins anew.
const PIECE_BYTES: usize = 64 * 1024;
/// So much of a push is brought together with what is held, to see whether that is decided then: mostly it is, and the rest of the
/// push need not be copied.
const JOINED_BYTES: usize = 1024;

/// What is written so few bytes at a time is mostly gone through by an automaton alone, without what a search costs at its start.
/// See [`few`](super::few).
const FEW_BYTES_MAX: usize = 32;

/// Positions are in the buffer, which begins where the output stands:
///
/// ```text
///   output ──▶ │ held: bytes of ranges that are not over, and of what may become one │ ◀── input
///              0                                                                scanned
/// ```
#[derive(Debug)]
pub(super) struct Stream {
    held: Vec<u8>,
    /// So many of the bytes held were searched.
    scanned: usize,
    needles: needles::Track,
    detectors: detectors::Track,
    /// Where the expressions of rules stand, if there are any, and where they have the beginning of the buffer.
    expressions: Option<(Scan, u64)>,
    ranges: Ranges,
    /// Where it stands if it came a few bytes at a time: then all of the above is from before, but for `held`.
    few: Option<Standing>,
    /// The last push was of few bytes.
    came_few: bool,
    /// Bytes that are not held and not to be shown either: nothing can be told of them any more.
    withheld: Option<u64>,
}

/// Nothing can be said of what follows.
struct Blind;

impl Stream {
    pub(super) fn new(search: &Search) -> Self {
        let mut stream = Self {
            held: Vec::new(),
            scanned: 0,
            needles: needles::Track::default(),
            detectors: detectors::Track::default(),
            expressions: None,
            ranges: Ranges::default(),
            few: None,
            came_few: false,
            withheld: None,
        };
        stream.begin_anew(search);
        stream
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.withheld.unwrap_or(0) + self.held.len() as u64
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.held.len() + self.ranges.len()
    }

    pub(super) fn push(&mut self, search: &Search, raw: &[u8], out: &mut Vec<u8>) {
        // Building the automaton costs more than one text: it is for a stream that goes on coming so.
        let again = std::mem::replace(&mut self.came_few, raw.len() <= FEW_BYTES_MAX);
        if again && self.came_few && self.push_few(search, raw, out) {
            return;
        }
        self.leave(search);
        let mut rest = raw;
        while !rest.is_empty() {
            if let Some(withheld) = &mut self.withheld {
                *withheld += rest.len() as u64;
                return;
            }
            if self.held.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(PIECE_BYTES));
                let done = self.go_on(search, piece, false, out);
                self.held.extend_from_slice(piece.get(done..).unwrap_or_default());
                rest = behind;
            } else {
                // More each time, so that what stays undecided is not gone through too often.
                let joined = self.held.len().clamp(JOINED_BYTES, PIECE_BYTES);
                let (piece, behind) = rest.split_at(rest.len().min(joined));
                self.held.extend_from_slice(piece);
                self.go_on_held(search, false, out);
                rest = behind;
            }
            let held_from = (raw.len() - rest.len()).checked_sub(self.held.len());
            if let Some(from) = held_from.filter(|_| !rest.is_empty() && self.held.len() < JOINED_BYTES) {
                // All that is held is of this push: it goes on there, from where it stands.
                self.held.clear();
                rest = raw.get(from..).unwrap_or_default();
            }
        }
    }

    /// As [`Self::push`]. False, and nothing is done, if the bytes cannot come this way.
    fn push_few(&mut self, search: &Search, raw: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(few) = search.few() else { return false };
        if self.few.is_none() {
            self.few = self.enter(search, few);
        }
        let Some(standing) = &mut self.few else {
            return false;
        };
        if !few.pass(standing, raw) {
            return false;
        }
        let begun = few.begun(standing);
        standing.rebase(begun);
        match begun.checked_sub(self.held.len()) {
            Some(new) => {
                let (shown, kept) = raw.split_at(new.min(raw.len()));
                out.append(&mut self.held);
                out.extend_from_slice(shown);
                self.held.extend_from_slice(kept);
            }
            None => {
                out.extend(self.held.drain(..begun));
                self.held.extend_from_slice(raw);
            }
        }
        true
    }

    /// Where the stream stands, if nothing was found that is not over, nor may be.
    fn enter(&self, search: &Search, few: &Few) -> Option<Standing> {
        let length = self.held.len();
        let calm = self.withheld.is_none()
            && self.scanned == length
            && length <= FEW_BYTES_MAX
            && self.ranges.is_empty()
            && !self.detectors.is_open();
        let line_start = search
            .needles
            .line_start_of_plain(&self.needles, length)
            .filter(|_| calm)?;
        few.enter(&self.held, line_start)
    }

    /// What is held is searched the usual way again.
    fn leave(&mut self, search: &Search) {
        if let Some(standing) = self.few.take() {
            self.begin_anew(search);
            if standing.line_start {
                self.needles = search.needles.track_at_line_start();
            }
        }
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self, search: &Search, out: &mut Vec<u8>) {
        self.leave(search);
        if self.withheld.is_none() {
            self.go_on_held(search, true, out);
        }
        if self.withheld.is_some_and(|withheld| withheld > 0) {
            out.extend_from_slice(search.mask().as_bytes());
        }
    }

    /// What is held is searched again, with whatever is searched for from now on.
    pub(super) fn begin_anew(&mut self, search: &Search) {
        if search.is_blind() && self.withheld.is_none() {
            self.withheld = Some(self.held.len() as u64);
            self.held.zeroize();
        }
        self.few = None;
        self.scanned = 0;
        self.needles = search.needles.track();
        self.detectors = search
            .detectors
            .map(detectors::Detectors::track)
            .unwrap_or_default();
        self.expressions = search
            .rules
            .expressions()
            .map(|expressions| (Scan::new(expressions), 0));
        self.ranges.clear();
    }

    fn go_on_held(&mut self, search: &Search, at_end: bool, out: &mut Vec<u8>) {
        let mut held = std::mem::take(&mut self.held);
        let shown = self.go_on(search, &held, at_end, out);
        if shown == held.len() {
            held.clear();
        } else if shown > 0 {
            held.drain(..shown);
        }
        // What comes behind the rest now and then is a memory of secrets: it is wiped with the buffer.
        self.held = held;
    }

    /// Searches what is new in `bytes`, which begin where the output stands, and shows what may be shown. Returns how many of
    /// the bytes are done with.
    fn go_on(&mut self, search: &Search, bytes: &[u8], at_end: bool, out: &mut Vec<u8>) -> usize {
        let mut done = 0;
        loop {
            let rest = bytes.get(done..).unwrap_or_default();
            let Ok(begun) = self.scan(search, rest, at_end) else {
                return self.withhold(rest.len(), bytes);
            };
            let cut = self.ranges.settle(begun, search.range_bytes_max);
            let until = cut.unwrap_or_else(|| self.ranges.safe(begun, self.needles.gaps()));
            self.show(search, rest, until, out);
            done += until;
            if cut.is_none() {
                self.rebase(until);
                if rest.len() - until > search.held_bytes_max {
                    return self.withhold(rest.len() - until, bytes);
                }
                return done;
            }
            self.begin_anew(search);
        }
    }

    /// The last `count` of the bytes are done with, and never shown.
    fn withhold(&mut self, count: usize, bytes: &[u8]) -> usize {
        self.ranges.clear();
        self.withheld = Some(count as u64);
        bytes.len()
    }

    /// Returns the first position where something may begin that is not found yet.
    fn scan(&mut self, search: &Search, bytes: &[u8], at_end: bool) -> Result<usize, Blind> {
        let found = &mut self.ranges.found;
        let mut begun = search.needles.scan(&mut self.needles, bytes, at_end, found);
        if let Some(detectors) = search.detectors {
            begun = begun.min(detectors.scan(&mut self.detectors, bytes, at_end, found));
        }
        if let (Some((scan, base)), Some(expressions)) = (&mut self.expressions, search.rules.expressions()) {
            let new = bytes.get(self.scanned..).unwrap_or_default();
            begun = begun.min(scan_rules(scan, *base, expressions, new, at_end, found).ok_or(Blind)?);
        }
        self.scanned = bytes.len();
        Ok(if at_end { bytes.len() } else { begun })
    }

    /// Appends the output for everything up to `until`, across which no range lies.
    fn show(&mut self, search: &Search, bytes: &[u8], until: usize, out: &mut Vec<u8>) {
        let mut shown = 0;
        while let Some(range) = self.ranges.next_before(until) {
            out.extend_from_slice(bytes.get(shown..range.start).unwrap_or_default());
            let hidden = bytes.get(range.start..range.end).unwrap_or_default();
            show::replaced(hidden, search.replacement(range.shown_as), out);
            shown = range.end;
        }
        out.extend_from_slice(bytes.get(shown..until).unwrap_or_default());
    }

    fn rebase(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.scanned -= count;
        self.needles.rebase(count);
        self.detectors.rebase(count);
        self.ranges.rebase(count);
        if let Some((_, base)) = &mut self.expressions {
            *base += count as u64;
        }
    }
}

/// Positions of a scan count from where it began; `base` is that of the buffer.
fn scan_rules(
    scan: &mut Scan,
    base: u64,
    expressions: &expressions::Expressions,
    new: &[u8],
    at_end: bool,
    found: &mut Vec<Range>,
) -> Option<usize> {
    let position = |at: u64| usize::try_from(at.saturating_sub(base)).ok();
    let mut add = |matches: Vec<expressions::Match>| {
        for one in matches {
            found.push(Range::new(position(one.start)?, position(one.end)?, one.shown_as));
        }
        Some(())
    };
    let (undecided, matches) = scan.push(expressions, new).ok()?;
    add(matches)?;
    if at_end {
        add(scan.finish(expressions).ok()?)?;
    }
    position(undecided)
}

/// What it holds may be most of a secret.
impl Drop for Stream {
    fn drop(&mut self) {
        self.held.zeroize();
    }
}
