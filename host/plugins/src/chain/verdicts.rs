//! Several plugins' words made one.

use std::time::Duration;

use ignite_core::hook::{HookReport, ReportVerdict, Verdict, Violation};

use super::{
    Decision,
    report::{Call, bounded_violations, cut, violation_line},
};
use crate::runtime::CallError;

/// What was said so far.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    violations: Vec<Violation>,
    denied_by: Vec<String>,
    reasons: Vec<String>,
}

// === impl Verdicts ===

impl Verdicts {
    /// Counts one answer, and reports it.
    pub(super) fn take(
        &mut self,
        call: Call<'_>,
        answer: Result<Verdict, CallError>,
        took: Duration,
    ) -> HookReport {
        match answer {
            Err(error) => self.fail(call, vec![error.to_string()], took),
            Ok(Verdict::Allow { warnings }) => call.report(ReportVerdict::Allow, Vec::new(), warnings, took),
            Ok(Verdict::Deny { violations }) => {
                let violations = bounded_violations(violations);
                let lines = violations
                    .iter()
                    .map(|violation| violation_line(&violation.field, &violation.message))
                    .collect();
                if !call.is_monitored() {
                    self.deny(&call.entry.plugin, violations);
                }
                call.report(ReportVerdict::Deny, Vec::new(), lines, took)
            }
            Ok(Verdict::Hold { reason }) => {
                if !call.is_monitored() {
                    self.reasons.push(cut(format!("{}: {reason}", call.entry.plugin)));
                }
                call.report(ReportVerdict::Hold, Vec::new(), vec![reason], took)
            }
        }
    }

    /// Counts a call that failed, or whose answer cannot be used, and reports it.
    pub(super) fn fail(&mut self, call: Call<'_>, messages: Vec<String>, took: Duration) -> HookReport {
        if let Some(message) = call.counted_failure(&messages) {
            let violation = Violation {
                field: String::new(),
                message,
            };
            self.deny(&call.entry.plugin, vec![violation]);
        }
        call.failed(messages, took)
    }

    pub(super) fn is_denied(&self) -> bool {
        !self.denied_by.is_empty()
    }

    pub(super) fn decide(self) -> Decision {
        if self.is_denied() {
            Decision::Deny {
                violations: self.violations,
                plugin: self.denied_by.join(", "),
            }
        } else if self.reasons.is_empty() {
            Decision::Allow
        } else {
            Decision::Hold {
                reasons: self.reasons,
            }
        }
    }

    fn deny(&mut self, plugin: &str, violations: Vec<Violation>) {
        self.violations.extend(violations);
        if !self.denied_by.iter().any(|name| name == plugin) {
            self.denied_by.push(plugin.to_owned());
        }
    }
}
