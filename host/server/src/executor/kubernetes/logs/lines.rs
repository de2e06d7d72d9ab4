//! The bytes of a pod's log, asked for with timestamps, cut into lines.
//!
//! A timestamp stands at the start of each line and nowhere else, though the runtime cuts long lines: the kubelet joins them.

use bytes::{Buf as _, Bytes, BytesMut};
use chrono::DateTime;

use crate::sources::fetch::frames::LINE_BYTES_MAX;

/// Of a timestamp with its space: the longest has 35 characters.
const STAMP_BYTES_MAX: usize = 64;
/// Of what is no log line, this much is told.
const STRAY_BYTES_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// When it was written, in milliseconds since 1970.
    pub(super) stamp_ms: u64,
    /// Without the timestamp and the newline.
    pub(super) text: Bytes,
    /// A newline stood behind it.
    pub(super) is_whole: bool,
}

/// Where a line should start stands something else: the kubelet, or who is between, appends its errors to what it had sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log's stream says: {0}")]
pub(super) struct Stray(pub(super) String);

#[derive(Debug)]
pub(super) struct Lines {
    buffer: BytesMut,
    /// So much of the buffer has no newline.
    searched: usize,
    state: State,
    stamps: Stamps,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of the answer, where the rest of a line may stand that began before the time asked for.
    Unsure,
    Regular,
    /// In a line that is longer than any of ours.
    TooLong,
}

/// Reads timestamps; remembers the second of the last one, as thousands of lines share it.
#[derive(Debug, Default)]
struct Stamps {
    /// `2026-11-22T21:00:00`
    second: Vec<u8>,
    start_ms: u64,
}

// === impl Lines ===

impl Lines {
    /// `may_begin_inside`: lines of before some time were left out of the answer, which may have left the rest of one.
    pub(super) fn new(may_begin_inside: bool) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            state: match may_begin_inside {
                true => State::Unsure,
                false => State::Regular,
            },
            stamps: Stamps::default(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// None until more is pushed.
    pub(super) fn next(&mut self) -> Result<Option<Line>, Stray> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(newline) = unsearched.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                if self.searched > LINE_BYTES_MAX + STAMP_BYTES_MAX {
                    self.state = State::TooLong;
                    self.buffer.clear();
                    self.searched = 0;
                }
                return Ok(None);
            };
            let line = self.buffer.split_to(self.searched + newline);
            self.buffer.advance(1);
            self.searched = 0;
            if let Some(line) = self.line(line, true)? {
                return Ok(Some(line));
            }
        }
    }

    /// What stands behind the last newline once the log is at its end.
    pub(super) fn finish(&mut self) -> Result<Option<Line>, Stray> {
        let rest = self.buffer.split();
        self.searched = 0;
        match rest.is_empty() {
            true => Ok(None),
            false => self.line(rest, false),
        }
    }

    /// None if it is not of the log.
    fn line(&mut self, mut line: BytesMut, is_whole: bool) -> Result<Option<Line>, Stray> {
        let state = std::mem::replace(&mut self.state, State::Regular);
        if state == State::TooLong {
            return Ok(None);
        }
        let space = line.iter().take(STAMP_BYTES_MAX).position(|byte| *byte == b' ');
        let stamp_ms = space.and_then(|at| self.stamps.read(line.get(..at)?));
        let (Some(at), Some(stamp_ms)) = (space, stamp_ms) else {
            if state == State::Unsure {
                return Ok(None);
            }
            line.truncate(STRAY_BYTES_MAX);
            return Err(Stray(String::from_utf8_lossy(&line).trim_end().to_owned()));
        };
        line.advance(at.saturating_add(1));
        Ok(Some(Line {
            stamp_ms,
            text: line.freeze(),
            is_whole,
        }))
    }
}

// === impl Stamps ===

impl Stamps {
    /// In milliseconds since 1970; None if this is no timestamp, or one from before 1970.
    fn read(&mut self, text: &[u8]) -> Option<u64> {
        if let Some([b'.', a, b, c, .., b'Z']) = text.strip_prefix(self.second.as_slice())
            && !self.second.is_empty()
            && [a, b, c].iter().all(|digit| digit.is_ascii_digit())
        {
            let millis = [a, b, c]
                .iter()
                .fold(0, |sum, digit| sum * 10 + u64::from(**digit - b'0'));
            return self.start_ms.checked_add(millis);
        }
        let time = DateTime::parse_from_rfc3339(std::str::from_utf8(text).ok()?).ok()?;
        let stamp_ms = u64::try_from(time.timestamp_millis()).ok()?;
        // A leap second's fraction is above a whole second: not to be remembered.
        if let [second @ .., b'.', _, _, _, _, _, _, _, _, _, b'Z'] = text
            && time.timestamp_subsec_millis() < 1000
        {
            self.second = second.to_vec();
            self.start_ms = stamp_ms - stamp_ms % 1000;
        }
        Some(stamp_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: &str = "1970-01-01T00:00:01.007000007Z";

    fn all(lines: &mut Lines, chunks: &[&[u8]]) -> Result<Vec<Line>, Stray> {
        let mut found = Vec::new();
        for chunk in chunks {
            lines.push(chunk);
            while let Some(line) = lines.next()? {
                found.push(line);
            }
        }
        found.extend(lines.finish()?);
        Ok(found)
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_not_held() {
        let mut lines = Lines::new(false);
        lines.push(format!("{STAMP} ").as_bytes());
        for n in 0..20 {
            lines.push(&vec![b'x'; 1 << 20]);
            assert_eq!(lines.next(), Ok(None));
            assert!(lines.buffer.len() <= LINE_BYTES_MAX + STAMP_BYTES_MAX, "{n}");
        }
        lines.push(format!("\n{STAMP} on\n").as_bytes());
        assert_eq!(lines.next().unwrap().unwrap().text, "on");
    }

    #[test]
    fn the_rest_of_a_line_at_the_start_is_dropped_only_where_it_may_be() {
        let long = vec![b'x'; 300_000];
        let log = format!("\n{STAMP} one\n{STAMP} \n");
        for rest in [b"tail".as_slice(), b"", &long] {
            let lines = all(&mut Lines::new(true), &[rest, log.as_bytes()]).unwrap();
            let texts: Vec<_> = lines.iter().map(|line| line.text.as_ref()).collect();
            assert_eq!(texts, [b"one".as_slice(), b""]);
            assert!(lines.iter().all(|line| line.stamp_ms == 1007));
            assert!(all(&mut Lines::new(false), &[rest, log.as_bytes()]).is_err());
        }
    }

    #[test]
    fn an_error_in_the_stream_is_no_line() {
        let log = format!("{STAMP} one\nfailed to create fsnotify watcher: too many open files");
        let found = all(&mut Lines::new(true), &[log.as_bytes()]);
        let text = "failed to create fsnotify watcher: too many open files";
        assert_eq!(found, Err(Stray(text.to_owned())));
    }

    #[test]
    fn zones_and_leap_seconds_are_read_and_other_texts_are_not() {
        let mut stamps = Stamps::default();
        let mut read = |text: &str| stamps.read(text.as_bytes());
        assert_eq!(read("1970-01-01T00:00:01.002000000Z"), Some(1002));
        assert_eq!(read("1970-01-01T00:00:01.003999999Z"), Some(1003));
        assert_eq!(read("1970-01-01T00:00:01.5Z"), Some(1500));
        assert_eq!(read("1970-01-01T01:00:01.004000000+01:00"), Some(1004));
        assert_eq!(read("1970-01-01T00:00:60.004000000Z"), Some(60_004));
        for text in [
            "",
            "1970",
            "1970-01-01T00:00:01.x00000000Z",
            "1970-01-01T00:00:59.000000000",
            "1969-12-31T23:59:59.000000000Z",
            "failed to open log file",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_remembered_changes_no_answer(stamps in prop::collection::vec((1_u64..5, 0..1_000_000_000_u64), 1..20)) {
            let mut reader = Stamps::default();
            for (second, nanos) in stamps {
                let text = format!("1970-01-01T00:00:{second:02}.{nanos:09}Z");
                prop_assert_eq!(reader.read(text.as_bytes()), Some(second * 1000 + nanos / 1_000_000));
            }
        }

        #[test]
        fn lines_are_the_same_however_their_bytes_are_cut(
            texts in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                (0..200_000_usize).prop_map(|len| vec![b'y'; len]),
            ], 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut log = Vec::new();
            let mut expected = Vec::new();
            for mut text in texts {
                text.retain(|byte| *byte != b'\n');
                log.extend(format!("{STAMP} ").into_bytes());
                log.extend(&text);
                log.push(b'\n');
                expected.push(text);
            }
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(log.len() + 1)).chain([0, log.len()]).collect();
            at.sort_unstable();
            let chunks: Vec<_> = at.windows(2).map(|pair| &log[pair[0]..pair[1]]).collect();
            let found = all(&mut Lines::new(false), &chunks).unwrap();
            prop_assert!(found.iter().all(|line| line.is_whole));
            let found: Vec<_> = found.into_iter().map(|line| line.text.to_vec()).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
