//! The daemon's own log can be read by a program.

use ignite_tests::{caller::inline, context::Context, gateway::Gateway};
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
