//! When a line was written, as the kubelet says it at the line's start.

use chrono::DateTime;

/// Nanoseconds since 1970, never 0.
pub(super) type Stamp = u64;

/// `2026-11-22T21:00:00.`, then nine digits, then the zone.
const SECONDS_BYTES: usize = 20;
const NANOS_BYTES: usize = 9;
pub(super) const NANOS_IN_SECOND: u64 = 1_000_000_000;

/// Reads timestamps; remembers the second of the last one, as thousands of lines share it.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    known: Option<Second>,
}

#[derive(Debug)]
struct Second {
    /// The text around the digits of the fraction.
    seconds: Vec<u8>,
    zone: Vec<u8>,
    start: Stamp,
}

// === impl Stamps ===

impl Stamps {
    /// None if this is no timestamp, or one from before 1970.
    pub(super) fn read(&mut self, text: &[u8]) -> Option<Stamp> {
        let parts = split(text);
        if let (Some(known), Some((seconds, nanos, zone))) = (&self.known, parts)
            && known.seconds == seconds
            && known.zone == zone
        {
            return known.start.checked_add(nanos);
        }
        let time = DateTime::parse_from_rfc3339(std::str::from_utf8(text).ok()?).ok()?;
        let stamp = u64::try_from(time.timestamp_nanos_opt()?)
            .ok()
            .filter(|stamp| *stamp > 0)?;
        // A leap second's fraction is above a whole second: not to be remembered.
        self.known = parts.and_then(|(seconds, nanos, zone)| {
            let start = stamp.checked_sub(nanos)?;
            (start % NANOS_IN_SECOND == 0).then(|| Second {
                seconds: seconds.to_vec(),
                zone: zone.to_vec(),
                start,
            })
        });
        Some(stamp)
    }
}

/// The text before the fraction, the fraction in nanoseconds, the zone; None unless the fraction has nine digits.
fn split(text: &[u8]) -> Option<(&[u8], u64, &[u8])> {
    let (seconds, rest) = text.split_at_checked(SECONDS_BYTES)?;
    let (digits, zone) = rest.split_at_checked(NANOS_BYTES)?;
    let nanos = digits.iter().try_fold(0_u64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })?;
    Some((seconds, nanos, zone))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zones_and_leap_seconds_are_read_and_other_texts_are_not() {
        let mut stamps = Stamps::default();
        let mut read = |text: &str| stamps.read(text.as_bytes());
        assert_eq!(read("1970-01-01T00:00:01.000000002Z"), Some(1_000_000_002));
        assert_eq!(read("1970-01-01T00:00:01.000000003Z"), Some(1_000_000_003));
        assert_eq!(read("1970-01-01T01:00:01.000000004+01:00"), Some(1_000_000_004));
        assert_eq!(read("1970-01-01T01:00:01.5+01:00"), Some(1_500_000_000));
        assert_eq!(read("1970-01-01T00:00:59.999999999Z"), Some(59_999_999_999));
        for text in [
            "",
            "1970",
            "1970-01-01T00:00:01.00000000xZ",
            "1970-01-01T00:00:59.000000000",
            "1969-12-31T23:59:59.000000000Z",
            "failed to open log file",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_remembered_changes_no_answer(stamps in prop::collection::vec((1_u64..5, 0..NANOS_IN_SECOND), 1..20)) {
            let mut reader = Stamps::default();
            for (second, nanos) in stamps {
                let text = format!("1970-01-01T00:00:{second:02}.{nanos:09}Z");
                prop_assert_eq!(reader.read(text.as_bytes()), Some(second * NANOS_IN_SECOND + nanos));
            }
        }
    }
}
