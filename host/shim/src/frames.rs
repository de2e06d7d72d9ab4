//! Cuts a stream into numbered lines.

use std::io::{self, Write};

/// Of the stream, in one line. A container runtime cuts its lines at 16 KiB.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// Writes a stream as lines with numbers.
#[derive(Debug)]
pub(crate) struct Frames<W> {
    out: W,
    /// How much of the stream was written.
    at: u64,
    /// The last of it that no newline ended yet.
    rest: Vec<u8>,
}

impl<W: Write> Frames<W> {
    pub(crate) const fn new(out: W) -> Self {
        Self {
            out,
            at: 0,
            rest: Vec::new(),
        }
    }

    /// Takes what comes next; what no newline ends is kept.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut lines = Vec::with_capacity(bytes.len().saturating_mul(2));
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n');
        let rest = self.rest.split_off(whole.map_or(0, |at| at.saturating_add(1)));
        let whole = std::mem::replace(&mut self.rest, rest);
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            self.cut(line, &mut lines);
        }
        // A line may have no end at all.
        if self.rest.len() >= TEXT_BYTES_MAX {
            let rest = std::mem::take(&mut self.rest);
            self.cut(&rest, &mut lines);
        }
        self.out.write_all(&lines)
    }

    pub(crate) const fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Writes what was kept.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let mut lines = Vec::new();
        let rest = std::mem::take(&mut self.rest);
        self.cut(&rest, &mut lines);
        self.out.write_all(&lines)
    }

    /// The stream is at its end.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        writeln!(self.out, "!{}", self.at)
    }

    fn cut(&mut self, line: &[u8], lines: &mut Vec<u8>) {
        let (text, end) = match line.split_last() {
            Some((b'\n', text)) => (text, true),
            _ => (line, false),
        };
        let mut parts = text.chunks(TEXT_BYTES_MAX).peekable();
        if parts.peek().is_none() && end {
            self.write(b'.', &[], lines);
        }
        while let Some(part) = parts.next() {
            let kind = if end && parts.peek().is_none() { b'.' } else { b'+' };
            self.write(kind, part, lines);
        }
    }

    fn write(&mut self, kind: u8, text: &[u8], lines: &mut Vec<u8>) {
        lines.push(kind);
        lines.extend_from_slice(self.at.to_string().as_bytes());
        lines.push(b' ');
        lines.extend_from_slice(text);
        lines.push(b'\n');
        let len = text.len().saturating_add(usize::from(kind == b'.'));
        self.at = self.at.saturating_add(len as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(pieces: &[&[u8]], flushes: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let mut frames = Frames::new(&mut out);
        for piece in pieces {
            frames.push(piece).unwrap();
            if flushes {
                frames.flush().unwrap();
            }
        }
        frames.finish().unwrap();
        out
    }

    #[test]
    fn lines_are_numbered_by_the_byte_they_begin_with() {
        let text = String::from_utf8(framed(&[b"one\n\ntw", b"o\nthr"], false)).unwrap();
        assert_eq!(text, ".0 one\n.4 \n.5 two\n+9 thr\n!12\n");
        let text = String::from_utf8(framed(&[b"one\n\ntw", b"o\nthr"], true)).unwrap();
        assert_eq!(text, ".0 one\n.4 \n+5 tw\n.7 o\n+9 thr\n!12\n");
        assert_eq!(framed(&[], false), b"!0\n");
    }

    #[test]
    fn no_line_is_long_enough_for_a_runtime_to_cut_it() {
        for (len, ends) in [
            (TEXT_BYTES_MAX, true),
            (3 * TEXT_BYTES_MAX + 7, true),
            (5 * TEXT_BYTES_MAX, false),
        ] {
            let mut text = vec![b'x'; len];
            text.extend(ends.then_some(b'\n'));
            let framed = framed(&[&text], false);
            let mut back = Vec::new();
            for line in framed.split_inclusive(|byte| *byte == b'\n') {
                assert!(line.len() < TEXT_BYTES_MAX + 32);
                let text = line.splitn(2, |byte| *byte == b' ').nth(1);
                let Some(text) = text else { continue };
                let at: u64 = std::str::from_utf8(&line[1..line.len() - text.len() - 1])
                    .unwrap()
                    .parse()
                    .unwrap();
                assert_eq!(at, back.len() as u64);
                let (text, newline) = text.split_at(text.len() - 1);
                back.extend_from_slice(text);
                back.extend((line[0] == b'.').then_some(newline).into_iter().flatten());
            }
            assert_eq!(back, text);
            assert!(framed.ends_with(format!("\n!{}\n", text.len()).as_bytes()));
        }
    }
}
