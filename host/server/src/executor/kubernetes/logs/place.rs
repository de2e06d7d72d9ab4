//! A position in a pod's log, and how it becomes a cursor.

use super::stamp::Stamp;
use crate::executor::RawCursor;

/// Behind the `lines`th of the lines with this timestamp, or before the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The containers of a run in the order in which they run, from 0.
    pub container: u16,
    /// How often the node's clock has gone back while the container ran.
    pub era: u16,
    /// In nanoseconds since 1970; 0 at the start of the container's log.
    pub stamp: u64,
    pub lines: u32,
}

// === impl Place ===

impl Place {
    pub const fn start_of(container: u16) -> Self {
        Self {
            container,
            era: 0,
            stamp: 0,
            lines: 0,
        }
    }

    /// Behind everything that can be had of the container's log.
    pub const fn end_of(container: u16) -> Self {
        Self {
            container,
            era: u16::MAX,
            stamp: Stamp::MAX,
            lines: 0,
        }
    }

    pub fn cursor(self) -> RawCursor {
        let parts = [
            (u128::from(self.container), 112),
            (u128::from(self.era), 96),
            (u128::from(self.stamp), 32),
            (u128::from(self.lines), 0),
        ];
        RawCursor::at(parts.iter().fold(0, |sum, (part, bits)| sum | part << bits))
    }

    /// The place of the cursor; the bytes behind it are in [`RawCursor::behind`].
    pub fn of(cursor: RawCursor) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = cursor.place().to_be_bytes();
        Self {
            container: u16::from_be_bytes([a, b]),
            era: u16::from_be_bytes([c, d]),
            stamp: u64::from_be_bytes([e, f, g, h, i, j, k, l]),
            lines: u32::from_be_bytes([m, n, o, p]),
        }
    }

    /// At the start of the line that comes next and has this timestamp.
    pub(super) fn before(self, stamp: Stamp) -> Self {
        let lines = if stamp == self.stamp { self.lines } else { 0 };
        let era = self.era.saturating_add(u16::from(stamp < self.stamp));
        Self {
            era,
            stamp,
            lines,
            ..self
        }
    }

    /// Behind the line at whose start this is.
    pub(super) fn behind_line(self) -> Self {
        Self {
            lines: self.lines.saturating_add(1),
            ..self
        }
    }

    /// In milliseconds since 1970; None at the start.
    pub(super) fn stamp_ms(self) -> Option<i64> {
        stamp_ms(self.stamp).filter(|ms| *ms > 0)
    }
}

pub(super) fn stamp_ms(stamp: Stamp) -> Option<i64> {
    i64::try_from(stamp / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_tells_the_place_and_keeps_the_order(a: (u16, u16, u64, u32), b: (u16, u16, u64, u32)) {
            let place = |(container, era, stamp, lines)| Place { container, era, stamp, lines };
            let (a, b) = (place(a), place(b));
            prop_assert_eq!(Place::of(a.cursor().plus(7)), a);
            prop_assert_eq!(a.cmp(&b), a.cursor().cmp(&b.cursor()));
        }
    }

    #[test]
    fn a_log_that_was_not_begun_is_at_the_start() {
        assert_eq!(Place::start_of(0).cursor(), RawCursor::START);
        assert!(Place::end_of(0) < Place::start_of(1));
    }
}
