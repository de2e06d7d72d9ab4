//! One key, one build, however often and however fast it is asked for.

use futures::future::join_all;
use ignite_proto::v1;
use ignite_tests::{
    caller::inline,
    context::Context,
    gateway::{Gateway, READ_WRITE},
};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_same_build() {
    let mut gateway = Gateway::start();
    let caller = gateway.caller();
    let request = v1::CreateBuildRequest {
        idempotency_key: "once-only".to_owned(),
        ..inline("once", &Context::scratch(""))
    };
    let ids = join_all((0..16).map(|_| caller.create(request.clone()))).await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");

    let other = v1::CreateBuildRequest {
        name: "another".to_owned(),
        ..request.clone()
    };
    let refused = caller.try_create(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}");

    let rival = gateway.caller_of("rival", READ_WRITE);
    let theirs = rival.create(request.clone()).await;
    assert_ne!(theirs, ids[0]);
    caller.wait_terminal(&ids[0]).await;
    rival.wait_terminal(&theirs).await;

    gateway.kill9();
    gateway.restart();
    assert_eq!(caller.create(request).await, ids[0]);
}
