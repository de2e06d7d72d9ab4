//! The daemon's own log can be read by a program, and tells no secret.

use std::time::Duration;

use ignite_proto::v1;
use ignite_tests::{
    caller::inline,
    context::Context,
    gateway::{Gateway, PLATFORM},
    paths,
    wait::eventually,
};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn as_json_every_line_is_an_object_and_builds_are_named_in_fields() {
    let mut gateway = Gateway::builder().setting("log_format", "json").start();
    let build = gateway
        .caller()
        .succeed(inline("logged", &Context::scratch("")))
        .await;
    assert!(gateway.terminate().success());
    let log = gateway.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        assert!(
            line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
    let says = |message: &str| lines.iter().find(|line| line["message"] == message);
    assert!(says("listening").unwrap()["addr"].is_string(), "{log}");
    assert!(says("shutdown.complete").is_some(), "{log}");
    for message in ["build.accepted", "build.started", "build.succeeded"] {
        let line = says(message).unwrap_or_else(|| panic!("no {message} in:\n{log}"));
        assert_eq!(
            (line["build"].as_str(), line["org"].as_str()),
            (Some(build.id.as_str()), Some("acme"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_plugins_print_is_logged_without_secrets() {
    let secret = "correct-horse-battery-staple";
    let token = format!("{}-{}", "glpat", "0123456789abcdefghij");
    let mut gateway = Gateway::builder()
        .setting("log_format", "json")
        .setting("log_level", "info,ignite_plugins=debug")
        .start();
    let keeper = gateway.caller_of("acme", "secrets:write");
    let stored = v1::SaveBuildSecretsRequest {
        build_secrets: [("STORED".to_owned(), secret.to_owned())].into(),
        ..Default::default()
    };
    keeper.grpc.clone().save_build_secrets(stored).await.unwrap();
    let cli = gateway.cli_of("platform", PLATFORM);
    cli.run(&["plugin", "push", &paths::plugin("hostile/puppet")]);
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    let print = |hook: &str| format!("{hook} = {{print = '{hook} {secret} {token}'}}\n");
    let hooks = ["rewrite", "validate", "inspect", "rules", "notify"];
    let config: String = hooks.into_iter().map(print).collect();
    let text = format!("[[plugin]]\nname = 'puppet'\nversion = '0.1.0'\n[plugin.config]\n{config}");
    std::fs::write(&policy, text).unwrap();
    cli.run(&["policy", "put", policy.to_str().unwrap()]);
    let caller = gateway.caller();
    let build = caller.succeed(inline("printed", &Context::scratch(""))).await;
    eventually("the announcement", Duration::from_secs(60), async || {
        let reports = caller.get(&build.id).await.hook_reports;
        reports.iter().any(|report| report.hook == "notify").then_some(())
    })
    .await;
    let request = folder.path().join("request.toml");
    std::fs::write(
        &request,
        "name = 'tried'\n[git_source]\nurl = 'https://git.example/app'\n",
    )
    .unwrap();
    cli.run(&["policy", "dry-run", "--request", request.to_str().unwrap()]);
    assert!(gateway.terminate().success());
    let log = gateway.log();
    assert!(!log.contains(secret) && !log.contains(&token), "{log}");
    for hook in hooks {
        let shown = format!("{hook} *** ***");
        assert!(log.contains(&shown), "{shown}: {log}");
    }
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["message"].is_string(), "{line}");
    }
}
