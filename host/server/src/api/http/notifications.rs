//! NotificationService over HTTP/JSON.

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};

use super::{BODY_BYTES_MAX, Http, call::Call};

pub(super) fn routes() -> Router<Http> {
    Router::new()
        .route("/v1/ignite/notifications", get(list_notifications))
        .route(
            "/v1/ignite/notifications/{notification_id}/replay",
            post(replay_notification),
        )
}

async fn list_notifications(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        http.service
            .list_notifications(call.caller()?, call.message_from_query()?)
            .await
    })
    .await
}

async fn replay_notification(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        let request = call.message_from_body(BODY_BYTES_MAX, "body").await?;
        http.service.replay_notification(call.caller()?, request).await
    })
    .await
}
