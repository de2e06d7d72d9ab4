//! Plugins and policies with the real runtime, its compiling child and real components.
//!
//! Components are taken from the folder `IGNITE_TEST_PLUGINS`, or its subfolder `hostile`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, Instant};

use ignite_proto::v1;
use ignite_server::error::Error;

use self::gateway::{Gateway, build, violations};

#[path = "policies/gateway.rs"]
mod gateway;
#[path = "policies/imports.rs"]
mod imports;
#[path = "executor_local/registry.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod registry;
#[path = "executor_local/token_server.rs"]
mod token_server;

/// An entry of a policy, its configuration in TOML.
fn entry(plugin: &str, config: &str) -> String {
    format!("[[plugin]]\nname = '{plugin}'\nversion = '0.1.0'\n[plugin.config]\n{config}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_goes_from_upload_into_force_and_out_again() {
    let mut gateway = Gateway::start().await;
    let uploaded = gateway.upload("trivial", "0.1.0", "trivial").await.unwrap();
    assert_eq!(
        (uploaded.hooks.as_slice(), uploaded.name.as_str()),
        (&["validate".to_owned()][..], "trivial")
    );
    assert_eq!(
        gateway.upload("trivial", "0.1.0", "trivial").await.unwrap(),
        uploaded
    );
    assert_eq!(gateway.get_plugin("trivial", "").await.unwrap(), uploaded);

    let put = gateway.put(&entry("trivial", "")).await.unwrap();
    assert_eq!(put.plugins[0].digest, uploaded.digest);
    let answer = gateway.dry_run(v1::DryRunPolicyRequest::default()).await.unwrap();
    assert_eq!(
        (answer.decision(), answer.policy_revision),
        (v1::PolicyDecision::Allow, 1)
    );
    assert_eq!(answer.hook_reports.len(), 1);
    assert_eq!(answer.hook_reports[0].verdict, "allow");

    let refused = gateway.delete("trivial", "").await.unwrap_err();
    assert!(
        matches!(
            refused,
            Error::FailedPrecondition {
                reason: "PLUGIN_IN_USE",
                ..
            }
        ),
        "{refused}"
    );
    gateway.restart().await;
    let answer = gateway.dry_run(v1::DryRunPolicyRequest::default()).await.unwrap();
    assert_eq!(answer.hook_reports[0].verdict, "allow", "after a restart too");
    gateway.put("").await.unwrap();
    gateway.delete("trivial", "0.1.0").await.unwrap();
    assert!(matches!(
        gateway.get_plugin("trivial", "").await,
        Err(Error::NotFound { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plugin_or_another_one_leaves_nothing() {
    let gateway = Gateway::start().await;
    let refused = gateway
        .upload_bytes("trivial", "0.1.0", vec![0; 100])
        .await
        .unwrap_err();
    assert_eq!(violations(&refused)[0].0, "chunk");
    for (name, version, field) in [("other", "0.1.0", "name"), ("trivial", "0.1.1", "version")] {
        let refused = gateway.upload(name, version, "trivial").await.unwrap_err();
        let (at, text) = &violations(&refused)[0];
        assert_eq!(at, field);
        assert!(text.contains("trivial 0.1.0") && text.contains(version), "{text}");
    }
    let refused = gateway.upload("Trivial", "one", "trivial").await.unwrap_err();
    let fields: Vec<String> = violations(&refused).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["name", "version"]);
    assert_eq!(gateway.stored_components(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_the_plugin_does_not_take_is_told_with_its_place() {
    let gateway = Gateway::start().await;
    gateway.upload("puppet", "0.1.0", "puppet").await.unwrap();
    gateway.upload("trivial", "0.1.0", "trivial").await.unwrap();
    let picky = "check-config = {answer = [{path = '/list/3', message = 'must be even'}]}";
    let text = [
        entry("trivial", "a = 1"),
        entry("puppet", picky),
        entry("missing", ""),
        entry("puppet", "check-config = 'trap'"),
    ]
    .concat();
    let refused = gateway.put(&text).await.unwrap_err();
    let mut told = violations(&refused);
    told.sort();
    let fields: Vec<&str> = told.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "plugin[0].config",
            "plugin[1].config.list[3]",
            "plugin[2].version",
            "plugin[3].config"
        ]
    );
    assert_eq!(told[1].1, "must be even");
    assert!(told[0].1.contains("takes no configuration"), "{told:?}");
    assert_eq!(gateway.policy_revision().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_each_hook_would_do_and_does_nothing() {
    let gateway = Gateway::start().await;
    gateway.upload("puppet", "0.1.0", "puppet").await.unwrap();
    let config = "rewrite = {answer = {changes = [{AddTag = 'stable'}], warnings = []}}\n\
                  inspect = {answer = {Hold = 'ask first'}}\n\
                  rules = {answer = [{name = 'r', pattern = {Literal = 'hunter2'}}]}";
    let request = v1::DryRunPolicyRequest {
        policy_text: entry("puppet", config),
        dockerfile_text: "FROM debian:12\n".to_owned(),
        log_sample: "password hunter2\n".to_owned(),
        ..v1::DryRunPolicyRequest::default()
    };
    let answer = gateway.dry_run(request.clone()).await.unwrap();
    assert_eq!(answer.decision(), v1::PolicyDecision::Hold);
    assert!(answer.reasons[0].contains("ask first"), "{:?}", answer.reasons);
    assert!(answer.rewritten.unwrap().tags.contains(&"stable".to_owned()));
    assert_eq!(answer.changes.len(), 1);
    assert_eq!(answer.redacted_log_sample, "password ***\n");

    let denied = "validate = {answer = {Deny = [{field = 'tags[0]', message = 'not today'}]}}";
    let answer = gateway
        .dry_run(v1::DryRunPolicyRequest {
            policy_text: entry("puppet", denied),
            ..request.clone()
        })
        .await
        .unwrap();
    assert_eq!(answer.decision(), v1::PolicyDecision::Deny);
    assert!(
        answer.reasons[0].contains("tags[0]: not today"),
        "{:?}",
        answer.reasons
    );

    let wrong = gateway
        .dry_run(v1::DryRunPolicyRequest {
            request: Some(v1::CreateBuildRequest {
                name: "A B".to_owned(),
                ..build()
            }),
            ..request
        })
        .await
        .unwrap_err();
    assert_eq!(violations(&wrong)[0].0, "request.name");
    assert_eq!(gateway.policy_revision().await, 0);
    assert_eq!(gateway.builds().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_sample_after_rules_and_scanners() {
    let gateway = Gateway::start().await;
    gateway.upload("puppet", "0.1.0", "puppet").await.unwrap();
    let run = async |scan: &str, sample: &str| {
        let rules = "rules = {answer = [{name = 'r', pattern = {Literal = 'hunter2'}}]}";
        let request = v1::DryRunPolicyRequest {
            policy_text: entry("puppet", &format!("{rules}\nscan = {scan}")),
            log_sample: sample.to_owned(),
            ..v1::DryRunPolicyRequest::default()
        };
        let answer = gateway.dry_run(request).await.unwrap();
        let hooks: Vec<(String, String)> = answer
            .hook_reports
            .into_iter()
            .map(|report| (report.hook, report.verdict))
            .collect();
        (answer.redacted_log_sample, hooks[3..].to_vec())
    };
    let failed = [("redact-scan".to_owned(), "failed".to_owned())];

    let shown = run("{answer = [{start = 0, end = 4}]}", "user ann hunter2\n").await;
    assert_eq!(shown, ("*** ann ***\n".to_owned(), Vec::new()));
    // Scanners see what rules left.
    let (shown, reports) = run("'echo'", "user hunter2\n").await;
    assert!(
        shown.starts_with("[ignite] 9 bytes of the log are withheld: plugin puppet failed at redact-scan")
    );
    assert!(shown.contains(r#""user ***\n""#), "{shown}");
    assert_eq!(reports, failed);
    let (shown, reports) = run("{answer = [{start = 0, end = 400}]}", "user ann\n").await;
    assert!(
        shown.starts_with("[ignite] 9 bytes of the log are withheld: "),
        "{shown}"
    );
    assert_eq!(reports, failed);
    let nothing = run("'trap'", "").await;
    assert_eq!(
        nothing,
        (String::new(), Vec::new()),
        "there is nothing to show a scanner"
    );
}

/// What every hook says with `value` in it, and what the caller is told of it all.
async fn said_of(gateway: &Gateway, value: &str, as_reader: bool) -> String {
    let config = format!(
        "rewrite = {{answer = {{changes = [{{SetLabel = {{key = 'k', value = '{value}'}}}}], warnings = ['rewrite {value}']}}}}\n\
         validate = {{answer = {{Hold = 'validate {value}'}}}}\n\
         inspect = {{answer = {{Deny = [{{field = 'dockerfile:{value}', message = 'inspect {value}'}}]}}}}\n\
         rules = {{fail = 'rules {value}'}}"
    );
    let request = v1::DryRunPolicyRequest {
        policy_text: entry("puppet", &config),
        dockerfile_text: "FROM debian:12\n".to_owned(),
        request: Some(v1::CreateBuildRequest {
            build_args: [("OWN_TOKEN".to_owned(), "of-this-request-only".to_owned())].into(),
            ..build()
        }),
        ..v1::DryRunPolicyRequest::default()
    };
    let mut answer = match as_reader {
        true => gateway.dry_run_as_reader(request).await,
        false => gateway.dry_run(request).await,
    }
    .unwrap();
    assert_eq!(answer.decision(), v1::PolicyDecision::Deny);
    let hooks: Vec<&str> = answer.hook_reports.iter().map(|it| it.hook.as_str()).collect();
    assert_eq!(hooks, ["rewrite", "validate", "inspect", "redact"]);
    // What a rewriter put there itself, as a build's record has it.
    answer.rewritten = None;
    format!("{answer:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_plugins_say_in_a_dry_run_is_redacted_as_a_builds_reports_are() {
    let gateway = Gateway::start().await;
    gateway.upload("puppet", "0.1.0", "puppet").await.unwrap();
    let stored = "correct-horse-battery-staple";
    gateway
        .save_secrets(v1::SaveBuildSecretsRequest {
            build_secrets: [("NPM_TOKEN".to_owned(), stored.to_owned())].into(),
            ..v1::SaveBuildSecretsRequest::default()
        })
        .await;
    for secret in [stored, "of-this-request-only"] {
        let told = said_of(&gateway, secret, false).await;
        assert!(!told.contains(secret), "{told}");
        for said in [
            "rewrite ***",
            "validate ***",
            "inspect ***",
            "rules ***",
            "dockerfile:***",
        ] {
            assert!(told.contains(said), "{said}: {told}");
        }
    }
    // Who may not build learns nothing of what is stored, not even that a guess is right.
    let told = said_of(&gateway, "of-this-request-only", true).await;
    assert!(!told.contains("of-this-request-only"), "{told}");
    let (right, wrong) = ("correct-horse-battery-staple", "correct-horse-battery-stapel");
    for guess in [right, wrong] {
        let told = said_of(&gateway, guess, true).await;
        assert!(told.contains(&format!("validate {guess}")), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_reads_the_dockerfile_of_an_archive() {
    let gateway = Gateway::start().await;
    gateway.upload("puppet", "0.1.0", "puppet").await.unwrap();
    let run = async |archive: Vec<u8>| {
        let source = v1::create_build_request::Source::ZippedCode(archive.into());
        gateway
            .dry_run(v1::DryRunPolicyRequest {
                policy_text: entry("puppet", "inspect = 'echo'"),
                request: Some(v1::CreateBuildRequest {
                    source: Some(source),
                    ..build()
                }),
                ..v1::DryRunPolicyRequest::default()
            })
            .await
    };
    let answer = run(gateway::archive("Dockerfile", "FROM busybox:1.36\n"))
        .await
        .unwrap();
    let inspected = answer
        .hook_reports
        .iter()
        .find(|report| report.hook == "inspect")
        .unwrap();
    assert!(inspected.messages[0].contains("busybox:1.36"), "{inspected:?}");
    let missing = run(gateway::archive("README", "")).await.unwrap_err();
    assert_eq!(violations(&missing)[0].0, "request.zipped_code");
    let broken = run(gateway::archive("Dockerfile", "RUN true\n"))
        .await
        .unwrap_err();
    assert_eq!(violations(&broken)[0].0, "request.zipped_code");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_comes_from_a_registry_by_its_digest() {
    let registry = registry::Registry::start();
    let host = registry.address();
    let gateway = Gateway::with(&[("registry", &host), ("registry_insecure", "true")]).await;
    gateway::push_component(&host, "plugins/trivial", "0.1.0", "trivial").await;
    let digest = registry.digest("plugins/trivial", "0.1.0").unwrap();
    let reference = format!("{host}/plugins/trivial@{digest}");
    let imported = gateway.import(&reference).await.unwrap();
    assert_eq!(
        (imported.name.as_str(), imported.imported_from.as_str()),
        ("trivial", reference.as_str())
    );
    assert_eq!(gateway.get_plugin("trivial", "0.1.0").await.unwrap(), imported);
    gateway.put(&entry("trivial", "")).await.unwrap();

    let by_tag = gateway
        .import(&format!("{host}/plugins/trivial:0.1.0"))
        .await
        .unwrap_err();
    assert_eq!(violations(&by_tag)[0].0, "reference");
    let missing = format!("{host}/plugins/other@{digest}");
    assert!(matches!(
        gateway.import(&missing).await,
        Err(Error::NotFound { .. })
    ));
    // Its own registry is elsewhere; the default one is at loopback too.
    let stranger = Gateway::with(&[("registry", "registry.example")]).await;
    let refused = stranger.import(&reference).await.unwrap_err();
    assert!(violations(&refused)[0].1.contains("public address"), "{refused}");
}

/// Each level doubles the work; nothing here ever ends by itself.
#[test]
fn a_schema_that_takes_for_ever_is_ended() {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };
    let mut schema = serde_json::json!({"$ref": "#/$defs/d0", "$defs": {}});
    for level in 0..60 {
        let next = serde_json::json!({"$ref": format!("#/$defs/d{}", level + 1)});
        schema["$defs"][format!("d{level}")] = serde_json::json!({"allOf": [next, next]});
    }
    schema["$defs"]["d60"] = serde_json::json!({"minProperties": 0});
    let question = serde_json::json!({"schema": schema.to_string(), "config": "{}"});
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ignited"))
        .arg("check-schema")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(question.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(
        !output.status.success() || output.stdout.starts_with(b"["),
        "{output:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(60));
}
