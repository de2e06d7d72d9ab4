//! A retry is a new build from the same stored specification.

use ignite_proto::v1;
use ignite_tests::{at_each_site, caller::inline, context::Context, counter::Counter, site::Site};

at_each_site! {
    a_retry_runs_the_same_again_with_the_real_values,
}

async fn a_retry_runs_the_same_again_with_the_real_values(site: Site<'_>) {
    let counter = Counter::start_on(site.host()).await;
    let gateway = site.gateway().start();
    let caller = gateway.caller();
    // Fails the first time only; needs the secret both times.
    let context = Context::new(&format!(
        "FROM {}\nARG API_TOKEN\nRUN test \"$API_TOKEN\" = sesame-open-sesame && test $(wget -q -O - {}) -gt 1\n",
        site.registry().busybox(),
        counter.url("attempt"),
    ));
    let mut request = v1::CreateBuildRequest {
        tags: vec!["again".to_owned()],
        ..inline("retried", &context)
    };
    request
        .build_args
        .insert("API_TOKEN".to_owned(), "sesame-open-sesame".to_owned());
    let (failed, _) = caller.fail(request, v1::FailureReason::UserStep).await;
    assert_eq!((failed.attempts, counter.visits("attempt")), (1, 1));

    let retry = v1::RetryBuildRequest {
        build_id: failed.id.clone(),
        idempotency_key: "retry-once".to_owned(),
    };
    let mut grpc = caller.grpc.clone();
    let first = grpc.retry_build(retry.clone()).await.unwrap().into_inner();
    let second = grpc.retry_build(retry).await.unwrap().into_inner();
    assert_eq!(first.build_id, second.build_id);
    assert_ne!(first.build_id, failed.id);
    caller.remember(&first.build_id);
    let build = caller.wait_terminal(&first.build_id).await;
    assert_eq!(build.status(), v1::BuildStatus::Succeeded, "{build:#?}");
    assert_eq!(
        (build.name.as_str(), build.tags.as_slice()),
        ("retried", ["again".to_owned()].as_slice())
    );
    assert_eq!(build.build_args["API_TOKEN"], "***");
    assert_eq!(caller.get(&failed.id).await, failed);

    let over_http = caller
        .http
        .post(
            &format!("/v1/ignite/builds/{}/retry", failed.id),
            &serde_json::json!({}),
        )
        .await;
    let third = over_http.body["buildId"].as_str().unwrap();
    caller.remember(third);
    assert_eq!(
        caller.wait_terminal(third).await.status(),
        v1::BuildStatus::Succeeded
    );
}
