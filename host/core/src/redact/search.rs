//! The automaton: byte by byte, which pattern ends here, and how long a beginning of one does.

use std::collections::HashMap;

use aho_corasick::{
    Anchored, StartKind,
    automaton::{Automaton, StateID},
    dfa::{self, DFA},
    nfa::contiguous::{self, NFA},
};
use zeroize::Zeroizing;

use super::{expressions::Expressions, ranges::ShownAs, rules::RuleSet};
use crate::spec::ArgValue;

/// Up to this many bytes of patterns the fast table is built; it takes up to 1 KiB for each of them.
const TABLE_PATTERN_BYTES_MAX: usize = 8 * 1024;

pub(super) struct Search {
    machine: Machine,
    start: StateID,
    /// How many of the bytes behind a state may yet become part of a pattern that is longer than they are.
    depths: HashMap<StateID, u64>,
    /// By pattern.
    shown_as: Vec<ShownAs>,
    rules: RuleSet,
}

enum Machine {
    Table(Box<DFA>),
    Compact(Box<NFA>),
    /// No automaton could be built, so nothing may be shown.
    Blind,
}

impl Search {
    pub(super) fn new(secrets: &[Zeroizing<String>], rules: &RuleSet) -> Self {
        let secrets = secrets.iter().map(|text| (text, ShownAs::Mask));
        let literals = rules
            .literals()
            .iter()
            .map(|(text, rule)| (text, ShownAs::Rule(*rule)));
        let (bytes, shown_as): (Vec<&[u8]>, Vec<ShownAs>) = secrets
            .chain(literals)
            .map(|(text, shown_as)| (text.as_bytes(), shown_as))
            .unzip();
        let total: usize = bytes.iter().map(|pattern| pattern.len()).sum();
        let table = (total <= TABLE_PATTERN_BYTES_MAX)
            .then(|| {
                dfa::Builder::new()
                    .start_kind(StartKind::Unanchored)
                    .prefilter(false)
                    .build(&bytes)
            })
            .and_then(Result::ok);
        let machine = match table {
            Some(dfa) => Machine::Table(Box::new(dfa)),
            None => match contiguous::Builder::new().prefilter(false).build(&bytes) {
                Ok(nfa) => Machine::Compact(Box::new(nfa)),
                Err(_) => Machine::Blind,
            },
        };
        let explored = match &machine {
            Machine::Table(dfa) => explore(dfa.as_ref(), &bytes),
            Machine::Compact(nfa) => explore(nfa.as_ref(), &bytes),
            Machine::Blind => None,
        };
        match explored {
            Some((start, depths)) => Self {
                machine,
                start,
                depths,
                shown_as,
                rules: rules.clone(),
            },
            None => Self {
                machine: Machine::Blind,
                start: StateID::default(),
                depths: HashMap::new(),
                shown_as,
                rules: rules.clone(),
            },
        }
    }

    pub(super) fn start(&self) -> StateID {
        self.start
    }

    pub(super) fn is_blind(&self) -> bool {
        matches!(self.machine, Machine::Blind)
    }

    pub(super) fn depth(&self, state: StateID) -> u64 {
        self.depths.get(&state).copied().unwrap_or(0)
    }

    pub(super) fn expressions(&self) -> Option<&Expressions> {
        self.rules.expressions()
    }

    /// What stands in the place of a range.
    pub(super) fn replacement(&self, shown_as: ShownAs) -> &str {
        match shown_as {
            ShownAs::Mask => ArgValue::MASK,
            ShownAs::Rule(rule) => self.rules.replacement(rule),
        }
    }

    /// Runs over `raw` from `state`; calls `found` with the end of each occurrence, as an index into `raw` (exclusive), the
    /// length of the longest pattern that ends there, and what is shown for all that do. Returns the state behind the last
    /// byte.
    pub(super) fn run(
        &self,
        state: StateID,
        raw: &[u8],
        found: impl FnMut(usize, usize, ShownAs),
    ) -> StateID {
        let shown_as = &self.shown_as;
        match &self.machine {
            Machine::Table(dfa) => run(dfa.as_ref(), state, raw, shown_as, found),
            Machine::Compact(nfa) => run(nfa.as_ref(), state, raw, shown_as, found),
            Machine::Blind => state,
        }
    }
}

fn run<A: Automaton>(
    automaton: &A,
    mut state: StateID,
    raw: &[u8],
    shown_as: &[ShownAs],
    mut found: impl FnMut(usize, usize, ShownAs),
) -> StateID {
    for (index, &byte) in raw.iter().enumerate() {
        state = automaton.next_state(Anchored::No, state, byte);
        if automaton.is_special(state) && automaton.is_match(state) {
            let ends_here = (0..automaton.match_len(state)).map(|nth| {
                let pattern = automaton.match_pattern(state, nth);
                let shown = shown_as.get(pattern.as_usize()).copied();
                (automaton.pattern_len(pattern), shown.unwrap_or(ShownAs::Mask))
            });
            let all = ends_here.reduce(|(a, shown_a), (b, shown_b)| (a.max(b), shown_a.and(shown_b)));
            if let Some((longest, shown)) = all {
                found(index + 1, longest, shown);
            }
        }
    }
    state
}

/// Every state is the beginning of some pattern: spelling the patterns visits them all. A state that no pattern continues
/// counts for what its own end begins: nothing more can come of the whole.
fn explore<A: Automaton>(automaton: &A, patterns: &[&[u8]]) -> Option<(StateID, HashMap<StateID, u64>)> {
    let start = automaton.start_state(Anchored::No).ok()?;
    let spell = |from: StateID, text: &[u8]| {
        let step = |state, byte: &u8| automaton.next_state(Anchored::No, state, *byte);
        text.iter().fold(from, step)
    };
    let mut depths = HashMap::from([(start, 0)]);
    for pattern in patterns {
        let mut state = start;
        let inner = pattern.split_last().map_or(&[][..], |(_, inner)| inner);
        for (depth, byte) in (1..).zip(inner) {
            state = spell(state, std::slice::from_ref(byte));
            depths.insert(state, depth);
        }
    }
    // A pattern may end with a shorter one, so those come first.
    let mut by_length = patterns.to_vec();
    by_length.sort_by_key(|pattern| pattern.len());
    for pattern in by_length {
        let whole = spell(start, pattern);
        if !depths.contains_key(&whole) {
            let rest = pattern.split_first().map_or(&[][..], |(_, rest)| rest);
            let depth = depths.get(&spell(start, rest)).copied().unwrap_or(0);
            depths.insert(whole, depth);
        }
    }
    Some((start, depths))
}
