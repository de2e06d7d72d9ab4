//! Records to start from in unit tests: change what the test is about.

use crate::{
    Base, BuildRequest, Caller, Delivery, Dockerfile, FinishedBuild, Found, Image, Source, Stage, Status,
};

/// Of the organization `acme`, on Monday 2026-03-02 at 10:30:00 UTC.
pub fn caller() -> Caller {
    Caller {
        organization: "acme".to_owned(),
        subject: "ann".to_owned(),
        submitted_at_ms: 1_772_447_400_000,
    }
}

/// `team/app:latest` from an archive, with nothing else set.
pub fn request() -> BuildRequest {
    BuildRequest {
        name: "team/app".to_owned(),
        source: Source::Archive("0".repeat(64)),
        dockerfile: "Dockerfile".to_owned(),
        tags: vec!["latest".to_owned()],
        build_args: Vec::new(),
        labels: Vec::new(),
        platform: None,
        no_cache: false,
        timeout_seconds: 600,
        priority: 0,
    }
}

/// A Dockerfile with a stage on each of the bases, on lines 1, 2, 3 and so on, and nothing in them.
pub fn found(bases: Vec<Base>) -> Found {
    let stages = (1..).zip(bases).map(|(line, base)| Stage {
        name: None,
        base,
        platform: None,
        line,
        instructions: Vec::new(),
    });
    Found {
        dockerfile: Dockerfile {
            text: String::new(),
            global_args: Vec::new(),
            stages: stages.collect(),
        },
        resolved_commit: None,
        context_size_bytes: 1024,
    }
}

/// The first attempt.
pub fn delivery() -> Delivery {
    Delivery {
        idempotency_key: "build-1/0".to_owned(),
        attempt: 1,
    }
}

/// `team/app:latest`, pushed, a minute after it was asked for.
pub fn finished_build() -> FinishedBuild {
    FinishedBuild {
        id: "01J0000000000000000000BUILD".to_owned(),
        organization: "acme".to_owned(),
        name: "team/app".to_owned(),
        subject: "ann".to_owned(),
        status: Status::Succeeded,
        failure_reason: String::new(),
        error: String::new(),
        image: Some(Image {
            digest: format!("sha256:{}", "a".repeat(64)),
            size_bytes: 10_485_760,
            layer_count: 3,
        }),
        image_refs: vec!["registry.example/acme/team/app:latest".to_owned()],
        labels: Vec::new(),
        resolved_commit: None,
        created_at_ms: 1_772_447_400_000,
        started_at_ms: 1_772_447_401_000,
        completed_at_ms: 1_772_447_460_000,
    }
}
