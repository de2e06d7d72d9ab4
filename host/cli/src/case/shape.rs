//! What is written in a case in the shapes that the gateway works with.

use std::time::Duration;

use ignite_core::{
    build::{Build, Failure, FailureReason, Image, Status},
    hook::Caller,
    ids::{BuildId, InvalidId},
    request::{Rules, Submission, SubmittedSource},
    spec::BuildSpec,
};
use ignite_proto::v1::{self, create_build_request::Source as WireSource};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use toml::Spanned;

use super::Source;
use crate::error::Result;

const BUILD_ID: &str = "bld_01JWB7X0000000000000000000";

/// A table of the file as a message; unknown and wrong fields are named.
pub(super) fn message<T: DeserializeOwned + prost::Name + Default>(
    table: Option<&Spanned<toml::Table>>,
    name: &str,
    source: &Source<'_>,
) -> Result<T> {
    let Some(table) = table else {
        return Ok(T::default());
    };
    let value = json(&toml::Value::Table(table.get_ref().clone()));
    ignite_proto::json::from_value(value).map_err(|error| {
        let all = error.violations.iter();
        let all: Vec<_> = all
            .map(|it| format!("{name}.{}: {}", it.field, it.description))
            .collect();
        source.wrong(Some(table.span()), &all.join("; "))
    })
}

/// JSON knows no dates, which become strings.
pub(crate) fn json(value: &toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(yes) => (*yes).into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(values) => values.iter().map(json).collect(),
        toml::Value::Table(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), json(value)))
            .collect(),
    }
}

pub(super) fn assumed_source() -> WireSource {
    WireSource::GitSource(v1::GitSource {
        url: "https://git.example/team/app".to_owned(),
        ..Default::default()
    })
}

/// The gateway's defaults; generous where they are an operator's.
pub(super) fn rules() -> Rules {
    Rules {
        timeout_default: Duration::from_secs(30 * 60),
        timeout_max: Duration::from_secs(24 * 60 * 60),
        registry: "registry.example".to_owned(),
        git_http_allowed: true,
        private_addresses_allowed: true,
        resource_classes: Vec::new(),
    }
}

pub(super) fn submission(request: v1::CreateBuildRequest) -> Submission {
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
            WireSource::ContextId(id) => SubmittedSource::ContextId(id),
            WireSource::ZippedCode(bytes) => SubmittedSource::ZippedCode {
                sha256: Sha256::digest(&bytes).into(),
                size_bytes: bytes.len() as u64,
            },
            WireSource::GitSource(git) => SubmittedSource::Git {
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

/// A build that has ended, for `notify`: what `wire` leaves out is as for a build of `spec` that went well.
pub(super) fn build(wire: v1::Build, caller: &Caller, spec: &BuildSpec) -> Result<Build, String> {
    // The prefix may be left out.
    let id: BuildId = match wire.id.as_str() {
        "" => BUILD_ID.parse(),
        id => id.parse().or_else(|_| format!("bld_{id}").parse()),
    }
    .map_err(|_| format!("build.id: must look like {BUILD_ID}"))?;
    let mut build = Build::new(id, caller.org.clone(), caller.subject.clone(), spec);
    if !wire.organization_id.is_empty() {
        let org = wire.organization_id.parse();
        build.org = org.map_err(|invalid: InvalidId| {
            format!("build.organization_id: must look like {}", invalid.form)
        })?;
    }
    build.status = match wire.status() {
        v1::BuildStatus::Unspecified | v1::BuildStatus::Succeeded => Status::Succeeded,
        v1::BuildStatus::Failed => Status::Failed,
        v1::BuildStatus::Cancelled => Status::Cancelled,
        v1::BuildStatus::Pending | v1::BuildStatus::Running => {
            return Err("build.status: must be that of a build that has ended".to_owned());
        }
    };
    let or = |given: i64, otherwise: i64| if given == 0 { otherwise } else { given };
    build.created_at_ms = or(wire.created_at_ms, caller.submitted_at_ms);
    build.started_at_ms = Some(or(wire.started_at_ms, build.created_at_ms + 1_000));
    build.completed_at_ms = Some(or(wire.completed_at_ms, build.created_at_ms + 61_000));
    let failure_reason = wire.failure_reason();
    build.name = wire.name;
    if !wire.labels.is_empty() {
        build.labels = wire.labels;
    }
    build.resolved_commit = Some(wire.resolved_commit).filter(|commit| !commit.is_empty());
    build.image_refs = wire.image_refs;
    if build.status == Status::Succeeded {
        if build.image_refs.is_empty() {
            let tags = build.tags.iter();
            build.image_refs = tags
                .map(|tag| format!("registry.example/{}/{}:{tag}", build.org, build.name))
                .collect();
        }
        let metrics = wire.metrics.unwrap_or_default();
        build.image = Some(Image {
            digest: match wire.image_digest.as_str() {
                "" => format!("sha256:{}", "0".repeat(64)),
                digest => digest.to_owned(),
            },
            size_bytes: u64::try_from(metrics.image_size_bytes).unwrap_or(0),
            layer_count: metrics.layer_count,
        });
    } else {
        build.failure = Some(Failure {
            reason: reason(failure_reason, build.status),
            message: wire.error,
        });
    }
    Ok(build)
}

fn reason(wire: v1::FailureReason, status: Status) -> FailureReason {
    match wire {
        v1::FailureReason::Unspecified if status == Status::Cancelled => FailureReason::Cancelled,
        v1::FailureReason::Unspecified | v1::FailureReason::UserStep => FailureReason::UserStep,
        v1::FailureReason::Dockerfile => FailureReason::Dockerfile,
        v1::FailureReason::SourceFetch => FailureReason::SourceFetch,
        v1::FailureReason::SourceAuth => FailureReason::SourceAuth,
        v1::FailureReason::BaseImagePull => FailureReason::BaseImagePull,
        v1::FailureReason::PushDenied => FailureReason::PushDenied,
        v1::FailureReason::PushFailed => FailureReason::PushFailed,
        v1::FailureReason::Timeout => FailureReason::Timeout,
        v1::FailureReason::OutOfMemory => FailureReason::OutOfMemory,
        v1::FailureReason::OutOfDisk => FailureReason::OutOfDisk,
        v1::FailureReason::Evicted => FailureReason::Evicted,
        v1::FailureReason::PolicyDenied => FailureReason::PolicyDenied,
        v1::FailureReason::SecretMissing => FailureReason::SecretMissing,
        v1::FailureReason::Cancelled => FailureReason::Cancelled,
        v1::FailureReason::Internal => FailureReason::Internal,
    }
}
