//! Builds are cancelled while they wait and while they run; one that has ended stays as it is.

use std::time::{Duration, Instant};

use ignite_proto::v1::{self, BuildStatus, FailureReason};
use ignite_tests::{
    at_each_site, caller::inline, context::Context, counter::Counter, registry::Registry, site::Site,
};

at_each_site! {
    a_running_build_is_killed_and_keeps_its_log,
    a_pending_build_is_cancelled_without_ever_running,
    a_build_that_ended_stays_as_it_is,
}

fn sleeping(registry: &Registry, first: &str) -> Context {
    Context::new(&format!(
        "FROM {}\nRUN {first}; echo asleep; sleep 600; echo awake\n",
        registry.busybox()
    ))
}

async fn a_running_build_is_killed_and_keeps_its_log(site: Site<'_>) {
    let gateway = site.gateway().start();
    let caller = gateway.caller();
    let request = v1::CreateBuildRequest {
        no_cache: true,
        ..inline("running", &sleeping(site.registry(), "true"))
    };
    let id = caller.create(request).await;
    caller.wait_logged(&id, "asleep\n").await;
    let start = Instant::now();
    let status = caller.cancel(&id).await;
    assert!(
        matches!(status, BuildStatus::Running | BuildStatus::Cancelled),
        "{status:?}"
    );
    let build = caller.wait_terminal(&id).await;
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(
        (build.status(), build.failure_reason()),
        (BuildStatus::Cancelled, FailureReason::Cancelled)
    );
    assert!(build.image_refs.is_empty() && build.completed_at_ms > 0);
    let log = caller.log(&id).await;
    assert!(log.ends_with("asleep\n"), "{log}");
    assert_eq!(build.log_bytes, log.len() as u64);
    assert_eq!(caller.cancel(&id).await, BuildStatus::Cancelled);
}

async fn a_pending_build_is_cancelled_without_ever_running(site: Site<'_>) {
    let counter = Counter::start_on(site.host()).await;
    let gateway = site.gateway().setting("builds_running_max", 1).start();
    let caller = gateway.caller();
    let registry = site.registry();
    let busy = caller.create(inline("busy", &sleeping(registry, "true"))).await;
    caller.wait_running(&busy).await;
    let visit = format!("wget -q -O - {}", counter.url("pending"));
    let waiting = caller
        .create(inline("waiting", &sleeping(registry, &visit)))
        .await;
    let behind = caller.create(inline("behind", &sleeping(registry, "true"))).await;
    assert_eq!(caller.get(&waiting).await.status(), BuildStatus::Pending);
    assert_eq!(caller.get(&waiting).await.queue_position, 1);
    assert_eq!(caller.get(&behind).await.queue_position, 2);

    assert_eq!(caller.cancel(&waiting).await, BuildStatus::Cancelled);
    let build = caller.get(&waiting).await;
    assert_eq!(
        (build.status(), build.started_at_ms, build.attempts),
        (BuildStatus::Cancelled, 0, 0)
    );
    assert_eq!(build.failure_reason(), FailureReason::Cancelled);
    assert_eq!(caller.log(&waiting).await, "");
    assert_eq!(caller.get(&behind).await.queue_position, 1);
    caller.cancel(&behind).await;
    caller.cancel(&busy).await;
    caller.wait_terminal(&busy).await;
    assert_eq!(counter.visits("pending"), 0);
}

async fn a_build_that_ended_stays_as_it_is(site: Site<'_>) {
    let gateway = site.gateway().start();
    let caller = gateway.caller();
    let build = caller.succeed(inline("done", &Context::scratch(""))).await;
    assert_eq!(caller.cancel(&build.id).await, BuildStatus::Succeeded);
    assert_eq!(caller.get(&build.id).await, build);
}
