//! What a step may say or write of a push that was none.

use ignite_proto::v1::{self, FailureReason};
use ignite_tests::{caller::inline, context::Context, gateway::Gateway, registry::Registry};

const FORGED: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// A build with a process that outlives its step and does this again and again until Kaniko is gone.
fn with_ghost(name: &str, does: &str) -> v1::CreateBuildRequest {
    let dockerfile = format!(
        "FROM {}\nCOPY ghost.sh /ghost.sh\nRUN (setsid sh /ghost.sh &); sleep 1\n",
        Registry::shared().busybox()
    );
    let context = Context::new(&dockerfile).file("ghost.sh", format!("while true; do {does}; done"));
    v1::CreateBuildRequest {
        no_cache: true,
        ..inline(name, &context)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_is_not_what_was_printed_last() {
    let gateway = Gateway::start();
    let repository = format!("{}/acme/printed", Registry::shared().address());
    let line = |said: &str| format!("echo 'time=\"x\" level=info msg=\"{said}\"'");
    let does = format!(
        "{}; {}; usleep 2000",
        line(&format!("Pushing image to {repository}:latest")),
        line(&format!("Pushed {repository}@{FORGED}"))
    );
    let build = gateway.caller().succeed(with_ghost("printed", &does)).await;
    assert_ne!(build.image_digest, FORGED);
    assert!(build.metrics.unwrap().layer_count > 0, "the registry has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_the_registry_does_not_have_was_not_pushed() {
    let gateway = Gateway::start();
    let does = format!("printf {FORGED} > /kaniko/forged; mv /kaniko/forged /kaniko/digest");
    let (build, _) = gateway
        .caller()
        .fail(with_ghost("forged", &does), FailureReason::PushFailed)
        .await;
    assert_eq!(build.image_digest, "");
}
