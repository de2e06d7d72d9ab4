//! How an error looks on the wire: `google.rpc.Status` with details, over gRPC and as JSON over HTTP.
//!
//! [`decide`] is the one table from [`Error`] to code, reason and details; the encodings only render what it says.

use std::{collections::HashMap, error::Error as StdError, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::Value;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, QuotaViolation, StatusExt as _};

use ignite_core::hook::Violation;

use crate::error::Error;

mod json;

/// The domain of every `ErrorInfo`.
pub const ERROR_DOMAIN: &str = "ignite.dodil.io";

/// Of what plugins say of fields. Clients take 16 KiB of headers, and details travel in base64.
const POLICY_VIOLATION_BYTES_MAX: usize = 4096;

/// An error, ready to be sent.
#[derive(Debug, Clone)]
pub struct Wire {
    code: Code,
    /// HTTP's own code where it has one that says more than the table's.
    http: StatusCode,
    message: String,
    details: ErrorDetails,
}

/// The wire form of `error`. An internal one is logged, once, with its sources; the caller gets `request_id` only.
pub fn report(error: &Error, request_id: &str) -> Wire {
    if let Error::Internal(source) = error {
        tracing::error!(request_id, error = chain(source.as_ref()), "call failed");
    }
    decide(error, request_id)
}

fn decide(error: &Error, request_id: &str) -> Wire {
    let message = error.to_string();
    match error {
        Error::InvalidArgument(violations) => {
            let violations: Vec<FieldViolation> = violations
                .iter()
                .map(|violation| FieldViolation::new(&violation.field, &violation.description))
                .collect();
            let mut wire = Wire::new(Code::InvalidArgument, "INVALID_ARGUMENT", message);
            wire.details.set_bad_request(violations);
            wire
        }
        Error::FailedPrecondition { reason, .. } => Wire::new(Code::FailedPrecondition, reason, message),
        Error::NotFound { kind, name } => {
            let mut wire = Wire::new(Code::NotFound, "NOT_FOUND", message);
            wire.details.set_resource_info(*kind, name, "", "");
            wire
        }
        Error::AlreadyExists { reason, .. } => Wire::new(Code::AlreadyExists, reason, message),
        Error::Aborted { reason, .. } => Wire::new(Code::Aborted, reason, message),
        Error::Unauthenticated { .. } => Wire::new(Code::Unauthenticated, "UNAUTHENTICATED", message),
        Error::PermissionDenied { scope } => {
            Wire::new(Code::PermissionDenied, "SCOPE_MISSING", message).with_metadata("scope", scope)
        }
        Error::Forbidden { reason, .. } => Wire::new(Code::PermissionDenied, reason, message),
        Error::PolicyDenied { plugin, violations } => {
            let mut wire =
                Wire::new(Code::PermissionDenied, "POLICY_DENIED", message).with_metadata("plugin", plugin);
            wire.details.set_bad_request(named_fields(violations));
            wire
        }
        Error::ResourceExhausted {
            reason,
            subject,
            retry_after,
            ..
        } => {
            let mut wire = Wire::new(Code::ResourceExhausted, reason, message.clone());
            wire.details
                .set_quota_failure(vec![QuotaViolation::new(subject, message)]);
            if retry_after.is_some() {
                wire.details.set_retry_info(*retry_after);
            }
            wire
        }
        Error::Unavailable { retry_after, .. } => {
            let mut wire = Wire::new(Code::Unavailable, "UNAVAILABLE", message);
            wire.details.set_retry_info(Some(*retry_after));
            wire
        }
        Error::Unimplemented { .. } => Wire::new(Code::Unimplemented, "UNIMPLEMENTED", message),
        Error::Internal(_) => {
            let message = format!("{message} (request {request_id})");
            let mut wire =
                Wire::new(Code::Internal, "INTERNAL", message).with_metadata("request_id", request_id);
            wire.details.set_request_info(request_id, "");
            wire
        }
    }
}

/// Those that are about a field of the request; the message has the others. Errors travel in headers, where not everything
/// fits.
fn named_fields(violations: &[Violation]) -> Vec<FieldViolation> {
    let mut bytes = 0_usize;
    violations
        .iter()
        .filter(|violation| !violation.field.is_empty())
        .take_while(|violation| {
            bytes = bytes.saturating_add(violation.field.len() + violation.message.len());
            bytes <= POLICY_VIOLATION_BYTES_MAX
        })
        .map(|violation| FieldViolation::new(&violation.field, &violation.message))
        .collect()
}

/// The message of an error and of all its sources.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// grpc-gateway's table.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Aborted | Code::AlreadyExists => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Internal | Code::Unknown | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
    }
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(code: Code, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            http: http_status(code),
            message: message.into(),
            details: ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new()),
        }
    }

    fn with_metadata(mut self, key: &str, value: &str) -> Self {
        let reason = self
            .details
            .error_info()
            .map(|info| info.reason.clone())
            .unwrap_or_default();
        self.details
            .set_error_info(reason, ERROR_DOMAIN, [(key.to_owned(), value.to_owned())]);
        self
    }

    pub(super) fn with_http(mut self, http: StatusCode) -> Self {
        self.http = http;
        self
    }

    pub fn into_grpc(self) -> Status {
        Status::with_error_details(self.code, self.message, self.details)
    }

    /// `{code, message, details[]}`.
    pub fn to_json(&self) -> Value {
        json::status(self.code, &self.message, &self.details)
    }

    pub fn into_http(self) -> Response {
        let mut response = Response::new(Body::from(self.to_json().to_string()));
        *response.status_mut() = self.http;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(delay) = self.retry_delay() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_secs_up(delay)));
        }
        response
    }

    fn retry_delay(&self) -> Option<Duration> {
        self.details.retry_info().and_then(|info| info.retry_delay)
    }
}

fn whole_secs_up(delay: Duration) -> u64 {
    delay
        .as_secs()
        .saturating_add(u64::from(delay.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests;
