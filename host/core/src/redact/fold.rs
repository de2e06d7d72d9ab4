//! The folded stream: the bytes of a log without what may stand between two bytes of a secret in it.
//!
//! Dropped are, as *gaps*:
//!
//! - `\n` and `\r`;
//! - spaces and tabs that follow one of those, with nothing but gaps between: a new line's indentation;
//! - ANSI control sequences, which set colours: `ESC [`, up to 32 bytes of `0x20..=0x3f`, one of `0x40..=0x7e`. What is no whole such
//!   sequence is not dropped.
//!
//! So a secret is found however it was wrapped, indented and coloured, and one of several lines whatever its line ends are.
//! Gaps side by side are one. A gap of more than [`GAP_BYTES_MAX`] bytes is in no secret.
//!
//! A secret's own folded form begins with neither space nor tab. That is why folding may begin anywhere but within a control
//! sequence: indentation taken for text, or text for indentation, is before every secret that begins there or later.

#[cfg(test)]
mod tests;

/// The most bytes between two bytes of a secret: line ends, colours and indentation.
pub(super) const GAP_BYTES_MAX: usize = 128;
/// Of a control sequence, between `ESC [` and its last byte.
const PARAMETERS_MAX: usize = 32;
const ESC: u8 = 0x1b;

/// Bytes `start..end` of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// How far a buffer has been folded.
#[derive(Debug, Default)]
pub(super) struct Fold {
    /// In order, apart from each other.
    pub(super) gaps: Vec<Gap>,
    /// Up to here.
    pub(super) to: usize,
    line_start: bool,
}

enum Sequence {
    Whole(usize),
    /// It may become one.
    Begun,
    None,
}

impl Fold {
    /// Of bytes that are taken as they are.
    pub(super) fn without_gaps(bytes: &[u8]) -> Self {
        Self {
            to: bytes.len(),
            ..Self::default()
        }
    }

    /// Goes on to the end of `bytes`, or to a control sequence that is cut off there, unless nothing more comes.
    pub(super) fn advance(&mut self, bytes: &[u8], at_end: bool) {
        while let Some(rest) = bytes.get(self.to..).filter(|rest| !rest.is_empty()) {
            if !self.line_start {
                self.to += text_length(rest);
            }
            let Some(&byte) = bytes.get(self.to) else { break };
            match byte {
                b'\n' | b'\r' => {
                    self.line_start = true;
                    self.drop_bytes(1);
                }
                b' ' | b'\t' if self.line_start => self.drop_bytes(1),
                ESC => match sequence(bytes.get(self.to..).unwrap_or_default()) {
                    Sequence::Whole(length) => self.drop_bytes(length),
                    Sequence::Begun if !at_end => break,
                    Sequence::Begun | Sequence::None => self.keep_byte(),
                },
                _ => self.keep_byte(),
            }
        }
    }

    /// Taken up behind a line end.
    pub(super) fn at_line_start() -> Self {
        Self {
            line_start: true,
            ..Self::default()
        }
    }

    /// Whether the first byte that comes is at the beginning of a line, if all that was folded is text without gaps, up to `at`.
    pub(super) fn line_start_of_plain(&self, at: usize) -> Option<bool> {
        let plain = self.gaps.is_empty() && self.to == at;
        plain.then_some(self.line_start)
    }

    fn keep_byte(&mut self) {
        self.line_start = false;
        self.to += 1;
    }

    fn drop_bytes(&mut self, count: usize) {
        let (start, end) = (self.to, self.to + count);
        match self.gaps.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => self.gaps.push(Gap { start, end }),
        }
        self.to = end;
    }

    /// The first `count` bytes of the buffer are gone.
    pub(super) fn rebase(&mut self, count: usize) {
        self.to = self.to.saturating_sub(count);
        if self.gaps.is_empty() {
            return;
        }
        let gone = self.gaps.partition_point(|gap| gap.end <= count);
        self.gaps.drain(..gone);
        for gap in &mut self.gaps {
            gap.start = gap.start.saturating_sub(count);
            gap.end -= count;
        }
    }
}

/// How many bytes come before the first control character. Lines are short: to call a search for each, even a vectorized one, takes
/// longer than to look at eight bytes at once.
fn text_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let (words, rest) = bytes.as_chunks();
    for (nth, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The top bit of a byte below 0x20, and maybe of some behind it.
        let control = word.wrapping_sub(ONES * 0x20) & !word & (ONES * 0x80);
        if control != 0 {
            return nth * size_of::<u64>() + control.trailing_zeros() as usize / 8;
        }
    }
    let text = rest.iter().take_while(|byte| **byte >= 0x20);
    bytes.len() - rest.len() + text.count()
}

fn sequence(bytes: &[u8]) -> Sequence {
    match bytes.get(1) {
        Some(b'[') => {}
        Some(_) => return Sequence::None,
        None => return Sequence::Begun,
    }
    let parameters = bytes
        .iter()
        .skip(2)
        .take_while(|byte| matches!(byte, 0x20..=0x3f));
    let length = 2 + parameters.take(PARAMETERS_MAX + 1).count();
    if length > 2 + PARAMETERS_MAX {
        return Sequence::None;
    }
    match bytes.get(length) {
        Some(0x40..=0x7e) => Sequence::Whole(length + 1),
        Some(_) => Sequence::None,
        None => Sequence::Begun,
    }
}

/// Where the byte stands that is `count` folded bytes before `at`, or the beginning of the buffer.
pub(super) fn back(gaps: &[Gap], at: usize, count: usize) -> usize {
    let before = gaps.partition_point(|gap| gap.start < at);
    back_over(gaps.get(..before).unwrap_or_default(), at, count)
}

/// As [`back`], for one who knows which gaps begin before `at`.
pub(super) fn back_over(before: &[Gap], mut at: usize, mut count: usize) -> usize {
    for gap in before.iter().rev() {
        let text = at.saturating_sub(gap.end);
        if count <= text {
            break;
        }
        count -= text;
        at = gap.start;
    }
    at.saturating_sub(count)
}

/// A whole text without its gaps.
pub(super) fn folded(bytes: &[u8]) -> Vec<u8> {
    let mut fold = Fold::default();
    fold.advance(bytes, true);
    let mut out = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for gap in &fold.gaps {
        out.extend_from_slice(bytes.get(from..gap.start).unwrap_or_default());
        from = gap.end;
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
    out
}
