//! Where a needle may be: found by looking at every few bytes of a chunk only.
//!
//! Each needle has a *window*: `length` bytes of it, the same number for all, chosen near its beginning where they are
//! rarest in logs. A window holds `STRIDE = length - 3` pieces of 4 bytes. Whoever looks at the piece at every `STRIDE`-th position sees
//! one of them, wherever the window stands:
//!
//! ```text
//!   text      . . . . . s e c r e t - 4 7 . . . .      length 7, STRIDE 4
//!   looked at [. . . .] [e c r e] [- 4 7 .] [. . .
//!   window            s e c r e t -                    its pieces: secr ecre cret ret-
//! ```
//!
//! Most pieces are told to be of no window by one bit of a table. For those that are not, the window is compared as a whole.
//! A window that a gap lies in is looked for in the bytes on both sides of each gap.

use zeroize::Zeroizing;

use super::fold::{Gap, back, back_over};

#[cfg(test)]
mod tests;

const PIECE: usize = 4;
const STRIDE_MAX: usize = 8;
const WINDOW_MAX: usize = STRIDE_MAX + PIECE - 1;
/// A window begins at most so many bytes behind its needle.
const OFFSET_MAX: usize = 32;
const TABLE_BITS: u32 = 17;
const WORDS: usize = 1 << (TABLE_BITS - 6);
const BUCKET_BITS: u32 = 12;
/// Pieces that are looked at before the next branch.
const AT_ONCE: usize = 8;

pub(super) struct Filter {
    /// Of a window.
    length: usize,
    /// A bit for each hash of a piece.
    table: Box<[u64; WORDS]>,
    /// By bucket, where its entries begin; one more for the end.
    buckets: Vec<u32>,
    entries: Vec<Entry>,
    windows: Vec<Window>,
}

/// A piece of a window.
#[derive(Clone, Copy)]
struct Entry {
    piece: u32,
    window: u32,
    /// In the window.
    offset: usize,
}

struct Window {
    bytes: Zeroizing<Vec<u8>>,
    /// In the needle.
    offset: usize,
    group: Group,
}

/// What a needle is looked for in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Folded,
    Raw,
}

/// Where a needle may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) at: usize,
    pub(super) group: Group,
}

impl Filter {
    /// None if a needle is too short for it.
    pub(super) fn new(needles: &[(&[u8], Group)]) -> Option<Self> {
        let mut needles = needles.to_vec();
        needles.sort_unstable_by_key(|(bytes, group)| (*group, *bytes));
        // Where a needle begins, the one that it begins with does.
        needles.dedup_by(|next, kept| next.1 == kept.1 && next.0.starts_with(kept.0));
        let shortest = needles.iter().map(|(bytes, _)| bytes.len()).min()?;
        let length = shortest.min(WINDOW_MAX);
        if length < PIECE {
            return None;
        }
        let windows: Vec<Window> = needles
            .iter()
            .map(|(bytes, group)| {
                let offset = rarest(bytes, length);
                let window = bytes.get(offset..offset + length).unwrap_or_default();
                Window {
                    bytes: Zeroizing::new(window.to_vec()),
                    offset,
                    group: *group,
                }
            })
            .collect();
        let mut entries: Vec<Entry> = (0..)
            .zip(&windows)
            .flat_map(|(number, window)| {
                let pieces = window.bytes.windows(PIECE).enumerate();
                pieces.map(move |(offset, piece)| Entry {
                    piece: number_of(piece),
                    window: number,
                    offset,
                })
            })
            .collect();
        entries.sort_unstable_by_key(|entry| bucket(entry.piece));
        let mut table = Box::new([0_u64; WORDS]);
        for entry in &entries {
            let (word, bit) = slot(entry.piece);
            if let Some(word) = table.get_mut(word) {
                *word |= 1 << bit;
            }
        }
        let starts = 0..=1_usize << BUCKET_BITS;
        let buckets = starts.map(|at| {
            let before = entries.partition_point(|entry| bucket(entry.piece) < at);
            u32::try_from(before).unwrap_or(u32::MAX)
        });
        Some(Self {
            length,
            table,
            buckets: buckets.collect(),
            entries,
            windows,
        })
    }

    /// Behind so many folded bytes from its beginning, a needle's window is whole.
    pub(super) fn reach(&self) -> usize {
        let furthest = self.windows.iter().map(|window| window.offset).max();
        furthest.unwrap_or(0) + self.length
    }

    /// Adds where needles may begin whose windows are in `bytes` from `from` on.
    pub(super) fn search(&self, bytes: &[u8], from: usize, gaps: &[Gap], found: &mut Vec<Candidate>) {
        match self.length - PIECE + 1 {
            1 => self.search_text::<1>(bytes, from, gaps, found),
            2 => self.search_text::<2>(bytes, from, gaps, found),
            3 => self.search_text::<3>(bytes, from, gaps, found),
            4 => self.search_text::<4>(bytes, from, gaps, found),
            5 => self.search_text::<5>(bytes, from, gaps, found),
            6 => self.search_text::<6>(bytes, from, gaps, found),
            7 => self.search_text::<7>(bytes, from, gaps, found),
            _ => self.search_text::<STRIDE_MAX>(bytes, from, gaps, found),
        }
        let first = gaps.partition_point(|gap| gap.start <= from);
        let before = first.checked_sub(1).and_then(|nth| gaps.get(nth));
        let mut line_start = before.map_or(from, |gap| gap.end.max(from));
        for (nth, gap) in gaps.iter().enumerate().skip(first) {
            let line_end = gaps.get(nth + 1).map_or(bytes.len(), |gap| gap.start);
            if self.may_be_around(bytes, *gap, line_start, line_end) {
                self.search_around(bytes, from, gaps, nth, found);
            }
            line_start = gap.end;
        }
    }

    fn search_text<const STRIDE: usize>(
        &self,
        bytes: &[u8],
        from: usize,
        gaps: &[Gap],
        found: &mut Vec<Candidate>,
    ) {
        let mut at = from;
        let block_len = (AT_ONCE - 1) * STRIDE + PIECE;
        while let Some(block) = bytes.get(at..at + block_len) {
            let mut hits = 0;
            for nth in 0..AT_ONCE {
                let piece = block.get(nth * STRIDE..nth * STRIDE + PIECE).unwrap_or_default();
                hits |= (self.bit(number_of(piece)) & 1) << nth;
            }
            while hits != 0 {
                self.look_at(bytes, at + hits.trailing_zeros() as usize * STRIDE, gaps, found);
                hits &= hits - 1;
            }
            at += AT_ONCE * STRIDE;
        }
        while at + PIECE <= bytes.len() {
            self.look_at(bytes, at, gaps, found);
            at += STRIDE;
        }
    }

    /// In its lowest bit, whether the piece may be of a window.
    fn bit(&self, piece: u32) -> u64 {
        let (word, bit) = slot(piece);
        self.table.get(word).copied().unwrap_or(1) >> bit
    }

    #[cold]
    fn look_at(&self, bytes: &[u8], at: usize, gaps: &[Gap], found: &mut Vec<Candidate>) {
        self.windows_at(bytes, at, |start, window| {
            found.push(Candidate {
                at: match window.group {
                    Group::Folded => back(gaps, start, window.offset),
                    Group::Raw => start.saturating_sub(window.offset),
                },
                group: window.group,
            });
        });
    }

    /// All windows that the piece at `at` is of, and where in `bytes` they begin.
    fn windows_at(&self, bytes: &[u8], at: usize, mut found: impl FnMut(usize, &Window)) {
        let Some(piece) = bytes.get(at..at + PIECE).map(number_of) else {
            return;
        };
        if self.bit(piece) & 1 == 0 {
            return;
        }
        let bound = |nth: usize| self.buckets.get(nth).map_or(0, |at| *at as usize);
        let bucket = bucket(piece);
        let entries = self.entries.get(bound(bucket)..bound(bucket + 1));
        for entry in entries.unwrap_or_default() {
            let Some(start) = at.checked_sub(entry.offset).filter(|_| entry.piece == piece) else {
                continue;
            };
            let window = self.windows.get(entry.window as usize);
            let window = window.filter(|window| bytes.get(start..start + self.length) == Some(&window.bytes));
            if let Some(window) = window {
                found(start, window);
            }
        }
    }

    /// Whether a window may be that `gap` lies in, `line_start` being the end of the gap before it and `line_end` the beginning of the
    /// next one. Looks at the same pieces as [`Self::search_around`], without bringing them together.
    fn may_be_around(&self, bytes: &[u8], gap: Gap, line_start: usize, line_end: usize) -> bool {
        let (side, stride) = (self.length - 1, self.length - PIECE + 1);
        // With shorter windows, both pieces have bytes of both sides, or there is a third.
        if stride < PIECE - 1 || gap.start < line_start + side || line_end < gap.end + side {
            return true;
        }
        let before = bytes.get(gap.start - (PIECE - 1)..gap.start).unwrap_or_default();
        let behind = bytes.get(gap.end..gap.end + side).unwrap_or_default();
        let (&[a, b, c], &[d, ..]) = (before, behind) else {
            return true;
        };
        let across = self.bit(u32::from_le_bytes([a, b, c, d]));
        let second = behind.get(stride + 1 - PIECE..).unwrap_or_default();
        (across | self.bit(number_of(second))) & 1 == 1
    }

    /// Looks for windows that the `nth` gap lies in.
    fn search_around(&self, bytes: &[u8], from: usize, gaps: &[Gap], nth: usize, found: &mut Vec<Candidate>) {
        let Some(gap) = gaps.get(nth).copied() else { return };
        let side = self.length - 1;
        let mut around = [0; 2 * (WINDOW_MAX - 1)];
        let (before, length) = sides(bytes, from, gaps, nth, side, &mut around);
        let around = around.get(..length).unwrap_or_default();
        let stride = self.length - PIECE + 1;
        // The first window has its last piece there.
        let mut at = (before + stride - 1).saturating_sub(side);
        while at + PIECE <= length {
            self.windows_at(around, at, |start, window| {
                if window.group == Group::Folded && start < before {
                    found.push(Candidate {
                        at: back(gaps, gap.start, before - start + window.offset),
                        group: Group::Folded,
                    });
                }
            });
            at += stride;
        }
    }
}

/// The folded bytes on both sides of a gap, at most `side` on each; how many are before it, and how many in all.
fn sides(
    bytes: &[u8],
    from: usize,
    gaps: &[Gap],
    nth: usize,
    side: usize,
    around: &mut [u8; 2 * (WINDOW_MAX - 1)],
) -> (usize, usize) {
    let Some(gap) = gaps.get(nth) else { return (0, 0) };
    let mut put = |at: usize, text: &[u8]| {
        if let Some(to) = around.get_mut(at..at + text.len()) {
            to.copy_from_slice(text);
        }
        at + text.len()
    };
    // Mostly there are lines of some length on both sides.
    let last = nth.checked_sub(1).and_then(|nth| gaps.get(nth));
    let line_start = last.map_or(0, |gap| gap.end);
    let line_end = gaps.get(nth + 1).map_or(bytes.len(), |gap| gap.start);
    if gap.start >= line_start.max(from) + side && line_end >= gap.end + side {
        let before = bytes.get(gap.start - side..gap.start).unwrap_or_default();
        let behind = bytes.get(gap.end..gap.end + side).unwrap_or_default();
        let length = put(side, behind);
        put(0, before);
        return (side, length);
    }
    let earlier = gaps.get(..nth).unwrap_or_default();
    let start = back_over(earlier, gap.start, side).max(from);
    let mut length = 0;
    let mut at = start;
    // It is near, so it is not looked for in all of them.
    let first = earlier.iter().rposition(|gap| gap.end <= start);
    let near = earlier.get(first.map_or(0, |last| last + 1)..);
    for gap in near.unwrap_or_default() {
        length = put(length, bytes.get(at..gap.start).unwrap_or_default());
        at = gap.end;
    }
    length = put(length, bytes.get(at..gap.start).unwrap_or_default());
    let before = length;
    let mut at = gap.end;
    let end = Gap {
        start: bytes.len(),
        end: bytes.len(),
    };
    for gap in gaps.get(nth + 1..).unwrap_or_default().iter().chain([&end]) {
        let wanted = before + side - length;
        let text = bytes.get(at..gap.start.min(at + wanted)).unwrap_or_default();
        length = put(length, text);
        if text.len() == wanted {
            break;
        }
        at = gap.end;
    }
    (before, length)
}

fn number_of(piece: &[u8]) -> u32 {
    piece.first_chunk().map_or(0, |piece| u32::from_le_bytes(*piece))
}

fn hash(piece: u32) -> u32 {
    piece.wrapping_mul(0x9E37_79B1)
}

/// Word and bit of the table.
fn slot(piece: u32) -> (usize, u32) {
    let bit = hash(piece) >> (32 - TABLE_BITS);
    ((bit >> 6) as usize, bit & 63)
}

fn bucket(piece: u32) -> usize {
    (hash(piece) >> (32 - BUCKET_BITS)) as usize
}

/// Where the `length` bytes of a needle begin that are rarest in logs, as far as their bytes by themselves tell.
fn rarest(needle: &[u8], length: usize) -> usize {
    let starts = 0..=needle.len().saturating_sub(length).min(OFFSET_MAX);
    let cost = |start: usize| -> u32 {
        let window = needle.get(start..start + length).unwrap_or_default();
        let repeats = window
            .windows(2)
            .filter(|pair| pair.first() == pair.last())
            .count();
        let repeats = u32::try_from(repeats).unwrap_or(u32::MAX);
        window.iter().map(|byte| commonness(*byte)).sum::<u32>() + 4 * repeats
    };
    starts.min_by_key(|start| cost(*start)).unwrap_or(0)
}

fn commonness(byte: u8) -> u32 {
    match byte {
        b'e' | b't' | b'a' | b'i' | b'o' | b'n' | b's' | b'r' => 10,
        b'l' | b'd' | b'c' | b'u' | b'p' | b'm' | b'h' | b'g' | b' ' => 8,
        b'/' | b'.' | b'-' | b'_' | b':' | b'=' => 7,
        b'0'..=b'9' => 5,
        b'a'..=b'z' => 5,
        b'A'..=b'Z' => 3,
        _ => 2,
    }
}
