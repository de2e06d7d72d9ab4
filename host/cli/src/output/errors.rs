//! Errors on stderr: the message, what is wrong with which field, the reason, when to try again. With json and yaml, the
//! same as one line of JSON.

use std::{error::Error as _, time::Duration};

use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    Format, json, stderr,
    table::Stream,
    text::{line, lines},
};
use crate::{error::Error, exit, patience::retry_after};

/// An error taken apart.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// gRPC's name, such as NOT_FOUND.
    code: &'static str,
    exit_code: u8,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    field_violations: Vec<Violation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// How to go on with a build that was being followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    resume: Option<String>,
}

#[derive(Debug, Serialize)]
struct Violation {
    field: String,
    description: String,
}

/// Shows an error, unless it has been said already.
pub(crate) fn print(error: &Error, format: Format) {
    let Some(report) = report(error) else {
        return;
    };
    if format.is_for_programs() {
        #[derive(Serialize)]
        struct Wrapped {
            error: Report,
        }
        if let Ok(text) = json(&Wrapped { error: report }, false) {
            stderr(&text);
        }
    } else {
        stderr(&human(&report));
    }
}

fn report(error: &Error) -> Option<Report> {
    let (status, resume) = match error {
        Error::BuildEnded(_) | Error::NotPassed | Error::Interrupted | Error::OutputClosed => return None,
        Error::Rpc(status) => (Some(status), None),
        Error::Lost { status, resume } => (Some(status), Some(resume.clone())),
        Error::Input(_) | Error::OtherOrganization { .. } | Error::Local { .. } | Error::Nonsense(_) => {
            (None, None)
        }
    };
    let mut message = error.to_string();
    if let Some(source) = error.source() {
        message = format!("{message}: {source}");
    }
    let mut report = Report {
        code: own_code(error),
        exit_code: exit::code(error),
        message,
        reason: None,
        field_violations: Vec::new(),
        retry_after_ms: None,
        resume,
    };
    if let Some(status) = status {
        add_details(&mut report, status);
    }
    Some(report)
}

fn add_details(report: &mut Report, status: &Status) {
    let details = status.get_error_details();
    report.code = name(status.code());
    report.reason = details
        .error_info()
        .map(|info| info.reason.clone())
        .filter(|reason| !reason.is_empty());
    report.retry_after_ms = retry_after(status).and_then(|wait| u64::try_from(wait.as_millis()).ok());
    let fields = details.bad_request().map(|bad| bad.field_violations.as_slice());
    let quotas = details.quota_failure().map(|quota| quota.violations.as_slice());
    let fields = fields
        .unwrap_or_default()
        .iter()
        .map(|it| (&it.field, &it.description));
    let quotas = quotas
        .unwrap_or_default()
        .iter()
        .map(|it| (&it.subject, &it.description));
    report.field_violations = fields
        .chain(quotas)
        .map(|(field, description)| Violation {
            field: field.clone(),
            description: description.clone(),
        })
        .collect();
}

fn human(report: &Report) -> String {
    let violations = &report.field_violations;
    // Servers repeat the violations in the message.
    let repeats = !violations.is_empty()
        && violations
            .iter()
            .all(|it| report.message.contains(&it.description));
    let message = match (repeats, report.message.is_empty()) {
        (true, _) => "the server refused the request".into(),
        (false, true) => report.code.into(),
        (false, false) => lines(&report.message),
    };
    let mut text = format!("{} {message}\n", Stream::Stderr.style("error:").red().bold());
    for violation in violations {
        let (field, description) = (line(&violation.field), line(&violation.description));
        text.push_str(&format!("  {field}: {description}\n"));
    }
    if let Some(reason) = &report.reason {
        text.push_str(&format!("  reason: {}\n", line(reason)));
    }
    if let Some(ms) = report.retry_after_ms {
        let wait = humantime::format_duration(Duration::from_millis(ms)).to_string();
        text.push_str(&format!("  try again in {wait}\n"));
    }
    if let Some(resume) = &report.resume {
        text.push_str(&format!("  go on with: {resume}\n"));
    }
    text
}

fn own_code(error: &Error) -> &'static str {
    match error {
        Error::Input(_) => name(Code::InvalidArgument),
        Error::OtherOrganization { .. } => name(Code::PermissionDenied),
        Error::Rpc(status) | Error::Lost { status, .. } => name(status.code()),
        Error::Local { .. }
        | Error::Nonsense(_)
        | Error::BuildEnded(_)
        | Error::NotPassed
        | Error::Interrupted
        | Error::OutputClosed => name(Code::Internal),
    }
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn rpc(status: Status) -> Error {
        Error::Rpc(Box::new(status))
    }

    #[test]
    fn every_violation_has_a_line_and_the_message_does_not_repeat_them() {
        let mut details = ErrorDetails::with_error_info(
            "INVALID_ARGUMENT",
            "ignite.dodil.io",
            std::collections::HashMap::new(),
        );
        details.add_bad_request_violation("tags[1]", "must not have \u{1b}[31m");
        details.add_bad_request_violation("name", "is required");
        let message = "tags[1]: must not have \u{1b}[31m; name: is required";
        let error = rpc(Status::with_error_details(
            Code::InvalidArgument,
            message,
            details,
        ));
        assert_eq!(
            human(&report(&error).unwrap()),
            "error: the server refused the request\n  tags[1]: must not have \\u{1b}[31m\n  name: is required\n  \
             reason: INVALID_ARGUMENT\n"
        );
    }

    #[test]
    fn a_retry_hint_and_a_quota_are_shown() {
        let mut details = ErrorDetails::with_quota_failure_violation("org:acme", "20 builds are running");
        details.set_retry_info(Some(Duration::from_secs(30)));
        let error = rpc(Status::with_error_details(
            Code::ResourceExhausted,
            "too many builds",
            details,
        ));
        assert_eq!(
            human(&report(&error).unwrap()),
            "error: too many builds\n  org:acme: 20 builds are running\n  try again in 30s\n"
        );
    }

    #[test]
    fn programs_get_the_same_as_json() {
        let error = rpc(Status::not_found("build \"x\" was not found"));
        let report = serde_json::to_value(report(&error).unwrap()).unwrap();
        assert_eq!(
            report,
            serde_json::json!({"code": "NOT_FOUND", "exitCode": 5, "message": "build \"x\" was not found"})
        );
    }
}
