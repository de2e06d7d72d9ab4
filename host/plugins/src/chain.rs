//! A policy's entries called in order, and what they say made one decision.
//!
//! ```text
//!   judge      request ─▶ rewrite ─▶ patch checked ─▶ rewrite … ─▶ what will run ─▶ validate, validate … ─▶ one decision
//!   inspect    Dockerfile ─▶ inspect, inspect … ─▶ one decision
//!   redaction  rules of every redactor, checked one plugin after the other ─▶ one set
//!   scan       lines ─▶ ranges of every scanner ─▶ merged
//! ```
//!
//! One denial denies, and says all that any of the plugins found; else one hold holds. What a monitored plugin says, its failing
//! too, is reported and has no other effect. A call that fails counts by the entry's `on_failure`, and so does an answer that
//! cannot be used: a patch that the gateway would not take from a caller, a rule that cannot be searched for.
//!
//! There is a report for every call. Nothing here waits for anything but the calls.

use std::{ops::Range, sync::Arc};

use ignite_core::{
    hook::{Caller, Found, HookReport, Rule, Violation},
    policy::ResolvedPolicy,
    redact::RuleSet,
    request::Rules,
    spec::BuildSpec,
};

use crate::runtime::Runtime;

mod calls;
mod judge;
pub mod lines;
mod redact;
mod report;
mod verdicts;

#[cfg(test)]
mod tests;

/// One policy, ready to judge builds. Plugins that are not ready are loaded at the first call.
#[derive(Debug, Clone)]
pub struct Chain {
    pub runtime: Arc<Runtime>,
    pub policy: Arc<ResolvedPolicy>,
}

/// What the policy says of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Deny {
        /// At least one; the field is empty where the fault is a plugin's and not the request's.
        violations: Vec<Violation>,
        /// Whose word it was; of several, all, as `a, b`.
        plugin: String,
    },
    Hold {
        /// Each with the plugin that said so before it.
        reasons: Vec<String>,
    },
}

/// What came of the hooks at submission.
#[derive(Debug, Clone)]
pub struct Judged {
    /// As it will run: what the rewriters made of it.
    pub spec: BuildSpec,
    pub decision: Decision,
    /// In the order of the calls.
    pub reports: Vec<HookReport>,
}

/// The rules of all `redact` plugins together.
#[derive(Debug, Clone)]
pub struct Redaction {
    /// Compiled from `given`.
    pub rules: RuleSet,
    /// All rules that were taken, as the plugins gave them: what a build keeps, to redact alike after a restart.
    pub given: Vec<Rule>,
    pub reports: Vec<HookReport>,
    /// A plugin failed whose `on_failure` is reject: the log's text is to be withheld; why.
    pub withhold: Option<String>,
}

/// What all `redact-scan` plugins together found in some lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// To be taken out: in order, none empty, no two with a byte in common.
    pub ranges: Vec<Range<usize>>,
    /// A plugin failed whose `on_failure` is reject: these lines are to be withheld; why.
    pub withhold: Option<String>,
    /// Only the calls that failed: there is a call for every piece of a log.
    pub failures: Vec<HookReport>,
}

// === impl Scanned ===

impl Scanned {
    /// The ranges, or why the lines are to be withheld.
    pub fn into_ranges(self) -> Result<Vec<Range<usize>>, String> {
        match self.withhold {
            None => Ok(self.ranges),
            Some(why) => Err(why),
        }
    }
}

// === impl Chain ===

impl Chain {
    /// The rewrite chain, each patch re-checked, then the validate chain on what will really run. A rewriter that fails and must
    /// not ends it at once: nobody meant what would be judged after it.
    pub async fn judge(
        &self,
        caller: &Caller,
        spec: &BuildSpec,
        rules: &Rules,
        secret_is_stored: &(dyn Fn(&str) -> bool + Sync),
    ) -> Judged {
        judge::judge(
            &*self.runtime,
            &self.policy,
            caller,
            spec,
            rules,
            secret_is_stored,
        )
        .await
    }

    /// The inspect chain on the real Dockerfile.
    pub async fn inspect(
        &self,
        caller: &Caller,
        spec: &BuildSpec,
        found: &Found,
    ) -> (Decision, Vec<HookReport>) {
        judge::inspect(&*self.runtime, &self.policy, caller, spec, found).await
    }

    /// The rules for a build's log and record.
    pub async fn redaction(&self, caller: &Caller, spec: &BuildSpec) -> Redaction {
        redact::rules(&*self.runtime, &self.policy, caller, spec).await
    }

    /// What to take out of `lines`: whole lines, after the rules. Every scanner sees them as they are.
    pub async fn scan(&self, lines: &[u8]) -> Scanned {
        redact::scan(&*self.runtime, &self.policy, lines).await
    }

    /// A whole text, piece by piece: what is left of it as a log would show it, and the calls that failed. `said` is what may be
    /// shown of why a piece is withheld.
    pub async fn scan_text(
        &self,
        text: &str,
        said: &(dyn Fn(String) -> String + Sync),
    ) -> (String, Vec<HookReport>) {
        redact::scan_text(&*self.runtime, &self.policy, text, said).await
    }
}
