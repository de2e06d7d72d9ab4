use ignite_core::spec::Source as SpecSource;

use super::*;
use crate::exit;

const CASE: &str = r#"
hook = "validate"
hosts = ["hooks.example"]

[config]
label = "team"
since = 2026-01-02T03:04:05Z

[caller]
organization = "umbrella"
subject = "bob"
submitted_at = 2026-02-03T04:05:06Z

[request]
name = "team/app"
tags = ["1.2"]
build_args = { GITHUB_TOKEN = "hunter2hunter2", V = "1" }

[expect]
verdict = "deny"
"#;

fn wrong(text: &str) -> String {
    let error = Case::parse("a.toml", text).unwrap_err();
    assert_eq!(exit::code(&error), 2);
    error.to_string()
}

#[test]
fn a_plugin_is_shown_what_the_gateway_would_show_it() {
    let case = Case::parse("a.toml", CASE).unwrap();
    assert_eq!(case.hook, Some(Hook::Validate));
    let config: serde_json::Value = serde_json::from_str(&case.settings.config).unwrap();
    assert_eq!(
        config,
        serde_json::json!({"label": "team", "since": "2026-01-02T03:04:05Z"})
    );
    assert_eq!(case.settings.hosts, ["hooks.example"]);
    assert_eq!(
        (case.caller.org.as_str(), case.caller.subject.as_str()),
        ("umbrella", "bob")
    );
    assert_eq!(case.caller.submitted_at_ms, 1_770_091_506_000);
    assert!(case.spec.build_args()["GITHUB_TOKEN"].is_secret());
    assert!(!case.spec.build_args()["V"].is_secret());
    assert!(matches!(case.spec.source(), SpecSource::Git(git) if git.reference == "main"));
}

#[test]
fn what_is_left_out_is_assumed() {
    let case = Case::parse("a.toml", "hook = 'notify'\n[expect]\nverdict = 'delivered'\n").unwrap();
    assert_eq!(case.spec.name(), "app");
    assert_eq!(case.settings.config, "{}");
    assert_eq!(case.build.image_refs, ["registry.example/acme/app:latest"]);
    let build = "hook = 'notify'\n[build]\nid = '01JWB7X0000000000000000001'\norganization_id = 'umbrella'\nname = 'web'\nstatus = 'BUILD_STATUS_FAILED'\nerror = 'no'\n[expect]\nverdict = 'failed'";
    let build = Case::parse("a.toml", build).unwrap().build;
    assert_eq!(
        (
            build.name.as_str(),
            build.failure.as_ref().unwrap().message.as_str()
        ),
        ("web", "no")
    );
    assert_eq!(
        (build.id.to_string().as_str(), build.org.as_str()),
        ("bld_01JWB7X0000000000000000001", "umbrella")
    );
    assert!(build.image.is_none() && build.image_refs.is_empty());
}

#[test]
fn a_broken_case_names_its_line_and_the_field() {
    for (text, said) in [
        ("hook = 'validate'\n[expect\n", "a.toml:2: "),
        (
            "hook = 'validated'\n[expect]\nverdict = 'allow'",
            "a.toml:1: hook: must be rewrite",
        ),
        (
            "hook = 'validate'\n[reqest]\n[expect]\nverdict = 'allow'",
            "a.toml:2: unknown field `reqest`",
        ),
        (
            "hook = 'validate'\n\n[request]\nnam = 'x'\n[expect]\nverdict = 'allow'",
            "a.toml:3: request.nam: ",
        ),
        (
            "hook = 'validate'\n[request]\nname = 'Not A Name'\n[expect]\nverdict = 'allow'",
            "a.toml:2: request.name: ",
        ),
        (
            "hook = 'validate'\n[caller]\nsubmitted_at = 'noon'\n[expect]\nverdict = 'allow'",
            "a.toml:2: caller.submitted_at: must be a time in UTC",
        ),
        (
            "hook = 'validate'\n[expect]\nverdict = 'changed'",
            "a.toml:2: expect.verdict: must be one of allow, deny, hold, failed",
        ),
        (
            "hook = 'validate'\n[expect]\n",
            "a.toml:2: expect: must say something",
        ),
        (
            "hook = 'redact'\n[expect]\nsample = 'x'",
            "a.toml:2: expect.sample and expect.redacted belong together",
        ),
        (
            "hook = 'inspect'\n[expect]\nverdict = 'allow'",
            "found.dockerfile is needed",
        ),
        (
            "hook = 'notify'\n[build]\nstatus = 'BUILD_STATUS_RUNNING'\n[expect]\nverdict = 'failed'",
            "a.toml:2: build.status: must be that of a build that has ended",
        ),
    ] {
        let error = wrong(text);
        assert!(error.contains(said), "{text}\n{error}");
    }
}

#[test]
fn a_mismatch_is_a_list_of_what_was_expected_and_what_came() {
    let expect = Expect {
        verdict: Some("allow".to_owned()),
        messages_contain: vec!["owner".to_owned(), "missing".to_owned()],
        changes: Some(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]),
        sample: Some("x\ny".to_owned()),
        redacted: Some("x\n***".to_owned()),
    };
    let outcome = Outcome {
        verdict: "deny",
        messages: vec!["the label is missing".to_owned()],
        changes: vec!["a".to_owned(), "x".to_owned(), "c".to_owned()],
        redacted: Some("x\ny".to_owned()),
    };
    assert_eq!(
        expect.differences(&outcome),
        [
            "verdict",
            "- allow",
            "+ deny",
            "messages",
            "- …owner…",
            "+ the label is missing",
            "changes",
            "  a",
            "- b",
            "+ x",
            "  c",
            "redacted",
            "  x",
            "- ***",
            "+ y"
        ]
    );
    let met = Outcome {
        verdict: "allow",
        messages: vec!["owner is missing".to_owned()],
        changes: expect.changes.clone().unwrap(),
        redacted: expect.redacted.clone(),
    };
    assert!(expect.differences(&met).is_empty());
}
