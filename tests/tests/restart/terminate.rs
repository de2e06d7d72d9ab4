//! SIGTERM: the daemon ends in good order, builds go on without it, and the next daemon takes them over.

use std::time::{Duration, Instant};

use ignite_proto::v1::{self, BuildStatus};
use ignite_tests::{caller::inline, context::Context, gateway::Gateway, registry::Registry};

#[tokio::test(flavor = "multi_thread")]
async fn builds_outlive_the_daemon_and_are_adopted() {
    let mut gateway = Gateway::start();
    let caller = gateway.caller();
    let context = Context::new(&format!(
        "FROM {}\nRUN echo begin; for i in $(seq 1 50); do echo line $i; sleep 0.2; done; echo end\n",
        Registry::shared().busybox()
    ));
    let request = v1::CreateBuildRequest {
        no_cache: true,
        ..inline("outliving", &context)
    };
    let id = caller.create(request).await;
    caller.wait_logged(&id, "line 5\n").await;
    let follower = caller.follow(&id, true, 0).await;

    let start = Instant::now();
    let status = gateway.terminate();
    assert!(status.success(), "{status}");
    assert!(start.elapsed() < Duration::from_secs(40));
    // The follower is told, not left hanging: its stream ends, as it must, without the rest.
    let ended = tokio::time::timeout(Duration::from_secs(10), async move {
        let mut follower = follower;
        while let Ok(Some(_)) = follower.message().await {}
    });
    ended.await.expect("the follower still hangs");

    gateway.restart();
    let build = caller.wait_terminal(&id).await;
    assert_eq!(
        (build.status(), build.attempts),
        (BuildStatus::Succeeded, 1),
        "{build:#?}"
    );
    let log = caller.log(&id).await;
    for line in 1..=50 {
        assert_eq!(
            log.matches(&format!("\nline {line}\n")).count(),
            1,
            "line {line}:\n{log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_and_logs_are_the_same_after_a_restart() {
    let mut gateway = Gateway::start();
    let caller = gateway.caller();
    let build = caller.succeed(inline("kept", &Context::scratch(""))).await;
    let log = caller.log(&build.id).await;
    gateway.terminate();
    gateway.restart();
    assert_eq!(caller.get(&build.id).await, build);
    assert_eq!(caller.log(&build.id).await, log);
}
