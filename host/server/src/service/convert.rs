//! Between the wire's messages and what core speaks.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use ignite_core::{
    build::{Build, FailureReason, Status},
    hook::HookReport,
    request::{Submission, SubmittedSource},
};
use ignite_proto::v1;
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast::{self, error::RecvError};

use super::Streaming;
use crate::{
    driver::{Driver, Live},
    error::{Error, Result},
};

pub(super) fn submission(request: v1::CreateBuildRequest) -> Submission {
    use v1::create_build_request::Source;
    Submission {
        name: request.name,
        dockerfile: request.dockerfile,
        tags: request.tags,
        build_args: request.build_args,
        no_cache: request.no_cache,
        timeout_secs: request.timeout_secs,
        platform: request.platform,
        platforms: request.platforms,
        source: request.source.map(|source| match source {
            Source::ContextId(id) => SubmittedSource::ContextId(id),
            Source::ZippedCode(bytes) => SubmittedSource::ZippedCode {
                sha256: Sha256::digest(&bytes).into(),
                size_bytes: bytes.len() as u64,
            },
            Source::GitSource(git) => SubmittedSource::Git {
                url: git.url,
                reference: git.reference,
                context_dir: git.context_dir,
            },
        }),
        idempotency_key: request.idempotency_key,
        labels: request.labels,
        priority: request.priority,
        webhook_url: request.webhook_url,
    }
}

pub(super) fn status(status: Status) -> v1::BuildStatus {
    match status {
        Status::Pending => v1::BuildStatus::Pending,
        Status::Running => v1::BuildStatus::Running,
        Status::Succeeded => v1::BuildStatus::Succeeded,
        Status::Failed => v1::BuildStatus::Failed,
        Status::Cancelled => v1::BuildStatus::Cancelled,
    }
}

pub(super) fn status_filter(value: i32) -> Result<Option<Status>> {
    match v1::BuildStatus::try_from(value) {
        Ok(v1::BuildStatus::Unspecified) => Ok(None),
        Ok(v1::BuildStatus::Pending) => Ok(Some(Status::Pending)),
        Ok(v1::BuildStatus::Running) => Ok(Some(Status::Running)),
        Ok(v1::BuildStatus::Succeeded) => Ok(Some(Status::Succeeded)),
        Ok(v1::BuildStatus::Failed) => Ok(Some(Status::Failed)),
        Ok(v1::BuildStatus::Cancelled) => Ok(Some(Status::Cancelled)),
        Err(_) => Err(Error::invalid(
            "status_filter",
            format!("{value} is no BuildStatus"),
        )),
    }
}

fn failure_reason(reason: FailureReason) -> v1::FailureReason {
    match reason {
        FailureReason::Dockerfile => v1::FailureReason::Dockerfile,
        FailureReason::UserStep => v1::FailureReason::UserStep,
        FailureReason::SourceFetch => v1::FailureReason::SourceFetch,
        FailureReason::SourceAuth => v1::FailureReason::SourceAuth,
        FailureReason::BaseImagePull => v1::FailureReason::BaseImagePull,
        FailureReason::PushDenied => v1::FailureReason::PushDenied,
        FailureReason::PushFailed => v1::FailureReason::PushFailed,
        FailureReason::Timeout => v1::FailureReason::Timeout,
        FailureReason::OutOfMemory => v1::FailureReason::OutOfMemory,
        FailureReason::OutOfDisk => v1::FailureReason::OutOfDisk,
        FailureReason::Evicted => v1::FailureReason::Evicted,
        FailureReason::PolicyDenied => v1::FailureReason::PolicyDenied,
        FailureReason::SecretMissing => v1::FailureReason::SecretMissing,
        FailureReason::Cancelled => v1::FailureReason::Cancelled,
        FailureReason::Internal => v1::FailureReason::Internal,
    }
}

/// The record as callers see it; where it stands in the queue and how long its log is are only known to the driver.
pub(super) fn build(build: &Build, driver: &Driver) -> v1::Build {
    let live = driver.live(build.id);
    let queue_position = driver
        .queue_position(build.id)
        .and_then(|position| u32::try_from(position).ok());
    let duration_ms = match (build.started_at_ms, build.completed_at_ms) {
        (Some(started), Some(completed)) => completed.saturating_sub(started).max(0),
        (None | Some(_), _) => 0,
    };
    let image = build.image.as_ref();
    v1::Build {
        id: build.id.to_string(),
        name: build.name.clone(),
        organization_id: build.org.to_string(),
        status: status(build.status).into(),
        dockerfile: build.dockerfile.clone(),
        image_refs: build.image_refs.clone(),
        build_args: build.build_args.clone(),
        created_at_ms: build.created_at_ms,
        started_at_ms: build.started_at_ms.unwrap_or(0),
        completed_at_ms: build.completed_at_ms.unwrap_or(0),
        error: build
            .failure
            .as_ref()
            .map(|failure| &failure.message)
            .or(build.waiting.as_ref())
            .cloned()
            .unwrap_or_default(),
        metrics: Some(v1::BuildMetrics {
            duration_ms,
            context_size_bytes: signed(build.context_size_bytes),
            image_size_bytes: signed(image.map_or(0, |image| image.size_bytes)),
            layer_count: image.map_or(0, |image| image.layer_count),
            cache_used: build.cache_used,
        }),
        image_digest: image.map(|image| image.digest.clone()).unwrap_or_default(),
        failure_reason: build
            .failure
            .as_ref()
            .map_or(v1::FailureReason::Unspecified, |failure| {
                failure_reason(failure.reason)
            })
            .into(),
        resolved_commit: build.resolved_commit.clone().unwrap_or_default(),
        labels: build.labels.clone(),
        steps: build
            .steps
            .iter()
            .map(|step| v1::BuildStep {
                name: step.name.clone(),
                cached: step.cached,
                started_at_ms: step.started_at_ms,
                completed_at_ms: step.completed_at_ms.unwrap_or(0),
            })
            .collect(),
        hook_reports: build.hook_reports.iter().map(hook_report).collect(),
        attempts: build.attempts(),
        platform: build.platform.clone().unwrap_or_default(),
        tags: build.tags.clone(),
        log_bytes: live.map_or(build.log_bytes, |live| live.log().end_offset()),
        queue_position: queue_position.unwrap_or(0),
        hold_reason: build
            .hold
            .as_ref()
            .map(|hold| hold.reasons.join("; "))
            .unwrap_or_default(),
        approved_by: build
            .approved_by
            .as_ref()
            .map(|approval| approval.subject.clone())
            .unwrap_or_default(),
    }
}

pub(super) fn hook_report(report: &HookReport) -> v1::HookReport {
    v1::HookReport {
        plugin: report.plugin.clone(),
        digest: report.digest.to_string(),
        hook: report.hook.to_string(),
        verdict: report.verdict.as_str().to_owned(),
        changes: report.changes.clone(),
        micros: i64::try_from(report.micros).unwrap_or(i64::MAX),
        mode: if report.monitored { "monitor" } else { "enforce" }.to_owned(),
        messages: report.messages.clone(),
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

struct Watcher {
    driver: Arc<Driver>,
    live: Arc<Live>,
    history: broadcast::Receiver<Arc<Build>>,
    /// Of the state sent last.
    generation: u64,
    over: bool,
}

/// The build as it is, then each of its states, until it is terminal.
pub(super) fn watch(driver: Arc<Driver>, live: &Arc<Live>) -> Streaming<v1::Build> {
    // Subscribed before the first look: a change in between comes twice rather than never, and the generation tells.
    let history = live.history();
    let watcher = Watcher {
        driver,
        live: Arc::clone(live),
        history,
        generation: 0,
        over: false,
    };
    stream::unfold(watcher, |mut watcher| async move {
        let build = watcher.next().await?;
        Some((Ok(self::build(&build, &watcher.driver)), watcher))
    })
    .boxed()
}

impl Watcher {
    async fn next(&mut self) -> Option<Arc<Build>> {
        while !self.over {
            let build = if self.generation == 0 {
                self.live.current()
            } else {
                match self.history.recv().await {
                    Ok(build) => build,
                    // Too slow for each state: go on with the newest.
                    Err(RecvError::Lagged(_)) => self.live.current(),
                    Err(RecvError::Closed) => return None,
                }
            };
            if build.generation > self.generation {
                self.generation = build.generation;
                self.over = build.status.is_terminal();
                return Some(build);
            }
        }
        None
    }
}
