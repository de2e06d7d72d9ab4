//! An automaton over patterns, byte by byte: which of them end here, and how long a beginning of one does.

use aho_corasick::{
    Anchored,
    automaton::{Automaton as _, StateID},
    nfa::contiguous::{self, NFA},
};

use super::{
    fold::{GAP_BYTES_MAX, Gap, back},
    ranges::{Range, ShownAs},
};

pub(super) struct Machine {
    nfa: NFA,
    start: StateID,
    /// How many of the bytes behind a state may yet become part of a pattern that is longer than they are.
    /// By state; most numbers are of none, yet it takes less than a map.
    depths: Vec<u32>,
    begins_with: [bool; 256],
    /// By pattern.
    shown_as: Vec<ShownAs>,
}

/// Where a machine stands in a buffer: every occurrence is found that begins and ends before `at`, and `state` knows those
/// that are under way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cursor {
    pub(super) at: usize,
    state: StateID,
}

impl Machine {
    /// None if the patterns are too many.
    pub(super) fn new(patterns: &[(&[u8], ShownAs)]) -> Option<Self> {
        let bytes: Vec<&[u8]> = patterns.iter().map(|(bytes, _)| *bytes).collect();
        let nfa = contiguous::Builder::new().prefilter(false).build(&bytes).ok()?;
        let start = nfa.start_state(Anchored::No).ok()?;
        let mut begins_with = [false; 256];
        for first in bytes.iter().filter_map(|bytes| bytes.first()) {
            if let Some(begins) = begins_with.get_mut(usize::from(*first)) {
                *begins = true;
            }
        }
        Some(Self {
            begins_with,
            depths: depths(&nfa, start, &bytes),
            nfa,
            start,
            shown_as: patterns.iter().map(|(_, shown_as)| *shown_as).collect(),
        })
    }

    pub(super) fn cursor(&self, at: usize) -> Cursor {
        Cursor {
            at,
            state: self.start,
        }
    }

    /// Nothing is under way.
    pub(super) fn is_idle(&self, cursor: Cursor) -> bool {
        cursor.state == self.start
    }

    /// Where the longest beginning of a pattern begins that ends at the cursor.
    pub(super) fn begun(&self, cursor: Cursor, gaps: &[Gap]) -> usize {
        if self.is_idle(cursor) {
            return cursor.at;
        }
        match self.depths.get(cursor.state.as_usize()) {
            Some(&depth) if depth > 0 => back(gaps, cursor.at, depth as usize),
            Some(_) | None => cursor.at,
        }
    }

    /// Goes on to `until`, passing over `gaps`, or, if it may, until nothing is under way. Adds what it finds.
    pub(super) fn run(
        &self,
        cursor: &mut Cursor,
        bytes: &[u8],
        gaps: &[Gap],
        until: usize,
        may_stop: bool,
        found: &mut Vec<Range>,
    ) {
        let mut next_gap = gaps.partition_point(|gap| gap.end <= cursor.at);
        while cursor.at < until {
            let gap = gaps.get(next_gap).copied();
            let text_end = gap.map_or(until, |gap| gap.start.min(until));
            if cursor.at < text_end {
                let text = bytes.get(cursor.at..text_end).unwrap_or_default();
                let stopped = match may_stop {
                    true => self.run_text::<true>(cursor, text, gaps, found),
                    false => self.run_text::<false>(cursor, text, gaps, found),
                };
                if stopped {
                    return;
                }
                continue;
            }
            let Some(gap) = gap else { return };
            cursor.at = gap.end;
            if gap.end - gap.start > GAP_BYTES_MAX {
                cursor.state = self.start;
                if may_stop {
                    return;
                }
            }
            next_gap += 1;
        }
    }

    /// Where it stands behind a byte; none if a pattern ends with it.
    #[inline]
    pub(super) fn step(&self, cursor: Cursor, byte: u8) -> Option<Cursor> {
        let state = match self.is_idle(cursor) && !self.begins(byte) {
            true => self.start,
            false => self.nfa.next_state(Anchored::No, cursor.state, byte),
        };
        let ends = self.nfa.is_special(state) && self.nfa.is_match(state);
        let at = cursor.at + 1;
        (!ends).then_some(Cursor { at, state })
    }

    /// True if it stopped because nothing is under way.
    fn run_text<const MAY_STOP: bool>(
        &self,
        cursor: &mut Cursor,
        text: &[u8],
        gaps: &[Gap],
        found: &mut Vec<Range>,
    ) -> bool {
        let mut state = cursor.state;
        let from = cursor.at;
        for (nth, &byte) in text.iter().enumerate() {
            if state == self.start && !self.begins(byte) {
                continue;
            }
            state = self.nfa.next_state(Anchored::No, state, byte);
            if self.nfa.is_special(state) && self.nfa.is_match(state) {
                self.report(state, from + nth + 1, gaps, found);
            }
            if MAY_STOP && state == self.start {
                *cursor = self.cursor(from + nth + 1);
                return true;
            }
        }
        *cursor = Cursor {
            at: from + text.len(),
            state,
        };
        false
    }

    /// Whether some pattern begins with it.
    pub(super) fn begins(&self, byte: u8) -> bool {
        self.begins_with.get(usize::from(byte)).copied().unwrap_or(true)
    }

    fn report(&self, state: StateID, end: usize, gaps: &[Gap], found: &mut Vec<Range>) {
        for nth in 0..self.nfa.match_len(state) {
            let pattern = self.nfa.match_pattern(state, nth);
            let start = back(gaps, end, self.nfa.pattern_len(pattern));
            let shown_as = self.shown_as.get(pattern.as_usize()).copied();
            let shown_as = shown_as.unwrap_or(ShownAs::Mask);
            found.push(Range::new(start, end, shown_as));
        }
    }
}

/// Every state is the beginning of some pattern: spelling the patterns visits them all. A state that no pattern continues
/// counts for what its own end begins: nothing more can come of the whole.
fn depths(nfa: &NFA, start: StateID, patterns: &[&[u8]]) -> Vec<u32> {
    let step = |state, byte: &u8| nfa.next_state(Anchored::No, state, *byte);
    let mut depths = Vec::new();
    let set = |depths: &mut Vec<u32>, state: StateID, depth| {
        let state = state.as_usize();
        depths.resize(depths.len().max(state + 1), 0);
        if let Some(of_state) = depths.get_mut(state) {
            *of_state = depth;
        }
    };
    let get = |depths: &[u32], state: StateID| depths.get(state.as_usize()).copied().unwrap_or(0);
    for pattern in patterns {
        let mut state = start;
        let inner = pattern.split_last().map_or(&[][..], |(_, inner)| inner);
        for (depth, byte) in (1..).zip(inner) {
            state = step(state, byte);
            set(&mut depths, state, depth);
        }
    }
    // A pattern may end with a shorter one, so those come first.
    let mut by_length = patterns.to_vec();
    by_length.sort_by_key(|pattern| pattern.len());
    for pattern in by_length {
        let whole = pattern.iter().fold(start, step);
        // Else another pattern goes on from there.
        if get(&depths, whole) == 0 {
            let rest = pattern.split_first().map_or(&[][..], |(_, rest)| rest);
            let end = rest.iter().fold(start, step);
            let depth = get(&depths, end);
            set(&mut depths, whole, depth);
        }
    }
    depths.shrink_to_fit();
    depths
}
