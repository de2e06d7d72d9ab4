//! Who may read a build, and what everybody else learns.

use ignite_proto::v1;
use ignite_tests::{
    caller::{inline, reason},
    context::Context,
    gateway::{Gateway, READ, READ_WRITE},
};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_any_length_is_not_found() {
    let gateway = Gateway::start();
    let refused = gateway
        .caller()
        .try_get(&"y".repeat(1_000_000))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().len() < 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_organizations_build_is_not_found_by_any_call() {
    let gateway = Gateway::start();
    let owner = gateway.caller();
    let build = owner.succeed(inline("mine", &Context::scratch(""))).await;
    let rival = gateway.caller_of("rival", READ_WRITE);
    let absent = "bld_01HZX9ABCDEFGHJKMNPQRSTVWX";

    let id = build.id.clone();
    let mut grpc = rival.grpc.clone();
    let theirs = rival.try_get(&id).await.unwrap_err();
    let nobodys = rival.try_get(absent).await.unwrap_err();
    assert_eq!(
        (theirs.code(), reason(&theirs)),
        (Code::NotFound, reason(&nobodys))
    );
    assert_eq!(
        theirs.message().replace(&id, "ID"),
        nobodys.message().replace(absent, "ID"),
        "the two must look the same"
    );
    let cancel = v1::CancelBuildRequest { build_id: id.clone() };
    assert_eq!(
        grpc.cancel_build(cancel).await.unwrap_err().code(),
        Code::NotFound
    );
    let retry = v1::RetryBuildRequest {
        build_id: id.clone(),
        ..Default::default()
    };
    assert_eq!(grpc.retry_build(retry).await.unwrap_err().code(), Code::NotFound);
    let watch = v1::WatchBuildRequest { build_id: id.clone() };
    assert_eq!(grpc.watch_build(watch).await.unwrap_err().code(), Code::NotFound);
    let logs = v1::StreamBuildLogsRequest {
        build_id: id.clone(),
        ..Default::default()
    };
    assert_eq!(
        grpc.stream_build_logs(logs).await.unwrap_err().code(),
        Code::NotFound
    );
    for path in ["", "/logs/stream", "/watch"] {
        let answer = rival.http.get(&format!("/v1/ignite/builds/{id}{path}")).await;
        assert_eq!((answer.status, &answer.body["code"]), (404, &5.into()), "{path}");
    }
    let list = grpc.list_builds(v1::ListBuildsRequest::default()).await.unwrap();
    assert!(list.into_inner().builds.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_need_a_token_and_its_scope() {
    let gateway = Gateway::start();
    let stranger = gateway.stranger();
    for path in [
        "/v1/ignite/builds",
        "/v1/ignite/builds/bld_01HZX9ABCDEFGHJKMNPQRSTVWX",
    ] {
        let answer = stranger.get(path).await;
        assert_eq!((answer.status, &answer.body["code"]), (401, &16.into()));
    }
    assert_eq!(stranger.get("/readyz").await.status, 200);

    let reader = gateway.caller_of("acme", READ);
    let refused = reader
        .try_create(inline("app", &Context::scratch("")))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(
        refused.message().contains("builds:write"),
        "{}",
        refused.message()
    );
    let list = reader
        .grpc
        .clone()
        .list_builds(v1::ListBuildsRequest::default())
        .await;
    assert!(list.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_platforms_come_later_and_say_so() {
    let gateway = Gateway::start();
    let several = v1::CreateBuildRequest {
        platforms: vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()],
        ..inline("several", &Context::new("FROM scratch\n"))
    };
    let several = gateway.caller().grpc.clone().create_build(several).await;
    assert_eq!(several.unwrap_err().code(), Code::Unimplemented);
}
