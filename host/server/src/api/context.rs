//! What belongs to one request: its id, its protocol, and its caller once that is known.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use ulid::Ulid;

use crate::{
    api::status::{self, Wire},
    error::{Error, Result},
    principal::Principal,
};

pub(super) const REQUEST_ID_HEADER: &str = "x-request-id";
const REQUEST_ID_LENGTH_MAX: usize = 64;

/// Lives in the request's extensions, behind an `Arc`.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) request_id: RequestId,
    pub(super) protocol: Protocol,
    caller: OnceLock<Arc<Principal>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestId(String);

/// How the caller wants its answer, errors included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    Json,
}

// === impl Context ===

impl Context {
    pub(super) fn new(headers: &HeaderMap) -> Self {
        Self {
            request_id: RequestId::of(headers),
            protocol: Protocol::of(headers),
            caller: OnceLock::new(),
        }
    }

    /// Of a request that came through [`observe`](super::observe), as all do.
    pub(super) fn of(request: &Request) -> std::result::Result<&Arc<Self>, Box<Response>> {
        request
            .extensions()
            .get()
            .ok_or_else(|| Box::new(StatusCode::INTERNAL_SERVER_ERROR.into_response()))
    }

    pub(super) fn set_caller(&self, caller: Arc<Principal>) {
        // Only the authentication layer sets it, once.
        let _ = self.caller.set(caller);
    }

    pub(super) fn caller(&self) -> Option<&Principal> {
        self.caller.get().map(Arc::as_ref)
    }

    /// The caller of a call that must have one.
    pub(super) fn require_caller(&self) -> Result<&Principal> {
        self.caller()
            .ok_or_else(|| Error::internal("a call was routed past authentication"))
    }

    /// Encodes `error`; an internal one is logged here, with its sources and the id that the caller sees.
    pub(super) fn report(&self, error: &Error) -> Wire {
        status::report(error, self.request_id.as_str())
    }

    pub(super) fn respond(&self, wire: Wire) -> Response {
        match self.protocol {
            Protocol::Grpc => wire.into_grpc().into_http(),
            Protocol::Json => wire.into_http(),
        }
    }
}

// === impl RequestId ===

impl RequestId {
    /// A proxy's own id is kept, so that its log and ours agree, unless it could disturb a log.
    fn of(headers: &HeaderMap) -> Self {
        let plain = |id: &&str| {
            !id.is_empty()
                && id.len() <= REQUEST_ID_LENGTH_MAX
                && id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let theirs = headers
            .get(REQUEST_ID_HEADER)
            .and_then(|id| id.to_str().ok())
            .filter(plain);
        Self(theirs.map_or_else(|| format!("req_{}", Ulid::generate()), str::to_owned))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Protocol ===

impl Protocol {
    fn of(headers: &HeaderMap) -> Self {
        let media_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        match media_type.strip_prefix("application/grpc") {
            Some(rest) if rest.is_empty() || rest.starts_with('+') || rest.starts_with(';') => Self::Grpc,
            Some(_) | None => Self::Json,
        }
    }
}
