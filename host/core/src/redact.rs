//! Takes secrets out of a byte stream, exactly, however the stream is cut into chunks.
//!
//! # What comes out
//!
//! It is defined on the stream as a whole. Hidden are:
//!
//! - **Secrets**: every occurrence of every form of every secret ([`forms`]: as it is, in base64, percent encoding, hex, escaped for
//!   JSON, XML, shells and Go, each line of one of several, without spaces that are line ends where it is wrapped) in the *folded* stream, which is the stream without line ends,
//!   indentation and colours ([`fold`]). What is hidden goes from the first byte of the occurrence to its last, with the gaps between.
//! - **Tokens** of well-known shapes, where detectors are on ([`detectors`]).
//! - **Rules** of plugins ([`RuleSet`]). Literals: every occurrence, as it stands. What an expression matches: from left to right, a
//!   match begins at the first byte where the expression matches within the next `length_max` bytes, and goes as far as the
//!   expression then goes within them; the next one is looked for behind it.
//!
//! Ranges that share a byte are merged; ranges that merely touch stay apart. In the place of a merged range, each stretch between
//! line ends becomes one `***`, or the rule's replacement if only one rule contributed to it; line ends stay.
//!
//! ```text
//!   raw    a b [s e c ⏎ r e t] c d [x x] [x x] e [s e
//!                                                 ^ held back: it may become a secret
//!   out    a b  ***   ⏎ ***    c d  ***   ***  e
//! ```
//!
//! A merged range that goes on for more than 64 KiB ends where the first range begins behind those that goes further than all before
//! (unless more would have to be read to find what else is there). From there on all is as at the beginning of a stream.
//!
//! # Where the output stands
//!
//! A position is safe when no range lies across it and nothing may have begun before it that is not over. Output stands exactly at
//! the last safe position, [`Redactor::held_bytes`] behind the input, so that a stream can be taken up again from there with
//! an empty redactor of the same patterns, and nothing is lost, doubled or leaked.
//!
//! What is held is at most 128 KiB and twice the longest stretch that one occurrence can take: of a secret, 129 times the bytes of its
//! longest form. A text that is made to keep more from being decided, by tokens that begin within each other without end, is
//! withheld from there on, as is one that the rules' expressions cost too much for.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use zeroize::Zeroizing;

use self::{
    detectors::Detectors, expressions::Expressions, few::Few, needles::Needles, ranges::ShownAs,
    stream::Stream,
};
use crate::spec::ArgValue;

mod detectors;
mod expressions;
mod few;
mod filter;
mod fold;
mod forms;
mod machine;
mod needles;
mod ranges;
mod rules;
mod show;
mod stream;

#[cfg(test)]
mod tests;

pub use detectors::{Detection, detections};
pub use rules::{RuleProblem, RuleSet};

/// Shorter secrets, without the white space around them, would blank out half of a log.
pub const SECRET_BYTES_MIN: usize = 6;

/// Whether a secret is not looked for, by default: see [`Options::length_min`].
pub fn is_too_short(secret: &str) -> bool {
    secret.trim_ascii().len() < SECRET_BYTES_MIN
}

/// Where a merged range that goes on is cut.
const RANGE_BYTES_MAX: usize = 64 * 1024;

/// Of all forms of all secrets; of what is given beyond that, only what it is and what its lines are. The automaton takes
/// some hundred bytes for each while it is built.
const FORMS_BYTES_MAX: usize = 1 << 20;

/// Of what is left of secrets that are wrapped at their own spaces. Room of its own: it must not make the forms of others fewer.
const WRAPS_BYTES_MAX: usize = 128 << 10;

/// How to redact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Shorter secrets, in bytes without the white space around them, are not looked for: they would blank out half of a log.
    pub length_min: usize,
    /// Take out what looks like a token though it is no known secret.
    pub detectors: bool,
}

/// A stream being redacted. `Debug` shows no secret.
pub struct Redactor {
    search: Arc<Search>,
    stream: Stream,
}

/// What is looked for.
#[derive(Clone)]
struct Search {
    options: Options,
    /// All forms. Sorted.
    secrets: Vec<Zeroizing<Vec<u8>>>,
    /// How much of that is of wrapped ones.
    wraps_bytes: usize,
    /// Which of the secrets given are too short, counted from the first one.
    too_short: Vec<usize>,
    given: usize,
    needles: Arc<Needles>,
    /// All of that, for those who write a few bytes at a time: most never do.
    few: Arc<OnceLock<Option<Few>>>,
    /// There are more needles than can be searched for, so nothing may be shown.
    blind: bool,
    detectors: Option<&'static Detectors>,
    rules: RuleSet,
    range_bytes_max: usize,
    held_bytes_max: usize,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            length_min: SECRET_BYTES_MIN,
            detectors: true,
        }
    }
}

// === impl Redactor ===

impl Redactor {
    /// Looks for each secret in all its forms, and for tokens of well-known shapes.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self::with_rules(secrets, &RuleSet::default())
    }

    /// As [`Self::new`], and takes out what the rules match besides.
    pub fn with_rules<'a>(secrets: impl IntoIterator<Item = &'a str>, rules: &RuleSet) -> Self {
        Self::with_options(secrets, rules, Options::default())
    }

    pub fn with_options<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        rules: &RuleSet,
        options: Options,
    ) -> Self {
        let mut search = Search::new(rules, options);
        search.add(secrets);
        Self {
            stream: Stream::new(&search),
            search: Arc::new(search),
        }
    }

    /// Which secrets are too short to be looked for, so that somebody can be warned: their places in the order in which they were
    /// given, those of [`Self::add`] behind those of the constructor. Empty ones are not among them.
    pub fn too_short(&self) -> &[usize] {
        &self.search.too_short
    }

    /// Looks for more secrets from where the output stands: in what is held back, and in all that comes. The output goes on
    /// as that of a redactor of all the secrets that was begun there; so it can be taken up again later, from where it stands then.
    pub fn add<'a>(&mut self, secrets: impl IntoIterator<Item = &'a str>) {
        let mut search = Search::clone(&self.search);
        search.add(secrets);
        self.stream.begin_anew(&search);
        self.search = Arc::new(search);
    }

    /// A redactor of the same secrets at the beginning of a stream.
    pub fn restarted(&self) -> Self {
        Self {
            search: Arc::clone(&self.search),
            stream: Stream::new(&self.search),
        }
    }

    /// Takes the next raw bytes; appends to `out` what is safe to show by now.
    pub fn push(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        self.stream.push(&self.search, raw, out);
    }

    /// The stream is at its end: appends what was held back, and is ready for another stream.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.stream.finish(&self.search, out);
        self.stream = Stream::new(&self.search);
    }

    /// Raw bytes at the end of the input that the output does not reflect yet.
    pub fn held_bytes(&self) -> u64 {
        self.stream.held_bytes()
    }

    /// Redacts a text on its own, whatever stream is under way.
    pub fn redact_text(&self, text: &str) -> String {
        let mut out = Vec::with_capacity(text.len());
        let mut alone = self.restarted();
        alone.push(text.as_bytes(), &mut out);
        alone.finish(&mut out);
        // A rule may cut a character: an expression of bytes, or one whose match was too long.
        String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("held_bytes", &self.held_bytes())
            .finish_non_exhaustive()
    }
}

// === impl Search ===

impl Search {
    fn new(rules: &RuleSet, options: Options) -> Self {
        Self {
            options,
            secrets: Vec::new(),
            wraps_bytes: 0,
            too_short: Vec::new(),
            given: 0,
            needles: Arc::default(),
            few: Arc::default(),
            blind: false,
            detectors: options.detectors.then(Detectors::all).flatten(),
            rules: rules.clone(),
            range_bytes_max: RANGE_BYTES_MAX,
            held_bytes_max: 0,
        }
    }

    fn add<'a>(&mut self, secrets: impl IntoIterator<Item = &'a str>) {
        let length_min = self.options.length_min;
        let mut wraps = Vec::new();
        for secret in secrets {
            let taken: usize = self.secrets.iter().map(|form| form.len()).sum();
            let room = FORMS_BYTES_MAX.saturating_sub(taken.saturating_sub(self.wraps_bytes));
            match forms::needles(secret, length_min, room) {
                Some(needles) => {
                    self.secrets.extend(needles);
                    wraps.push(secret);
                }
                None if secret.is_empty() => {}
                None => self.too_short.push(self.given),
            }
            self.given += 1;
        }
        for secret in wraps {
            let room = WRAPS_BYTES_MAX.saturating_sub(self.wraps_bytes);
            let wrapped = forms::wrapped(secret, length_min, room);
            self.wraps_bytes += wrapped.iter().map(|form| form.len()).sum::<usize>();
            self.secrets.extend(wrapped);
        }
        self.secrets.sort_by(|a, b| a.as_slice().cmp(b));
        self.secrets.dedup();
        self.few = Arc::default();
        match Needles::new(&self.secrets, self.rules.literals()) {
            Ok(needles) => self.needles = Arc::new(needles),
            Err(_) => self.blind = true,
        }
        let spans = [
            self.needles.span_bytes_max,
            self.detectors.map_or(0, Detectors::span_bytes_max),
            self.rules.expressions().map_or(0, Expressions::length_max),
        ];
        let longest = spans.into_iter().max().unwrap_or(0);
        self.held_bytes_max = longest.saturating_mul(2).saturating_add(2 * RANGE_BYTES_MAX);
    }

    fn is_blind(&self) -> bool {
        self.blind
    }

    /// None if a stream cannot come that way.
    fn few(&self) -> Option<&Few> {
        let new = || {
            let literals = self.rules.literals().iter().map(|(text, _)| text.as_bytes());
            let patterns = self.secrets.iter().map(|form| form.as_slice()).chain(literals);
            let expressions = self.rules.expressions().is_some();
            (!expressions)
                .then(|| Few::new(patterns, self.detectors))
                .flatten()
        };
        self.few.get_or_init(new).as_ref()
    }

    fn mask(&self) -> &'static str {
        ArgValue::MASK
    }

    /// What stands in the place of a range.
    fn replacement(&self, shown_as: ShownAs) -> &str {
        match shown_as {
            ShownAs::Mask => ArgValue::MASK,
            ShownAs::Rule(rule) => self.rules.replacement(rule),
        }
    }
}
