//! Two gateways over the same data: one works, and the other one when it cannot.

use std::{
    thread,
    time::{Duration, Instant},
};

use ignite_proto::v1::{self, BuildStatus};
use ignite_tests::{
    caller::inline,
    cluster::{Cluster, Namespace},
    context::Context,
    counter::Counter,
    gateway::{Gateway, Standby},
    wait::eventually_blocking,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The Lease's duration, a look, and a slow machine.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// What a gateway may write for since its last renewal, a look, and a slow machine.
const OVER_WITHIN: Duration = Duration::from_secs(20);
const EXIT_LOST: i32 = 75;

fn pair(cluster: &Cluster, namespace: &Namespace<'_>) -> (Gateway, Standby) {
    let gateway = Gateway::builder()
        .setting("standby_lease", format!("{}/gateway", namespace.name()))
        .variable("KUBECONFIG", cluster.kubeconfig().to_str().unwrap())
        .start();
    let standby = gateway.standby();
    eventually_blocking("the second one to wait", TAKEN_WITHIN, || {
        standby.log().contains("standby.waiting").then_some(())
    });
    (gateway, standby)
}

/// A build that visits the counter and then prints a line every tenth of a second.
fn slow(name: &str, counter: &Counter, lines: u32) -> v1::CreateBuildRequest {
    let step = format!(
        "/bin/busybox wget -q -O /dev/null {}; i=0; while [ $i -lt {lines} ]; do echo line $i; i=$((i+1)); /bin/busybox sleep 0.1; done",
        counter.url(name)
    );
    let run = serde_json::json!(["/bin/busybox", "sh", "-c", step]);
    v1::CreateBuildRequest {
        no_cache: true,
        ..inline(name, &Context::scratch(&format!("RUN {run}")))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_takes_over_what_the_first_leaves_when_it_dies() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("standby");
    let (mut gateway, standby) = pair(&cluster, &namespace);
    assert_eq!(standby.status("/healthz").as_deref(), Some("HTTP/1.1 200 OK"));
    for path in ["/readyz", "/v1/ignite/builds"] {
        let status = standby.status(path).unwrap();
        assert!(status.starts_with("HTTP/1.1 503"), "{path}: {status}");
    }
    let counter = Counter::start().await;
    let id = gateway.caller().create(slow("taken-over", &counter, 100)).await;
    gateway.caller().wait_logged(&id, "line 5").await;
    gateway.kill9();
    let began = Instant::now();
    gateway.go_on_with(standby);
    assert!(began.elapsed() < TAKEN_WITHIN, "{:?}", began.elapsed());
    let caller = gateway.caller();
    let build = caller.wait_terminal(&id).await;
    assert_eq!(build.status(), BuildStatus::Succeeded, "{build:?}");
    let log = caller.log(&id).await;
    for line in 0..100 {
        assert_eq!(
            log.matches(&format!("line {line}\n")).count(),
            1,
            "line {line} of {log}"
        );
    }
    assert_eq!(counter.visits("taken-over"), 1);
}

#[test]
fn one_that_ends_well_is_followed_at_once() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("standby");
    let (mut gateway, standby) = pair(&cluster, &namespace);
    assert!(gateway.terminate().success());
    let began = Instant::now();
    gateway.go_on_with(standby);
    // It looks every two seconds.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
#[allow(clippy::disallowed_methods, reason = "on the test's own thread")]
fn one_that_slept_too_long_ends_without_a_word() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("standby");
    let (mut gateway, standby) = pair(&cluster, &namespace);
    let first = Pid::from_raw(i32::try_from(gateway.pid()).unwrap());
    kill(first, Signal::SIGSTOP).unwrap();
    eventually_blocking("the second one to be elected", TAKEN_WITHIN, || {
        standby.log().contains("standby.elected").then_some(())
    });
    // It holds the Lease, and waits for the lock of the one that sleeps.
    thread::sleep(Duration::from_secs(2));
    assert!(
        standby
            .status("/readyz")
            .is_none_or(|status| !status.contains("200"))
    );
    kill(first, Signal::SIGCONT).unwrap();
    assert_eq!(gateway.wait_for_end().code(), Some(EXIT_LOST));
    gateway.go_on_with(standby);
}

#[test]
fn one_that_cannot_reach_the_cluster_ends_before_another_may_begin() {
    let cluster = Cluster::alone();
    let namespace = cluster.namespace("standby");
    let (mut gateway, standby) = pair(&cluster, &namespace);
    let cut = cluster.cut_off();
    let began = Instant::now();
    assert_eq!(gateway.wait_for_end().code(), Some(EXIT_LOST));
    assert!(began.elapsed() < OVER_WITHIN, "{:?}", began.elapsed());
    drop(cut);
    gateway.go_on_with(standby);
}
