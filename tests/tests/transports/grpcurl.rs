//! The gateway as grpcurl sees it: reflection, health and calls, without a .proto file.

use std::process::{Command, Output};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ignite_tests::{
    caller::{Caller, is_terminal},
    command,
    context::Context,
    gateway::Gateway,
    paths,
};
use serde_json::{Value, json};

const SERVICE: &str = "dodil.ignite.v1.BuildService";

fn grpcurl(caller: &Caller, before: &[&str], after: &[&str]) -> Output {
    command::output(
        Command::new(paths::made_by_setup("GRPCURL"))
            .args(["-plaintext", "-emit-defaults"])
            .args(["-H", &format!("authorization: Bearer {}", caller.token)])
            .args(before)
            .arg(caller.address())
            .args(after),
    )
}

fn printed(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn call(caller: &Caller, method: &str, request: &Value) -> Value {
    let output = grpcurl(
        caller,
        &["-d", &request.to_string()],
        &[&format!("{SERVICE}/{method}")],
    );
    serde_json::from_str(&printed(&output)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_lists_describes_and_builds() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let services = printed(&grpcurl(&caller, &[], &["list"]));
    assert!(
        services.contains(SERVICE) && services.contains("grpc.health.v1.Health"),
        "{services}"
    );
    let described = printed(&grpcurl(&caller, &[], &["describe", SERVICE]));
    for method in [
        "CreateBuild",
        "UploadBuildContext",
        "StreamBuildLogs",
        "WatchBuild",
        "RetryBuild",
    ] {
        assert!(described.contains(method), "{method} is not in {described}");
    }
    let health = printed(&grpcurl(&caller, &[], &["grpc.health.v1.Health/Check"]));
    assert!(health.contains("SERVING"));

    // Small enough for a command line.
    let context = Context::new("FROM scratch\nCOPY Dockerfile /\n").tar_gz();
    let request =
        json!({"name": "by-grpcurl", "zipped_code": STANDARD.encode(context), "timeout_secs": "60"});
    let created = call(&caller, "CreateBuild", &request);
    assert_eq!(created["status"], "BUILD_STATUS_PENDING");
    let id = created["buildId"].as_str().unwrap();
    caller.remember(id);
    let ended = caller.wait_terminal(id).await;
    assert!(
        is_terminal(ended.status()) && ended.error.is_empty(),
        "{ended:#?}"
    );

    let got = call(&caller, "GetBuild", &json!({"build_id": id}));
    assert_eq!(got["build"]["imageDigest"], ended.image_digest);
    let over_http = caller.http.get(&format!("/v1/ignite/builds/{id}")).await;
    assert_eq!(got, over_http.body);
    let chunk = grpcurl(
        &caller,
        &["-d", &json!({"build_id": id, "from_start": true}).to_string()],
        &[&format!("{SERVICE}/StreamBuildLogs")],
    );
    assert!(printed(&chunk).contains("timestampMs"));

    let refused = grpcurl(
        &caller,
        &["-d", r#"{"build_id": "bld_01HZX9ABCDEFGHJKMNPQRSTVWX"}"#],
        &[&format!("{SERVICE}/GetBuild")],
    );
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("Code: NotFound") && said.contains(r#""reason": "NOT_FOUND""#),
        "{said}"
    );
}
