//! The program of the sieve: all expressions at once, begun anew at every byte.
//!
//! The usual program for that will not do. In the state that it starts in, it may have matches under way: that of `a*b` is in
//! its first state again after each `a`. So here the first steps of all expressions are copies, which nothing leads back to:
//!
//! ```text
//!   usual            a ┐                here    any ┐
//!            any ┐ ┌───┘                       ┌────┘
//!          → (start) ── b → (match)          → (start) ── a → ( ) ─ b → (match)
//!                                                 └────── b ────────────↗
//! ```

use regex_automata::{
    nfa::thompson::{BuildError, Builder, Compiler, Config, NFA, State, Transition, WhichCaptures},
    util::primitives::StateID,
};
use regex_syntax::hir::Hir;

/// Fails if it takes more bytes than `bytes_max`.
pub(super) fn program(expressions: &[&Hir], bytes_max: usize) -> Result<NFA, Box<BuildError>> {
    let config = Config::new()
        .utf8(false)
        .nfa_size_limit(Some(bytes_max))
        .which_captures(WhichCaptures::None);
    let mut compiler = Compiler::new();
    compiler.configure(config);
    let mut builder = Builder::new();
    builder.set_utf8(false);
    builder.set_size_limit(Some(bytes_max))?;
    let start = builder.add_union(Vec::new())?;
    let any = builder.add_range(Transition {
        start: 0,
        end: 255,
        next: start,
    })?;
    builder.patch(start, any)?;
    for expression in expressions {
        let part = compiler.build_from_hir(expression)?;
        builder.start_pattern()?;
        let part_start = copy(&part, &mut builder, start)?;
        builder.finish_pattern(part_start)?;
    }
    Ok(builder.build(start, start)?)
}

/// Copies `part`, and its first steps once more as steps of `start`. Returns where the copy starts.
fn copy(part: &NFA, builder: &mut Builder, start: StateID) -> Result<StateID, Box<BuildError>> {
    // States get their numbers in order, so that those of the copy are the old ones behind this one.
    let offset = builder.add_fail()?.as_usize() + 1;
    let moved = |id: StateID| StateID::new(id.as_usize() + offset).unwrap_or(StateID::MAX);
    let moved_all = |transitions: &[Transition]| -> Vec<Transition> {
        let one = |old: &Transition| Transition {
            next: moved(old.next),
            ..*old
        };
        transitions.iter().map(one).collect()
    };
    for state in part.states() {
        match state {
            State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) => {
                builder.add_sparse(moved_all(&transitions(state)))?
            }
            State::Union { alternates } => {
                builder.add_union(alternates.iter().copied().map(moved).collect())?
            }
            State::BinaryUnion { alt1, alt2 } => builder.add_union(vec![moved(*alt1), moved(*alt2)])?,
            State::Capture { next, .. } => builder.add_union(vec![moved(*next)])?,
            // Expressions that look around are refused before.
            State::Look { .. } | State::Fail => builder.add_fail()?,
            State::Match { .. } => builder.add_match()?,
        };
    }
    for first in first_steps(part) {
        let step = builder.add_sparse(moved_all(&first))?;
        builder.patch(start, step)?;
    }
    Ok(moved(part.start_anchored()))
}

/// The transitions that a match may begin with, by state.
fn first_steps(part: &NFA) -> Vec<Vec<Transition>> {
    let mut steps = Vec::new();
    let mut seen = vec![false; part.states().len()];
    let mut open = vec![part.start_anchored()];
    while let Some(id) = open.pop() {
        match seen.get_mut(id.as_usize()) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        match part.state(id) {
            state @ (State::ByteRange { .. } | State::Sparse(_) | State::Dense(_)) => {
                steps.push(transitions(state));
            }
            State::Union { alternates } => open.extend(alternates.iter()),
            State::BinaryUnion { alt1, alt2 } => open.extend([alt1, alt2]),
            State::Capture { next, .. } => open.push(*next),
            State::Look { .. } | State::Fail | State::Match { .. } => {}
        }
    }
    steps
}

fn transitions(state: &State) -> Vec<Transition> {
    match state {
        State::ByteRange { trans } => vec![*trans],
        State::Sparse(sparse) => sparse.transitions.to_vec(),
        State::Dense(dense) => {
            let one = |byte| {
                let next = dense.matches(&[byte], 0)?;
                Some(Transition {
                    start: byte,
                    end: byte,
                    next,
                })
            };
            (0..=255).filter_map(one).collect()
        }
        State::Look { .. }
        | State::Union { .. }
        | State::BinaryUnion { .. }
        | State::Capture { .. }
        | State::Fail
        | State::Match { .. } => Vec::new(),
    }
}
