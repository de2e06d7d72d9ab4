//! Around every request: its id, the access log, panics, and details for errors that the gRPC library made by itself.
//!
//! The log line is written when the response's body ends, so that a stream's line tells how long and how much it was.
//! Neither headers nor bodies are in it, and the path only as the route's template: ids and queries stay out.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Instant,
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderValue, Method},
    response::Response,
};
use bytes::{Buf as _, Bytes};
use futures::{FutureExt as _, future::BoxFuture};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tower::Service;

use super::{
    context::{Context, Protocol, REQUEST_ID_HEADER},
    grpc,
    listener::Peer,
};
use crate::error::Error;

const GRPC_STATUS_HEADER: &str = "grpc-status";
/// What is longer names no method of ours, and the log is not the caller's to fill.
const GRPC_PATH_LENGTH_MAX: usize = 100;
/// Asked every few seconds by whoever watches over the gateway.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// A service whose every request is observed.
#[derive(Debug, Clone)]
pub(super) struct Observe<S>(pub(super) S);

// === impl Observe ===

impl<S> Service<Request> for Observe<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let access = Access::begin(&mut request);
        Box::pin(observe(access, self.0.call(request)))
    }
}

async fn observe(
    access: Access,
    answer: impl Future<Output = Result<Response, Infallible>>,
) -> Result<Response, Infallible> {
    let context = Arc::clone(&access.context);
    let mut response = match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(Ok(response)) => response,
        Err(_) => context.respond(context.report(&Error::internal("a handler panicked"))),
    };
    if context.protocol == Protocol::Grpc {
        response = grpc::explain(response, &access.path, &context);
    }
    if let Ok(mut id) = HeaderValue::from_str(context.request_id.as_str()) {
        // Never the same again: not worth a place in the connection's table of headers, whose search would slow all others.
        id.set_sensitive(true);
        response.headers_mut().insert(REQUEST_ID_HEADER, id);
    }
    let outcome = Outcome {
        http_status: response.status().as_u16(),
        grpc_status: grpc_status(response.headers()),
        sent_bytes: 0,
        complete: false,
    };
    Ok(response.map(|body| {
        Body::new(Observed {
            body,
            access,
            outcome,
        })
    }))
}

fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get(GRPC_STATUS_HEADER)?.to_str().ok()?.parse().ok()
}

/// What is known when a request comes.
#[derive(Debug)]
struct Access {
    method: Method,
    path: String,
    peer: Option<Peer>,
    started: Instant,
    context: Arc<Context>,
}

/// What is known when its response has ended.
#[derive(Debug)]
struct Outcome {
    http_status: u16,
    grpc_status: Option<u16>,
    sent_bytes: u64,
    complete: bool,
}

/// A body that writes the access log when it ends or is given up on.
#[derive(Debug)]
struct Observed {
    body: Body,
    access: Access,
    outcome: Outcome,
}

// === impl Access ===

impl Access {
    /// Gives the request its context.
    fn begin(request: &mut Request) -> Self {
        let context = Arc::new(Context::new(request.headers()));
        request.extensions_mut().insert(Arc::clone(&context));
        let matched = request.extensions().get::<MatchedPath>();
        let raw = request.uri().path();
        // Every method of a gRPC service has the same template; its path holds no ids.
        let path = match (context.protocol, matched) {
            (Protocol::Grpc, Some(_)) if raw.len() <= GRPC_PATH_LENGTH_MAX => raw.to_owned(),
            (_, Some(matched)) => matched.as_str().to_owned(),
            (_, None) => "unmatched".to_owned(),
        };
        Self {
            method: request.method().clone(),
            peer: request.extensions().get::<Peer>().copied(),
            started: Instant::now(),
            context,
            path,
        }
    }
}

// === impl Observed ===

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(task);
        if let Poll::Ready(frame) = &polled {
            match frame {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        let bytes = u64::try_from(data.remaining()).unwrap_or(u64::MAX);
                        self.outcome.sent_bytes = self.outcome.sent_bytes.saturating_add(bytes);
                    }
                    if let Some(trailers) = frame.trailers_ref() {
                        self.outcome.grpc_status = grpc_status(trailers);
                        self.outcome.complete = true;
                    }
                }
                Some(Err(_)) => {}
                None => self.outcome.complete = true,
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let (access, outcome) = (&self.access, &self.outcome);
        if PROBES.contains(&access.path.as_str()) {
            return;
        }
        let caller = access.context.caller();
        tracing::info!(
            request_id = access.context.request_id.as_str(),
            method = access.method.as_str(),
            path = access.path,
            http_status = outcome.http_status,
            grpc_status = outcome.grpc_status,
            duration_ms = u64::try_from(access.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            sent_bytes = outcome.sent_bytes,
            // A body of known length may be dropped unpolled once its last byte is out.
            complete = outcome.complete || self.body.is_end_stream(),
            org = caller.map(|caller| caller.org.as_str()),
            subject = caller.map(|caller| caller.subject.as_str()),
            peer = access.peer.map(|peer| peer.0.to_string()),
            "request"
        );
    }
}
