//! Finds the forms of secrets in the folded stream, and what is to be found as it stands in the stream itself.
//!
//! What is found is decided by a [`Machine`] for each, over every byte. In a long chunk the [`Filter`] tells where
//! something may begin; there they run, until nothing is under way any more, and at the end of the chunk, where a needle may
//! begin whose window is not whole yet.

use zeroize::Zeroizing;

use super::{
    filter::{Candidate, Filter, Group},
    fold::{Fold, GAP_BYTES_MAX, Gap, back},
    machine::{Cursor, Machine},
    ranges::{Range, ShownAs},
};

/// Shorter chunks are gone through byte by byte.
const BULK_BYTES_MIN: usize = 256;

#[derive(Default)]
pub(super) struct Needles {
    folded: Option<Machine>,
    raw: Option<Machine>,
    filter: Option<Filter>,
    /// The most that one occurrence takes in the stream.
    pub(super) span_bytes_max: usize,
}

/// Where the search in a stream stands; positions are in the buffer.
#[derive(Debug, Default)]
pub(super) struct Track {
    fold: Fold,
    folded: Cursor,
    raw: Cursor,
    /// Empty between calls; kept for its room.
    candidates: Vec<Candidate>,
}

/// Too many, or too long.
#[derive(Debug)]
pub(super) struct TooMany;

impl Needles {
    /// `secrets` in their folded forms, `literals` as they stand.
    pub(super) fn new(
        secrets: &[Zeroizing<Vec<u8>>],
        literals: &[(Zeroizing<String>, u16)],
    ) -> Result<Self, TooMany> {
        let machine = |patterns: &[(&[u8], ShownAs)]| match patterns {
            [] => Ok(None),
            _ => Machine::new(patterns).map(Some).ok_or(TooMany),
        };
        let folded: Vec<_> = secrets
            .iter()
            .map(|bytes| (bytes.as_slice(), ShownAs::Mask))
            .collect();
        let raw: Vec<_> = literals
            .iter()
            .map(|(text, rule)| (text.as_bytes(), ShownAs::Rule(*rule)))
            .collect();
        let folded_needles = folded.iter().map(|(bytes, _)| (*bytes, Group::Folded));
        let raw_needles = raw.iter().map(|(bytes, _)| (*bytes, Group::Raw));
        let needles: Vec<_> = folded_needles.chain(raw_needles).collect();
        Ok(Self {
            folded: machine(&folded)?,
            raw: machine(&raw)?,
            filter: Filter::new(&needles),
            span_bytes_max: longest(&folded)
                .saturating_mul(1 + GAP_BYTES_MAX)
                .max(longest(&raw)),
        })
    }

    pub(super) fn track(&self) -> Track {
        let cursor = |machine: &Option<Machine>| machine.as_ref().map(|machine| machine.cursor(0));
        Track {
            folded: cursor(&self.folded).unwrap_or_default(),
            raw: cursor(&self.raw).unwrap_or_default(),
            ..Track::default()
        }
    }

    /// A track that is taken up behind a line end.
    pub(super) fn track_at_line_start(&self) -> Track {
        Track {
            fold: Fold::at_line_start(),
            ..self.track()
        }
    }

    /// See [`Fold::line_start_of_plain`].
    pub(super) fn line_start_of_plain(&self, track: &Track, at: usize) -> Option<bool> {
        match self.folded {
            Some(_) => track.fold.line_start_of_plain(at),
            None => Some(false),
        }
    }

    /// Goes on to the end of `bytes`. Adds what it finds; returns where the first needle may begin that is not found yet.
    pub(super) fn scan(
        &self,
        track: &mut Track,
        bytes: &[u8],
        at_end: bool,
        found: &mut Vec<Range>,
    ) -> usize {
        let mut candidates = std::mem::take(&mut track.candidates);
        if self.folded.is_some() {
            track.fold.advance(bytes, at_end);
        }
        let gaps = track.fold.gaps.as_slice();
        // With only one of the machines, there is nothing that the other might have missed.
        let from_folded = self.folded.as_ref().map_or(bytes.len(), |_| track.folded.at);
        let from_raw = self.raw.as_ref().map_or(bytes.len(), |_| track.raw.at);
        let from = from_folded.min(from_raw);
        let filter = self
            .filter
            .as_ref()
            .filter(|_| bytes.len() - from >= BULK_BYTES_MIN);
        if let Some(filter) = filter {
            filter.search(bytes, from, gaps, &mut candidates);
            candidates.sort_unstable();
        }
        let mut begun = bytes.len();
        if let Some(machine) = &self.folded {
            let places = filter.map(|filter| (filter, candidates.as_slice(), Group::Folded));
            go_on(machine, &mut track.folded, bytes, &track.fold, places, found);
            begun = begun.min(machine.begun(track.folded, gaps)).min(track.fold.to);
        }
        if let Some(machine) = &self.raw {
            let whole = Fold::without_gaps(bytes);
            let places = filter.map(|filter| (filter, candidates.as_slice(), Group::Raw));
            go_on(machine, &mut track.raw, bytes, &whole, places, found);
            begun = begun.min(machine.begun(track.raw, &[]));
        }
        candidates.clear();
        track.candidates = candidates;
        begun
    }
}

/// Brings a machine to the end of what is folded, by way of the places where something may begin, if those are known.
fn go_on(
    machine: &Machine,
    cursor: &mut Cursor,
    bytes: &[u8],
    fold: &Fold,
    places: Option<(&Filter, &[Candidate], Group)>,
    found: &mut Vec<Range>,
) {
    let gaps = fold.gaps.as_slice();
    if let Some((filter, candidates, group)) = places {
        let from = cursor.at;
        if !machine.is_idle(*cursor) {
            machine.run(cursor, bytes, gaps, fold.to, true, found);
        }
        for candidate in candidates.iter().filter(|candidate| candidate.group == group) {
            let at = candidate.at.max(from);
            // Else it was under way when the machine came there, if it is one.
            if at >= cursor.at && at < fold.to {
                *cursor = machine.cursor(at);
                machine.run(cursor, bytes, gaps, fold.to, true, found);
            }
        }
        let last = back(gaps, fold.to, filter.reach()).max(from);
        if cursor.at < last {
            *cursor = machine.cursor(last);
        }
    }
    machine.run(cursor, bytes, gaps, fold.to, false, found);
}

fn longest(patterns: &[(&[u8], ShownAs)]) -> usize {
    patterns.iter().map(|(bytes, _)| bytes.len()).max().unwrap_or(0)
}

impl Track {
    /// Of the buffer, if there is anything that they matter for.
    pub(super) fn gaps(&self) -> &[Gap] {
        &self.fold.gaps
    }

    /// The first `count` bytes of the buffer are gone.
    pub(super) fn rebase(&mut self, count: usize) {
        self.fold.rebase(count);
        self.folded.at = self.folded.at.saturating_sub(count);
        self.raw.at = self.raw.at.saturating_sub(count);
    }
}
