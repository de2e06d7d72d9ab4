//! What stands between a request and its run: who judges an organization's builds, and what they are shown.
//!
//! The path of a build sees plugins through [`Gate`] only, so that every order of verdicts can be tried on it without
//! WebAssembly; what really judges is a policy's [`Chain`].

use std::{fmt::Debug, ops::Range, sync::Arc};

use async_trait::async_trait;
use ignite_core::{
    build::Build,
    dockerfile::{self, ParseError},
    hook::{Caller, Found, Hook, HookReport},
    ids::OrgId,
    policy::{Mode, OnFailure, ResolvedPolicy},
    request::Rules,
    spec::BuildSpec,
};
use ignite_plugins::{
    Chain, Decision,
    chain::{Judged, Redaction},
};
use sha2::{Digest as _, Sha256};

#[cfg(test)]
pub(crate) mod scripted;

use crate::{
    error::{Error, Result},
    policies::Policies,
    secrets::Names,
};

/// Whose word counts for which build.
#[async_trait]
pub trait Gates: Send + Sync + Debug {
    /// What judges the organization's new builds; None: no plugin acts.
    async fn in_force(&self, org: &OrgId) -> Result<Option<Arc<dyn Gate>>>;

    /// What a build was judged by.
    async fn revision(&self, org: &OrgId, revision: u64) -> Result<Option<Arc<dyn Gate>>>;
}

/// One policy that judges builds.
#[async_trait]
pub trait Gate: Send + Sync + Debug {
    fn policy(&self) -> &ResolvedPolicy;

    /// `stored` are the names of the secrets that a rewriter may route into args.
    async fn judge(&self, caller: &Caller, spec: &BuildSpec, rules: &Rules, stored: &Names) -> Judged;

    /// An error if the Dockerfile is none: then no plugin was asked.
    async fn inspect(
        &self,
        caller: &Caller,
        spec: &BuildSpec,
        fetched: &Fetched<'_>,
    ) -> std::result::Result<(Decision, Vec<HookReport>), ParseError>;

    async fn redaction(&self, caller: &Caller, spec: &BuildSpec) -> Redaction;

    /// Ranges of `lines` to take out. An error says why the whole of it must be withheld.
    async fn scan(&self, lines: &[u8]) -> std::result::Result<Vec<Range<usize>>, String>;
}

/// What there is to inspect.
#[derive(Debug, Clone, Copy)]
pub struct Fetched<'a> {
    /// Its text; nobody has read it yet.
    pub dockerfile: &'a str,
    pub resolved_commit: Option<&'a str>,
    pub context_size_bytes: u64,
}

#[async_trait]
impl Gates for Policies {
    async fn in_force(&self, org: &OrgId) -> Result<Option<Arc<dyn Gate>>> {
        let policy = Self::in_force(self, org).await?;
        Ok(policy.map(|policy| Arc::new(self.chain(policy)) as _))
    }

    async fn revision(&self, org: &OrgId, revision: u64) -> Result<Option<Arc<dyn Gate>>> {
        let policy = Self::revision(self, org, revision).await?;
        Ok(policy.map(|policy| Arc::new(self.chain(policy)) as _))
    }
}

#[async_trait]
impl Gate for Chain {
    fn policy(&self) -> &ResolvedPolicy {
        &self.policy
    }

    async fn judge(&self, caller: &Caller, spec: &BuildSpec, rules: &Rules, stored: &Names) -> Judged {
        Self::judge(self, caller, spec, rules, &|name| stored.contains(name)).await
    }

    async fn inspect(
        &self,
        caller: &Caller,
        spec: &BuildSpec,
        fetched: &Fetched<'_>,
    ) -> std::result::Result<(Decision, Vec<HookReport>), ParseError> {
        let found = Found {
            dockerfile: dockerfile::parse(fetched.dockerfile, spec.build_args())?,
            resolved_commit: fetched.resolved_commit.map(str::to_owned),
            context_size_bytes: fetched.context_size_bytes,
        };
        Ok(Self::inspect(self, caller, spec, &found).await)
    }

    async fn redaction(&self, caller: &Caller, spec: &BuildSpec) -> Redaction {
        Self::redaction(self, caller, spec).await
    }

    async fn scan(&self, lines: &[u8]) -> std::result::Result<Vec<Range<usize>>, String> {
        Self::scan(self, lines).await.into_ranges()
    }
}

// === impl Fetched ===

impl Fetched<'_> {
    /// Tells whether what is found is what was judged.
    pub fn fingerprint(&self) -> String {
        let hash = Sha256::new()
            .chain_update(self.resolved_commit.unwrap_or_default())
            .chain_update([0])
            .chain_update(self.dockerfile);
        hex::encode(hash.finalize())
    }
}

/// Whether any plugin acts at `hook`.
pub fn acts_at(gate: &dyn Gate, hook: Hook) -> bool {
    gate.policy().at(hook).next().is_some()
}

/// Whether what cannot be shown to the plugins at `hook` must not go on: one of them would refuse it if it failed itself.
pub fn refuses_at(gate: &dyn Gate, hook: Hook) -> bool {
    gate.policy()
        .at(hook)
        .any(|entry| entry.settings.mode == Mode::Enforce && entry.settings.on_failure == OnFailure::Reject)
}

/// The gate that `build` pinned, if it pinned one.
///
/// # Errors
/// Internal if there is no such revision any more: nobody may then say that the build is allowed.
pub async fn pinned(gates: &dyn Gates, build: &Build) -> Result<Option<Arc<dyn Gate>>> {
    let Some(revision) = build.policy_revision else {
        return Ok(None);
    };
    match gates.revision(&build.org, revision).await? {
        Some(gate) => Ok(Some(gate)),
        None => Err(Error::internal(format!(
            "revision {revision} of the policy of {} is gone",
            build.org
        ))),
    }
}

/// As the plugins are shown it, at submission and ever after.
pub fn caller_of(build: &Build) -> Caller {
    Caller {
        org: build.org.clone(),
        subject: build.created_by.clone(),
        submitted_at_ms: build.created_at_ms,
    }
}

/// Of the text that says so: it travels in headers too.
const DENIAL_BYTES_MAX: usize = 1024;

/// For people: which plugin refused, and why.
pub fn denial(plugin: &str, violations: &[ignite_core::hook::Violation]) -> String {
    let texts: Vec<String> = violations
        .iter()
        .map(|violation| match violation.field.as_str() {
            "" => violation.message.clone(),
            field => format!("{field}: {}", violation.message),
        })
        .collect();
    let mut text = format!("plugin {plugin} refused the build: {}", texts.join("; "));
    if text.len() > DENIAL_BYTES_MAX {
        text.truncate(text.floor_char_boundary(DENIAL_BYTES_MAX));
        text.push('…');
    }
    text
}
