//! The transports: gRPC and HTTP/JSON on one listener.
//!
//! They decode, authenticate, call [`Service`](crate::service::Service) and encode; nothing is decided here but how an
//! [`Error`](crate::error::Error) looks on the wire, and that for both at once (see [`status`]).
//!
//! ```text
//! listener ─▶ observe ─▶ router ┬▶ authenticate ─▶ http, grpc ─▶ Service
//!  TLS, limits  id, log, panics ├▶ internal: a run and its token ─▶ Service
//!                               └▶ open: health, reflection, /healthz, /readyz
//! ```

use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;
use tower::layer::layer_fn;

use crate::{api::auth::Authenticator, service::Service};

pub mod auth;
mod context;
mod gate;
pub mod grpc;
mod guard;
pub mod http;
mod internal;
pub mod listener;
mod observe;
pub mod status;
#[cfg(test)]
mod tests;
pub mod tokens;

/// Everything that is served, over [`listener::serve`].
///
/// Once `closing` is cancelled, live streams end with `Unavailable` and `/readyz` and the health service say so.
pub fn router(
    service: &Arc<Service>,
    authenticator: &Arc<Authenticator>,
    closing: &CancellationToken,
) -> Router {
    let calls = http::routes(Arc::clone(service), closing.clone()).merge(grpc::routes(service, closing));
    let internal = internal::routes(Arc::clone(service));
    assemble(calls, internal, authenticator, closing)
}

/// `calls` behind authentication, the internal and the open routes beside them, and around all what every request gets.
fn assemble(
    calls: Router,
    internal: Router,
    authenticator: &Arc<Authenticator>,
    closing: &CancellationToken,
) -> Router {
    let authenticator = Arc::clone(authenticator);
    calls
        .route_layer(gate::gate(move |request| {
            auth::authenticate(&authenticator, request)
        }))
        .merge(internal)
        .merge(http::open_routes(closing.clone()))
        .merge(grpc::open_routes(closing))
        .fallback(http::no_such_route)
        .method_not_allowed_fallback(http::no_such_method)
        .layer(layer_fn(observe::Observe))
}
