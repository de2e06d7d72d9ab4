//! What a step may say or write of a push that was none.

use ignite_proto::v1::{self, BuildStatus, FailureReason};
use ignite_tests::{at_each_site, caller::inline, context::Context, site::Site};

at_each_site! {
    a_digest_is_not_what_was_printed_last,
    an_image_that_the_registry_does_not_have_was_not_pushed,
}

const FORGED: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const TRIES: usize = 10;

/// A build with a process that outlives its step and does this again and again until Kaniko is gone.
fn with_ghost(site: Site<'_>, name: &str, does: &str) -> v1::CreateBuildRequest {
    let dockerfile = format!(
        "FROM {}\nCOPY ghost.sh /ghost.sh\nRUN (setsid sh /ghost.sh &); sleep 1\n",
        site.registry().busybox()
    );
    let context = Context::new(&dockerfile).file("ghost.sh", format!("while true; do {does}; done"));
    v1::CreateBuildRequest {
        no_cache: true,
        ..inline(name, &context)
    }
}

async fn a_digest_is_not_what_was_printed_last(site: Site<'_>) {
    let gateway = site.gateway().start();
    let repository = format!("{}/acme/printed", site.registry().address());
    let line = |said: &str| format!("echo 'time=\"x\" level=info msg=\"{said}\"'");
    let does = format!(
        "{}; {}; usleep 2000",
        line(&format!("Pushing image to {repository}:latest")),
        line(&format!("Pushed {repository}@{FORGED}"))
    );
    let build = gateway.caller().succeed(with_ghost(site, "printed", &does)).await;
    assert_ne!(build.image_digest, FORGED);
    assert!(build.metrics.unwrap().layer_count > 0, "the registry has it");
}

async fn an_image_that_the_registry_does_not_have_was_not_pushed(site: Site<'_>) {
    let gateway = site.gateway().start();
    let caller = gateway.caller();
    // Where the file is a mount, nothing can take its place.
    let does = format!(
        "printf {FORGED} > /kaniko/forged; mv /kaniko/forged /kaniko/digest || cat /kaniko/forged > /kaniko/digest"
    );
    // Who writes last is chance: where it was Kaniko, nothing is forged.
    for _ in 0..TRIES {
        let id = caller.create(with_ghost(site, "forged", &does)).await;
        let build = caller.wait_terminal(&id).await;
        assert_ne!(build.image_digest, FORGED);
        if build.status() != BuildStatus::Succeeded {
            assert_eq!(build.failure_reason(), FailureReason::PushFailed, "{build:#?}");
            assert_eq!(build.image_digest, "");
            return;
        }
        assert!(build.metrics.unwrap().layer_count > 0, "the registry has it");
    }
    panic!("Kaniko wrote last {TRIES} times");
}
