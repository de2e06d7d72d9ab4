//! Which of the executor's cursors stands where in the raw bytes it sent.

use std::collections::VecDeque;

use crate::executor::RawCursor;

/// Cursors by how many raw bytes were sent before them. Positions are asked for in rising order; what lies before the last
/// one is forgotten.
#[derive(Debug)]
pub(super) struct Positions {
    /// Rising, never empty.
    marks: VecDeque<(u64, RawCursor)>,
    sent: u64,
}

// === impl Positions ===

impl Positions {
    pub(super) fn from(start: RawCursor) -> Self {
        Self {
            marks: VecDeque::from([(0, start)]),
            sent: 0,
        }
    }

    /// Raw bytes sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// `bytes` more were sent, and `end` is the position behind them.
    pub(super) fn advance(&mut self, bytes: u64, end: RawCursor) {
        self.sent = self.sent.saturating_add(bytes);
        // Where the executor counts bytes itself, one mark is enough for all of them.
        let told = self
            .marks
            .back()
            .is_some_and(|(at, cursor)| cursor.plus(self.sent.saturating_sub(*at)) == end);
        if !told {
            self.marks.push_back((self.sent, end));
        }
    }

    /// The position behind the first `count` bytes.
    pub(super) fn behind(&mut self, count: u64) -> RawCursor {
        while self.marks.get(1).is_some_and(|(at, _)| *at <= count) {
            self.marks.pop_front();
        }
        self.marks.front().map_or(RawCursor::START, |(at, cursor)| {
            cursor.plus(count.saturating_sub(*at))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_between_two_cursors_is_told_from_the_one_before_it() {
        let start = RawCursor::at(7).plus(3);
        let mut positions = Positions::from(start);
        positions.advance(10, RawCursor::at(8));
        positions.advance(5, RawCursor::at(9));
        assert_eq!(positions.sent(), 15);
        assert_eq!(positions.behind(0), start);
        assert_eq!(positions.behind(9), start.plus(9));
        assert_eq!(positions.behind(10), RawCursor::at(8));
        assert_eq!(positions.behind(14), RawCursor::at(8).plus(4));
        assert_eq!(positions.behind(15), RawCursor::at(9));
        assert_eq!(positions.marks.len(), 1);
    }

    #[test]
    fn an_executor_that_counts_bytes_costs_no_memory() {
        let mut positions = Positions::from(RawCursor::START.plus(100));
        for end in 101..1000 {
            positions.advance(1, RawCursor::START.plus(end));
        }
        assert_eq!(positions.marks.len(), 1);
        assert_eq!(positions.behind(500), RawCursor::START.plus(600));
    }
}
