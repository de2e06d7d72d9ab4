//! What plugins are asked and what they answer, in the terms of `wit/`: the vocabulary between the plugin runtime, the
//! policy and the rest of the gateway.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    dockerfile::Dockerfile,
    ids::{InvalidId, OrgId, PluginDigest},
};

/// Where a plugin acts. A component offers those whose interface it exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    Rewrite,
    Validate,
    Inspect,
    Redact,
    RedactScan,
    Notify,
}

/// Who asked for a build, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub org: OrgId,
    pub subject: String,
    pub submitted_at_ms: i64,
}

/// What a rewriter wants changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// To be applied in order, all or none.
    pub changes: Vec<Change>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    SetArg { name: String, value: ProposedArg },
    RemoveArg(String),
    AddTag(String),
    RemoveTag(String),
    SetLabel { key: String, value: String },
    RemoveLabel(String),
    SetPlatform(String),
    SetNoCache(bool),
    SetTimeoutSeconds(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposedArg {
    Plain(String),
    /// The stored secret of this name.
    Secret(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Allow { warnings: Vec<String> },
    Deny { violations: Vec<Violation> },
    Hold { reason: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Path of the field in the request, `dockerfile:<line>`, or empty.
    pub field: String,
    pub message: String,
}

/// What the fetch step found, for `inspect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub dockerfile: Dockerfile,
    pub resolved_commit: Option<String>,
    pub context_size_bytes: u64,
}

/// A redaction rule as a plugin gave it: not checked yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub name: String,
    pub pattern: Pattern,
    pub replacement: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    Literal(String),
    Expression { text: String, length_max: u32 },
}

/// What went wrong with an announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifyFailure {
    /// Worth another attempt.
    Again(String),
    Never(String),
}

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    pub name: String,
    pub version: String,
    pub summary: String,
    /// JSON Schema; empty if the plugin takes no configuration.
    pub config_schema: String,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// JSON Pointer.
    pub path: String,
    pub message: String,
}

/// What one call of a plugin came to, as the build's record shows it. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookReport {
    pub plugin: String,
    pub digest: PluginDigest,
    pub hook: Hook,
    pub monitored: bool,
    pub verdict: ReportVerdict,
    /// What it changed, one line each.
    pub changes: Vec<String>,
    /// Warnings, violations, the reason to hold, or how the call failed.
    pub messages: Vec<String>,
    pub micros: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportVerdict {
    Unchanged,
    Changed,
    Allow,
    Deny,
    Hold,
    /// Redaction rules or ranges were taken over.
    Applied,
    Delivered,
    Failed,
}

// === impl Hook ===

impl Hook {
    pub const ALL: [Self; 6] = [
        Self::Rewrite,
        Self::Validate,
        Self::Inspect,
        Self::Redact,
        Self::RedactScan,
        Self::Notify,
    ];

    /// The name of its interface in `ignite:plugin`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rewrite => "rewrite",
            Self::Validate => "validate",
            Self::Inspect => "inspect",
            Self::Redact => "redact",
            Self::RedactScan => "redact-scan",
            Self::Notify => "notify",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Hook {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::ALL
            .into_iter()
            .find(|hook| hook.as_str() == text)
            .ok_or(InvalidId {
                what: "hook",
                form: "rewrite, validate, inspect, redact, redact-scan or notify",
            })
    }
}

// === impl ReportVerdict ===

impl ReportVerdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hold => "hold",
            Self::Applied => "applied",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}
