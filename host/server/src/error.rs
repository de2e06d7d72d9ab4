//! The one error of the service layer. Transports encode it (see [`crate::api`]); codes are decided here, once.

use std::{error::Error as StdError, time::Duration};

use ignite_core::{hook::Violation, request::FieldViolation};

use crate::hooks;

/// What a call can fail with. The message of each is fit for the caller; only [`Error::Internal`] hides its source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One violation for each wrong field.
    #[error("{}", summary(.0))]
    InvalidArgument(Vec<FieldViolation>),
    #[error("{message}")]
    FailedPrecondition { reason: &'static str, message: String },
    /// Also for what belongs to another organization.
    #[error("{kind} {name:?} was not found")]
    NotFound { kind: &'static str, name: String },
    #[error("{message}")]
    AlreadyExists { reason: &'static str, message: String },
    /// What the caller looked at has changed since.
    #[error("{message}")]
    Aborted { reason: &'static str, message: String },
    #[error("{message}")]
    Unauthenticated { message: String },
    #[error("this call needs the scope {scope:?}")]
    PermissionDenied { scope: &'static str },
    /// With the right scope, but not this caller.
    #[error("{message}")]
    Forbidden { reason: &'static str, message: String },
    /// A plugin of the organization's policy refuses the build.
    #[error("{}", hooks::denial(plugin, violations))]
    PolicyDenied {
        plugin: String,
        violations: Vec<Violation>,
    },
    #[error("{message}")]
    ResourceExhausted {
        reason: &'static str,
        subject: String,
        message: String,
        retry_after: Option<Duration>,
    },
    #[error("{message}")]
    Unavailable { message: String, retry_after: Duration },
    #[error("{what} is not available in this release")]
    Unimplemented { what: &'static str },
    /// Ours: the source is logged where it is encoded, and the caller gets a request id only.
    #[error("internal error")]
    Internal(#[source] Box<dyn StdError + Send + Sync>),
}

pub type Result<T> = std::result::Result<T, Error>;

// === impl Error ===

impl Error {
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Internal(source.into())
    }

    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::InvalidArgument(vec![FieldViolation {
            field: field.into(),
            description: description.into(),
        }])
    }
}

fn summary(violations: &[FieldViolation]) -> String {
    let texts: Vec<String> = violations
        .iter()
        .map(|violation| format!("{}: {}", violation.field, violation.description))
        .collect();
    texts.join("; ")
}
