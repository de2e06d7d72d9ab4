//! DryRunPolicy: what a policy would do to a build. Nothing is stored or started.

use std::{fs::File, io::Write as _, sync::Arc};

use bytes::Bytes;
use ignite_core::{
    dockerfile,
    hook::{Caller, Found, Hook, HookReport},
    policy::ResolvedPolicy,
    redact::Redactor,
    request::{self, FieldViolation},
    spec::{ArgValue, BuildSpec, Source},
};
use ignite_plugins::{Chain, Decision};
use ignite_proto::v1::{self, create_build_request};
use tokio::sync::Semaphore;

use super::{Service, convert, judging::is_silent};
use crate::{
    clock,
    error::{Error, Result},
    principal::{Principal, Scope},
    secrets::Names,
    sources::{
        archive::{self, ArchiveLimits},
        fetch::dockerfile_of,
    },
    unsaid,
};

const LOG_SAMPLE_BYTES_MAX: usize = 64 << 10;
/// An archive of at most 4 MiB is unpacked to find its Dockerfile; CreateBuild may allow more.
const UNPACKED_BYTES_MAX: u64 = 64 << 20;
/// Archives that lie unpacked at once.
static UNPACKING: Semaphore = Semaphore::const_new(2);

/// A Dockerfile to be judged, and the field that it came in.
struct Shown {
    text: String,
    context_size_bytes: u64,
    field: &'static str,
}

impl Service {
    pub async fn dry_run_policy(
        &self,
        caller: &Principal,
        mut request: v1::DryRunPolicyRequest,
    ) -> Result<v1::DryRunPolicyResponse> {
        caller.require(Scope::PoliciesRead)?;
        if request.log_sample.len() > LOG_SAMPLE_BYTES_MAX {
            let description = format!("must be at most {LOG_SAMPLE_BYTES_MAX} bytes");
            return Err(Error::invalid("log_sample", description));
        }
        let build = request
            .request
            .take()
            .ok_or_else(|| Error::invalid("request", "is required: the build to try"))?;
        let archive = match &build.source {
            Some(create_build_request::Source::ZippedCode(bytes)) => Some(bytes.clone()),
            Some(_) | None => None,
        };
        let submission = convert::submission(build);
        if let Some(what) = submission.unsupported() {
            return Err(Error::Unimplemented { what });
        }
        let spec = request::check(submission, &self.rules).map_err(in_request)?;
        let stored = self.secrets.names(&caller.org).await?;
        let spec = spec.with_stored_secrets(stored.iter().map(String::as_str));
        let policy = match request.policy_text.as_str() {
            "" => self.policies.in_force(&caller.org).await?.unwrap_or_default(),
            text => Arc::new(self.policies.check(&caller.org, text, 0).await?),
        };
        let trying = self.try_policy(caller, request, archive, &spec, policy, &stored);
        self.unsaid
            .while_plugins_talk(&caller.org, &[&spec], trying)
            .await?
    }

    async fn try_policy(
        &self,
        caller: &Principal,
        request: v1::DryRunPolicyRequest,
        archive: Option<Bytes>,
        spec: &BuildSpec,
        policy: Arc<ResolvedPolicy>,
        stored: &Names,
    ) -> Result<v1::DryRunPolicyResponse> {
        let chain = self.policies.chain(Arc::clone(&policy));
        let by = Caller {
            org: caller.org.clone(),
            subject: caller.subject.clone(),
            submitted_at_ms: clock::now_ms(),
        };
        let is_stored = |name: &str| stored.contains(name);
        let judged = chain.judge(&by, spec, &self.rules, &is_stored).await;
        let (mut decision, mut reports) = (judged.decision, judged.reports);
        if acts(&policy, Hook::Inspect)
            && let Some(shown) = dockerfile_to_judge(request.dockerfile_text, archive, &judged.spec).await?
        {
            let (verdict, inspected) = inspect(&chain, &by, &judged.spec, shown).await?;
            decision = stricter(decision, verdict);
            reports.extend(inspected);
        }
        let mut redaction = None;
        if acts(&policy, Hook::Redact) || !request.log_sample.is_empty() {
            let mut asked = chain.redaction(&by, &judged.spec).await;
            reports.append(&mut asked.reports);
            redaction = Some(asked);
        }
        let withhold = redaction.as_ref().and_then(|asked| asked.withhold.as_deref());
        let is_scanned = acts(&policy, Hook::RedactScan) && !request.log_sample.is_empty();
        let sayable = match withhold.is_none() && !is_scanned && is_silent(&decision, &reports) {
            true => None,
            false => Some(self.sayable(caller, &[spec, &judged.spec]).await?),
        };
        let said = |text: String| match &sayable {
            Some(redactor) => unsaid::without(redactor, &text),
            None => text,
        };
        let redacted_log_sample = match (withhold, &redaction) {
            (Some(why), _) => said(format!("(the log would be withheld: {why})")),
            (None, Some(redaction)) => {
                // Not what is stored: who may look at policies could guess at values with samples.
                let secrets = spec.secret_values().chain(judged.spec.secret_values());
                let redactor = Redactor::with_rules(secrets, &redaction.rules);
                let text = redactor.redact_text(&request.log_sample);
                let (text, failures) = chain.scan_text(&text, &said).await;
                reports.extend(failures);
                text
            }
            (None, None) => String::new(),
        };
        if let Some(sayable) = &sayable {
            let shown = |report| unsaid::report_without(sayable, report);
            reports = reports.into_iter().map(shown).collect();
            decision = unsaid::decision_without(sayable, decision);
        }
        let (decision, reasons) = told(decision);
        Ok(v1::DryRunPolicyResponse {
            decision: decision.into(),
            reasons,
            hook_reports: reports.iter().map(convert::hook_report).collect(),
            rewritten: Some(rewritten(&judged.spec)),
            changes: changes(&policy, &reports),
            redacted_log_sample,
            policy_revision: policy.revision,
        })
    }

    /// For what plugins say of the build: as a build's record would show it to whoever may build. Who may not is told by nothing
    /// what is stored: a plugin that repeats what it is shown would tell, guess by guess, which guesses are right.
    async fn sayable(&self, caller: &Principal, specs: &[&BuildSpec]) -> Result<Redactor> {
        match caller.require(Scope::BuildsWrite) {
            Ok(()) => self.unsaid.of_specs(&caller.org, specs).await,
            Err(_) => Ok(Redactor::new(specs.iter().flat_map(|spec| spec.secret_values()))),
        }
    }
}

fn acts(policy: &ResolvedPolicy, hook: Hook) -> bool {
    policy.at(hook).next().is_some()
}

fn in_request(violations: Vec<FieldViolation>) -> Error {
    let within = |violation: FieldViolation| FieldViolation {
        field: format!("request.{}", violation.field),
        ..violation
    };
    Error::InvalidArgument(violations.into_iter().map(within).collect())
}

/// The text that was sent, else that of the archive in the request; none for other sources.
async fn dockerfile_to_judge(
    text: String,
    archive: Option<Bytes>,
    spec: &BuildSpec,
) -> Result<Option<Shown>> {
    if !text.is_empty() {
        return Ok(Some(Shown {
            text,
            context_size_bytes: 0,
            field: "dockerfile_text",
        }));
    }
    let Some(archive) = archive else { return Ok(None) };
    let path = spec.dockerfile().to_owned();
    let permit = UNPACKING.acquire().await.map_err(Error::internal)?;
    let read = move || {
        let _permit = permit;
        read_from(&archive, &path)
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(Error::internal)?
        .map(Some)
}

/// Unpacks the archive as a build would, so that links are followed as there.
fn read_from(archive: &[u8], dockerfile: &str) -> Result<Shown> {
    let refused = |description: String| Error::invalid("request.zipped_code", description);
    let mut file: File = tempfile::tempfile().map_err(Error::internal)?;
    file.write_all(archive).map_err(Error::internal)?;
    let limits = ArchiveLimits {
        unpacked_bytes_max: UNPACKED_BYTES_MAX,
        ..ArchiveLimits::default()
    };
    let workspace = tempfile::tempdir().map_err(Error::internal)?;
    let summary =
        archive::unpack(&file, workspace.path(), &limits).map_err(|error| match error.is_internal() {
            true => Error::internal(error),
            false => refused(error.to_string()),
        })?;
    let text = dockerfile_of(workspace.path(), dockerfile)
        .map_err(Error::internal)?
        .ok_or_else(|| {
            refused(format!(
                "must have the Dockerfile at {dockerfile:?}, as text of at most 1 MiB"
            ))
        })?;
    Ok(Shown {
        text,
        context_size_bytes: summary.unpacked_bytes,
        field: "request.zipped_code",
    })
}

async fn inspect(
    chain: &Chain,
    by: &Caller,
    spec: &BuildSpec,
    shown: Shown,
) -> Result<(Decision, Vec<HookReport>)> {
    let dockerfile = dockerfile::parse(&shown.text, spec.build_args())
        .map_err(|error| Error::invalid(shown.field, format!("is no Dockerfile: {error}")))?;
    let found = Found {
        dockerfile,
        resolved_commit: None,
        context_size_bytes: shown.context_size_bytes,
    };
    Ok(chain.inspect(by, spec, &found).await)
}

/// One denial denies; else one hold holds.
fn stricter(a: Decision, b: Decision) -> Decision {
    match (a, b) {
        (
            Decision::Deny {
                mut violations,
                plugin,
            },
            Decision::Deny { violations: more, .. },
        ) => {
            violations.extend(more);
            Decision::Deny { violations, plugin }
        }
        (deny @ Decision::Deny { .. }, _) | (_, deny @ Decision::Deny { .. }) => deny,
        (Decision::Hold { mut reasons }, Decision::Hold { reasons: more }) => {
            reasons.extend(more);
            Decision::Hold { reasons }
        }
        (hold @ Decision::Hold { .. }, Decision::Allow) | (Decision::Allow, hold @ Decision::Hold { .. }) => {
            hold
        }
        (Decision::Allow, Decision::Allow) => Decision::Allow,
    }
}

fn told(decision: Decision) -> (v1::PolicyDecision, Vec<String>) {
    match decision {
        Decision::Allow => (v1::PolicyDecision::Allow, Vec::new()),
        Decision::Hold { reasons } => (v1::PolicyDecision::Hold, reasons),
        Decision::Deny { violations, plugin } => {
            let told = |violation: ignite_core::hook::Violation| match violation.field.as_str() {
                "" => format!("{plugin}: {}", violation.message),
                field => format!("{plugin}: {field}: {}", violation.message),
            };
            let reasons = violations.into_iter().map(told).collect();
            (v1::PolicyDecision::Deny, reasons)
        }
    }
}

/// What rewriters that are enforced changed.
fn changes(policy: &ResolvedPolicy, reports: &[HookReport]) -> Vec<String> {
    if !acts(policy, Hook::Rewrite) {
        return Vec::new();
    }
    reports
        .iter()
        .filter(|report| report.hook == Hook::Rewrite && !report.monitored)
        .flat_map(|report| report.changes.iter().cloned())
        .collect()
}

/// A stored secret by its name.
fn shown(value: &ArgValue) -> String {
    match value.stored_name() {
        Some(secret) => format!("secret({secret})"),
        None => value.shown().to_owned(),
    }
}

fn rewritten(spec: &BuildSpec) -> v1::CreateBuildRequest {
    v1::CreateBuildRequest {
        name: spec.name().to_owned(),
        dockerfile: spec.dockerfile().to_owned(),
        tags: spec.tags().to_vec(),
        build_args: spec
            .build_args()
            .iter()
            .map(|(name, value)| (name.clone(), shown(value)))
            .collect(),
        no_cache: spec.no_cache(),
        timeout_secs: spec.timeout().as_secs(),
        platform: spec.platform().unwrap_or_default().to_owned(),
        source: Some(match spec.source() {
            Source::Archive(context) => create_build_request::Source::ContextId(context.to_string()),
            Source::Git(git) => create_build_request::Source::GitSource(v1::GitSource {
                url: git.url.clone(),
                reference: git.reference.clone(),
                context_dir: git.context_dir.clone(),
            }),
        }),
        labels: spec.labels().clone(),
        priority: spec.priority(),
        ..v1::CreateBuildRequest::default()
    }
}
