//! Layers are cached in the registry, for each organization apart.

use std::time::{SystemTime, UNIX_EPOCH};

use ignite_proto::v1;
use ignite_tests::{at_each_site, caller::inline, context::Context, gateway::READ_WRITE, site::Site};

at_each_site! {
    a_second_build_uses_cached_steps_unless_told_not_to_or_of_another_organization,
}

async fn a_second_build_uses_cached_steps_unless_told_not_to_or_of_another_organization(site: Site<'_>) {
    let gateway = site.gateway().start();
    let registry = site.registry();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    // A step that no other test has run, so that the first build cannot find it.
    let context = Context::new(&format!("FROM {}\nRUN echo {now} > /when\n", registry.busybox()));
    let request = inline("cached", &context);
    let acme = gateway.caller();

    let used = |build: &v1::Build| {
        let steps = build.steps.iter().any(|step| step.cached);
        assert_eq!(steps, build.metrics.as_ref().unwrap().cache_used);
        steps
    };
    assert!(
        !used(&acme.succeed(request.clone()).await),
        "nothing was cached yet"
    );
    assert!(used(&acme.succeed(request.clone()).await), "the step was cached");
    let without = v1::CreateBuildRequest {
        no_cache: true,
        ..request.clone()
    };
    assert!(
        !used(&acme.succeed(without).await),
        "the cache was not to be used"
    );
    let rival = gateway.caller_of("rival", READ_WRITE);
    assert!(
        !used(&rival.succeed(request).await),
        "another organization's cache was used"
    );
}
