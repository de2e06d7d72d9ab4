//! Chains whose plugins are a table of answers.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ignite_core::{
    dockerfile::Dockerfile,
    hook::{
        Caller, Change, Changes, Found, Hook, HookReport, Pattern, ReportVerdict, Rule, Verdict, Violation,
    },
    ids::PluginDigest,
    policy::{CallLimits, Mode, OnFailure, ResolvedEntry, ResolvedPolicy, Settings},
    request::{Rules, Submission, SubmittedSource, check},
    spec::BuildSpec,
};

use super::{Decision, Judged, calls::Calls};
use crate::runtime::CallError;

mod judging;
mod redacting;

/// One plugin's answers, and how its entry is set.
#[derive(Clone)]
struct Says {
    mode: Mode,
    on_failure: OnFailure,
    hooks: BTreeSet<Hook>,
    changes: Result<Changes, CallError>,
    verdict: Result<Verdict, CallError>,
    rules: Result<Vec<Rule>, CallError>,
    ranges: Result<Vec<Range<usize>>, CallError>,
}

/// A policy of plugins that answer from the table, and what they were shown.
struct Table {
    policy: ResolvedPolicy,
    says: HashMap<String, Says>,
    /// Plugin, hook and the tags of what it saw.
    seen: Mutex<Vec<(String, Hook, Vec<String>)>>,
}

// === impl Says ===

impl Says {
    fn at(hook: Hook) -> Self {
        Self {
            mode: Mode::Enforce,
            on_failure: OnFailure::Reject,
            hooks: BTreeSet::from([hook]),
            changes: Ok(Changes::default()),
            verdict: Ok(Verdict::Allow { warnings: Vec::new() }),
            rules: Ok(Vec::new()),
            ranges: Ok(Vec::new()),
        }
    }

    fn changing(changes: impl IntoIterator<Item = Change>) -> Self {
        let changes = Changes {
            changes: changes.into_iter().collect(),
            warnings: Vec::new(),
        };
        Self {
            changes: Ok(changes),
            ..Self::at(Hook::Rewrite)
        }
    }

    fn judging(verdict: Verdict) -> Self {
        Self {
            verdict: Ok(verdict),
            ..Self::at(Hook::Validate)
        }
    }

    /// Whatever it is asked.
    fn failing(hook: Hook) -> Self {
        let error = CallError::Trapped("unreachable".to_owned());
        Self {
            changes: Err(error.clone()),
            verdict: Err(error.clone()),
            rules: Err(error.clone()),
            ranges: Err(error),
            ..Self::at(hook)
        }
    }

    fn monitored(self) -> Self {
        Self {
            mode: Mode::Monitor,
            ..self
        }
    }

    fn ignored(self) -> Self {
        Self {
            on_failure: OnFailure::Ignore,
            ..self
        }
    }
}

// === impl Table ===

impl Table {
    fn of<const N: usize>(plugins: [(&str, Says); N]) -> Self {
        let entries = plugins.iter().map(|(name, says)| ResolvedEntry {
            plugin: (*name).to_owned(),
            version: "1.0.0".to_owned(),
            digest: PluginDigest::from_sha256([7; 32]),
            hooks: says.hooks.clone(),
            settings: Settings {
                mode: says.mode,
                on_failure: says.on_failure,
                config: "{}".to_owned(),
                limits: CallLimits::default(),
                hosts: Vec::new(),
            },
        });
        Self {
            policy: ResolvedPolicy {
                revision: 1,
                entries: entries.collect(),
            },
            says: plugins.map(|(name, says)| (name.to_owned(), says)).into(),
            seen: Mutex::default(),
        }
    }

    async fn judge(&self) -> Judged {
        super::judge::judge(self, &self.policy, &caller(), &spec(), &rules(), &|_| false).await
    }

    async fn inspect(&self) -> (Decision, Vec<HookReport>) {
        let found = Found {
            dockerfile: Dockerfile {
                text: String::new(),
                global_args: Vec::new(),
                stages: Vec::new(),
            },
            resolved_commit: None,
            context_size_bytes: 1,
        };
        super::judge::inspect(self, &self.policy, &caller(), &spec(), &found).await
    }

    fn ask(&self, entry: &ResolvedEntry, hook: Hook, tags: &[String]) -> &Says {
        assert!(entry.hooks.contains(&hook), "{} has no {hook}", entry.plugin);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push((
            entry.plugin.clone(),
            hook,
            tags.to_vec(),
        ));
        &self.says[&entry.plugin]
    }

    fn seen(&self) -> Vec<(String, Hook, Vec<String>)> {
        self.seen.lock().unwrap().clone()
    }
}

impl Calls for Table {
    async fn rewrite(
        &self,
        entry: &ResolvedEntry,
        _caller: &Caller,
        spec: &BuildSpec,
    ) -> Result<Changes, CallError> {
        self.ask(entry, Hook::Rewrite, spec.tags()).changes.clone()
    }

    async fn validate(
        &self,
        entry: &ResolvedEntry,
        _caller: &Caller,
        spec: &BuildSpec,
    ) -> Result<Verdict, CallError> {
        self.ask(entry, Hook::Validate, spec.tags()).verdict.clone()
    }

    async fn inspect(
        &self,
        entry: &ResolvedEntry,
        _caller: &Caller,
        spec: &BuildSpec,
        _found: &Found,
    ) -> Result<Verdict, CallError> {
        self.ask(entry, Hook::Inspect, spec.tags()).verdict.clone()
    }

    async fn rules(
        &self,
        entry: &ResolvedEntry,
        _caller: &Caller,
        spec: &BuildSpec,
    ) -> Result<Vec<Rule>, CallError> {
        self.ask(entry, Hook::Redact, spec.tags()).rules.clone()
    }

    async fn scan(&self, entry: &ResolvedEntry, _lines: &[u8]) -> Result<Vec<Range<usize>>, CallError> {
        self.ask(entry, Hook::RedactScan, &[]).ranges.clone()
    }
}

fn caller() -> Caller {
    Caller {
        org: "acme".parse().unwrap(),
        subject: "ci".to_owned(),
        submitted_at_ms: 1,
    }
}

fn rules() -> Rules {
    Rules {
        timeout_default: Duration::from_secs(1800),
        timeout_max: Duration::from_secs(7200),
        registry: "registry.example.com".to_owned(),
        git_http_allowed: false,
        private_addresses_allowed: false,
        resource_classes: Vec::new(),
    }
}

fn spec() -> BuildSpec {
    let submission = Submission {
        name: "web".to_owned(),
        source: Some(SubmittedSource::Git {
            url: "https://git.example.com/web.git".to_owned(),
            reference: String::new(),
            context_dir: String::new(),
        }),
        tags: vec!["1.0".to_owned()],
        ..Submission::default()
    };
    check(submission, &rules()).unwrap()
}

fn tag(tag: &str) -> Change {
    Change::AddTag(tag.to_owned())
}

fn deny(field: &str, message: &str) -> Verdict {
    Verdict::Deny {
        violations: vec![violation(field, message)],
    }
}

fn violation(field: &str, message: &str) -> Violation {
    Violation {
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

fn hold(reason: &str) -> Verdict {
    Verdict::Hold {
        reason: reason.to_owned(),
    }
}

fn literal(name: &str, text: &str) -> Rule {
    Rule {
        name: name.to_owned(),
        pattern: Pattern::Literal(text.to_owned()),
        replacement: None,
    }
}

fn verdicts(reports: &[HookReport]) -> Vec<ReportVerdict> {
    reports.iter().map(|report| report.verdict).collect()
}
