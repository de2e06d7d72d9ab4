//! What a run's end means for its build.

use std::time::Duration;

use crate::build::{Failure, FailureReason};

/// How a run's end counts. [`crate::build::Outcome`] follows from it, once the image was read from the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Kaniko ended well. What it pushed is yet to be read from the registry; a manifest that is not there is a
    /// [`not_pushed`].
    Pushed {
        /// `sha256:<hex>`.
        digest: String,
        refs: Vec<String>,
    },
    Failed {
        failure: Failure,
        /// Pushed before it failed.
        refs: Vec<String>,
    },
    Cancelled {
        refs: Vec<String>,
    },
    /// Ours; worth another attempt.
    Infrastructure {
        failure: Failure,
    },
}

/// What the driver knows of a run and its log does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Path of the Dockerfile, as the user gave it.
    pub dockerfile: &'a str,
    pub timeout: Duration,
    pub memory_bytes_max: Option<u64>,
    pub disk_bytes_max: Option<u64>,
    pub cancel_requested: bool,
}

/// Kaniko said that all is well, and nothing was pushed.
pub fn not_pushed() -> Failure {
    Failure {
        reason: FailureReason::PushFailed,
        message: "the builder ended without an error, but the registry does not have the image; try again, and check \
                  the registry if it stays so"
            .to_owned(),
    }
}

impl Verdict {
    pub(super) fn not_pushed() -> Self {
        Self::Failed {
            failure: not_pushed(),
            refs: Vec::new(),
        }
    }

    pub(super) fn failed(reason: FailureReason, message: impl Into<String>) -> Self {
        Self::Failed {
            failure: Failure {
                reason,
                message: message.into(),
            },
            refs: Vec::new(),
        }
    }

    pub(super) fn infrastructure(message: impl Into<String>) -> Self {
        Self::Infrastructure {
            failure: Failure {
                reason: FailureReason::Internal,
                message: message.into(),
            },
        }
    }

    pub(super) fn with_refs(self, pushed: &[String]) -> Self {
        match self {
            Self::Failed { failure, .. } => Self::Failed {
                failure,
                refs: pushed.to_vec(),
            },
            Self::Cancelled { .. } => Self::Cancelled {
                refs: pushed.to_vec(),
            },
            other @ (Self::Pushed { .. } | Self::Infrastructure { .. }) => other,
        }
    }
}
