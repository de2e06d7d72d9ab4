//! `.dockerignore`, by the rules of moby's `patternmatcher`: what a client leaves out of a context is what Kaniko would.
//!
//! One pattern a line; `#` in the first column is a comment; `!` takes back what earlier patterns ignored; the last pattern
//! that matches decides. `*` and `?` stop at a slash, `**` does not; a pattern that matches a directory matches all below it.
//! Slashes at either end mean nothing: every pattern starts at the root of the context, and none is for directories alone.

use regex::Regex;

mod pattern;

#[cfg(test)]
mod tests;

/// A line that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct InvalidPattern {
    /// From 1.
    pub line: usize,
    pub what: &'static str,
}

/// The patterns of one `.dockerignore`.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    /// `!`: takes back.
    exception: bool,
    /// Cleaned, without `!`.
    text: String,
    kind: Kind,
}

/// Moby tells these apart, and not only for speed: `**file` matches `dir/myfile` as a suffix and would not as a regex.
#[derive(Debug, Clone)]
enum Kind {
    Exact,
    /// Ends in `**` and has no other wildcard.
    Prefix(String),
    /// Begins with `**` and has no other wildcard.
    Suffix(String),
    Regex(Regex),
}

impl Matcher {
    /// Reads the text of a `.dockerignore`; fails at the first line that is no pattern.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let invalid = |what| InvalidPattern { line, what };
            if let Some(pattern) = Pattern::parse(content).map_err(invalid)? {
                patterns.push(pattern);
            }
        }
        Ok(Self { patterns })
    }

    /// Whether a file or directory is left out. `path` is relative to the context, with slashes; the context itself never is.
    pub fn is_ignored(&self, path: &str) -> bool {
        let path = clean(path);
        let path = path.trim_start_matches('/');
        if path == "." || path.is_empty() {
            return false;
        }
        let mut ignored = false;
        for pattern in &self.patterns {
            // Only a pattern that could change the answer is worth a look.
            if pattern.exception == ignored && pattern.matches_or_parent(path) {
                ignored = !pattern.exception;
            }
        }
        ignored
    }

    /// Whether a directory and everything in it is left out, so that nobody need look inside. May be false where looking would
    /// have been in vain, never true where it would not.
    pub fn skips_whole(&self, dir: &str) -> bool {
        self.is_ignored(dir)
            && !self
                .patterns
                .iter()
                .any(|pattern| pattern.exception && pattern.may_match_below(&clean(dir)))
    }
}

impl Pattern {
    /// None for comments and empty lines.
    fn parse(line: &str) -> Result<Option<Self>, &'static str> {
        if line.starts_with('#') {
            return Ok(None);
        }
        let line = line.trim();
        if line.is_empty() {
            return Ok(None);
        }
        let (exception, rest) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        if rest.is_empty() {
            return Err("'!' needs a pattern after it");
        }
        let cleaned = clean(rest);
        let text = match cleaned.strip_prefix('/') {
            Some(relative) if !relative.is_empty() => relative.to_owned(),
            Some(_) | None => cleaned,
        };
        Ok(Some(Self {
            exception,
            kind: pattern::compile(&text)?,
            text,
        }))
    }

    fn matches(&self, path: &str) -> bool {
        match &self.kind {
            Kind::Exact => path == self.text,
            Kind::Prefix(prefix) => path.starts_with(prefix),
            // `**/foo` is `foo` too.
            Kind::Suffix(suffix) => path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path),
            Kind::Regex(regex) => regex.is_match(path),
        }
    }

    fn matches_or_parent(&self, path: &str) -> bool {
        let parents = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        self.matches(path) || parents.into_iter().any(|parent| self.matches(parent))
    }

    /// Whether something deeper than `dir` may match that does not match already with `dir` or above it.
    fn may_match_below(&self, dir: &str) -> bool {
        // `**` spans any depth, and so may a class: `[^a]` matches a slash.
        if self.text.contains("**") || self.text.contains('[') {
            return true;
        }
        let mut parts = self.text.split('/');
        for within in dir.split('/') {
            match parts.next() {
                None => return false,
                Some(part) if part.contains(['*', '?', '\\']) => {}
                Some(part) if part != within => return false,
                Some(_) => {}
            }
        }
        parts.next().is_some()
    }
}

/// Go's `path.Clean`: no empty and no `.` parts, `..` resolved where it can be.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            other => parts.push(other),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}
