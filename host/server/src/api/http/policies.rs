//! PolicyService over HTTP.

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};

use super::{BODY_BYTES_MAX, CREATE_BODY_BYTES_MAX, Http, call::Call};

/// A request of CreateBuild, a policy and a sample of a log.
const DRY_RUN_BODY_BYTES_MAX: usize = CREATE_BODY_BYTES_MAX + BODY_BYTES_MAX;

pub(super) fn routes() -> Router<Http> {
    Router::new()
        .route("/v1/ignite/policy", get(get_policy).put(put_policy))
        .route("/v1/ignite/policy/revisions", get(list_policy_revisions))
        .route("/v1/ignite/policy:dryRun", post(dry_run_policy))
}

async fn get_policy(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        http.service
            .get_policy(call.caller()?, call.message_from_query()?)
            .await
    })
    .await
}

async fn put_policy(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        let request = call.message_from_body(BODY_BYTES_MAX, "text").await?;
        http.service.put_policy(call.caller()?, request).await
    })
    .await
}

async fn list_policy_revisions(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        http.service
            .list_policy_revisions(call.caller()?, call.message_from_query()?)
            .await
    })
    .await
}

async fn dry_run_policy(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        let request = call
            .message_from_body(DRY_RUN_BODY_BYTES_MAX, "request.zipped_code")
            .await?;
        http.service.dry_run_policy(call.caller()?, request).await
    })
    .await
}
