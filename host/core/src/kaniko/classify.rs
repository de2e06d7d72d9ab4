//! From a run's end and its log to a reason that the user can act on.
//!
//! What the executor saw comes first. Only when Kaniko ended by itself does the log decide, and of the log only Kaniko's
//! last words; nothing in a log leads to another attempt, or a step could print its way to endless retries.

use super::{
    log::{ErrorKind, LogReader, LoggedError},
    verdict::{Facts, Verdict},
};
use crate::{
    build::{Failure, FailureReason},
    run::{Disruption, EndCause, FetchFailure, RunEnd},
};

/// How registries, and the client in Kaniko, say that a login is missing, wrong, expired or not enough.
const DENIED: [&str; 9] = [
    "UNAUTHORIZED",
    "DENIED",
    "401 Unauthorized",
    "403 Forbidden",
    "status code 401",
    "status code 403",
    "insufficient_scope",
    "no basic auth credentials",
    "access to the resource is denied",
];

/// The reader has been fed the whole log and was told that it is at its end.
pub fn classify(end: &RunEnd, reader: &LogReader, facts: &Facts<'_>) -> Verdict {
    let verdict = match &end.cause {
        EndCause::Exited { code: 0 } => succeeded(end, reader),
        EndCause::Exited { code } => exited(*code, reader, facts),
        EndCause::FetchFailed { failure, message } => fetch_failed(*failure, message),
        EndCause::TimedOut => Verdict::failed(
            FailureReason::Timeout,
            format!(
                "the build took longer than its timeout of {} s{}; raise timeout_secs or make the build faster",
                facts.timeout.as_secs(),
                during(reader)
            ),
        ),
        EndCause::OutOfMemory => Verdict::failed(
            FailureReason::OutOfMemory,
            format!(
                "the build needed more memory than its limit{}{}",
                limit(facts.memory_bytes_max),
                during(reader)
            ),
        ),
        EndCause::OutOfDisk => out_of_disk(reader, facts),
        EndCause::Stopped if facts.cancel_requested => Verdict::Cancelled { refs: Vec::new() },
        EndCause::Stopped => {
            Verdict::infrastructure("the run was stopped, though nobody cancelled the build")
        }
        EndCause::Lost { message } => Verdict::infrastructure(message.clone()),
        EndCause::Disrupted { how, message } => disrupted(*how, message),
    };
    verdict.with_refs(reader.pushed())
}

fn disrupted(how: Disruption, message: &str) -> Verdict {
    let reason = match how {
        Disruption::Evicted | Disruption::Preempted => FailureReason::Evicted,
        Disruption::NodeLost
        | Disruption::Deleted
        | Disruption::ImagePull
        | Disruption::NotStarted
        | Disruption::Unscheduled => FailureReason::Internal,
    };
    Verdict::Infrastructure {
        failure: Failure {
            reason,
            message: message.to_owned(),
        },
    }
}

fn succeeded(end: &RunEnd, reader: &LogReader) -> Verdict {
    // Not the log first: a process that a step left behind can write to it after Kaniko's last line. Neither is proof, since
    // steps are root beside Kaniko; the registry tells whether the image is there.
    let digest = end.digest.clone().or_else(|| reader.digest().map(str::to_owned));
    let refs = if reader.pushed().is_empty() || reader.has_gap() {
        reader.destinations().to_vec()
    } else {
        reader.pushed().to_vec()
    };
    match digest {
        Some(digest) => Verdict::Pushed { digest, refs },
        None => Verdict::not_pushed(),
    }
}

fn fetch_failed(failure: FetchFailure, message: &str) -> Verdict {
    match failure {
        FetchFailure::Auth => Verdict::failed(FailureReason::SourceAuth, message),
        FetchFailure::Source => Verdict::failed(FailureReason::SourceFetch, message),
        FetchFailure::Dockerfile => Verdict::failed(FailureReason::Dockerfile, message),
        FetchFailure::Internal => Verdict::infrastructure(message),
    }
}

fn exited(code: i32, reader: &LogReader, facts: &Facts<'_>) -> Verdict {
    let Some(error) = reader.error() else {
        return Verdict::failed(
            FailureReason::Internal,
            format!(
                "the builder ended with exit code {code} and gave no reason{}",
                during(reader)
            ),
        );
    };
    if says_disk_full(&error.text) {
        return out_of_disk(reader, facts);
    }
    match error.kind {
        ErrorKind::Setup => setup_failed(error, facts),
        ErrorKind::PushCheck | ErrorKind::Push => push_failed(error),
        ErrorKind::Build => build_failed(code, error, reader, facts),
        ErrorKind::Fatal => Verdict::failed(
            FailureReason::Internal,
            format!("the builder gave up{}: {}", during(reader), error.text),
        ),
    }
}

fn setup_failed(error: &LoggedError, facts: &Facts<'_>) -> Verdict {
    if error.text.contains("dockerfile path") {
        Verdict::failed(
            FailureReason::Dockerfile,
            format!("the context has no file {:?}", facts.dockerfile),
        )
    } else if error.text.contains("resolving source context") {
        Verdict::failed(
            FailureReason::SourceFetch,
            format!("the context directory could not be used: {}", error.text),
        )
    } else {
        Verdict::failed(
            FailureReason::Internal,
            format!("the builder did not start: {}", error.text),
        )
    }
}

fn push_failed(error: &LoggedError) -> Verdict {
    let unreachable = [
        "dial tcp",
        "no such host",
        "connection refused",
        "connection reset",
        "i/o timeout",
        "context deadline exceeded",
        "x509:",
        "tls:",
        "EOF",
        "server misbehaving",
        "server gave HTTP response",
        "invalid realm",
    ];
    let says = |words: &[&str]| words.iter().any(|word| error.text.contains(word));
    if says(&DENIED) || (error.kind == ErrorKind::PushCheck && !says(&unreachable)) {
        Verdict::failed(
            FailureReason::PushDenied,
            format!(
                "the registry refused the push: {}; store a login that may push there, or a new one if it has expired",
                error.text
            ),
        )
    } else {
        Verdict::failed(
            FailureReason::PushFailed,
            format!("the push failed: {}", error.text),
        )
    }
}

fn build_failed(code: i32, error: &LoggedError, reader: &LogReader, facts: &Facts<'_>) -> Verdict {
    let text = error.text.as_str();
    if let Some(wrong) = text
        .strip_prefix("parsing dockerfile: ")
        .or_else(|| dockerfile_error(text))
    {
        return Verdict::failed(
            FailureReason::Dockerfile,
            format!("{}: {wrong}", facts.dockerfile),
        );
    }
    if let Some(wrong) = pull_error(text) {
        let hint = match DENIED.iter().any(|word| wrong.contains(word)) {
            true => "; if it is private, store a login for its registry, or a new one if it has expired",
            false => "",
        };
        return Verdict::failed(
            FailureReason::BaseImagePull,
            format!(
                "base image {} could not be pulled: {wrong}{hint}",
                reader.base_image().unwrap_or("of the build")
            ),
        );
    }
    let step = reader.current_step().unwrap_or("of the Dockerfile");
    if let Some(how) = text.split("waiting for process to exit: ").nth(1) {
        return run_failed(code, how, step, reader, facts);
    }
    if let Some(wrong) = text.split("failed to get files used from context: ").nth(1) {
        return Verdict::failed(
            FailureReason::UserStep,
            format!(
                "a COPY or ADD names what the context does not have, or .dockerignore leaves out: {wrong}"
            ),
        );
    }
    if let Some(wrong) = text.split("failed to execute command: ").nth(1) {
        return Verdict::failed(FailureReason::UserStep, format!("step {step:?} failed: {wrong}"));
    }
    Verdict::failed(
        FailureReason::Internal,
        format!("the builder failed{}: {text}", during(reader)),
    )
}

fn run_failed(code: i32, how: &str, step: &str, reader: &LogReader, facts: &Facts<'_>) -> Verdict {
    // The step's own tools say it when the disk is full, Kaniko does not; only its very last lines count.
    if reader.output().rev().take(3).any(says_disk_full) {
        return out_of_disk(reader, facts);
    }
    let mut message = match how.strip_prefix("exit status ") {
        Some(status) => format!("step {step:?} failed with exit code {}", status.trim()),
        None if how.starts_with("signal: ") => format!("step {step:?} was ended by {how}"),
        None => format!("step {step:?} failed with exit code {code}"),
    };
    if how.contains("killed") || how.trim() == "exit status 137" {
        message.push_str("; it was killed, most often for want of memory");
    }
    if let Some(last) = reader.output().next_back() {
        message.push_str("\nits last line: ");
        message.extend(last.chars().take(240));
    }
    Verdict::failed(FailureReason::UserStep, message)
}

/// What is wrong with the Dockerfile itself, found after parsing.
fn dockerfile_error(text: &str) -> Option<&str> {
    const STARTS: [&str; 8] = [
        "reading dockerfile at path",
        "expanding meta ARGs",
        "error finding target stage",
        "resolving args",
        "resolving base name",
        "failed to parse ONBUILD instructions",
        "could not parse reference",
        "failed to get baseImage: could not parse reference",
    ];
    let refers_to_stage = text.contains("refers to invalid stage");
    (refers_to_stage || STARTS.iter().any(|start| text.starts_with(start))).then_some(text)
}

/// The pull's own error, without what went before.
fn pull_error(text: &str) -> Option<&str> {
    const STARTS: [&str; 7] = [
        "failed to get baseImage: ",
        "precompute: failed to get baseImage: ",
        "error building stage: failed to get filesystem from image: ",
        "unable to complete operation after ",
        "image not found on any configured mapped registries",
        "GET http",
        "Get \"http",
    ];
    if !STARTS.iter().any(|start| text.starts_with(start)) {
        return None;
    }
    let inner = text.rsplit("last error: ").next().unwrap_or(text);
    Some(
        STARTS
            .iter()
            .take(3)
            .fold(inner, |it, start| it.strip_prefix(start).unwrap_or(it)),
    )
}

fn says_disk_full(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("no space left on device") || text.contains("disk quota exceeded")
}

fn out_of_disk(reader: &LogReader, facts: &Facts<'_>) -> Verdict {
    Verdict::failed(
        FailureReason::OutOfDisk,
        format!(
            "the build needed more disk than its limit{}{}",
            limit(facts.disk_bytes_max),
            during(reader)
        ),
    )
}

/// ` of 512 MiB`
fn limit(bytes_max: Option<u64>) -> String {
    bytes_max.map_or_else(String::new, |bytes| format!(" of {} MiB", bytes >> 20))
}

/// ` at step "RUN make"`
fn during(reader: &LogReader) -> String {
    reader
        .current_step()
        .map_or_else(String::new, |step| format!(" at step {step:?}"))
}
