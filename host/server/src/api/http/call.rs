//! One HTTP call: its caller, its message from path, query or body, its answer as JSON or as lines of JSON.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts as _, RawPathParams, Request},
    http::{
        HeaderValue,
        header::{self, HeaderMap},
    },
    response::Response,
};
use bytes::Bytes;
use futures::StreamExt as _;
use ignite_core::request::FieldViolation;
use ignite_proto::json;
use prost::Name;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use super::{super::guard, body};
use crate::{
    api::{context::Context, status::Wire},
    error::{Error, Result},
    principal::Principal,
    service::Streaming,
};

/// A request that was authenticated, before its message is decoded.
#[derive(Debug)]
pub(in crate::api) struct Call {
    context: Arc<Context>,
    /// The fields that the path gives, by proto name.
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

// === impl Call ===

impl Call {
    pub(in crate::api) fn caller(&self) -> Result<&Principal> {
        self.context.require_caller()
    }

    /// The message whose fields are in the path and the query.
    pub(in crate::api) fn message_from_query<T: DeserializeOwned + Name>(&self) -> Result<T> {
        json::from_query(self.query.iter().map(|(name, value)| (name, value)), &self.path()).map_err(invalid)
    }

    /// The message whose fields are in the path and the body. A body above `bytes_max` is blamed on `field`.
    pub(in crate::api) async fn message_from_body<T: DeserializeOwned + Name>(
        &mut self,
        bytes_max: usize,
        field: &'static str,
    ) -> Result<T> {
        if let Some((name, _)) = self.query.first() {
            let violation = "is not taken from the query: send it in the body";
            return Err(Error::invalid(name, violation));
        }
        let bytes = body::read(&self.headers, std::mem::take(&mut self.body), bytes_max, field).await?;
        json::from_slice_under(&bytes, &self.path()).map_err(invalid)
    }

    /// Runs a call that answers with one message.
    pub(in crate::api) async fn unary<T, F>(mut self, handler: F) -> Response
    where
        T: Serialize,
        F: AsyncFnOnce(&mut Self) -> Result<T>,
    {
        match handler(&mut self).await {
            Ok(message) => match serde_json::to_vec(&message) {
                Ok(text) => with_type("application/json", Body::from(text)),
                Err(error) => self.refuse(&Error::internal(error)),
            },
            Err(error) => self.refuse(&error),
        }
    }

    /// Runs a call that answers with a stream: one message a line, and an `error` line only if it ends abnormally.
    pub(in crate::api) async fn streaming<T, F>(mut self, closing: CancellationToken, handler: F) -> Response
    where
        T: Serialize + Send + 'static,
        F: AsyncFnOnce(&mut Self) -> Result<Streaming<T>>,
    {
        let live = match handler(&mut self).await {
            Ok(live) => live,
            Err(error) => return self.refuse(&error),
        };
        let context = self.context;
        let lines =
            guard::until_closing(live, closing).map(move |item| Ok::<_, Infallible>(line(&context, item)));
        with_type("application/x-ndjson", Body::from_stream(lines))
    }

    fn refuse(&self, error: &Error) -> Response {
        self.context.report(error).into_http()
    }

    fn path(&self) -> Vec<(&str, &str)> {
        self.path
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}

impl<S: Send + Sync> FromRequest<S> for Call {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> std::result::Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Some(context) = parts.extensions.get::<Arc<Context>>().cloned() else {
            let wire = crate::api::status::report(&Error::internal("a call without its context"), "unknown");
            return Err(wire.into_http());
        };
        let path = RawPathParams::from_request_parts(&mut parts, state)
            .await
            .map(|params| params.iter().map(owned).collect())
            .map_err(|_| {
                context
                    .report(&Error::invalid("path", "is not UTF-8"))
                    .into_http()
            })?;
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
        Ok(Self {
            context,
            path,
            query,
            headers: parts.headers,
            body,
        })
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn with_type(media_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    // What a proxy or browser kept could be another state of the build, or another organization's.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn line<T: Serialize>(context: &Context, item: Result<T>) -> Bytes {
    let encoded = item.and_then(|message| serde_json::to_vec(&message).map_err(Error::internal));
    let mut text = match encoded {
        Ok(text) => text,
        Err(error) => json!({"error": Wire::to_json(&context.report(&error))})
            .to_string()
            .into_bytes(),
    };
    text.push(b'\n');
    text.into()
}

fn invalid(error: json::DecodeError) -> Error {
    let violations = error.violations.into_iter().map(|violation| FieldViolation {
        field: violation.field,
        description: violation.description,
    });
    Error::InvalidArgument(violations.collect())
}
