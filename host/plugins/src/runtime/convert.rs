//! What plugins are shown: the gateway's types as those of `wit/`. Secret values stop here.

use std::collections::BTreeMap;

use ignite_core::{
    build::{Build, Status},
    dockerfile::{Base, Dockerfile, Instruction, Stage},
    hook::{Caller, Found},
    spec::{ArgValue, BuildSpec, Source},
};

use super::bindings::{
    hooks::{inspect, notify},
    types,
};

pub(crate) fn caller(caller: &Caller) -> types::Caller {
    types::Caller {
        organization: caller.org.as_str().to_owned(),
        subject: caller.subject.clone(),
        submitted_at_ms: millis(caller.submitted_at_ms),
    }
}

pub(crate) fn request(spec: &BuildSpec) -> types::BuildRequest {
    types::BuildRequest {
        name: spec.name().to_owned(),
        source: match spec.source() {
            Source::Archive(context) => types::Source::Archive(context.sha256_hex()),
            Source::Git(git) => types::Source::Git(types::GitSource {
                url: git.url.clone(),
                reference: git.reference.clone(),
                context_dir: git.context_dir.clone(),
            }),
        },
        dockerfile: spec.dockerfile().to_owned(),
        tags: spec.tags().to_vec(),
        build_args: spec
            .build_args()
            .iter()
            .map(|(name, value)| arg(name, value))
            .collect(),
        labels: labels(spec.labels()),
        platform: spec.platform().map(str::to_owned),
        no_cache: spec.no_cache(),
        timeout_seconds: spec.timeout().as_secs(),
        priority: spec.priority(),
    }
}

fn arg(name: &str, value: &ArgValue) -> types::BuildArg {
    let value = if value.is_secret() {
        types::ArgValue::Secret(name.to_owned())
    } else {
        types::ArgValue::Plain(value.reveal().to_owned())
    };
    types::BuildArg {
        name: name.to_owned(),
        value,
    }
}

fn labels(labels: &BTreeMap<String, String>) -> Vec<types::Label> {
    labels
        .iter()
        .map(|(key, value)| types::Label {
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
}

pub(crate) fn found(found: &Found) -> inspect::Found {
    inspect::Found {
        dockerfile: dockerfile(&found.dockerfile),
        resolved_commit: found.resolved_commit.clone(),
        context_size_bytes: found.context_size_bytes,
    }
}

fn dockerfile(dockerfile: &Dockerfile) -> inspect::Dockerfile {
    inspect::Dockerfile {
        text: dockerfile.text.clone(),
        global_args: dockerfile.global_args.iter().map(instruction).collect(),
        stages: dockerfile.stages.iter().map(stage).collect(),
    }
}

fn stage(stage: &Stage) -> inspect::Stage {
    inspect::Stage {
        name: stage.name.clone(),
        base: match &stage.base {
            Base::Scratch => inspect::Base::Scratch,
            Base::Stage(index) => inspect::Base::Stage(*index),
            Base::Image(image) => inspect::Base::Image(image.clone()),
            Base::Unresolved(text) => inspect::Base::Unresolved(text.clone()),
        },
        platform: stage.platform.clone(),
        line: stage.line,
        instructions: stage.instructions.iter().map(instruction).collect(),
    }
}

fn instruction(instruction: &Instruction) -> inspect::Instruction {
    inspect::Instruction {
        keyword: instruction.keyword.clone(),
        flags: instruction.flags.clone(),
        arguments: instruction.arguments.clone(),
        heredocs: instruction.heredocs.clone(),
        line: instruction.line,
    }
}

/// None if the build has not ended.
pub(crate) fn finished(build: &Build) -> Option<notify::FinishedBuild> {
    let status = match build.status {
        Status::Succeeded => notify::Status::Succeeded,
        Status::Failed => notify::Status::Failed,
        Status::Cancelled => notify::Status::Cancelled,
        // Whatever else there is has not ended.
        _ => return None,
    };
    let failure = build.failure.as_ref();
    Some(notify::FinishedBuild {
        id: build.id.to_string(),
        organization: build.org.as_str().to_owned(),
        name: build.name.clone(),
        subject: build.created_by.clone(),
        status,
        failure_reason: failure.map(|failure| reason(failure.reason)).unwrap_or_default(),
        error: failure.map(|failure| failure.message.clone()).unwrap_or_default(),
        image: build.image.as_ref().map(|image| notify::Image {
            digest: image.digest.clone(),
            size_bytes: image.size_bytes,
            layer_count: image.layer_count,
        }),
        image_refs: build.image_refs.clone(),
        labels: labels(&build.labels),
        resolved_commit: build.resolved_commit.clone(),
        created_at_ms: millis(build.created_at_ms),
        started_at_ms: build.started_at_ms.map(millis).unwrap_or_default(),
        completed_at_ms: build.completed_at_ms.map(millis).unwrap_or_default(),
    })
}

/// As the API writes it, such as `USER_STEP`.
fn reason(reason: ignite_core::build::FailureReason) -> String {
    serde_json::to_value(reason)
        .ok()
        .and_then(|value| value.as_str().map(str::to_uppercase))
        .unwrap_or_default()
}

fn millis(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}
