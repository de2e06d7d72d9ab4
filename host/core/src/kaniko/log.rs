//! Follows a build by its log: steps, cache, pushes, and what it said last.
//!
//! The log is Kaniko's own lines mixed with the output of `RUN` steps, which may hold anything, lines that imitate
//! Kaniko's among it. So nothing here is trusted further than the user's own build reaches: only the destinations that
//! the build was given count as pushed, and of several errors the last one counts, because Kaniko's own is written last.
//! Memory is bounded whatever the log holds.

use std::collections::{BTreeSet, VecDeque};

use super::line::{self, LogLine};
use crate::build::Step;

/// Longer lines are read in pieces of this size.
const LINE_BYTES_MAX: usize = 32 * 1024;
const STEPS_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 1024;
const OUTPUT_LINES_MAX: usize = 8;
const CACHED_MAX: usize = 512;

/// Reads a run's redacted log. How it is split over [`LogReader::push`] calls makes no difference but to times.
#[derive(Debug, Clone)]
pub struct LogReader {
    destinations: Vec<String>,
    partial: Vec<u8>,
    steps: Vec<Step>,
    /// Instructions of the current stage that Kaniko said it would take from the cache.
    cached: BTreeSet<String>,
    stages: usize,
    /// Name of the step that runs, also past the last that is kept.
    current: Option<String>,
    pushing: Option<String>,
    pushed: Vec<String>,
    digest: Option<String>,
    base_image: Option<String>,
    error: Option<LoggedError>,
    output: VecDeque<String>,
    gap: bool,
}

/// The last thing Kaniko complained of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoggedError {
    pub(super) kind: ErrorKind,
    /// Without what `kind` says already.
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// Before the build: arguments, context, Dockerfile path.
    Setup,
    PushCheck,
    Build,
    Push,
    /// Kaniko gave up by its logger or by a panic.
    Fatal,
}

impl LogReader {
    /// `destinations` are the references given to Kaniko; no others are ever reported as pushed.
    pub fn new(destinations: Vec<String>) -> Self {
        Self {
            destinations,
            partial: Vec::new(),
            steps: Vec::new(),
            cached: BTreeSet::new(),
            stages: 0,
            current: None,
            pushing: None,
            pushed: Vec::new(),
            digest: None,
            base_image: None,
            error: None,
            output: VecDeque::new(),
            gap: false,
        }
    }

    /// Reads on. True if the steps changed.
    pub fn push(&mut self, bytes: &[u8], timestamp_ms: i64) -> bool {
        let mut changed = false;
        for &byte in bytes {
            // Progress bars end their lines with a carriage return.
            let ends = byte == b'\n' || byte == b'\r';
            if !ends {
                self.partial.push(byte);
            }
            if ends || self.partial.len() >= LINE_BYTES_MAX {
                changed |= self.take_line(timestamp_ms);
            }
        }
        changed
    }

    /// Part of the log is missing here.
    pub fn gap(&mut self) {
        self.partial.clear();
        self.gap = true;
    }

    /// The log is at its end: reads a last line that nothing ended, and completes the step that was running.
    pub fn finish(&mut self, timestamp_ms: i64) -> bool {
        let changed = self.take_line(timestamp_ms);
        self.complete_step(timestamp_ms) || changed
    }

    /// In the order they began; at most the first 512 of a build.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// References that were pushed, in order.
    pub fn pushed(&self) -> &[String] {
        &self.pushed
    }

    /// `sha256:<hex>` of the last push to one of the destinations.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Whether a step came from the layer cache.
    pub fn cache_used(&self) -> bool {
        self.steps.iter().any(|step| step.cached)
    }

    pub(super) fn destinations(&self) -> &[String] {
        &self.destinations
    }

    pub(super) fn error(&self) -> Option<&LoggedError> {
        self.error.as_ref()
    }

    pub(super) fn base_image(&self) -> Option<&str> {
        self.base_image.as_deref()
    }

    pub(super) fn current_step(&self) -> Option<&str> {
        self.current.as_deref()
    }

    pub(super) fn has_gap(&self) -> bool {
        self.gap
    }

    /// The last lines that the current step wrote.
    pub(super) fn output(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.output.iter().map(String::as_str)
    }

    fn take_line(&mut self, timestamp_ms: i64) -> bool {
        let bytes = std::mem::take(&mut self.partial);
        let text = String::from_utf8_lossy(&bytes);
        let changed = match line::parse(&text) {
            Some(logged) => {
                self.read_output(logged.before);
                self.read_logged(&logged, timestamp_ms)
            }
            None => {
                if !self.read_error(&text) {
                    self.read_output(&text);
                }
                false
            }
        };
        // The allocation is kept: lines are many.
        self.partial = bytes;
        self.partial.clear();
        changed
    }

    fn read_output(&mut self, text: &str) {
        let text = text.trim_end();
        if text.is_empty() {
            return;
        }
        if self.output.len() == OUTPUT_LINES_MAX {
            self.output.pop_front();
        }
        self.output.push_back(clip(text, TEXT_BYTES_MAX));
    }

    fn read_logged(&mut self, logged: &LogLine<'_>, timestamp_ms: i64) -> bool {
        let message = logged.message.as_str();
        if matches!(logged.level, "fatal" | "panic") {
            self.set_error(ErrorKind::Fatal, message);
            return false;
        }
        if let Some(rest) = message.strip_prefix("Building stage '") {
            let base = rest.split("' [idx").next().unwrap_or(rest);
            self.stages += 1;
            self.cached.clear();
            return self.begin_step(&format!("FROM {base}"), timestamp_ms);
        }
        if let Some(name) = message.strip_prefix("Using caching version of cmd: ") {
            if self.cached.len() < CACHED_MAX {
                self.cached.insert(step_name(name));
            }
            return false;
        }
        if let Some(image) = message.strip_prefix("Retrieving image manifest ") {
            self.base_image = Some(clip(image, NAME_BYTES_MAX));
            return false;
        }
        if let Some(reference) = message.strip_prefix("Pushing image to ") {
            return self.read_pushing(reference, timestamp_ms);
        }
        if let Some(what) = message.strip_prefix("Pushed ") {
            self.read_pushed(what);
            return false;
        }
        if message.starts_with("Storing source image from stage ") || message == "Deleting filesystem..." {
            return self.complete_step(timestamp_ms);
        }
        self.stages > 0 && line::is_instruction(message) && self.begin_step(message, timestamp_ms)
    }

    fn read_pushing(&mut self, reference: &str, timestamp_ms: i64) -> bool {
        // Layers go to the cache in between; they are none of ours.
        let destination = self
            .destinations
            .iter()
            .find(|ours| same_reference(ours, reference));
        let Some(destination) = destination.cloned() else {
            return false;
        };
        self.pushing = Some(destination);
        self.complete_step(timestamp_ms)
    }

    fn read_pushed(&mut self, what: &str) {
        let Some((repository, digest)) = what.split_once('@') else {
            return;
        };
        let ours = |reference: &String| {
            let of_tag = reference
                .rsplit_once(':')
                .map_or(reference.as_str(), |(path, _)| path);
            same_reference(of_tag, repository)
        };
        if !is_digest(digest) || !self.pushing.as_ref().is_some_and(ours) {
            return;
        }
        self.digest = Some(digest.to_owned());
        if let Some(reference) = self.pushing.take().filter(|it| !self.pushed.contains(it)) {
            self.pushed.push(reference);
        }
    }

    fn begin_step(&mut self, name: &str, timestamp_ms: i64) -> bool {
        let mut changed = self.complete_step(timestamp_ms);
        self.output.clear();
        // Kaniko pushes when all steps are done: what came before was the imitation of a push.
        self.pushing = None;
        self.pushed.clear();
        self.digest = None;
        let name = step_name(name);
        self.current = Some(name.clone());
        if self.steps.len() < STEPS_MAX {
            self.steps.push(Step {
                cached: self.cached.remove(&name),
                name,
                started_at_ms: timestamp_ms,
                completed_at_ms: None,
            });
            changed = true;
        }
        changed
    }

    fn complete_step(&mut self, timestamp_ms: i64) -> bool {
        match self.steps.last_mut() {
            Some(step) if step.completed_at_ms.is_none() => {
                step.completed_at_ms = Some(timestamp_ms);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Kaniko's last words are no log line but bare text on stderr. True if this is such text.
    fn read_error(&mut self, text: &str) -> bool {
        const KINDS: [(&str, ErrorKind); 3] = [
            ("error building image: ", ErrorKind::Build),
            ("error pushing image: ", ErrorKind::Push),
            ("error checking push permissions: ", ErrorKind::PushCheck),
        ];
        for (prefix, kind) in KINDS {
            // Not only at the start: the step before may have left its line open.
            if let Some(at) = text.rfind(prefix)
                && let Some((before, rest)) = text.split_at_checked(at)
            {
                self.read_output(before);
                self.set_error(kind, rest.strip_prefix(prefix).unwrap_or(rest));
                return true;
            }
        }
        if self.stages == 0
            && let Some(rest) = text.strip_prefix("Error: ").or_else(|| setup_error(text))
        {
            self.set_error(ErrorKind::Setup, rest);
            return true;
        }
        if text.starts_with("panic: ") || text.starts_with("fatal error: ") {
            self.set_error(ErrorKind::Fatal, text);
            return true;
        }
        false
    }

    fn set_error(&mut self, kind: ErrorKind, text: &str) {
        self.error = Some(LoggedError {
            kind,
            text: clip(text, TEXT_BYTES_MAX),
        });
    }
}

fn setup_error(text: &str) -> Option<&str> {
    let known = [
        "kaniko should only be run",
        "error resolving ",
        "error changing to root dir",
    ];
    known.iter().any(|start| text.starts_with(start)).then_some(text)
}

/// One line, clipped.
fn step_name(message: &str) -> String {
    let mut name = String::with_capacity(message.len().min(NAME_BYTES_MAX));
    for word in message.split_whitespace() {
        if name.len() >= NAME_BYTES_MAX {
            break;
        }
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(word);
    }
    clip(&name, NAME_BYTES_MAX)
}

/// At most `bytes_max` bytes and the sign of more.
fn clip(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max);
    let kept = text.get(..end).unwrap_or_default();
    format!("{kept}…")
}

/// Kaniko spells Docker Hub's host in full.
fn same_reference(ours: &str, logged: &str) -> bool {
    let canonical = |reference: &str| match reference.strip_prefix("docker.io/") {
        Some(path) => format!("index.docker.io/{path}"),
        None => reference.to_owned(),
    };
    ours == logged || canonical(ours) == canonical(logged)
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}
