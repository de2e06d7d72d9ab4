//! Where a follower of a run's raw log stands.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

/// A position in a run's raw log; ordered within one run. Opaque to all but the executor that made it, except that anybody may
/// name a position some bytes behind it.
///
/// An executor whose log is a file needs no `place`: it counts bytes from the log's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RawCursor {
    place: u128,
    behind: u64,
}

// === impl RawCursor ===

impl RawCursor {
    pub const START: Self = Self { place: 0, behind: 0 };

    /// A place that the executor can find again, by a number of its own; 0 is the log's start.
    pub const fn at(place: u128) -> Self {
        Self { place, behind: 0 }
    }

    /// `bytes` raw bytes further on.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self {
            place: self.place,
            behind: self.behind.saturating_add(bytes),
        }
    }

    pub const fn place(self) -> u128 {
        self.place
    }

    /// How many raw bytes behind [`Self::place`].
    pub const fn behind(self) -> u64 {
        self.behind
    }
}

/// A number where the place is the start, as all cursors once were; else both halves of the place and the bytes behind it.
impl Serialize for RawCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.place == 0 {
            return self.behind.serialize(serializer);
        }
        let halves = self.place.to_be_bytes();
        let (high, low) = halves.split_at(halves.len() / 2);
        let number = |half: &[u8]| half.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        (number(high), number(low), self.behind).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawCursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = RawCursor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or three of them")
    }

    fn visit_u64<E>(self, behind: u64) -> Result<RawCursor, E> {
        Ok(RawCursor::START.plus(behind))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<RawCursor, A::Error> {
        let mut next = |at| {
            let part = parts.next_element::<u64>()?;
            part.ok_or_else(|| serde::de::Error::invalid_length(at, &Self))
        };
        let (high, low, behind) = (next(0)?, next(1)?, next(2)?);
        let place = u128::from(high) << 64 | u128::from(low);
        Ok(RawCursor { place, behind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cursor_is_read_as_it_was_written_and_a_number_is_a_byte_offset() {
        let far = RawCursor::at(u128::MAX - 7).plus(u64::MAX);
        let near = RawCursor::at(1);
        for cursor in [RawCursor::START, RawCursor::START.plus(u64::MAX), near, far] {
            let packed = rmp_serde::to_vec(&cursor).unwrap();
            assert_eq!(rmp_serde::from_slice::<RawCursor>(&packed).unwrap(), cursor);
            let text = serde_json::to_string(&cursor).unwrap();
            assert_eq!(serde_json::from_str::<RawCursor>(&text).unwrap(), cursor);
        }
        let old = rmp_serde::to_vec(&1_234_567_u64).unwrap();
        let read: RawCursor = rmp_serde::from_slice(&old).unwrap();
        assert_eq!(read, RawCursor::START.plus(1_234_567));
        assert_eq!(rmp_serde::to_vec(&read).unwrap(), old);
        assert!(serde_json::from_str::<RawCursor>("[1,2]").is_err());
        assert!(serde_json::from_str::<RawCursor>("-1").is_err());
    }

    #[test]
    fn cursors_are_ordered_by_place_first() {
        let rising = [
            RawCursor::START,
            RawCursor::START.plus(9),
            RawCursor::at(1),
            RawCursor::at(1).plus(1),
            RawCursor::at(1 << 100),
        ];
        assert!(rising.is_sorted() && rising.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
