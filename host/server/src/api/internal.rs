//! What the gateway serves to runs that happen elsewhere: the stored context of one run, to who has that run's token.
//!
//! No part of the public API. Errors do not tell what is wrong with a token, and an organization's token is none here.

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};
use ignite_core::ids::RunId;
use tonic::Code;

use super::{auth, context::Context, status::Wire};
use crate::{
    error::Result,
    service::{Service, refused},
    sources::contexts::{ContextBytes, grants},
};

pub(super) fn routes(service: Arc<Service>) -> Router {
    Router::new()
        .route(grants::ROUTE, get(run_context))
        .with_state(service)
}

async fn run_context(
    State(service): State<Arc<Service>>,
    Extension(context): Extension<Arc<Context>>,
    run: std::result::Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let offset = offset(&headers);
    let read = async {
        let run: RunId = run
            .ok()
            .and_then(|Path(run)| run.parse().ok())
            .ok_or_else(refused)?;
        let token = auth::header_of(&headers)?
            .and_then(auth::bearer)
            .ok_or_else(refused)?;
        service.run_context(run, token, offset.unwrap_or(0)).await
    };
    let read: Result<ContextBytes> = read.await;
    match read {
        Ok(bytes) => answer(bytes, offset),
        Err(error) => context.report(&error).into_http(),
    }
}

/// The whole, or what is asked for of it.
fn answer(context: ContextBytes, offset: Option<u64>) -> Response {
    let size_bytes = context.size_bytes;
    let from = offset.unwrap_or(0);
    let left_bytes = size_bytes.saturating_sub(from);
    let mut response = match offset {
        Some(_) if left_bytes == 0 => {
            let message = format!("there are {size_bytes} bytes");
            let wire = Wire::new(Code::OutOfRange, "RANGE_NOT_SATISFIABLE", message);
            let mut response = wire.with_http(StatusCode::RANGE_NOT_SATISFIABLE).into_http();
            set(
                &mut response,
                header::CONTENT_RANGE,
                &format!("bytes */{size_bytes}"),
            );
            return response;
        }
        Some(_) => {
            let mut response = Response::new(Body::from_stream(context.bytes));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let last = size_bytes.saturating_sub(1);
            let range = format!("bytes {from}-{last}/{size_bytes}");
            set(&mut response, header::CONTENT_RANGE, &range);
            response
        }
        None => Response::new(Body::from_stream(context.bytes)),
    };
    set(&mut response, header::CONTENT_LENGTH, &left_bytes.to_string());
    set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The `N` of `Range: bytes=N-`. Whoever asks for other ranges gets the whole, as HTTP allows.
fn offset(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::RANGE)?.to_str().ok()?;
    let digits = range.strip_prefix("bytes=")?.strip_suffix('-')?;
    // A number as Rust reads it may have a sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    digits.parse().ok()
}
