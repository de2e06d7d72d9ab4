//! The way for a stream that comes a few bytes at a time.
//!
//! Where there are no gaps and nothing is found, one automaton over everything that is looked for knows all: how long the longest
//! beginning of a pattern is that ends here, and so what is held back. It needs no more than that is held: whoever searches
//! otherwise from then on searches what is held once more.

use super::{
    detectors::Detectors,
    machine::{Cursor, Machine},
    ranges::ShownAs,
};

/// Where the patterns take more, all is searched the other way. The automaton takes some hundred bytes for each of theirs.
const PATTERNS_BYTES_MAX: usize = 256 * 1024;

/// Everything that is looked for.
pub(super) struct Few {
    machine: Machine,
}

/// Where a stream stands that has come this way. With `line_start`, nothing is held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    cursor: Cursor,
    pub(super) line_start: bool,
}

impl Few {
    /// None if the patterns are too many.
    pub(super) fn new<'a>(
        patterns: impl IntoIterator<Item = &'a [u8]>,
        detectors: Option<&'static Detectors>,
    ) -> Option<Self> {
        let anchors = detectors.into_iter().flat_map(Detectors::anchors);
        let anchors = anchors.map(|anchor| -> &'a [u8] { anchor.as_bytes() });
        let patterns = patterns.into_iter().chain(anchors);
        let patterns: Vec<_> = patterns.map(|bytes| (bytes, ShownAs::Mask)).collect();
        let bytes: usize = patterns.iter().map(|(bytes, _)| bytes.len()).sum();
        if bytes > PATTERNS_BYTES_MAX {
            return None;
        }
        Machine::new(&patterns).map(|machine| Self { machine })
    }

    /// Where it stands behind `held`, if nothing else is to be known of it.
    pub(super) fn enter(&self, held: &[u8], line_start: bool) -> Option<Standing> {
        if line_start && !held.is_empty() {
            return None;
        }
        let mut standing = Standing {
            cursor: self.machine.cursor(0),
            line_start,
        };
        self.pass(&mut standing, held).then_some(standing)
    }

    /// Goes on over `text`. False, and it stands where it stood, if it cannot tell.
    pub(super) fn pass(&self, standing: &mut Standing, text: &[u8]) -> bool {
        let (mut cursor, mut line_start) = (standing.cursor, standing.line_start);
        for &byte in text {
            match byte {
                // Gaps that nothing is under way across.
                b'\n' | b'\r' if self.machine.is_idle(cursor) && !self.machine.begins(byte) => {
                    line_start = true;
                }
                b' ' | b'\t' if line_start && self.machine.begins(byte) => return false,
                b' ' | b'\t' if line_start => {}
                0x20.. => line_start = false,
                _ => return false,
            }
            let Some(next) = self.machine.step(cursor, byte) else {
                return false;
            };
            cursor = next;
        }
        // Field by field, for it is read so again at once.
        standing.cursor = cursor;
        standing.line_start = line_start;
        true
    }

    /// What comes before this is decided.
    pub(super) fn begun(&self, standing: &Standing) -> usize {
        self.machine.begun(standing.cursor, &[])
    }
}

impl Standing {
    /// The first `count` bytes of the buffer are gone.
    pub(super) fn rebase(&mut self, count: usize) {
        self.cursor.at -= count;
    }
}
