//! Layers that look at a request and let it through or answer it at once. Every call passes them, so a request that is
//! let through costs neither a box nor a wait.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::{extract::Request, response::Response, routing::Route};
use futures::future::Either;
use tower::{Layer, Service, layer::layer_fn};

/// A service behind a check; see [`gate`].
#[derive(Debug, Clone)]
pub(super) struct Gate<C, S> {
    check: C,
    inner: S,
}

/// Requests that `check` answers go no further.
pub(super) fn gate<C>(check: C) -> impl Layer<Route, Service = Gate<C, Route>> + Clone
where
    C: Fn(&Request) -> Result<(), Box<Response>> + Clone,
{
    layer_fn(move |inner| Gate {
        check: check.clone(),
        inner,
    })
}

// === impl Gate ===

impl<C, S> Service<Request> for Gate<C, S>
where
    C: Fn(&Request) -> Result<(), Box<Response>>,
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match (self.check)(&request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(answer) => Either::Right(ready(Ok(*answer))),
        }
    }
}
