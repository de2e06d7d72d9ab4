//! Ranges of a buffer that are not shown: put together where they share a byte, and cut where that would never end.

use std::{cmp::Reverse, collections::VecDeque};

use super::fold::Gap;

/// Bytes `start..end` of a buffer, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: usize,
    pub(super) end: usize,
    /// At `start` or before it: what has to be read again to find this range.
    pub(super) from: usize,
    pub(super) shown_as: ShownAs,
}

/// What stands in the place of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShownAs {
    Mask,
    /// The replacement of this rule.
    Rule(u16),
}

/// What was found in a buffer.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// As it was found.
    pub(super) found: Vec<Range>,
    /// Merged, in order.
    merged: VecDeque<Range>,
}

// === impl Range ===

impl Range {
    pub(super) fn new(start: usize, end: usize, shown_as: ShownAs) -> Self {
        Self {
            start,
            end,
            from: start,
            shown_as,
        }
    }

    fn take_in(&mut self, other: Self) {
        self.end = self.end.max(other.end);
        self.from = self.from.min(other.from);
        if self.shown_as != other.shown_as {
            self.shown_as = ShownAs::Mask;
        }
    }

    /// A stream cannot be taken up again at `at` and find this.
    fn forbids(&self, at: usize) -> bool {
        self.from < at && at < self.end
    }
}

// === impl Ranges ===

impl Ranges {
    /// Merges what begins before `begun`: all of that is found.
    ///
    /// A merged range that has come to `bytes_max` ends where the next one begins that goes further. There everything
    /// begins anew: the value is that position, and what was found behind it is forgotten.
    pub(super) fn settle(&mut self, begun: usize, bytes_max: usize) -> Option<usize> {
        if self.found.is_empty() {
            return None;
        }
        self.found.sort_by_key(|range| (range.start, Reverse(range.end)));
        let settled = self.found.partition_point(|range| range.start < begun);
        for range in self.found.get(..settled).unwrap_or_default() {
            match self.merged.back_mut() {
                Some(last) if range.start < last.end => {
                    let goes_further = range.end > last.end;
                    if goes_further
                        && range.start - last.start >= bytes_max
                        && self.found.iter().all(|other| {
                            // Read again from here, it is found, or covered.
                            other.from >= range.start || other.end <= range.end && other != range
                        })
                    {
                        last.end = range.start;
                        let cut = range.start;
                        self.found.clear();
                        return Some(cut);
                    }
                    last.take_in(*range);
                }
                _ => self.merged.push_back(*range),
            }
        }
        self.found.drain(..settled);
        None
    }

    /// The last position up to `begun` where a stream can be taken up again: outside of all ranges, and of all gaps, for one
    /// that is cut reads as something else.
    pub(super) fn safe(&self, begun: usize, gaps: &[Gap]) -> usize {
        let mut safe = begun;
        loop {
            let range = self
                .merged
                .iter()
                .rev()
                .chain(&self.found)
                .find(|range| range.forbids(safe));
            let gap = gaps.get(gaps.partition_point(|gap| gap.end <= safe));
            match (range, gap) {
                (Some(range), _) => safe = range.from,
                (None, Some(gap)) if gap.start < safe => safe = gap.start,
                (None, _) => return safe,
            }
        }
    }

    /// The next merged range, if it ends by `until`.
    pub(super) fn next_before(&mut self, until: usize) -> Option<Range> {
        self.merged.pop_front_if(|range| range.end <= until)
    }

    /// The first `count` bytes of the buffer are gone.
    pub(super) fn rebase(&mut self, count: usize) {
        for range in self.merged.iter_mut().chain(&mut self.found) {
            range.start -= count;
            range.end -= count;
            range.from = range.from.saturating_sub(count);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.merged.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.found.clear();
        self.merged.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.found.len() + self.merged.len()
    }
}
