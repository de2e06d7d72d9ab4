//! What plugins say of a build before it is accepted: rewritten, then validated, then, where the gateway holds the source,
//! its Dockerfile inspected. Git sources are inspected by the driver, once they are fetched.

use ignite_core::{
    build::{Inspected, Word},
    hook::{Caller, Hook, HookReport},
    ids::{BuildId, ContextId},
    redact::Redactor,
    spec::{BuildSpec, Source},
};
use ignite_plugins::Decision;

use super::Service;
use crate::{
    error::{Error, Result},
    hooks::{self, Fetched, Gate},
    principal::Principal,
    sources::archive,
    unsaid,
};

/// What is shown to `inspect`, at most.
const DOCKERFILE_BYTES_MAX: usize = 1 << 20;

/// A specification and all that was said of it. Nobody has denied it.
pub(super) struct Judgement {
    /// As it will run.
    pub(super) spec: BuildSpec,
    pub(super) policy_revision: Option<u64>,
    pub(super) reports: Vec<HookReport>,
    /// Why it is held; empty if it is not.
    pub(super) hold: Vec<String>,
    pub(super) inspected: Option<Inspected>,
}

// === impl Judgement ===

impl Judgement {
    /// Where no plugin acts.
    pub(super) fn unjudged(spec: BuildSpec) -> Self {
        Self {
            spec,
            policy_revision: None,
            reports: Vec::new(),
            hold: Vec::new(),
            inspected: None,
        }
    }

    /// The word of one chain, as it may be shown; the reasons if it holds the build.
    fn take(
        &mut self,
        decision: Decision,
        reports: Vec<HookReport>,
        redactor: Option<&Redactor>,
    ) -> Result<Vec<String>> {
        let (decision, reports) = match redactor {
            Some(redactor) => {
                let shown = |report| unsaid::report_without(redactor, report);
                let reports = reports.into_iter().map(shown).collect();
                (unsaid::decision_without(redactor, decision), reports)
            }
            None => (decision, reports),
        };
        self.reports.extend(reports);
        match decision {
            Decision::Allow => Ok(Vec::new()),
            Decision::Deny { violations, plugin } => Err(Error::PolicyDenied { plugin, violations }),
            Decision::Hold { reasons } => {
                self.hold.extend_from_slice(&reasons);
                Ok(reasons)
            }
        }
    }
}

// === impl Service ===

impl Service {
    /// The rewrite and the validate chain.
    ///
    /// # Errors
    /// `PolicyDenied` if a plugin refuses the build.
    pub(super) async fn judge(
        &self,
        caller: &Principal,
        id: BuildId,
        spec: BuildSpec,
        gate: &dyn Gate,
    ) -> Result<Judgement> {
        let stored = self.secrets.names(&caller.org).await?;
        let by = shown(caller, id);
        let judging = gate.judge(&by, &spec, &self.rules, &stored);
        let judged = self
            .unsaid
            .while_plugins_talk(&caller.org, &[&spec], judging)
            .await?;
        let specs = [&spec, &judged.spec];
        let redactor = self
            .redactor(caller, &specs, &judged.decision, &judged.reports)
            .await?;
        let mut judgement = Judgement {
            policy_revision: Some(gate.policy().revision),
            ..Judgement::unjudged(judged.spec)
        };
        judgement.take(judged.decision, judged.reports, redactor.as_ref())?;
        Ok(judgement)
    }

    /// The inspect chain on the Dockerfile in a stored archive. What cannot be read or does not parse is left to the run's
    /// own look, which sees what Kaniko will see.
    ///
    /// # Errors
    /// `PolicyDenied` if a plugin refuses the build.
    pub(super) async fn inspect_archive(
        &self,
        caller: &Principal,
        id: BuildId,
        judgement: &mut Judgement,
        gate: &dyn Gate,
    ) -> Result<()> {
        let Source::Archive(context) = judgement.spec.source() else {
            return Ok(());
        };
        if !hooks::acts_at(gate, Hook::Inspect) {
            return Ok(());
        }
        let spec = judgement.spec.clone();
        let Some((text, context_size_bytes)) = self.read_dockerfile(caller, context, &spec).await? else {
            return Ok(());
        };
        let fetched = Fetched {
            dockerfile: &text,
            resolved_commit: None,
            context_size_bytes,
        };
        let by = shown(caller, id);
        let inspecting = gate.inspect(&by, &spec, &fetched);
        let inspected = self
            .unsaid
            .while_plugins_talk(&caller.org, &[&spec], inspecting)
            .await?;
        let Ok((decision, reports)) = inspected else {
            return Ok(());
        };
        let redactor = self.redactor(caller, &[&spec], &decision, &reports).await?;
        let reasons = judgement.take(decision, reports, redactor.as_ref())?;
        let word = match reasons.is_empty() {
            true => Word::Allowed,
            false => Word::Held { reasons },
        };
        judgement.inspected = Some(Inspected {
            found: fetched.fingerprint(),
            word,
        });
        Ok(())
    }

    /// For what was said of a build; none if nothing was, as of most.
    async fn redactor(
        &self,
        caller: &Principal,
        specs: &[&BuildSpec],
        decision: &Decision,
        reports: &[HookReport],
    ) -> Result<Option<Redactor>> {
        if is_silent(decision, reports) {
            return Ok(None);
        }
        self.unsaid.of_specs(&caller.org, specs).await.map(Some)
    }

    async fn read_dockerfile(
        &self,
        caller: &Principal,
        context: &ContextId,
        spec: &BuildSpec,
    ) -> Result<Option<(String, u64)>> {
        let Some(stored) = self.contexts.open(&caller.org, context).await? else {
            return Ok(None);
        };
        let path = spec.dockerfile().to_owned();
        let limits = self.upload_limits.archive.clone();
        let read = move || {
            let file = std::fs::File::open(stored.path())?;
            let picked = archive::read_file(&file, &path, DOCKERFILE_BYTES_MAX, &limits);
            // Held until the bytes were read: they cannot be removed meanwhile.
            drop(stored);
            // It was read by the same rules when it was uploaded; if it is refused now, the fetch step will say why.
            Ok::<_, std::io::Error>(picked.ok())
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(Error::internal)?;
        let picked = read.map_err(Error::internal)?;
        Ok(picked.and_then(|(content, summary)| {
            let text = String::from_utf8(content?).ok()?;
            Some((text, summary.unpacked_bytes))
        }))
    }
}

/// Whether no plugin said anything of the build: then there is nothing to redact.
pub(super) fn is_silent(decision: &Decision, reports: &[HookReport]) -> bool {
    let says_nothing = |report: &HookReport| report.changes.is_empty() && report.messages.is_empty();
    *decision == Decision::Allow && reports.iter().all(says_nothing)
}

/// As the plugins are shown it now and, from the record, ever after.
fn shown(caller: &Principal, id: BuildId) -> Caller {
    Caller {
        org: caller.org.clone(),
        subject: caller.subject.clone(),
        submitted_at_ms: i64::try_from(id.created_at_ms()).unwrap_or(i64::MAX),
    }
}
