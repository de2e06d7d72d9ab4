//! The shape of a token, and how far a text has followed one.

use std::{fmt, ops::Range};

/// A token: its parts in order, each as long as it can be.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) kind: &'static str,
    /// The first is a [`Part::Text`].
    pub(super) parts: &'static [Part],
    /// The part that is a secret; none means all of them.
    pub(super) hidden: Option<usize>,
    /// What must not come next.
    pub(super) not_before: Class,
    /// What else must be true.
    pub(super) check: Check,
}

/// Of a whole token, and of its hidden part.
pub(in super::super) type Check = fn(&[u8], &[u8]) -> bool;

pub(super) enum Part {
    Text(&'static str),
    /// Of ASCII letters in either case; given in lower case.
    AnyCase(&'static str),
    /// From `min` to `max` bytes of a class.
    Some {
        class: Class,
        min: usize,
        max: usize,
    },
    /// As `Some`, but ends before two `-`.
    Body {
        class: Class,
        min: usize,
        max: usize,
    },
}

/// A set of ASCII characters.
#[derive(Clone, Copy)]
pub(super) struct Class(u128);

/// How far a text has followed a shape. Positions are in the buffer.
pub(super) struct Progress {
    pub(super) shape: &'static Shape,
    /// Where the token begins.
    pub(super) from: usize,
    at: usize,
    part: usize,
    /// Bytes of the part under way.
    count: usize,
    hidden: Range<usize>,
}

pub(super) enum Step {
    /// It is not decided yet.
    More,
    Failed,
    /// The bytes to hide.
    Found(Range<usize>),
}

impl Class {
    pub(super) const NONE: Self = Self(0);

    /// Of single characters and `a-z` ranges. A `-` that ends it stands for itself.
    pub(super) const fn new(text: &str) -> Self {
        let mut set = 0;
        let mut rest = text.as_bytes();
        while let [first, after @ ..] = rest {
            let (mut from, to, behind) = match after {
                [b'-', to, behind @ ..] => (*first, *to, behind),
                _ => (*first, *first, after),
            };
            while from <= to {
                set |= 1 << from;
                from += 1;
            }
            rest = behind;
        }
        Self(set)
    }

    pub(super) fn has(self, byte: u8) -> bool {
        byte.is_ascii() && self.0 >> byte & 1 == 1
    }
}

impl Shape {
    /// What it begins with.
    pub(super) fn anchor(&self) -> &'static str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The most bytes that decide it.
    pub(super) fn bytes_max(&self) -> usize {
        let of = |part: &Part| match part {
            Part::Text(text) | Part::AnyCase(text) => text.len(),
            Part::Some { max, .. } | Part::Body { max, .. } => *max,
        };
        self.parts.iter().map(of).sum::<usize>() + 2
    }
}

impl Progress {
    pub(super) fn new(shape: &'static Shape, from: usize) -> Self {
        Self {
            shape,
            from,
            at: from,
            part: 0,
            count: 0,
            hidden: from..from,
        }
    }

    /// Follows the shape as far as `bytes` go, which nothing comes behind at the end.
    pub(super) fn step(&mut self, bytes: &[u8], at_end: bool) -> Step {
        while let Some(part) = self.shape.parts.get(self.part) {
            let ended = match part {
                Part::Text(text) => self.step_text(bytes, text, false),
                Part::AnyCase(text) => self.step_text(bytes, text, true),
                Part::Some { class, min, max } => self.step_some(bytes, *class, *min, *max, false, at_end),
                Part::Body { class, min, max } => self.step_some(bytes, *class, *min, *max, true, at_end),
            };
            match ended {
                Some(true) => {
                    if self.shape.hidden == Some(self.part) {
                        self.hidden = self.at - self.count..self.at;
                    }
                    self.part += 1;
                    self.count = 0;
                }
                Some(false) => return Step::Failed,
                None if at_end => return Step::Failed,
                None => return Step::More,
            }
        }
        match bytes.get(self.at) {
            None if !at_end && self.shape.not_before.0 != 0 => return Step::More,
            Some(byte) if self.shape.not_before.has(*byte) => return Step::Failed,
            Some(_) | None => {}
        }
        let whole = self.from..self.at;
        let hidden = match self.shape.hidden {
            Some(_) => self.hidden.clone(),
            None => whole.clone(),
        };
        let of = |range: Range<usize>| bytes.get(range).unwrap_or_default();
        match !hidden.is_empty() && (self.shape.check)(of(whole), of(hidden.clone())) {
            true => Step::Found(hidden),
            false => Step::Failed,
        }
    }

    /// Whether the part has ended well; none if it may go on.
    fn step_text(&mut self, bytes: &[u8], text: &str, any_case: bool) -> Option<bool> {
        for wanted in text.as_bytes().get(self.count..).unwrap_or_default() {
            let byte = *bytes.get(self.at)?;
            if byte != *wanted && !(any_case && byte.to_ascii_lowercase() == *wanted) {
                return Some(false);
            }
            self.at += 1;
            self.count += 1;
        }
        Some(true)
    }

    fn step_some(
        &mut self,
        bytes: &[u8],
        class: Class,
        min: usize,
        max: usize,
        body: bool,
        at_end: bool,
    ) -> Option<bool> {
        let mut rest = bytes.get(self.at..).unwrap_or_default();
        while self.count < max {
            match rest {
                [] if at_end => break,
                [] => return None,
                [b'-'] if body && !at_end => return None,
                [b'-', b'-', ..] if body => break,
                [byte, behind @ ..] if class.has(*byte) => rest = behind,
                _ => break,
            }
            self.at += 1;
            self.count += 1;
        }
        Some(self.count >= min)
    }

    /// The first `count` bytes of the buffer are gone; the token does not begin in them.
    pub(super) fn rebase(&mut self, count: usize) {
        self.from -= count;
        self.at -= count;
        self.hidden.start = self.hidden.start.saturating_sub(count);
        self.hidden.end = self.hidden.end.saturating_sub(count);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("kind", &self.shape.kind)
            .finish_non_exhaustive()
    }
}
