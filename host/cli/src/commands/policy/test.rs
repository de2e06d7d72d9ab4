//! `ignite policy test`: cases against a whole policy, here with components from a folder or by the gateway's dry run.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use ignite_core::{
    policy::{DOCUMENT_BYTES_MAX, Pin, Policy, ResolvedPolicy, StoredPlugin},
    redact::Redactor,
};
use ignite_plugins::{
    Admitted, Chain, Decision,
    config::{self, ConfigError},
};
use ignite_proto::v1::{self, PolicyDecision};

use super::{client, text};
use crate::{
    args::policy::PolicyTestArgs,
    case::{
        Case, Outcome,
        report::{Report, load},
        run::{shown_field, shown_violation},
    },
    client::Client,
    error::{Error, Result},
    offline::Offline,
    settings::Settings,
};

pub(super) async fn run(args: PolicyTestArgs, settings: &Settings) -> Result<()> {
    let document = text(&args.file, DOCUMENT_BYTES_MAX)?;
    let cases = load(&args.cases)?;
    for (file, case) in &cases {
        if case.hook.is_some() {
            let what = "hook: leave it out, the policy says which hooks are called";
            return Err(Error::input(format!("{}:1: {what}", file.display())));
        }
    }
    let begun = Instant::now();
    let mut report = Report::default();
    if let Some(folder) = &args.plugins {
        let local = Local::new(&args.file, &document, folder).await?;
        for (file, case) in cases {
            let outcome = local.run(&case).await;
            report.add(file, &case, outcome);
        }
    } else {
        let client = client(settings).await?;
        for (file, case) in cases {
            let outcome = ask(&client, &document, &case).await?;
            report.add(file, &case, outcome);
        }
    }
    report.finish(settings, begun.elapsed())
}

/// A policy bound to the components of a folder.
#[derive(Debug)]
struct Local {
    chain: Chain,
    /// Keeps the components that the chain calls.
    _offline: Offline,
}

impl Local {
    /// The policy is checked as the gateway checks one that is put: plugins there, hooks exported, configurations accepted.
    async fn new(path: &Path, document: &str, folder: &Path) -> Result<Self> {
        let wrong = |all: Vec<String>| Error::input(format!("{}: {}", path.display(), all.join("; ")));
        let policy = Policy::parse(document)
            .map_err(|violations| wrong(violations.iter().map(shown_field).collect()))?;
        let offline = Offline::new()?;
        let stored = components(&offline, folder).await?;
        let policy = policy
            .resolve(1, |name, pin| find(&stored, name, pin))
            .map_err(|violations| wrong(violations.iter().map(shown_field).collect()))?;
        check_configs(&offline, &stored, &policy).await?.map_err(wrong)?;
        let chain = Chain {
            runtime: Arc::clone(&offline.runtime),
            policy: Arc::new(policy),
        };
        Ok(Self {
            chain,
            _offline: offline,
        })
    }

    async fn run(&self, case: &Case) -> Outcome {
        let rules = case.rules();
        // Which secrets a gateway has stored is not known here.
        let stored = |_: &str| true;
        let judged = self.chain.judge(&case.caller, &case.spec, &rules, &stored).await;
        let mut decision = judged.decision;
        let mut changes = Vec::new();
        let mut warnings = Vec::new();
        let mut reports = judged.reports;
        if let Some(found) = &case.found
            && !matches!(decision, Decision::Deny { .. })
        {
            let (inspected, more) = self.chain.inspect(&case.caller, &judged.spec, found).await;
            reports.extend(more);
            decision = stricter(decision, inspected);
        }
        for report in reports {
            // What a monitored plugin would have changed was not changed.
            if !report.monitored {
                changes.extend(report.changes);
            }
            let said = report.messages.iter();
            warnings.extend(said.map(|message| format!("{}: {message}", report.plugin)));
        }
        let (verdict, mut messages) = match decision {
            Decision::Allow => ("allow", Vec::new()),
            Decision::Deny { violations, .. } => ("deny", violations.iter().map(shown_violation).collect()),
            Decision::Hold { reasons } => ("hold", reasons),
        };
        messages.extend(warnings);
        Outcome {
            verdict,
            messages,
            changes,
            redacted: self.redacted(case).await,
        }
    }

    async fn redacted(&self, case: &Case) -> Option<String> {
        let sample = case.expect.sample.as_deref()?;
        let redaction = self.chain.redaction(&case.caller, &case.spec).await;
        Some(match redaction.withhold {
            Some(why) => format!("withheld: {why}"),
            None => {
                let redactor = Redactor::with_rules(case.spec.secret_values(), &redaction.rules);
                let text = redactor.redact_text(sample);
                self.chain.scan_text(&text, &|why| why).await.0
            }
        })
    }
}

/// All components of a folder, each of which must be one that the gateway would take.
async fn components(offline: &Offline, folder: &Path) -> Result<Vec<Admitted>> {
    let unreadable = |error| Error::input(format!("cannot read {}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "wasm") {
            files.push(path);
        }
    }
    files.sort();
    let mut admitted = Vec::new();
    for file in files {
        admitted.push(offline.load(&file).await?);
    }
    Ok(admitted)
}

fn find(stored: &[Admitted], name: &str, pin: &Pin) -> Option<StoredPlugin> {
    let found = stored.iter().find(|admitted| {
        admitted.description.name == name
            && match pin {
                Pin::Digest(digest) => admitted.digest == *digest,
                Pin::Version(version) => admitted.description.version == version.to_string(),
            }
    })?;
    Some(StoredPlugin {
        version: found.description.version.clone(),
        digest: found.digest,
        hooks: found.hooks.clone(),
    })
}

/// All problems of all configurations, with their places in the document. The inner error says them.
async fn check_configs(
    offline: &Offline,
    stored: &[Admitted],
    policy: &ResolvedPolicy,
) -> Result<std::result::Result<(), Vec<String>>> {
    let mut wrong = Vec::new();
    for (index, entry) in policy.entries.iter().enumerate() {
        let Some(admitted) = stored.iter().find(|admitted| admitted.digest == entry.digest) else {
            continue;
        };
        match offline.config_problems(admitted, &entry.settings).await {
            Ok(problems) => wrong.extend(
                problems
                    .iter()
                    .map(|problem| format!("{}: {}", config::place(index, &problem.path), problem.message)),
            ),
            Err(ConfigError::Call(error)) => {
                wrong.push(format!("{}: check-config: {error}", config::place(index, "")));
            }
            Err(ConfigError::Child(error)) => {
                return Err(Error::local("cannot check a configuration", error));
            }
        }
    }
    Ok(match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong),
    })
}

/// One denial denies; else one hold holds.
fn stricter(first: Decision, second: Decision) -> Decision {
    match (first, second) {
        (first @ Decision::Deny { .. }, _) => first,
        (_, second @ Decision::Deny { .. }) => second,
        (Decision::Hold { mut reasons }, Decision::Hold { reasons: more }) => {
            reasons.extend(more);
            Decision::Hold { reasons }
        }
        (first @ Decision::Hold { .. }, Decision::Allow) => first,
        (Decision::Allow, second) => second,
    }
}

async fn ask(client: &Client, document: &str, case: &Case) -> Result<Outcome> {
    let request = v1::DryRunPolicyRequest {
        request: Some(case.request.clone()),
        policy_text: document.to_owned(),
        dockerfile_text: case
            .found
            .as_ref()
            .map(|found| found.dockerfile.text.clone())
            .unwrap_or_default(),
        log_sample: case.expect.sample.clone().unwrap_or_default(),
    };
    let response = client.dry_run_policy(request).await?;
    let verdict = match response.decision() {
        PolicyDecision::Allow => "allow",
        PolicyDecision::Deny => "deny",
        PolicyDecision::Hold => "hold",
        PolicyDecision::Unspecified => return Err(Error::Nonsense("a dry run without a decision")),
    };
    let warnings = response.hook_reports.iter().flat_map(|report| {
        let said = report.messages.iter();
        said.map(move |message| format!("{}: {message}", report.plugin))
    });
    let messages = response.reasons.iter().cloned().chain(warnings).collect();
    Ok(Outcome {
        verdict,
        messages,
        changes: response.changes,
        redacted: case.expect.sample.as_ref().map(|_| response.redacted_log_sample),
    })
}
