use axum::routing::{get, post};
use futures::{StreamExt as _, stream};
use ignite_proto::{descriptor_pool, v1};
use prost_reflect::{DynamicMessage, Value as Reflected};
use serde_json::json;

use super::*;
use crate::{api::http::call::Call, error::Error};

/// Method and path of every annotation of the contract, and of the raw uploads; with something in the place of its fields.
fn bindings() -> Vec<(String, String)> {
    let http = descriptor_pool()
        .get_extension_by_name("google.api.http")
        .unwrap();
    let mut bindings = vec![
        binding("post", "/v1/ignite/builds/contexts"),
        binding("put", "/v1/ignite/plugins/{name}/versions/{version}"),
    ];
    for service in descriptor_pool().services() {
        for method in service
            .methods()
            .filter(|method| method.options().has_extension(&http))
        {
            let options = method.options();
            let rule = options.get_extension(&http);
            let rule = rule.as_message().unwrap();
            bindings.push(of_rule(rule));
            let more = rule.get_field_by_name("additional_bindings").unwrap();
            let more = more.as_list().unwrap();
            bindings.extend(more.iter().map(|rule| of_rule(rule.as_message().unwrap())));
        }
    }
    assert!(bindings.len() > 20);
    bindings
}

fn of_rule(rule: &DynamicMessage) -> (String, String) {
    ["get", "put", "post", "delete", "patch"]
        .into_iter()
        .find_map(|verb| match rule.get_field_by_name(verb)?.into_owned() {
            Reflected::String(path) if !path.is_empty() => Some(binding(verb, &path)),
            _ => None,
        })
        .unwrap()
}

fn binding(verb: &str, path: &str) -> (String, String) {
    let path = path
        .replace("{build_id}", "bld_x")
        .replace("{notification_id}", "bld_x.0")
        .replace("{name}", "tags")
        .replace("{version}", "1.0.0");
    assert!(!path.contains('{'), "{path}");
    (verb.to_uppercase(), path)
}

#[tokio::test]
async fn every_annotation_has_a_route() {
    let server = Server::start().await;
    for (method, path) in bindings() {
        let response = server.request(&method, &path).send().await.unwrap();
        let text = response.text().await.unwrap();
        for reason in ["NO_SUCH_PATH", "METHOD_NOT_ALLOWED"] {
            assert!(!text.contains(reason), "{method} {path}: {text}");
        }
    }
}

#[tokio::test]
async fn every_route_wants_a_token() {
    let server = Server::start().await;
    for (method, path) in bindings() {
        let (code, status) = refusal(server.anonymous(&method, &path)).await;
        assert_eq!(
            (code, reason(&status)),
            (401, "UNAUTHENTICATED"),
            "{method} {path}"
        );
        let (code, _) = refusal(server.anonymous(&method, &path).bearer_auth("ign_guess")).await;
        assert_eq!(code, 401);
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.anonymous("GET", path).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn every_route_wants_a_scope() {
    let server = Server::start().await;
    let powerless = server.token_with(&[]).await;
    for (method, path) in bindings() {
        let mut request = server.anonymous(&method, &path).bearer_auth(&powerless);
        if method != "GET" && method != "DELETE" {
            request = request.json(&json!({}));
        }
        let (code, status) = refusal(request).await;
        assert_eq!((code, reason(&status)), (403, "SCOPE_MISSING"), "{method} {path}");
    }
}

#[tokio::test]
async fn what_a_release_does_not_have_is_501_with_details() {
    let server = Server::start().await;
    let (code, status) = refusal(
        server
            .request("POST", "/v1/ignite/builds")
            .json(&json!({ "platforms": ["linux/amd64", "linux/arm64"] })),
    )
    .await;
    assert_eq!(
        (code, reason(&status), &status["code"]),
        (501, "UNIMPLEMENTED", &json!(12))
    );
}

#[tokio::test]
async fn other_paths_methods_and_types_get_a_status_too() {
    let server = Server::start().await;
    let (code, status) = refusal(server.request("GET", "/v2/x?secret=1")).await;
    assert_eq!((code, reason(&status)), (404, "NO_SUCH_PATH"));
    assert!(!status.to_string().contains("secret"));
    let (code, status) = refusal(server.request("DELETE", "/v1/ignite/builds")).await;
    assert_eq!((code, reason(&status)), (405, "METHOD_NOT_ALLOWED"));
    let form = server
        .request("POST", "/v1/ignite/builds")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("name=x");
    let (code, status) = refusal(form).await;
    assert_eq!((code, reason(&status)), (415, "UNSUPPORTED_MEDIA_TYPE"));
    let (code, status) = refusal(
        server
            .request("POST", "/dodil.ignite.v1.BuildService/GetBuild")
            .json(&json!({})),
    )
    .await;
    assert_eq!((code, reason(&status)), (415, "UNSUPPORTED_MEDIA_TYPE"));
}

async fn first_violation(request: RequestBuilder) -> (String, String) {
    let (code, status) = refusal(request).await;
    assert_eq!((code, reason(&status)), (400, "INVALID_ARGUMENT"), "{status}");
    let violations = status["details"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|detail| detail.get("fieldViolations"));
    let violation = &violations.unwrap()[0];
    let text = |key: &str| violation[key].as_str().unwrap().to_owned();
    (text("field"), text("description"))
}

#[tokio::test]
async fn wrong_fields_are_named_wherever_they_are() {
    let server = Server::start().await;
    let builds = "/v1/ignite/builds";
    for (request, field) in [
        (server.request("POST", builds).json(&json!({"nmae": "x"})), "nmae"),
        (
            server
                .request("POST", builds)
                .json(&json!({"gitSource": {"url": 7}})),
            "git_source.url",
        ),
        (server.request("POST", builds).body("{"), "body"),
        (
            server
                .request("POST", &format!("{builds}?name=x"))
                .json(&json!({})),
            "name",
        ),
        (server.request("GET", &format!("{builds}?limit=many")), "limit"),
        (server.request("GET", &format!("{builds}?colour=red")), "colour"),
        (
            server.request("GET", &format!("{builds}/bld_a?build_id=bld_b")),
            "build_id",
        ),
        (
            server.request("GET", &format!("{builds}/bld_a/logs/stream?from_start=1")),
            "from_start",
        ),
        (
            server
                .request("POST", &format!("{builds}/bld_a/cancel"))
                .json(&json!({"buildId": "bld_b"})),
            "build_id",
        ),
        (
            server
                .request("POST", &format!("{builds}/contexts?name=x&expectedSizeBytes=4"))
                .body("abc"),
            "expected_size_bytes",
        ),
    ] {
        assert_eq!(first_violation(request).await.0, field);
    }
}

#[tokio::test]
async fn a_component_is_the_raw_body_of_its_upload() {
    let server = Server::start().await;
    let put = |path: &str, body: &'static str| {
        server
            .request("PUT", &format!("/v1/ignite/plugins/{path}"))
            .header("content-type", "application/wasm")
            .body(body)
    };
    for (path, body, field) in [
        ("tags/versions/1.0.0", "no component", "chunk"),
        ("tags/versions/1.0.0", "", "chunk"),
        ("Tags/versions/1.0.0", "no component", "name"),
        ("tags/versions/one", "no component", "version"),
        ("tags/versions/1.0.0?name=labels", "no component", "name"),
    ] {
        assert_eq!(first_violation(put(path, body)).await.0, field, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_by_field_once_it_is_sent() {
    let server = Server::start().await;
    let body = format!(r#"{{"zippedCode": "{}"}}"#, "A".repeat(7 << 20));
    let (field, description) = first_violation(server.request("POST", "/v1/ignite/builds").body(body)).await;
    assert_eq!(field, "zipped_code");
    assert!(
        description.contains("/v1/ignite/builds/contexts"),
        "{description}"
    );
    let body = vec![b' '; 2 << 20];
    let cancel = server
        .request("POST", "/v1/ignite/builds/bld_a/cancel")
        .body(body);
    assert_eq!(first_violation(cancel).await.0, "body");
}

#[tokio::test]
async fn four_megabytes_fit_inline() {
    let server = Server::with(|_| {
        Router::new().route(
            "/take",
            post(async |call: Call| {
                call.unary(async |call| {
                    let request: v1::CreateBuildRequest =
                        call.message_from_body(6 << 20, "zipped_code").await?;
                    let Some(v1::create_build_request::Source::ZippedCode(code)) = request.source else {
                        return Err(Error::invalid("source", "is missing"));
                    };
                    Ok(code.len())
                })
                .await
            }),
        )
    })
    .await;
    let body = format!(
        r#"{{"name": "x", "zippedCode": "{}"}}"#,
        "A".repeat((4 << 20) / 3 * 4)
    );
    let taken = server.request("POST", "/take").body(body).send().await.unwrap();
    assert_eq!(taken.text().await.unwrap(), ((4 << 20) / 3 * 3).to_string());
}

#[tokio::test]
async fn answers_are_camel_case_with_every_field() {
    let server = Server::with(|_| {
        Router::new().route(
            "/v1/ignite/builds/{build_id}",
            get(async |call: Call| {
                call.unary(async |call| {
                    let request: v1::GetBuildRequest = call.message_from_query()?;
                    let build = v1::Build {
                        id: request.build_id,
                        organization_id: call.caller()?.org.to_string(),
                        status: v1::BuildStatus::Running.into(),
                        created_at_ms: 1_748_390_400_000,
                        build_args: [("NODE_ENV".into(), "production".into())].into(),
                        metrics: Some(v1::BuildMetrics::default()),
                        ..Default::default()
                    };
                    Ok(v1::GetBuildResponse { build: Some(build) })
                })
                .await
            }),
        )
    })
    .await;
    let response = server
        .request("GET", "/v1/ignite/builds/bld_1?buildId=bld_1")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    insta::assert_json_snapshot!("get_build", response.json::<Value>().await.unwrap());
}

fn chunk(data: &'static str) -> v1::BuildLogChunk {
    v1::BuildLogChunk {
        data: data.into(),
        ..Default::default()
    }
}

/// Serves the log that `live` makes, at `/log`.
async fn log_server<F>(live: F) -> Server
where
    F: Fn() -> crate::service::Streaming<v1::BuildLogChunk> + Clone + Send + Sync + 'static,
{
    Server::with(|closing| {
        let closing = closing.clone();
        let log = move |call: Call| async move { call.streaming(closing, async |_| Ok(live())).await };
        Router::new().route("/log", get(log))
    })
    .await
}

#[tokio::test]
async fn a_stream_is_a_message_a_line_and_ends_cleanly() {
    let server = log_server(|| stream::iter([Ok(chunk("a")), Ok(chunk("b\n"))]).boxed()).await;
    let response = server.request("GET", "/log").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    let expected = concat!(
        r#"{"data":"YQ==","timestampMs":"0","offset":"0"}"#,
        "\n",
        r#"{"data":"Ygo=","timestampMs":"0","offset":"0"}"#,
        "\n"
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_stream_that_fails_says_so_in_its_last_line() {
    let server = log_server(|| {
        let lost = Error::internal("the disk is gone");
        stream::iter([Ok(chunk("a")), Err(lost), Ok(chunk("never"))]).boxed()
    })
    .await;
    let text = server
        .request("GET", "/log")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[1]["error"]["code"], 13);
    assert_eq!(reason(&lines[1]["error"]), "INTERNAL");
    assert!(!text.contains("disk"));
}

#[tokio::test]
async fn a_follower_that_goes_takes_its_stream_along() {
    let dropped = CancellationToken::new();
    let server = log_server({
        let dropped = dropped.clone();
        move || {
            let guard = dropped.clone().drop_guard();
            let first = stream::iter([Ok(chunk("a"))]);
            let rest = stream::pending().inspect(move |_| {
                let _held = &guard;
            });
            first.chain(rest).boxed()
        }
    })
    .await;
    let mut response = server.request("GET", "/log").send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    assert!(!dropped.is_cancelled());
    drop(response);
    tokio::time::timeout(Duration::from_secs(5), dropped.cancelled())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_server_goes_on() {
    let server =
        Server::with(|_| Router::new().route("/panic", get(async || -> String { panic!("in a handler") })))
            .await;
    for _ in 0..2 {
        let (code, status) = refusal(server.request("GET", "/panic")).await;
        assert_eq!((code, reason(&status)), (500, "INTERNAL"));
        assert!(!status.to_string().contains("in a handler"));
    }
}

#[tokio::test]
async fn a_request_id_comes_back_unless_it_is_no_id() {
    let server = Server::start().await;
    let with = |id: &'static str| server.anonymous("GET", "/healthz").header("x-request-id", id);
    let response = with("trace-1").send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "trace-1");
    let response = with("a b").send().await.unwrap();
    assert!(
        response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .starts_with("req_")
    );
}

#[tokio::test]
async fn secrets_go_in_and_their_names_come_out() {
    const VALUE: &str = "hunter2-hunter2";
    let server = Server::start().await;
    let put = |body: Value| server.request("PUT", "/v1/ignite/builds/secrets").json(&body);
    let saved = put(json!({
        "registryCredentials": { "https://index.docker.io/v1/": format!("bot:{VALUE}") },
        "build_secrets": { "NPM_TOKEN": VALUE },
        "gitCredentials": { "username": "oauth2", "password": VALUE, "hosts": ["gitlab.com"] },
    }));
    let saved = saved.send().await.unwrap();
    assert_eq!(saved.status(), 200);
    assert_eq!(saved.text().await.unwrap(), "{}");
    let listed = server
        .request("GET", "/v1/ignite/builds/secrets")
        .send()
        .await
        .unwrap();
    let listed = listed.text().await.unwrap();
    assert!(!listed.contains("hunter2"), "{listed}");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let secrets = listed["secrets"].as_array().unwrap().iter();
    let names: Vec<_> = secrets.map(|it| (&it["group"], &it["name"])).collect();
    assert_eq!(
        json!(names),
        json!([
            ["SECRET_GROUP_REGISTRY_CREDENTIALS", "docker.io"],
            ["SECRET_GROUP_GIT_CREDENTIALS", "https"],
            ["SECRET_GROUP_BUILD_SECRETS", "NPM_TOKEN"]
        ])
    );
    // What is refused is refused by its field, without what was in it, whatever its form.
    for (body, field) in [
        (json!({ "buildSecrets": { "A B": VALUE } }), "build_secrets"),
        (
            json!({ "registryCredentials": { "r.example.com": VALUE } }),
            "registry_credentials",
        ),
        (
            json!({ "gitCredentials": { "sshPrivateKey": VALUE } }),
            "git_credentials.ssh_private_key",
        ),
        (
            json!({ "buildSecrets": { "A": VALUE }, "clear": ["SECRET_GROUP_BUILD_SECRETS"] }),
            "clear[0]",
        ),
        (json!({ "buildSecrets": VALUE }), "build_secrets"),
        (json!({ "buildSecrets": { "A": [VALUE] } }), "build_secrets"),
        (json!({ "gitCredentials": VALUE }), "git_credentials"),
        (json!({ "buildSecrets": {} }), "clear"),
    ] {
        let response = put(body.clone()).send().await.unwrap();
        assert_eq!(response.status(), 400, "{body}");
        let text = response.text().await.unwrap();
        assert!(text.contains(field), "{body}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
