//! Finds what the expressions of rules match in a stream.
//!
//! Two steps, because most bytes of a log begin no match:
//!
//! ```text
//!   raw      …  p r e f i x   t o k e n = a b c ;   r e s t …
//!   sieve       · · · · · · · t o k e n = a b c ; · · · · ·     one lazy automaton for all expressions
//!                             └──── segment ────┘
//! ```
//!
//! The sieve ([`sieve`]) stands in its start state wherever no match of any expression can be under way; the rest are segments. In a
//! segment, each expression that the sieve saw matching is searched for by itself, leftmost first. A start is decided as soon
//! as its segment has ended or the `length_max` bytes that a match may take are there.

use std::fmt;

use regex_automata::{
    Input, MatchKind, Span,
    hybrid::{
        LazyStateID,
        dfa::{Cache, DFA},
    },
    meta,
    nfa::thompson,
    util::prefilter::Prefilter,
};
use zeroize::Zeroize;

use self::matches::Matches;
use super::{ranges::ShownAs, rules::Expression};

/// Of the program of one expression, in bytes.
const PROGRAM_BYTES_MAX: usize = 1 << 20;
/// Of the program of all expressions together.
const SIEVE_BYTES_MAX: usize = 4 << 20;
/// Of the states that the sieve has worked out so far; it begins anew when there are more.
const SIEVE_CACHE_BYTES: usize = 4 << 20;
/// When the sieve begins anew so often that it hardly helps, expressions count as too costly.
const SIEVE_CLEARS_MAX: usize = 16;
const SIEVE_BYTES_PER_STATE_MIN: usize = 8;
/// Bytes that may be searched for each byte of the stream, and for a stream of any length. Real expressions need a few; at
/// this many, hostile ones hold up their own build's log and nobody else.
const WORK_PER_BYTE_MAX: u64 = 2048;
const WORK_MIN: u64 = 64 << 20;

mod matches;
mod sieve;

/// Compiled expressions.
pub(super) struct Expressions {
    sieve: DFA,
    each: Vec<Compiled>,
    /// The largest of all.
    length_max: usize,
    /// What matches begin with, if that can be told.
    prefix: Option<Prefilter>,
}

struct Compiled {
    regex: meta::Regex,
    rule: u16,
    length_max: usize,
}

/// What an expression matches. Positions count from where the search began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Match {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) shown_as: ShownAs,
}

/// The expressions cost more than any log is worth; nothing can be said of what follows.
#[derive(Debug)]
pub(super) struct TooCostly;

/// Where the search in a stream stands.
pub(super) struct Scan {
    cache: Cache,
    /// None after a failure.
    state: Option<LazyStateID>,
    /// None while it is not known, after the cache was cleared.
    start_state: Option<LazyStateID>,
    clears: usize,
    /// Where the bytes in `held` begin.
    held_start: u64,
    /// From the first undecided start on.
    held: Vec<u8>,
    /// How many bytes of the segment under way are before `held`, that is, decided.
    decided: usize,
    segment: bool,
    /// By expression.
    progress: Vec<Progress>,
    work: u64,
    consumed: u64,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    /// No match begins before this position of the stream, but for those that were found.
    from: u64,
    /// The sieve saw a match in this segment.
    seen: bool,
}

// === impl Expressions ===

impl Expressions {
    /// On failure, which rule is to blame, if it is one, and what would be right.
    pub(super) fn new(expressions: &[Expression]) -> Result<Self, (Option<u16>, String)> {
        let each = expressions.iter().map(|expression| {
            let config = meta::Regex::config()
                .utf8_empty(false)
                .nfa_size_limit(Some(PROGRAM_BYTES_MAX))
                .hybrid_cache_capacity(1 << 20)
                .which_captures(thompson::WhichCaptures::Implicit);
            let regex = meta::Regex::builder()
                .configure(config)
                .build_from_hir(&expression.hir);
            let too_large = |_| {
                (
                    Some(expression.rule),
                    "the expression is too large: repeat less".to_owned(),
                )
            };
            Ok(Compiled {
                regex: regex.map_err(too_large)?,
                rule: expression.rule,
                length_max: expression.length_max,
            })
        });
        let each: Vec<Compiled> = each.collect::<Result<_, _>>()?;
        let too_large = || {
            (
                None,
                "the expressions together are too large: repeat less".to_owned(),
            )
        };
        let hirs: Vec<_> = expressions.iter().map(|expression| &expression.hir).collect();
        let program = sieve::program(&hirs, SIEVE_BYTES_MAX);
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .cache_capacity(SIEVE_CACHE_BYTES)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(SIEVE_CLEARS_MAX))
            .minimum_bytes_per_state(Some(SIEVE_BYTES_PER_STATE_MIN));
        let program = program.map_err(|_| too_large())?;
        let sieve = DFA::builder().configure(config).build_from_nfa(program);
        Ok(Self {
            sieve: sieve.map_err(|_| too_large())?,
            prefix: Prefilter::from_hirs_prefix(MatchKind::LeftmostFirst, &hirs)
                .filter(|prefix| prefix.is_fast() && prefix.max_needle_len() > 0),
            length_max: each.iter().map(|one| one.length_max).max().unwrap_or(1),
            each,
        })
    }
}

impl Expressions {
    pub(super) fn length_max(&self) -> usize {
        self.length_max
    }
}

// === impl Scan ===

impl Scan {
    pub(super) fn new(expressions: &Expressions) -> Self {
        let mut scan = Self {
            cache: expressions.sieve.create_cache(),
            state: None,
            start_state: None,
            clears: 0,
            held_start: 0,
            held: Vec::new(),
            decided: 0,
            segment: false,
            progress: vec![Progress::default(); expressions.each.len()],
            work: 0,
            consumed: 0,
        };
        scan.cache.search_start(0);
        // A failure leaves no state and shows at the first byte.
        let _ = scan.restart(expressions);
        scan
    }

    /// Takes the next bytes. Returns the first position where a match may begin that is not found yet, and what was found.
    pub(super) fn push(
        &mut self,
        expressions: &Expressions,
        raw: &[u8],
    ) -> Result<(u64, Vec<Match>), TooCostly> {
        let mut found = Vec::new();
        self.consumed += raw.len() as u64;
        // By this it judges whether it still helps.
        self.cache
            .search_update(usize::try_from(self.consumed).unwrap_or(usize::MAX));
        let old = self.held.len();
        if old == 0 {
            let kept = self.sift(expressions, raw, 0, &mut found)?;
            self.held.extend_from_slice(raw.get(kept..).unwrap_or_default());
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(raw);
            let kept = self.sift(expressions, &held, old, &mut found);
            let kept = kept.inspect_err(|_| held.zeroize())?;
            held.drain(..kept);
            self.held = held;
        }
        Ok((self.held_start, found))
    }

    /// The stream is at its end: what is found when nothing more comes.
    pub(super) fn finish(&mut self, expressions: &Expressions) -> Result<Vec<Match>, TooCostly> {
        let mut found = Vec::new();
        let held = std::mem::take(&mut self.held);
        let end = self.held_start + held.len() as u64;
        for progress in &mut self.progress {
            progress.seen = true;
        }
        self.search(expressions, &held, &mut found, |_| end)?;
        Ok(found)
    }

    /// Runs the sieve over `bytes` from `at` on; they begin at `held_start`. Returns how many of them are decided; moves
    /// `held_start` there.
    fn sift(
        &mut self,
        expressions: &Expressions,
        bytes: &[u8],
        mut at: usize,
        found: &mut Vec<Match>,
    ) -> Result<usize, TooCostly> {
        // Where the segment under way begins; before it all is decided.
        let mut begin = if self.segment { 0 } else { at };
        let base = self.held_start;
        loop {
            if let (Some(prefix), false) = (&expressions.prefix, self.segment) {
                at = self.skip(prefix, bytes, at);
                begin = at;
            }
            let Some(byte) = bytes.get(at).copied() else { break };
            self.step(expressions, byte)?;
            at += 1;
            if self.start_state.is_some() && self.start_state == self.state {
                if self.segment {
                    let part = bytes.get(begin..at).unwrap_or_default();
                    let end = base + at as u64;
                    self.held_start = base + begin as u64;
                    self.search(expressions, part, found, |_| end)?;
                    self.leave_segment();
                }
                begin = at;
                continue;
            }
            self.segment = true;
            if at - begin + self.decided >= 2 * expressions.length_max {
                let (to, _) = self.decide(expressions, bytes, base, begin, at, found)?;
                // What began before may be under way in the sieve for ever, so it begins anew.
                begin = to;
                at = to;
                self.leave_segment();
                self.restart(expressions)?;
            }
        }
        if self.segment && at - begin >= expressions.length_max {
            let (to, decided) = self.decide(expressions, bytes, base, begin, at, found)?;
            self.decided += decided;
            begin = to;
        }
        self.held_start = base + begin as u64;
        Ok(begin)
    }

    /// The first position from `at` on where a match may begin, when none is under way.
    fn skip(&self, prefix: &Prefilter, bytes: &[u8], at: usize) -> usize {
        if self.start_state.is_none() || self.start_state != self.state {
            return at;
        }
        match prefix.find(bytes, Span::from(at..bytes.len())) {
            Some(found) => found.start,
            // What matches begin with may be cut off at the end.
            None => at.max((bytes.len() + 1).saturating_sub(prefix.max_needle_len())),
        }
    }

    /// Searches for what begins in `begin..at` of the segment and can be decided. Returns where the first undecided start
    /// is, and how far that is from `begin`.
    fn decide(
        &mut self,
        expressions: &Expressions,
        bytes: &[u8],
        base: u64,
        begin: usize,
        at: usize,
        found: &mut Vec<Match>,
    ) -> Result<(usize, usize), TooCostly> {
        let part = bytes.get(begin..at).unwrap_or_default();
        let end = base + at as u64;
        self.held_start = base + begin as u64;
        // The sieve learns of a match one byte late, so the last byte does not count.
        let decided = |length_max: usize| end.saturating_sub(length_max as u64);
        self.search(expressions, part, found, decided)?;
        let to = begin.max(at.saturating_sub(expressions.length_max));
        Ok((to, to - begin))
    }

    fn step(&mut self, expressions: &Expressions, byte: u8) -> Result<(), TooCostly> {
        let sieve = &expressions.sieve;
        let state = self.state.take().ok_or(TooCostly)?;
        let state = sieve
            .next_state(&mut self.cache, state, byte)
            .map_err(|_| TooCostly)?;
        if self.cache.clear_count() != self.clears {
            self.clears = self.cache.clear_count();
            self.start_state = None;
        }
        if state.is_match() {
            for nth in 0..sieve.match_len(&self.cache, state) {
                let pattern = sieve.match_pattern(&self.cache, state, nth);
                if let Some(progress) = self.progress.get_mut(pattern.as_usize()) {
                    progress.seen = true;
                }
            }
        } else if state.is_dead() || state.is_quit() {
            return Err(TooCostly);
        }
        self.state = Some(state);
        Ok(())
    }

    /// Puts the sieve into its start state.
    fn restart(&mut self, expressions: &Expressions) -> Result<(), TooCostly> {
        let start = expressions
            .sieve
            .start_state_forward(&mut self.cache, &Input::new(""));
        self.state = Some(start.map_err(|_| TooCostly)?);
        self.clears = self.cache.clear_count();
        self.start_state = self.state;
        Ok(())
    }

    fn leave_segment(&mut self) {
        self.segment = false;
        self.decided = 0;
        for progress in &mut self.progress {
            progress.seen = false;
        }
    }

    /// Finds the matches that begin in `part`, which begins at `held_start`, before the position that `decided` gives for
    /// a `length_max`.
    fn search(
        &mut self,
        expressions: &Expressions,
        part: &[u8],
        found: &mut Vec<Match>,
        decided: impl Fn(usize) -> u64,
    ) -> Result<(), TooCostly> {
        let base = self.held_start;
        for (expression, progress) in expressions.each.iter().zip(&mut self.progress) {
            let until = decided(expression.length_max);
            if !progress.seen || until <= base {
                continue;
            }
            let until = usize::try_from(until - base).map_or(part.len(), |until| until.min(part.len()));
            let from = usize::try_from(progress.from.saturating_sub(base)).unwrap_or(usize::MAX);
            let mut matches = Matches {
                expression,
                part,
                from,
                work: 0,
            };
            while let Some((start, end)) = matches.next_before(until) {
                found.push(Match {
                    start: base + start as u64,
                    end: base + end as u64,
                    shown_as: ShownAs::Rule(expression.rule),
                });
                if self.work + matches.work > WORK_MIN + WORK_PER_BYTE_MAX * self.consumed {
                    return Err(TooCostly);
                }
            }
            progress.from = base + matches.from as u64;
            self.work += matches.work;
            if self.work > WORK_MIN + WORK_PER_BYTE_MAX * self.consumed {
                return Err(TooCostly);
            }
        }
        Ok(())
    }
}

/// What it holds may be most of what a rule takes out.
impl Drop for Scan {
    fn drop(&mut self) {
        self.held.zeroize();
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").finish_non_exhaustive()
    }
}
