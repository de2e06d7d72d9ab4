//! Takes secrets out of a byte stream, exactly, however the stream is cut into chunks.
//!
//! What comes out is defined on the stream as a whole: every occurrence of every pattern is found, overlapping ones too;
//! ranges that share a byte are merged; each merged range is replaced by one `***`. Ranges that merely touch stay apart.
//!
//! ```text
//!   raw    a b [s e c r e t] c d [x x] [x x] e [s e
//!                                               ^ held back: it may become a secret
//!   out    a b  ***          c d  ***   ***  e
//! ```
//!
//! A position is safe when no range lies across it and no secret may have begun before it. Output stands exactly at the
//! last safe position, [`Redactor::held_bytes`] behind the input, so that a stream can be taken up again from there with
//! an empty redactor and the same patterns, and nothing is lost, doubled or leaked.
//!
//! Rules of plugins ([`RuleSet`]) are taken out beside the secrets. Literals count as patterns. What an expression matches is
//! defined on the whole stream too: from left to right, a match begins at the first byte where the expression matches within
//! the next `length_max` bytes, and goes as far as the expression then goes within them; the next one is looked for behind it.
//! A merged range that only one rule contributed to becomes that rule's replacement; any other becomes `***`.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

use self::{search::Search, stream::Stream};
mod expressions;
mod ranges;
mod rules;
mod search;
mod stream;

#[cfg(test)]
mod tests;

pub use rules::{RuleProblem, RuleSet};

/// Lines of a multi-line secret that are shorter would blank out half of a log: `}`, `EOF`.
const LINE_BYTES_MIN: usize = 6;

/// A stream being redacted. `Debug` shows no secret.
pub struct Redactor {
    search: Option<Arc<Search>>,
    stream: Stream,
}

impl Redactor {
    /// Looks for each non-empty value, each line of at least 6 bytes of a value of several lines, each value without the white
    /// space around it, and each of these as Kaniko's logger quotes it.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self::with_rules(secrets, &RuleSet::default())
    }

    /// As [`Self::new`], and takes out what the rules match besides.
    pub fn with_rules<'a>(secrets: impl IntoIterator<Item = &'a str>, rules: &RuleSet) -> Self {
        let mut patterns: Vec<Zeroizing<String>> = secrets.into_iter().flat_map(forms).collect();
        patterns.sort_by(|a, b| a.as_str().cmp(b));
        patterns.dedup();
        let search = !(patterns.is_empty() && rules.is_empty());
        let search = search.then(|| Arc::new(Search::new(&patterns, rules)));
        Self {
            stream: Stream::new(search.as_deref()),
            search,
        }
    }

    /// A redactor of the same secrets at the beginning of a stream.
    pub fn restarted(&self) -> Self {
        Self {
            search: self.search.clone(),
            stream: Stream::new(self.search.as_deref()),
        }
    }

    /// Takes the next raw bytes; appends to `out` what is safe to show by now.
    pub fn push(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        match &self.search {
            Some(search) => self.stream.push(search, raw, out),
            None => out.extend_from_slice(raw),
        }
    }

    /// The stream is at its end: appends what was held back, and is ready for another stream.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(search) = &self.search {
            self.stream.finish(search, out);
            self.stream = Stream::new(Some(search));
        }
    }

    /// Raw bytes at the end of the input that the output does not reflect yet. Without a bound only where the secrets
    /// themselves overlap without end, as `aa` does in a long row of `a`; memory stays bounded even then.
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

fn forms(secret: &str) -> Vec<Zeroizing<String>> {
    let mut forms = Vec::new();
    let mut add = |text: &str| {
        forms.push(Zeroizing::new(text.to_owned()));
        forms.push(quoted(text));
    };
    if !secret.is_empty() {
        add(secret);
    }
    let lines: Vec<&str> = secret.lines().map(str::trim).collect();
    let several = lines.iter().filter(|line| !line.is_empty()).count() > 1;
    for line in lines {
        // One line with white space around it is the secret itself, of whatever length.
        if line.len() >= if several { LINE_BYTES_MIN } else { 1 } {
            add(line);
        }
    }
    forms
}

/// As Go's `%q` writes it between its quotes.
fn quoted(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len()));
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
    }
    out
}
