//! What Prometheus reads.

use ignite_tests::{
    caller,
    context::Context,
    gateway::{Gateway, PLATFORM},
    http::Http,
    paths,
};

#[tokio::test(flavor = "multi_thread")]
async fn builds_and_plugins_are_counted_for_who_asks_at_the_metrics_address() {
    let gateway = Gateway::builder()
        .setting("metrics_listen", "127.0.0.1:0")
        .start();
    let platform = gateway.cli_of("platform", PLATFORM);
    platform.run(&["plugin", "push", &paths::plugin("required-labels")]);
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    std::fs::write(
        &policy,
        "[[plugin]]\nname = 'required-labels'\nversion = '0.1.0'\n[plugin.config]\nname = 'counted'\n",
    )
    .unwrap();
    platform.run(&["policy", "put", policy.to_str().unwrap()]);
    let caller = gateway.caller();
    caller
        .succeed(caller::inline(
            "counted",
            &Context::scratch("COPY f /\n").file("f", "x"),
        ))
        .await;
    let refused = caller::inline("uncounted", &Context::scratch("COPY f /\n").file("f", "x"));
    caller.try_create(refused).await.unwrap_err();

    let log = gateway.log();
    let (_, rest) = log.split_once("metrics.served").unwrap();
    let address: String = rest
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':'))
        .collect();
    let answer = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
    assert_eq!(answer.status(), 200);
    let shown = answer.text().await.unwrap();
    let count = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(count("ignite_plugin_calls_total{") >= 2.0, "{shown}");
    assert!(count("ignite_plugin_denials_total{") >= 1.0, "{shown}");
    assert!(count("ignite_store_healthy{database=\"state\"}") > 0.0, "{shown}");
    assert!(shown.contains("ignite_builds{state=\"queued\"} 0"), "{shown}");
    assert!(shown.ends_with("# EOF\n"), "{shown}");

    // Not where the calls are answered.
    let calls = Http::new(gateway.address(), None).get("/metrics").await;
    assert_ne!(calls.status, 200);
}
