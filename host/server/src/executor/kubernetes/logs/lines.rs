//! The bytes of a pod's log, asked for with timestamps, cut into lines.
//!
//! A timestamp stands at the start of each line and nowhere else, though the runtime cuts long lines: the kubelet joins them. A line
//! of any length passes through, in pieces.

use bytes::{Bytes, BytesMut};

use super::stamp::{Stamp, Stamps};

/// A longer line comes in pieces of about this.
pub(super) const PIECE_BYTES: usize = 64 << 10;
/// Of a timestamp with its space: the longest has 35 characters.
const STAMP_BYTES_MAX: usize = 64;
/// Of what is no log line, this much is told.
const STRAY_BYTES_MAX: usize = 256;

/// A line, or a piece of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// When the line was written, at the start of one.
    pub(super) stamp: Option<Stamp>,
    /// Without the timestamp, with the newline.
    pub(super) text: Bytes,
    /// Nothing of the line follows.
    pub(super) ends: bool,
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
    /// In the rest of such a line: it is dropped.
    Rest,
    Start,
    Inside,
}

// === impl Lines ===

impl Lines {
    /// `may_begin_inside`: lines of before some time were left out of the answer, which may have left the rest of one.
    pub(super) fn new(may_begin_inside: bool) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            state: if may_begin_inside {
                State::Unsure
            } else {
                State::Start
            },
            stamps: Stamps::default(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// None until more is pushed.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, Stray> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let newline = unsearched.iter().position(|byte| *byte == b'\n');
            let (bytes, ends) = match newline {
                Some(at) => (self.searched + at + 1, true),
                None => {
                    self.searched = self.buffer.len();
                    if self.buffer.len() < PIECE_BYTES {
                        return Ok(None);
                    }
                    (self.buffer.len(), false)
                }
            };
            if let Some(piece) = self.cut(bytes, ends)? {
                return Ok(Some(piece));
            }
        }
    }

    /// What stands behind the last newline once the log is at its end.
    pub(super) fn finish(&mut self) -> Result<Option<Piece>, Stray> {
        match self.buffer.len() {
            0 => Ok(None),
            bytes => self.cut(bytes, false),
        }
    }

    /// None if it is not of the log.
    fn cut(&mut self, bytes: usize, ends: bool) -> Result<Option<Piece>, Stray> {
        let mut text = self.buffer.split_to(bytes);
        self.searched = 0;
        let state = self.state;
        self.state = match (ends, state) {
            (true, _) => State::Start,
            (false, State::Rest) => State::Rest,
            (false, State::Unsure | State::Start | State::Inside) => State::Inside,
        };
        let stamp = match state {
            State::Inside => None,
            State::Rest => return Ok(None),
            State::Start | State::Unsure => {
                let space = text.iter().take(STAMP_BYTES_MAX).position(|byte| *byte == b' ');
                let stamp = space.and_then(|at| self.stamps.read(text.get(..at)?));
                let (Some(at), Some(stamp)) = (space, stamp) else {
                    if state == State::Unsure {
                        self.state = if ends { State::Start } else { State::Rest };
                        return Ok(None);
                    }
                    text.truncate(STRAY_BYTES_MAX);
                    return Err(Stray(String::from_utf8_lossy(&text).trim_end().to_owned()));
                };
                drop(text.split_to(at + 1));
                Some(stamp)
            }
        };
        Ok(Some(Piece {
            stamp,
            text: text.freeze(),
            ends,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: &str = "1970-01-01T00:00:01.000000007Z";

    fn all(lines: &mut Lines, chunks: &[&[u8]]) -> Result<Vec<Piece>, Stray> {
        let mut pieces = Vec::new();
        for chunk in chunks {
            lines.push(chunk);
            while let Some(piece) = lines.next()? {
                pieces.push(piece);
            }
        }
        pieces.extend(lines.finish()?);
        Ok(pieces)
    }

    #[test]
    fn a_long_line_comes_in_pieces_and_takes_no_more_memory() {
        let mut lines = Lines::new(false);
        lines.push(format!("{STAMP} ").as_bytes());
        let mut seen = 0;
        for n in 0..10_000 {
            lines.push(&[b'x'; 1000]);
            while let Some(piece) = lines.next().unwrap() {
                assert_eq!(piece.stamp.is_some(), seen == 0);
                assert!(!piece.ends && piece.text.len() <= PIECE_BYTES + 1000);
                seen += piece.text.len();
            }
            assert!(lines.buffer.len() <= PIECE_BYTES, "{n}");
        }
        lines.push(b"\n");
        let last = lines.next().unwrap().unwrap();
        assert!(last.ends);
        assert_eq!(seen + last.text.len(), 10_000_001);
    }

    #[test]
    fn the_rest_of_a_line_at_the_start_is_dropped_only_where_it_may_be() {
        let long = vec![b'x'; 3 * PIECE_BYTES];
        let log = format!("\n{STAMP} one\n{STAMP} \n");
        for rest in [b"tail".as_slice(), b"", &long] {
            let pieces = all(&mut Lines::new(true), &[rest, log.as_bytes()]).unwrap();
            let texts: Vec<_> = pieces.iter().map(|piece| piece.text.as_ref()).collect();
            assert_eq!(texts, [b"one\n".as_slice(), b"\n"]);
            assert!(pieces.iter().all(|piece| piece.stamp == Some(1_000_000_007)));
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

    proptest! {
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
                text.push(b'\n');
                log.extend(format!("{STAMP} ").into_bytes());
                log.extend(&text);
                expected.push(text);
            }
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(log.len() + 1)).chain([0, log.len()]).collect();
            at.sort_unstable();
            let chunks: Vec<_> = at.windows(2).map(|pair| &log[pair[0]..pair[1]]).collect();
            let mut found: Vec<Vec<u8>> = Vec::new();
            for piece in all(&mut Lines::new(false), &chunks).unwrap() {
                if piece.stamp.is_some() {
                    found.push(Vec::new());
                }
                found.last_mut().unwrap().extend(&piece.text);
            }
            prop_assert_eq!(found, expected);
        }
    }
}
