//! What is left of a secret in the folded stream where a program wrapped it at spaces of its own: a line end, indented or not, stands
//! in the place of the space, and folding takes it out. Lines that end with the space are as the secret itself.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::{super::fold, Needles, PIECE_BYTES_MIN, escapes};

/// Of a text with so few spaces any may be line ends; with more, those that some width of lines gives.
const ANY_SPACES_MAX: usize = 4;
/// Of longer texts there are too many ways to wrap them.
const TEXT_BYTES_MAX: usize = 512;

/// The spaces of a text that are line ends, by their number.
type Layout = Vec<usize>;

/// Each line of the secret, as it is and as JSON, without the spaces that wrapping took out, as far as there is `room`, in bytes. Of
/// lines of more than 512 bytes there are none.
pub(in super::super) fn wrapped(secret: &str, length_min: usize, room: usize) -> Needles {
    let mut needles = Needles::new();
    let mut left = room;
    for line in secret.split(['\n', '\r']).map(str::trim_ascii) {
        if line.len() < length_min.max(PIECE_BYTES_MIN) || line.len() > TEXT_BYTES_MAX {
            continue;
        }
        let mut texts = vec![Zeroizing::new(line.to_owned())];
        escapes::add_common(line, &mut texts);
        texts.dedup();
        for text in &texts {
            let words: Vec<&str> = text.split([' ', '\t']).collect();
            for layout in layouts(&words) {
                let needle = without(text, &layout);
                let needle = Zeroizing::new(fold::folded(&needle));
                if needle.len() < length_min.max(PIECE_BYTES_MIN) {
                    continue;
                }
                let Some(less) = left.checked_sub(needle.len()) else {
                    return needles;
                };
                left = less;
                needles.push(needle);
            }
        }
    }
    needles
}

/// The text but for the spaces at these places.
fn without(text: &str, layout: &[usize]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut space = 0;
    for byte in text.bytes() {
        if matches!(byte, b' ' | b'\t') {
            if !layout.contains(&space) {
                out.push(byte);
            }
            space += 1;
        } else {
            out.push(byte);
        }
    }
    out
}

/// In an order of their own, and only as far as they are asked for: of a long text there are tens of thousands.
fn layouts<'a>(words: &'a [&str]) -> Box<dyn Iterator<Item = Layout> + 'a> {
    let spaces = words.len().saturating_sub(1);
    if spaces <= ANY_SPACES_MAX {
        let chosen = move |which: usize| (0..spaces).filter(|space| which >> space & 1 == 1).collect();
        let all: BTreeSet<Layout> = (1..1 << spaces).map(chosen).collect();
        return Box::new(all.into_iter());
    }
    let lengths: Vec<usize> = words.iter().map(|word| word.len()).collect();
    // What stands before it makes the first line any shorter; how wide the others are is not known either.
    Box::new((0..spaces).flat_map(move |first| {
        let behind = lengths.get(first + 1..).unwrap_or_default();
        let all: usize = behind.iter().sum::<usize>() + behind.len();
        let of_first: BTreeSet<Layout> = (1..=all).map(|width| filled(first, behind, width)).collect();
        of_first
    }))
}

/// The first line ends at the space `first`; the words behind it fill lines of `width`.
fn filled(first: usize, behind: &[usize], width: usize) -> Layout {
    let mut layout = vec![first];
    let mut line = 0;
    for (place, length) in behind.iter().enumerate() {
        if place == 0 {
            line = *length;
        } else if line + 1 + length > width {
            layout.push(first + place);
            line = *length;
        } else {
            line += 1 + length;
        }
    }
    layout
}
