//! Finds what looks like somebody's secret though nobody said so: tokens of well-known shapes.
//!
//! Each [`Shape`] begins with a fixed text and goes on without choices, so one look at each byte decides it. Shapes are tried at every
//! position by itself, whatever was found before it; what they find is defined on the stream alone.

use std::sync::LazyLock;

use aho_corasick::{
    Span,
    packed::{self, Searcher},
};

use self::shape::{Progress, Shape, Step};
use super::{
    machine::{Cursor, Machine},
    ranges::{Range, ShownAs},
};

pub(super) mod checks;
mod shape;
mod shapes;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use shape::Check;

/// Shorter chunks are gone through byte by byte.
const BULK_BYTES_MIN: usize = 64;

/// Anchors are searched for in two groups, for each costs by its shortest one: few begin with less than so many bytes, and the many
/// others are told from text twice as fast by the first four bytes as by three.
const LONG_BYTES_MIN: usize = 4;

static DETECTORS: LazyLock<Option<Detectors>> = LazyLock::new(|| Detectors::new(shapes::all()));

/// All shapes by what they begin with.
pub(super) struct Detectors {
    /// By anchor. No anchor is the beginning of another.
    shapes: Vec<Vec<&'static Shape>>,
    anchor_bytes_max: usize,
    groups: Vec<Group>,
    machine: Machine,
}

/// Anchors that are searched for at once.
struct Group {
    /// By pattern, which anchor it is.
    anchors: Vec<usize>,
    searcher: Searcher,
}

/// Where the search in a stream stands; positions are in the buffer.
#[derive(Debug, Default)]
pub(super) struct Track {
    cursor: Cursor,
    open: Vec<Progress>,
    /// Empty between calls; kept for its room.
    anchors: Vec<Range>,
}

/// What was taken for a token, and as which kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detection {
    pub kind: &'static str,
    /// The bytes that are masked.
    pub bytes: std::ops::Range<usize>,
}

impl Detectors {
    /// The most that a token takes, with what tells that it is one.
    pub(super) fn span_bytes_max(&self) -> usize {
        let shapes = self.shapes.iter().flatten();
        shapes.map(|shape| shape.bytes_max()).max().unwrap_or(0)
    }

    /// What tokens begin with.
    pub(super) fn anchors(&self) -> impl Iterator<Item = &'static str> {
        let first = |shapes: &Vec<&'static Shape>| shapes.first().map(|shape| shape.anchor());
        self.shapes.iter().filter_map(first)
    }

    /// None only if there are more shapes than can be searched for at once.
    pub(super) fn all() -> Option<&'static Self> {
        DETECTORS.as_ref()
    }

    fn new(all: impl Iterator<Item = &'static Shape>) -> Option<Self> {
        let mut sorted: Vec<&'static Shape> = all.collect();
        sorted.sort_by_key(|shape| shape.anchor());
        let mut anchors: Vec<&'static str> = Vec::new();
        let mut shapes: Vec<Vec<&'static Shape>> = Vec::new();
        for shape in sorted {
            match (anchors.last(), shapes.last_mut()) {
                (Some(anchor), Some(same)) if shape.anchor().starts_with(anchor) => same.push(shape),
                _ => {
                    anchors.push(shape.anchor());
                    shapes.push(vec![shape]);
                }
            }
        }
        let group = |long: bool| Group::new(&anchors, |anchor| (anchor.len() >= LONG_BYTES_MIN) == long);
        let groups = [group(false)?, group(true)?];
        let patterns = (0..)
            .zip(&anchors)
            .map(|(nth, anchor)| (anchor.as_bytes(), ShownAs::Rule(nth)));
        let patterns: Vec<_> = patterns.collect();
        Some(Self {
            machine: Machine::new(&patterns)?,
            anchor_bytes_max: anchors.iter().map(|anchor| anchor.len()).max()?,
            shapes,
            groups: groups.into_iter().flatten().collect(),
        })
    }

    pub(super) fn track(&self) -> Track {
        Track {
            cursor: self.machine.cursor(0),
            ..Track::default()
        }
    }

    /// Goes on to the end of `bytes`. Adds what it finds; returns where the first token may begin that is not found yet.
    pub(super) fn scan(
        &self,
        track: &mut Track,
        bytes: &[u8],
        at_end: bool,
        found: &mut Vec<Range>,
    ) -> usize {
        let mut report = |_: &Shape, from: usize, hidden: std::ops::Range<usize>| {
            found.push(Range {
                from,
                ..Range::new(hidden.start, hidden.end, ShownAs::Mask)
            });
        };
        self.scan_with(track, bytes, at_end, &mut report)
    }

    fn scan_with(
        &self,
        track: &mut Track,
        bytes: &[u8],
        at_end: bool,
        report: &mut impl FnMut(&'static Shape, usize, std::ops::Range<usize>),
    ) -> usize {
        track
            .open
            .retain_mut(|progress| match progress.step(bytes, at_end) {
                Step::More => true,
                Step::Failed => false,
                Step::Found(hidden) => {
                    report(progress.shape, progress.from, hidden);
                    false
                }
            });
        let mut open = std::mem::take(&mut track.open);
        self.each_anchor(track, bytes, |anchor, from| {
            for shape in self.shapes.get(anchor).into_iter().flatten() {
                let mut progress = Progress::new(shape, from);
                match progress.step(bytes, at_end) {
                    Step::More => open.push(progress),
                    Step::Failed => {}
                    Step::Found(hidden) => report(shape, from, hidden),
                }
            }
        });
        track.open = open;
        let begun = self.machine.begun(track.cursor, &[]);
        let first_open = track.open.iter().map(|progress| progress.from).min();
        let begun = first_open.map_or(begun, |first| first.min(begun));
        if at_end { bytes.len() } else { begun }
    }

    /// Calls `found` with each anchor that ends in the new bytes, and where it begins.
    fn each_anchor(&self, track: &mut Track, bytes: &[u8], mut found: impl FnMut(usize, usize)) {
        if bytes.len() - track.cursor.at < BULK_BYTES_MIN {
            self.machine.run(
                &mut track.cursor,
                bytes,
                &[],
                bytes.len(),
                false,
                &mut track.anchors,
            );
            for range in track.anchors.drain(..) {
                if let ShownAs::Rule(anchor) = range.shown_as {
                    found(usize::from(anchor), range.start);
                }
            }
            return;
        }
        let begun = self.machine.begun(track.cursor, &[]);
        for group in &self.groups {
            let mut at = begun;
            while let Some(one) = group.searcher.find_in(bytes, Span::from(at..bytes.len())) {
                if let Some(anchor) = group.anchors.get(one.pattern().as_usize()) {
                    found(*anchor, one.start());
                }
                at = one.start() + 1;
            }
        }
        // What begins at the end of the chunk.
        let last = bytes.len().saturating_sub(self.anchor_bytes_max - 1);
        track.cursor = self.machine.cursor(last.max(begun));
        self.machine.run(
            &mut track.cursor,
            bytes,
            &[],
            bytes.len(),
            false,
            &mut track.anchors,
        );
        track.anchors.clear();
    }
}

impl Group {
    /// None inside if no anchor is of the group, and outside if they cannot be searched for at once.
    fn new(anchors: &[&'static str], is_of_it: impl Fn(&str) -> bool) -> Option<Option<Self>> {
        let of_it = || anchors.iter().enumerate().filter(|(_, anchor)| is_of_it(anchor));
        if of_it().next().is_none() {
            return Some(None);
        }
        let searcher = packed::Config::new()
            .builder()
            .extend(of_it().map(|(_, anchor)| anchor.as_bytes()))
            .build()?;
        let anchors = of_it().map(|(nth, _)| nth).collect();
        Some(Some(Self { anchors, searcher }))
    }
}

impl Track {
    /// A token has begun for sure.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The first `count` bytes of the buffer are gone.
    pub(super) fn rebase(&mut self, count: usize) {
        self.cursor.at = self.cursor.at.saturating_sub(count);
        for progress in &mut self.open {
            progress.rebase(count);
        }
    }
}

/// What the detectors find in a whole text, by where they find it.
pub fn detections(text: &[u8]) -> Vec<Detection> {
    let mut found = Vec::new();
    if let Some(detectors) = Detectors::all() {
        let mut track = detectors.track();
        detectors.scan_with(&mut track, text, true, &mut |shape, _, hidden| {
            found.push(Detection {
                kind: shape.kind,
                bytes: hidden,
            });
        });
    }
    found.sort_by_key(|one| (one.bytes.start, one.bytes.end, one.kind));
    found
}
