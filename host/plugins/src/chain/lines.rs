//! Text as `redact-scan` is shown it, and what is left of it: the same for logs, dry runs and tests of plugins.

use std::ops::Range;

use ignite_core::spec::ArgValue;

/// Shown at once; a longer line is shown by itself.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Cuts at ends of lines.
pub fn pieces(lines: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = lines;
    while !rest.is_empty() {
        let head = rest.get(..PIECE_BYTES_MAX).unwrap_or(rest);
        let within = head.iter().rposition(|byte| *byte == b'\n');
        let end = match within {
            _ if head.len() == rest.len() => rest.len(),
            Some(at) => at + 1,
            // One line alone.
            None => rest
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(rest.len(), |at| at + 1),
        };
        let (piece, behind) = rest.split_at(end);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// What is left of `lines`: each range, or run of ranges that overlap, becomes `***`.
///
/// # Errors
/// If a range is not within `lines`: why they are to be withheld.
pub fn without(lines: &[u8], ranges: Vec<Range<usize>>) -> Result<Vec<u8>, String> {
    blank(lines, ranges).ok_or_else(|| "a plugin named bytes that were not shown to it".to_owned())
}

/// The line that stands in the place of `bytes` of text.
pub fn withheld(bytes: usize, why: &str) -> String {
    format!("[ignite] {bytes} bytes of the log are withheld: {why}\n")
}

fn blank(lines: &[u8], mut ranges: Vec<Range<usize>>) -> Option<Vec<u8>> {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut out = Vec::with_capacity(lines.len());
    let mut shown = 0;
    for range in ranges {
        if range.start > range.end || range.end > lines.len() {
            return None;
        }
        if range.is_empty() || range.end <= shown {
            continue;
        }
        if range.start >= shown {
            out.extend_from_slice(lines.get(shown..range.start)?);
            out.extend_from_slice(ArgValue::MASK.as_bytes());
        }
        shown = range.end;
    }
    out.extend_from_slice(lines.get(shown..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_blanked_once_however_they_overlap_and_none_outside_is_taken() {
        let blanked = |ranges: &[Range<usize>]| blank(b"0123456789", ranges.to_vec());
        assert_eq!(blanked(&[]).unwrap(), b"0123456789");
        assert_eq!(blanked(&[2..4, 3..6]).unwrap(), b"01***6789");
        assert_eq!(blanked(&[8..10, 0..1, 0..1]).unwrap(), b"***1234567***");
        assert_eq!(blanked(&[1..9, 2..3]).unwrap(), b"0***9");
        assert_eq!(blanked(&[3..3, 5..5]).unwrap(), b"0123456789");
        assert_eq!(blanked(&[0..1, 9..11]), None);
    }

    #[test]
    fn pieces_are_whole_lines_and_long_lines_stand_alone() {
        let long = [vec![b'x'; PIECE_BYTES_MAX + 5], b"\n".to_vec()].concat();
        let lines = [b"a\n".repeat(PIECE_BYTES_MAX), long.clone(), b"end\n".to_vec()].concat();
        let cut = pieces(&lines);
        assert_eq!(cut.concat(), lines);
        assert!(cut.iter().all(|piece| piece.ends_with(b"\n")));
        assert!(
            cut.iter()
                .all(|piece| piece.len() <= PIECE_BYTES_MAX || **piece == *long)
        );
    }
}
