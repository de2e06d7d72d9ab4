//! Ranges of a stream that are not shown, merged where they share a byte.

use std::collections::VecDeque;

/// Positions count raw bytes from the beginning of the stream. Never empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) shown_as: ShownAs,
}

/// What stands in the place of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShownAs {
    Mask,
    /// The replacement of this rule.
    Rule(u16),
}

// === impl ShownAs ===

impl ShownAs {
    /// For a range that both contributed to.
    pub(super) fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Mask }
    }
}

/// Adds a range that ends no earlier than any before.
pub(super) fn merge(ranges: &mut VecDeque<Range>, mut new: Range) {
    while let Some(last) = ranges.back().copied().filter(|last| last.end > new.start) {
        new.start = new.start.min(last.start);
        new.end = new.end.max(last.end);
        new.shown_as = new.shown_as.and(last.shown_as);
        ranges.pop_back();
    }
    ranges.push_back(new);
}

/// Adds ranges in any order.
pub(super) fn weave(ranges: &mut VecDeque<Range>, new: Vec<Range>) {
    if new.is_empty() {
        return;
    }
    let mut all: Vec<Range> = ranges.drain(..).chain(new).collect();
    all.sort_by_key(|range| range.start);
    for range in all {
        // In order of their starts, a range shares a byte with the last one or with none.
        merge(ranges, range);
    }
}
