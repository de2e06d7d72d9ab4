//! HTTP/JSON: a route for every `google.api.http` annotation of the contract, and the raw uploads.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
    routing::{get, post, put},
};
use hyper::body::Body as _;
use ignite_proto::v1;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use self::call::Call;
use super::{
    context::{Context, Protocol},
    gate::gate,
    grpc,
    status::Wire,
};
use crate::service::Service;

mod body;
pub(super) mod call;
mod notifications;
mod plugins;
mod policies;
mod upload;

/// 4 MB of archive are 5.4 MB in base64; the rest is for the other fields.
const CREATE_BODY_BYTES_MAX: usize = 6 << 20;
const BODY_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Clone)]
struct Http {
    service: Arc<Service>,
    closing: CancellationToken,
}

/// The calls that need a token.
pub(super) fn routes(service: Arc<Service>, closing: CancellationToken) -> Router {
    let raw = Router::new()
        .route("/v1/ignite/builds/contexts", post(upload_build_context))
        .merge(plugins::raw_routes());
    let json = Router::new()
        .route("/v1/ignite/builds", post(create_build).get(list_builds))
        .route(
            "/v1/ignite/builds/secrets",
            put(save_build_secrets).get(get_build_secrets),
        )
        .route("/v1/ignite/builds/{build_id}", get(get_build))
        .route("/v1/ignite/builds/{build_id}/logs/stream", get(stream_build_logs))
        .route("/v1/ignite/builds/{build_id}/watch", get(watch_build))
        .route("/v1/ignite/builds/{build_id}/cancel", post(cancel_build))
        .route("/v1/ignite/builds/{build_id}/retry", post(retry_build))
        .route("/v1/ignite/builds/{build_id}/approve", post(approve_build))
        .merge(notifications::routes())
        .merge(plugins::routes())
        .merge(policies::routes())
        .route_layer(gate(json_only));
    json.merge(raw).with_state(Http { service, closing })
}

// === calls ===

async fn create_build(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        let request = call
            .message_from_body(CREATE_BODY_BYTES_MAX, "zipped_code")
            .await?;
        http.service.create_build(call.caller()?, request).await
    })
    .await
}

async fn get_build(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        http.service
            .get_build(call.caller()?, call.message_from_query()?)
            .await
    })
    .await
}

async fn list_builds(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        http.service
            .list_builds(call.caller()?, call.message_from_query()?)
            .await
    })
    .await
}

async fn stream_build_logs(State(http): State<Http>, call: Call) -> Response {
    let closing = http.closing;
    call.streaming(closing, async |call| {
        http.service
            .stream_build_logs(call.caller()?, call.message_from_query()?)
            .await
    })
    .await
}

async fn watch_build(State(http): State<Http>, call: Call) -> Response {
    let closing = http.closing;
    call.streaming(closing, async |call| {
        http.service
            .watch_build(call.caller()?, call.message_from_query()?)
            .await
    })
    .await
}

async fn cancel_build(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        let request = call.message_from_body(BODY_BYTES_MAX, "body").await?;
        http.service.cancel_build(call.caller()?, request).await
    })
    .await
}

async fn retry_build(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        let request = call.message_from_body(BODY_BYTES_MAX, "body").await?;
        http.service.retry_build(call.caller()?, request).await
    })
    .await
}

async fn approve_build(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        let request = call.message_from_body(BODY_BYTES_MAX, "body").await?;
        http.service.approve_build(call.caller()?, request).await
    })
    .await
}

async fn save_build_secrets(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        let request = call.message_from_body(BODY_BYTES_MAX, "body").await?;
        http.service.save_build_secrets(call.caller()?, request).await
    })
    .await
}

async fn get_build_secrets(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        http.service
            .get_build_secrets(
                call.caller()?,
                call.message_from_query::<v1::GetBuildSecretsRequest>()?,
            )
            .await
    })
    .await
}

async fn upload_build_context(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        let metadata = upload::metadata(call)?;
        let archive = upload::body(call);
        http.service
            .upload_build_context(call.caller()?, metadata, archive)
            .await
    })
    .await
}

// === beside the calls ===

/// What may be asked without a token.
pub(super) fn open_routes(closing: CancellationToken) -> Router {
    let readiness = move || {
        let closing = closing.clone();
        async move {
            if closing.is_cancelled() {
                (StatusCode::SERVICE_UNAVAILABLE, "closing\n").into_response()
            } else {
                "ready\n".into_response()
            }
        }
    };
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness))
}

pub(super) async fn no_such_route(
    axum::Extension(context): axum::Extension<Arc<Context>>,
    uri: Uri,
) -> Response {
    match context.protocol {
        Protocol::Grpc => context.respond(grpc::no_such_call(uri.path())),
        Protocol::Json => {
            let message = format!("there is nothing at {:?}", uri.path());
            Wire::new(Code::NotFound, "NO_SUCH_PATH", message).into_http()
        }
    }
}

pub(super) async fn no_such_method(request: Request) -> Response {
    let message = format!("{:?} does not take {}", request.uri().path(), request.method());
    Wire::new(Code::Unimplemented, "METHOD_NOT_ALLOWED", message)
        .with_http(StatusCode::METHOD_NOT_ALLOWED)
        .into_http()
}

/// Refuses a body that says it is something else than JSON.
fn json_only(request: &Request) -> Result<(), Box<Response>> {
    if request.body().is_end_stream() || body::may_be_json(request.headers()) {
        return Ok(());
    }
    let message = "send the message as JSON, with content-type: application/json";
    Err(Box::new(
        Wire::new(Code::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", message)
            .with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            .into_http(),
    ))
}
