//! The matches of one expression, leftmost first, each within the bytes that it may take.

use regex_automata::{Anchored, Input};

use super::Compiled;

/// The matches of one expression in a part of a stream.
pub(super) struct Matches<'a> {
    pub(super) expression: &'a Compiled,
    pub(super) part: &'a [u8],
    pub(super) from: usize,
    /// Bytes that were searched so far.
    pub(super) work: u64,
}

impl Matches<'_> {
    /// The next match that begins before `until`, where everything is there that a match can take.
    pub(super) fn next_before(&mut self, until: usize) -> Option<(usize, usize)> {
        let length_max = self.expression.length_max;
        let regex = &self.expression.regex;
        while self.from < until {
            // No need to look further than a match from the first start could reach, and another.
            let end = self.part.len().min(self.from.saturating_add(2 * length_max));
            self.work += (end - self.from) as u64;
            let Some(one) = regex.find(Input::new(self.part).range(self.from..end)) else {
                // All starts were seen whole that have `length_max` bytes before the end.
                self.from = match end == self.part.len() {
                    true => until,
                    false => end - length_max + 1,
                };
                continue;
            };
            if one.start() >= until {
                self.from = until;
                break;
            }
            let window = self.part.len().min(one.start().saturating_add(length_max));
            if one.end() <= window && (window <= end) {
                self.from = one.end();
                return Some((one.start(), one.end()));
            }
            // Too long, or not seen whole: only what lies in its window counts.
            self.work += (window - one.start()) as u64;
            let input = Input::new(self.part)
                .range(one.start()..window)
                .anchored(Anchored::Yes);
            match regex.find(input) {
                Some(one) => {
                    self.from = one.end();
                    return Some((one.start(), one.end()));
                }
                None => self.from = one.start() + 1,
            }
        }
        None
    }
}
