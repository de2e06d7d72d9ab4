//! A policy whose plugins say what a test wants, for orders of events that the path of a build must bear.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ignite_core::{
    hook::{ReportVerdict, Rule},
    ids::PluginDigest,
    policy::{CallLimits, ResolvedEntry, Settings},
    redact::RuleSet,
};

use super::*;

type Scan = fn(&[u8]) -> std::result::Result<Vec<Range<usize>>, String>;

/// Every organization's policy.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    policy: ResolvedPolicy,
    script: Mutex<Script>,
    calls: Mutex<Vec<Hook>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) rewritten_tags: Option<Vec<String>>,
    pub(crate) validate: Decision,
    pub(crate) inspect: Decision,
    pub(crate) takes: Duration,
    pub(crate) rules: Vec<Rule>,
    pub(crate) withhold: Option<String>,
    /// In every report.
    pub(crate) messages: Vec<String>,
    pub(crate) scan: Scan,
}

// === impl Scripted ===

impl Scripted {
    /// Revision 7, with one plugin, `judge`, that acts at `hooks`.
    pub(crate) fn new(hooks: &[Hook]) -> Self {
        let entry = ResolvedEntry {
            plugin: "judge".to_owned(),
            version: "1.0.0".to_owned(),
            digest: PluginDigest::from_sha256([7; 32]),
            hooks: hooks.iter().copied().collect::<BTreeSet<_>>(),
            settings: Settings {
                mode: Mode::Enforce,
                on_failure: OnFailure::Reject,
                config: "{}".to_owned(),
                limits: CallLimits::default(),
                hosts: Vec::new(),
            },
        };
        let script = Script {
            rewritten_tags: None,
            validate: Decision::Allow,
            inspect: Decision::Allow,
            takes: Duration::ZERO,
            rules: Vec::new(),
            withhold: None,
            messages: Vec::new(),
            scan: |_| Ok(Vec::new()),
        };
        let policy = ResolvedPolicy {
            revision: 7,
            entries: vec![entry],
        };
        Self {
            shared: Arc::new(Shared {
                policy,
                script: Mutex::new(script),
                calls: Mutex::default(),
            }),
        }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often plugins were asked at `hook`.
    pub(crate) fn calls(&self, hook: Hook) -> usize {
        let calls = self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|call| **call == hook).count()
    }

    async fn called(&self, hook: Hook) -> Script {
        self.shared
            .calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(hook);
        let script = self.script().clone();
        tokio::time::sleep(script.takes).await;
        script
    }
}

pub(crate) fn deny(field: &str, message: &str) -> Decision {
    Decision::Deny {
        violations: vec![ignite_core::hook::Violation {
            field: field.to_owned(),
            message: message.to_owned(),
        }],
        plugin: "judge".to_owned(),
    }
}

pub(crate) fn hold(reason: &str) -> Decision {
    Decision::Hold {
        reasons: vec![format!("judge: {reason}")],
    }
}

// === impl Script ===

impl Script {
    fn report(&self, hook: Hook, verdict: ReportVerdict) -> HookReport {
        HookReport {
            plugin: "judge".to_owned(),
            digest: PluginDigest::from_sha256([7; 32]),
            hook,
            monitored: false,
            verdict,
            changes: Vec::new(),
            messages: self.messages.clone(),
            micros: 1,
        }
    }
}

fn verdict(decision: &Decision) -> ReportVerdict {
    match decision {
        Decision::Allow => ReportVerdict::Allow,
        Decision::Deny { .. } => ReportVerdict::Deny,
        Decision::Hold { .. } => ReportVerdict::Hold,
    }
}

#[async_trait]
impl Gates for Scripted {
    async fn in_force(&self, _org: &OrgId) -> Result<Option<Arc<dyn Gate>>> {
        Ok(Some(Arc::new(self.clone())))
    }

    async fn revision(&self, _org: &OrgId, revision: u64) -> Result<Option<Arc<dyn Gate>>> {
        Ok((revision == self.shared.policy.revision).then(|| Arc::new(self.clone()) as _))
    }
}

#[async_trait]
impl Gate for Scripted {
    fn policy(&self) -> &ResolvedPolicy {
        &self.shared.policy
    }

    async fn judge(&self, _caller: &Caller, spec: &BuildSpec, _rules: &Rules, _stored: &Names) -> Judged {
        let script = self.called(Hook::Validate).await;
        let mut spec = serde_json::to_value(spec).unwrap();
        if let Some(tags) = &script.rewritten_tags {
            spec["tags"] = tags.clone().into();
        }
        Judged {
            spec: serde_json::from_value(spec).unwrap(),
            reports: vec![script.report(Hook::Validate, verdict(&script.validate))],
            decision: script.validate,
        }
    }

    async fn inspect(
        &self,
        _caller: &Caller,
        _spec: &BuildSpec,
        fetched: &Fetched<'_>,
    ) -> std::result::Result<(Decision, Vec<HookReport>), ParseError> {
        if !fetched.dockerfile.starts_with("FROM") {
            return Err(ParseError {
                line: 1,
                message: "no FROM".to_owned(),
            });
        }
        let script = self.called(Hook::Inspect).await;
        let reports = vec![script.report(Hook::Inspect, verdict(&script.inspect))];
        Ok((script.inspect, reports))
    }

    async fn redaction(&self, _caller: &Caller, _spec: &BuildSpec) -> Redaction {
        let script = self.called(Hook::Redact).await;
        Redaction {
            rules: RuleSet::new(&script.rules).unwrap(),
            reports: vec![script.report(Hook::Redact, ReportVerdict::Applied)],
            given: script.rules,
            withhold: script.withhold,
        }
    }

    async fn scan(&self, lines: &[u8]) -> std::result::Result<Vec<Range<usize>>, String> {
        let script = self.called(Hook::RedactScan).await;
        (script.scan)(lines)
    }
}
