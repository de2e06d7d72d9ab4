//! What a build's record keeps of the word of plugins: bounded, whatever they say.

use serde::{Deserialize, Serialize};

use super::{Failure, FailureReason};
use crate::hook::HookReport;

/// The newest are kept: attempts and approvals may bring more.
pub const REPORTS_MAX: usize = 64;
/// Of changes and of messages of one report, and of reasons to hold.
pub const LINES_MAX: usize = 64;
pub const LINE_BYTES_MAX: usize = 1024;
/// Of all reports' text together: the record has to fit a row of 1 MiB with everything else in it.
pub const REPORTS_BYTES_MAX: usize = 192 << 10;

/// Why a build waits for somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// At least one; each names the plugin that said so.
    pub reasons: Vec<String>,
    pub since_ms: i64,
}

/// Who released a held build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub subject: String,
    /// As given, redacted; may be empty.
    pub reason: String,
    pub at_ms: i64,
}

/// What `inspect` said of what was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspected {
    /// A hash of commit and Dockerfile: who finds the same again need not ask again.
    pub found: String,
    pub word: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// By the plugins, or by the person who released the build after they held it.
    Allowed,
    Held {
        reasons: Vec<String>,
    },
    Denied {
        failure: Failure,
    },
}

// === impl Hold ===

impl Hold {
    pub fn new(reasons: Vec<String>, since_ms: i64) -> Self {
        let mut reasons = reasons;
        bound_lines(&mut reasons);
        Self { reasons, since_ms }
    }

    /// When nobody is waited for any more.
    pub fn expires_at_ms(&self, timeout_ms: i64) -> i64 {
        self.since_ms.saturating_add(timeout_ms)
    }
}

/// Adds `new` to `kept`, and lets go of the oldest where that is too much.
pub fn add_reports(kept: &mut Vec<HookReport>, new: Vec<HookReport>) {
    kept.extend(new);
    for report in kept.iter_mut() {
        bound_lines(&mut report.changes);
        bound_lines(&mut report.messages);
    }
    let mut bytes = 0_usize;
    let fitting = kept.iter().rev().take(REPORTS_MAX).take_while(|report| {
        bytes = bytes.saturating_add(text_bytes(report));
        bytes <= REPORTS_BYTES_MAX
    });
    let fitting = fitting.count();
    kept.drain(..kept.len().saturating_sub(fitting));
}

pub(super) fn not_approved() -> Failure {
    Failure {
        reason: FailureReason::PolicyDenied,
        message: "nobody approved the build in time: retry it and have it approved".to_owned(),
    }
}

fn text_bytes(report: &HookReport) -> usize {
    let lines = report.changes.iter().chain(&report.messages);
    report.plugin.len() + lines.map(String::len).sum::<usize>()
}

fn bound_lines(lines: &mut Vec<String>) {
    lines.truncate(LINES_MAX);
    for line in lines {
        if line.len() > LINE_BYTES_MAX {
            line.truncate(line.floor_char_boundary(LINE_BYTES_MAX));
        }
    }
}
