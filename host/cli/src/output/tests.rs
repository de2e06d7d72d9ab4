use std::collections::BTreeMap;

use ignite_proto::v1::{self, BuildStatus, FailureReason};

use super::{Detail, build, json, text::is_unsafe, yaml};

const NOW_MS: i64 = 1_748_390_400_000;

fn succeeded() -> v1::Build {
    v1::Build {
        id: "bld_01JWB7X0000000000000000000".to_owned(),
        name: "team/app".to_owned(),
        organization_id: "acme".to_owned(),
        status: BuildStatus::Succeeded.into(),
        dockerfile: "Dockerfile".to_owned(),
        image_refs: vec![
            "reg.example/acme/team/app:v1".to_owned(),
            "reg.example/acme/team/app:latest".to_owned(),
        ],
        build_args: BTreeMap::from([
            ("NPM_TOKEN".to_owned(), "***".to_owned()),
            ("V".to_owned(), "1".to_owned()),
        ]),
        created_at_ms: NOW_MS - 3 * 3_600_000,
        started_at_ms: NOW_MS - 3 * 3_600_000 + 500,
        completed_at_ms: NOW_MS - 3 * 3_600_000 + 42_600,
        metrics: Some(v1::BuildMetrics {
            duration_ms: 42_100,
            context_size_bytes: 12_345,
            image_size_bytes: 35_755_000,
            layer_count: 5,
            cache_used: true,
        }),
        image_digest: format!("sha256:{}", "ab".repeat(32)),
        resolved_commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        labels: BTreeMap::from([("tier".to_owned(), "web".to_owned())]),
        steps: vec![
            v1::BuildStep {
                name: "FROM debian:12".to_owned(),
                cached: false,
                started_at_ms: NOW_MS - 40_000,
                completed_at_ms: NOW_MS - 30_000,
            },
            v1::BuildStep {
                name: "RUN make".to_owned(),
                cached: true,
                started_at_ms: NOW_MS - 30_000,
                completed_at_ms: NOW_MS - 29_500,
            },
        ],
        attempts: 1,
        tags: vec!["v1".to_owned(), "latest".to_owned()],
        log_bytes: 4_096,
        ..Default::default()
    }
}

fn running() -> v1::Build {
    v1::Build {
        id: "bld_01JWB7X0000000000000000001".to_owned(),
        name: "wörker".to_owned(),
        status: BuildStatus::Running.into(),
        created_at_ms: NOW_MS - 95_000,
        started_at_ms: NOW_MS - 90_000,
        ..Default::default()
    }
}

fn failed() -> v1::Build {
    v1::Build {
        id: "bld_01JWB7X0000000000000000002".to_owned(),
        name: "evil\u{1b}[2J\u{202e}name\n".to_owned(),
        status: BuildStatus::Failed.into(),
        failure_reason: FailureReason::UserStep.into(),
        error: "RUN make exited with 2\nlook at \u{9b}31m line 12".to_owned(),
        image_refs: vec!["x\ny".to_owned()],
        created_at_ms: NOW_MS - 9 * 86_400_000,
        started_at_ms: NOW_MS - 9 * 86_400_000,
        completed_at_ms: NOW_MS - 9 * 86_400_000 + 400,
        ..Default::default()
    }
}

#[test]
fn a_list_is_a_compact_table() {
    let builds = [succeeded(), running(), failed()];
    insta::assert_snapshot!("list", build::list(&builds, Detail::Table, NOW_MS));
    insta::assert_snapshot!("list_wide", build::list(&builds, Detail::Wide, NOW_MS));
}

#[test]
fn a_build_is_a_record_with_its_steps() {
    insta::assert_snapshot!("build", build::detail(&succeeded(), Detail::Table, NOW_MS));
    insta::assert_snapshot!("build_wide", build::detail(&failed(), Detail::Wide, NOW_MS));
}

#[test]
fn a_result_names_the_image_or_the_error() {
    let mut unknown = failed();
    unknown.status = 77;
    unknown.failure_reason = 99;
    let all: Vec<_> = [succeeded(), failed(), unknown]
        .iter()
        .map(build::result)
        .collect();
    insta::assert_snapshot!("result", all.join("\n"));
}

#[test]
fn no_format_lets_control_characters_through() {
    let hostile = failed();
    let shown = [
        build::list(std::slice::from_ref(&hostile), Detail::Wide, NOW_MS),
        build::detail(&hostile, Detail::Wide, NOW_MS),
        build::result(&hostile),
        build::change(&hostile, NOW_MS),
        json(&hostile, true).unwrap(),
        yaml(&hostile).unwrap(),
    ];
    for text in shown {
        assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "{text:?}");
    }
    let back: v1::Build = serde_json::from_str(&json(&hostile, false).unwrap()).unwrap();
    assert_eq!(back, hostile);
    let back: v1::Build = serde_norway::from_str(&yaml(&hostile).unwrap()).unwrap();
    assert_eq!(back, hostile);
}

#[test]
fn json_and_yaml_are_the_message_itself() {
    let text = json(&succeeded(), true).unwrap();
    assert!(
        text.contains("\"imageRefs\"") && text.contains("\"durationMs\": \"42100\""),
        "{text}"
    );
    assert!(text.contains("\"status\": \"BUILD_STATUS_SUCCEEDED\"") && text.contains("\"error\": \"\""));
    let text = yaml(&succeeded()).unwrap();
    assert!(
        text.contains("status: BUILD_STATUS_SUCCEEDED\n") && text.contains("durationMs: '42100'\n"),
        "{text}"
    );
    let back: v1::Build = serde_norway::from_str(&text).unwrap();
    assert_eq!(back, succeeded());
}
