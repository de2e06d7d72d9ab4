//! What the build's record shows of a call, within bounds: what a plugin says must not fill the store.

use std::time::Duration;

use ignite_core::{
    hook::{Hook, HookReport, ReportVerdict, Violation},
    policy::{Mode, OnFailure, ResolvedEntry},
};

/// Of one call.
pub(super) const MESSAGES_MAX: usize = 64;
/// Of one message, and of a violation's field.
pub(super) const MESSAGE_BYTES_MAX: usize = 1024;
/// Stands where more was said: who redacts a text needs to know that it is not whole.
const CUT: &str = "…";

/// Who is called, where: all that a report says of a call before it is made.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) entry: &'a ResolvedEntry,
    pub(super) hook: Hook,
}

// === impl Call ===

impl Call<'_> {
    pub(super) fn is_monitored(&self) -> bool {
        match self.entry.settings.mode {
            Mode::Enforce => false,
            Mode::Monitor => true,
        }
    }

    pub(super) fn report(
        &self,
        verdict: ReportVerdict,
        changes: Vec<String>,
        messages: Vec<String>,
        took: Duration,
    ) -> HookReport {
        HookReport {
            plugin: self.entry.plugin.clone(),
            digest: self.entry.digest,
            hook: self.hook,
            monitored: self.is_monitored(),
            verdict,
            changes,
            messages: bounded(messages),
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn failed(&self, messages: Vec<String>, took: Duration) -> HookReport {
        self.report(ReportVerdict::Failed, Vec::new(), messages, took)
    }

    /// What a failed call has to say for itself where it counts; None where it is only reported.
    pub(super) fn counted_failure(&self, messages: &[String]) -> Option<String> {
        let counts = match self.entry.settings.on_failure {
            OnFailure::Reject => !self.is_monitored(),
            OnFailure::Ignore => false,
        };
        counts.then(|| {
            let text = format!(
                "plugin {} failed at {}: {}",
                self.entry.plugin,
                self.hook,
                messages.join("; ")
            );
            cut(text)
        })
    }
}

/// At most as many messages as are kept, none longer than is kept.
pub(super) fn bounded(messages: Vec<String>) -> Vec<String> {
    messages.into_iter().take(MESSAGES_MAX).map(cut).collect()
}

/// As [`bounded`]. A denial always has a reason, if only that it gave none.
pub(super) fn bounded_violations(violations: Vec<Violation>) -> Vec<Violation> {
    let kept: Vec<_> = violations
        .into_iter()
        .take(MESSAGES_MAX)
        .map(|violation| Violation {
            field: cut(violation.field),
            message: cut(violation.message),
        })
        .collect();
    if !kept.is_empty() {
        return kept;
    }
    vec![Violation {
        field: String::new(),
        message: "denied without a reason".to_owned(),
    }]
}

/// `text` up to what is kept of a message, ended between two characters.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        let end = text.floor_char_boundary(MESSAGE_BYTES_MAX - CUT.len());
        text.truncate(end);
        text.push_str(CUT);
    }
    text
}

/// A violation as one message: `tags[0]: must be …`.
pub(super) fn violation_line(field: &str, message: &str) -> String {
    match field {
        "" => message.to_owned(),
        field => format!("{field}: {message}"),
    }
}
