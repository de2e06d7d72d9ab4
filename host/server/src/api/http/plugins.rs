//! PluginService over HTTP.

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post, put},
};

use super::{BODY_BYTES_MAX, Http, call::Call, upload};

const VERSION: &str = "/v1/ignite/plugins/{name}/versions/{version}";

/// Those whose body is the component itself.
pub(super) fn raw_routes() -> Router<Http> {
    Router::new().route(VERSION, put(upload_plugin))
}

pub(super) fn routes() -> Router<Http> {
    Router::new()
        .route("/v1/ignite/plugins", get(list_plugins))
        .route("/v1/ignite/plugins:import", post(import_plugin))
        .route("/v1/ignite/plugins/{name}", get(get_plugin).delete(delete_plugin))
        .route(VERSION, get(get_plugin).delete(delete_plugin))
}

async fn upload_plugin(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        let metadata = call.message_from_query()?;
        let component = upload::body(call);
        http.service
            .upload_plugin(call.caller()?, metadata, component)
            .await
    })
    .await
}

async fn import_plugin(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        let request = call.message_from_body(BODY_BYTES_MAX, "body").await?;
        http.service.import_plugin(call.caller()?, request).await
    })
    .await
}

async fn list_plugins(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        http.service
            .list_plugins(call.caller()?, call.message_from_query()?)
            .await
    })
    .await
}

async fn get_plugin(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        http.service
            .get_plugin(call.caller()?, call.message_from_query()?)
            .await
    })
    .await
}

async fn delete_plugin(State(http): State<Http>, call: Call) -> Response {
    call.unary(async |call| {
        http.service
            .delete_plugin(call.caller()?, call.message_from_query()?)
            .await
    })
    .await
}
