//! Checks an untrusted build request, field by field.
//!
//! What leaves [`check`] as a [`BuildSpec`] needs no second look: names fit a registry, paths stay inside the context,
//! URLs carry no credentials, and nothing can be taken for an option of a program it is handed to.
//! All violations are reported together. A violation names its field and says what would be right; it never repeats a value.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    ids::ContextId,
    spec::{BuildSpec, GitSource, Source},
};

pub mod address;
mod args;
mod git;
mod image;
mod labels;
mod patch;
mod paths;
pub mod secrets;
pub mod ssh;

#[cfg(test)]
mod tests;

pub use args::looks_secret;
pub use labels::RESOURCES_LABEL;
pub use patch::{Patched, patch};
pub use secrets::check_secrets;

/// An inline archive must be smaller than this.
pub const ZIPPED_CODE_BYTES_END: u64 = 4 * 1024 * 1024;
pub const PRIORITY_MIN: i32 = -100;
pub const PRIORITY_MAX: i32 = 100;
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// One wrong field of a request: which, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path in the request, in proto names: `git_source.url`, `tags[1]`, `build_args["A B"]`.
    pub field: String,
    pub description: String,
}

/// A build request as it came, in the shape of `CreateBuildRequest`. Empty and zero mean unset.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Submission {
    pub name: String,
    pub dockerfile: String,
    pub tags: Vec<String>,
    pub build_args: BTreeMap<String, String>,
    pub no_cache: bool,
    /// 0 means the default.
    pub timeout_secs: u64,
    pub platform: String,
    pub platforms: Vec<String>,
    pub source: Option<SubmittedSource>,
    pub idempotency_key: String,
    pub labels: BTreeMap<String, String>,
    pub priority: i32,
    pub webhook_url: String,
}

/// The source of a [`Submission`]. An inline archive's bytes are hashed before they come here.
#[derive(Clone, PartialEq, Eq)]
pub enum SubmittedSource {
    ContextId(String),
    ZippedCode {
        sha256: [u8; 32],
        size_bytes: u64,
    },
    Git {
        url: String,
        reference: String,
        context_dir: String,
    },
}

/// What this gateway allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub timeout_default: Duration,
    pub timeout_max: Duration,
    /// Host and optional port of the registry that images go to: it counts towards the length of their references.
    pub registry: String,
    /// Plain http for git sources.
    pub git_http_allowed: bool,
    /// Loopback, private and link-local addresses as the host of a git source.
    pub private_addresses_allowed: bool,
    /// Those that the label [`RESOURCES_LABEL`] may name. None at all: it says nothing.
    pub resource_classes: Vec<String>,
}

/// Violations found so far.
#[derive(Debug, Default)]
struct Violations(Vec<FieldViolation>);

/// Checks every field. On failure all violations come back, in the order of the fields.
pub fn check(submission: Submission, rules: &Rules) -> Result<BuildSpec, Vec<FieldViolation>> {
    let mut found = Violations::default();
    let name = image::check_name(submission.name, &rules.registry, &mut found);
    let dockerfile = paths::check_dockerfile(&submission.dockerfile, &mut found);
    let tags = image::check_tags(submission.tags, &mut found);
    let build_args = args::check_build_args(submission.build_args, &mut found);
    let timeout = check_timeout(submission.timeout_secs, rules, &mut found);
    let platform = image::check_platforms(submission.platform, submission.platforms, &mut found);
    let source = check_source(submission.source, rules, &mut found);
    check_idempotency_key(&submission.idempotency_key, &mut found);
    labels::check_labels(&submission.labels, rules, &mut found);
    check_priority(submission.priority, &mut found);
    if !submission.webhook_url.is_empty() {
        found.add("webhook_url", "webhooks are not available yet; leave it empty");
    }
    match source {
        Some(source) if found.0.is_empty() => Ok(BuildSpec {
            name,
            source,
            dockerfile,
            tags,
            build_args,
            no_cache: submission.no_cache,
            timeout,
            platform,
            labels: submission.labels,
            priority: submission.priority,
        }),
        Some(_) | None => Err(found.0),
    }
}

fn check_source(source: Option<SubmittedSource>, rules: &Rules, found: &mut Violations) -> Option<Source> {
    match source {
        None => {
            found.add(
                "source",
                "exactly one of context_id, zipped_code and git_source is required",
            );
            None
        }
        Some(SubmittedSource::ContextId(text)) => match text.parse::<ContextId>() {
            Ok(id) => Some(Source::Archive(id)),
            Err(invalid) => {
                found.add("context_id", format!("must look like {}", invalid.form));
                None
            }
        },
        Some(SubmittedSource::ZippedCode { size_bytes: 0, .. }) => {
            found.add("zipped_code", "must not be empty");
            None
        }
        Some(SubmittedSource::ZippedCode { sha256, size_bytes }) => {
            if size_bytes >= ZIPPED_CODE_BYTES_END {
                found.add(
                    "zipped_code",
                    format!(
                        "must be smaller than {ZIPPED_CODE_BYTES_END} bytes; upload larger contexts and send the context_id"
                    ),
                );
            }
            Some(Source::Archive(ContextId::from_sha256(sha256)))
        }
        Some(SubmittedSource::Git {
            url,
            reference,
            context_dir,
        }) => Some(Source::Git(GitSource {
            url: git::check_url(&url, rules, found),
            reference: git::check_reference(reference, found),
            context_dir: paths::check_context_dir(&context_dir, found),
        })),
    }
}

fn check_timeout(timeout_secs: u64, rules: &Rules, found: &mut Violations) -> Duration {
    if timeout_secs == 0 {
        return rules.timeout_default.min(rules.timeout_max);
    }
    let timeout = Duration::from_secs(timeout_secs);
    if timeout > rules.timeout_max {
        found.add(
            "timeout_secs",
            format!("must be at most {} seconds", rules.timeout_max.as_secs()),
        );
    }
    timeout
}

fn check_idempotency_key(key: &str, found: &mut Violations) {
    let printable = key.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if !printable || key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        found.add(
            "idempotency_key",
            format!("must be at most {IDEMPOTENCY_KEY_BYTES_MAX} printable ASCII characters"),
        );
    }
}

fn check_priority(priority: i32, found: &mut Violations) {
    if !(PRIORITY_MIN..=PRIORITY_MAX).contains(&priority) {
        found.add(
            "priority",
            format!("must be from {PRIORITY_MIN} to {PRIORITY_MAX}"),
        );
    }
}

/// `name["key"]`, with a key of any length and content made fit to be shown.
fn keyed(name: &str, key: &str) -> String {
    let short: String = key.chars().take(64).collect();
    let more = if short.len() < key.len() { "…" } else { "" };
    format!("{name}[{:?}]", short + more)
}

// === impl Submission ===

impl Submission {
    /// What the request asks for that this release does not do yet.
    pub fn unsupported(&self) -> Option<&'static str> {
        if self.platforms.len() > 1 {
            Some("building for several platforms")
        } else if !self.webhook_url.is_empty() {
            Some("webhook_url")
        } else {
            None
        }
    }
}

/// Names no values: arguments and URLs may hold secrets before they are checked.
impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("name", &self.name)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

// === impl SubmittedSource ===

impl fmt::Debug for SubmittedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContextId(_) => "ContextId",
            Self::ZippedCode { .. } => "ZippedCode",
            Self::Git { .. } => "Git",
        })
    }
}

// === impl Violations ===

impl Violations {
    fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(FieldViolation {
            field: field.into(),
            description: description.into(),
        });
    }
}
