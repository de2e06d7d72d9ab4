//! A position in what a run's containers print, and how it becomes a cursor.

use crate::executor::RawCursor;

/// Behind the first `bytes` of a container's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The containers of a run in the order in which they run, from 0.
    pub container: u16,
    /// When something before it was printed, in milliseconds since 1970, by the node's clock; 0 if nothing was. Says where to look for what
    /// follows, no more; never falls.
    pub seen_ms: u64,
    pub bytes: u64,
}

// === impl Place ===

impl Place {
    pub const fn start_of(container: u16) -> Self {
        Self {
            container,
            seen_ms: 0,
            bytes: 0,
        }
    }

    /// Behind everything that can be had of the container's text.
    #[must_use]
    pub const fn at_end(self) -> Self {
        Self {
            bytes: u64::MAX,
            ..self
        }
    }

    pub const fn is_end(self) -> bool {
        self.bytes == u64::MAX
    }

    pub fn cursor(self) -> RawCursor {
        RawCursor::at(u128::from(self.container) << 112 | u128::from(self.seen_ms)).plus(self.bytes)
    }

    pub fn of(cursor: RawCursor) -> Self {
        let [a, b, _, _, _, _, _, _, seen_ms @ ..] = cursor.place().to_be_bytes();
        Self {
            container: u16::from_be_bytes([a, b]),
            seen_ms: u64::from_be_bytes(seen_ms),
            bytes: cursor.behind(),
        }
    }

    /// None if nothing was printed before it.
    pub(super) fn after_ms(self) -> Option<i64> {
        i64::try_from(self.seen_ms).ok().filter(|ms| *ms > 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_tells_the_place_and_keeps_the_order(a: (u16, u64, u32), b: (u16, u64, u32)) {
            let place = |(container, seen_ms, bytes)| Place { container, seen_ms, bytes: u64::from(bytes) };
            let (a, b) = (place(a), place(b));
            prop_assert_eq!(Place::of(a.cursor()), a);
            prop_assert_eq!(Place::of(a.cursor().plus(7)), Place { bytes: a.bytes + 7, ..a });
            prop_assert_eq!(a.cmp(&b), a.cursor().cmp(&b.cursor()));
        }
    }

    #[test]
    fn a_log_that_was_not_begun_is_at_the_start() {
        assert_eq!(Place::start_of(0).cursor(), RawCursor::START);
        assert!(Place::start_of(0).at_end() < Place::start_of(1));
        assert!(Place::of(Place::start_of(1).at_end().cursor()).is_end());
    }
}
