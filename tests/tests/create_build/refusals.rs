//! Requests that are wrong are refused at once, field by field, over both transports alike.

use ignite_proto::v1::{self, create_build_request::Source};
use ignite_tests::{
    caller::{inline, reason, request, violated_fields},
    context::Context,
    gateway::Gateway,
};
use serde_json::json;
use tonic::Code;

type Change = fn(&mut v1::CreateBuildRequest);

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_field_is_named() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let cases: [(&str, Change); 12] = [
        ("name", |request| request.name.clear()),
        ("name", |request| request.name = "../up".to_owned()),
        ("name", |request| request.name = "Upper".to_owned()),
        ("tags[1]", |request| {
            request.tags = vec!["ok".to_owned(), "not ok".to_owned()];
        }),
        ("dockerfile", |request| {
            request.dockerfile = "../Dockerfile".to_owned();
        }),
        ("dockerfile", |request| {
            request.dockerfile = "/etc/passwd".to_owned();
        }),
        ("dockerfile", |request| {
            request.dockerfile = "https://example.org/Dockerfile".to_owned();
        }),
        ("platform", |request| request.platform = "linux".to_owned()),
        ("build_args[\"A B\"]", |request| {
            request.build_args.insert("A B".to_owned(), String::new());
        }),
        ("source", |request| request.source = None),
        ("zipped_code", |request| {
            request.source = Some(Source::ZippedCode("neither tar nor zip".into()));
        }),
        ("context_id", |request| {
            request.source = Some(Source::ContextId("nonsense".to_owned()));
        }),
    ];
    for (field, change) in cases {
        let mut request = inline("app", &Context::scratch(""));
        change(&mut request);
        let refused = caller.try_create(request).await.unwrap_err();
        assert_eq!(violated_fields(&refused), [field]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_wrong_fields_are_named_together() {
    let gateway = Gateway::start();
    let mut request = inline("UPPER", &Context::scratch(""));
    request.dockerfile = "/x".to_owned();
    request.platform = "?".to_owned();
    let refused = gateway.caller().try_create(request).await.unwrap_err();
    let mut fields = violated_fields(&refused);
    fields.sort();
    assert_eq!(fields, ["dockerfile", "name", "platform"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_names_the_same_fields() {
    let gateway = Gateway::start();
    let answer = gateway
        .caller()
        .http
        .post(
            "/v1/ignite/builds",
            &json!({"name": "UPPER", "gitSource": {"url": "https://example.org/a.git"}}),
        )
        .await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(answer.body["code"], 3);
    let details = answer.body["details"].as_array().unwrap();
    let bad_request = details
        .iter()
        .find(|detail| detail["@type"] == "type.googleapis.com/google.rpc.BadRequest")
        .unwrap();
    assert_eq!(bad_request["fieldViolations"][0]["field"], "name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_nobody_uploaded_is_refused() {
    let gateway = Gateway::start();
    let source = Source::ContextId(format!("ctx_{}", "0".repeat(64)));
    let refused = gateway
        .caller()
        .try_create(request("app", source))
        .await
        .unwrap_err();
    assert!(
        matches!(refused.code(), Code::NotFound | Code::InvalidArgument),
        "{refused:?}"
    );
    assert!(!reason(&refused).is_empty());
}
