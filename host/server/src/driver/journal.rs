//! What an operator reads of builds in the daemon's log: where each one stands, never what its user wrote.

use ignite_core::build::{Build, Status};

/// One line for a change of state; changes within a state are for watchers.
pub(super) fn note(before: &Build, after: &Build) {
    let (build, org, attempt) = (after.id, &after.org, after.runs.len());
    if before.status == after.status {
        if before.hold.is_some() && after.hold.is_none() {
            let by = after
                .approved_by
                .as_ref()
                .map(|approval| approval.subject.as_str());
            tracing::info!(%build, %org, by, "build.approved");
        }
        return;
    }
    let reason = after.failure.as_ref().map(|failure| failure.reason);
    let ran_ms = after
        .completed_at_ms
        .zip(after.started_at_ms)
        .map(|(end, start)| end - start);
    match after.status {
        Status::Pending if after.hold.is_some() => tracing::info!(%build, %org, attempt, "build.held"),
        Status::Pending => {
            let not_before_ms = after.not_before_ms;
            tracing::warn!(%build, %org, attempt, not_before_ms, "build.to_be_retried");
        }
        Status::Running => tracing::info!(%build, %org, attempt, "build.started"),
        Status::Succeeded => {
            let digest = after.image.as_ref().map(|image| image.digest.as_str());
            tracing::info!(%build, %org, attempt, ran_ms, digest, "build.succeeded");
        }
        Status::Failed => tracing::info!(%build, %org, attempt, ran_ms, ?reason, "build.failed"),
        Status::Cancelled => tracing::info!(%build, %org, attempt, ran_ms, "build.cancelled"),
    }
}
