//! HTTP/JSON gives the same results as gRPC.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ignite_tests::{caller::reason, context::Context, gateway::Gateway, image::Image, registry::Registry};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_build_asked_for_over_http_is_the_same_build() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let context = Context::scratch(r#"CMD ["/bin/busybox", "echo", "over http"]"#);
    let body = json!({
        "name": "over-http",
        "zipped_code": STANDARD.encode(context.tar_gz()),
        "tags": null,
        "buildArgs": {"MODE": "test"},
        "timeoutSecs": "120",
        "noCache": false,
        "labels": {"team": "core"},
    });
    let created = caller.http.post("/v1/ignite/builds", &body).await;
    assert_eq!(created.status, 200, "{}", created.body);
    assert_eq!(created.body["status"], "BUILD_STATUS_PENDING");
    let id = created.body["buildId"].as_str().unwrap();
    caller.remember(id);
    let build = caller.wait_terminal(id).await;

    let got = caller.http.get(&format!("/v1/ignite/builds/{id}")).await;
    assert_eq!(got.body["build"], serde_json::to_value(&build).unwrap());
    assert_eq!(got.body["build"]["error"], "");
    assert_eq!(got.body["build"]["createdAtMs"], build.created_at_ms.to_string());
    assert_eq!(got.body["build"]["labels"]["team"], "core");
    let listed = caller.http.get("/v1/ignite/builds").await;
    assert_eq!(listed.body["builds"][0], got.body["build"]);
    let cancelled = caller
        .http
        .post(&format!("/v1/ignite/builds/{id}/cancel"), &json!({}))
        .await;
    assert_eq!(cancelled.body["status"], "BUILD_STATUS_SUCCEEDED");
    assert_eq!(
        Image::pull(Registry::shared(), &build.image_refs[0]).run(),
        "over http"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_the_same_status_in_both() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let absent = "bld_01HZX9ABCDEFGHJKMNPQRSTVWX";
    let status = caller.try_get(absent).await.unwrap_err();
    let answer = caller.http.get(&format!("/v1/ignite/builds/{absent}")).await;
    assert_eq!(
        (answer.status, &answer.body["code"]),
        (404, &(status.code() as i32).into())
    );
    assert_eq!(answer.body["message"], status.message());
    let info = &answer.body["details"][0];
    assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
    assert_eq!(
        (info["reason"].as_str().unwrap(), &info["domain"]),
        (reason(&status).as_str(), &"ignite.dodil.io".into())
    );

    for (path, body) in [
        ("/v1/ignite/builds", "{"),
        ("/v1/ignite/builds", r#"{"nmae":"x"}"#),
    ] {
        let answer = caller.http.post_bytes(path, "application/json", body).await;
        assert_eq!((answer.status, &answer.body["code"]), (400, &3.into()), "{body}");
    }
    assert_eq!(caller.http.get("/v1/ignite/nonsense").await.status, 404);
}
