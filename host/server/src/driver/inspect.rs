//! Between fetch and build: a run waits until plugins have judged the Dockerfile that it has fetched.
//!
//! Their word is in the record before anyone acts on it. A run that may not go on is stopped and leaves its place to others;
//! a build that is held starts anew once it is approved, and is asked about again only if it then finds something else.

use std::sync::Arc;

use ignite_core::{
    build::{Build, Event, Failure, FailureReason, Inspected, Outcome, Word},
    hook::{Hook, HookReport},
    ids::RunId,
    run::FetchReport,
    spec::{BuildSpec, Source},
};
use ignite_plugins::Decision;

use super::{Driver, Live};
use crate::{
    error::Result,
    hooks::{self, Fetched, Gate},
    logs::Pipeline,
};

/// Who has to judge what the build's runs fetch; None: they need not wait. An archive was judged when it was submitted, and
/// cannot have changed.
pub(super) async fn gate(driver: &Driver, build: &Build, spec: &BuildSpec) -> Result<Option<Arc<dyn Gate>>> {
    let is_judged = matches!(spec.source(), Source::Archive(_)) && build.inspected.is_some();
    if is_judged {
        return Ok(None);
    }
    let gate = hooks::pinned(driver.parts.gates.as_ref(), build).await?;
    Ok(gate.filter(|gate| hooks::acts_at(gate.as_ref(), Hook::Inspect)))
}

/// What is said of this report, on record when this returns. Plugins are not asked twice about the same.
pub(super) async fn judge(
    driver: &Driver,
    live: &Arc<Live>,
    run: RunId,
    spec: &BuildSpec,
    gate: &dyn Gate,
    report: &FetchReport,
    pipeline: &Pipeline,
) -> Result<Word> {
    let build = live.current();
    let fetched = Fetched {
        dockerfile: report.dockerfile.as_deref().unwrap_or_default(),
        resolved_commit: report.resolved_commit.as_deref(),
        context_size_bytes: report.context_size_bytes,
    };
    let found = fetched.fingerprint();
    if let Some(before) = build.inspected.as_ref().filter(|before| before.found == found) {
        return Ok(before.word.clone());
    }
    let (word, mut reports) = match &report.dockerfile {
        None => {
            let message = "the policy cannot judge the Dockerfile: it must be UTF-8 text of at most 1 MiB";
            (
                unjudged(gate, FailureReason::PolicyDenied, message.to_owned()),
                Vec::new(),
            )
        }
        Some(_) => match gate.inspect(&hooks::caller_of(&build), spec, &fetched).await {
            Ok((decision, reports)) => (word(decision), reports),
            Err(error) => {
                let message = format!("the Dockerfile cannot be read: {error}");
                (unjudged(gate, FailureReason::Dockerfile, message), Vec::new())
            }
        },
    };
    let word = redacted(word, &mut reports, pipeline);
    let inspected = Inspected {
        found,
        word: word.clone(),
    };
    let event = Event::Inspected {
        run,
        inspected,
        reports,
    };
    driver.apply(live, event).await?;
    Ok(word)
}

/// How a run counts that was stopped for this word; None if it was not to be stopped.
pub(super) fn outcome(word: Word) -> Option<Outcome> {
    match word {
        Word::Allowed => None,
        Word::Held { reasons } => Some(Outcome::Held { reasons }),
        Word::Denied { failure } => Some(Outcome::Failed {
            failure,
            image_refs: Vec::new(),
        }),
    }
}

/// The log's last line of such a run.
pub(super) fn note(word: &Word) -> Option<String> {
    match word {
        Word::Allowed => None,
        Word::Held { reasons } => Some(format!(
            "not built yet, a policy holds it: {}",
            reasons.join("; ")
        )),
        Word::Denied { failure } => Some(format!("not built: {}", failure.message)),
    }
}

fn word(decision: Decision) -> Word {
    match decision {
        Decision::Allow => Word::Allowed,
        Decision::Hold { reasons } => Word::Held { reasons },
        Decision::Deny { violations, plugin } => Word::Denied {
            failure: Failure {
                reason: FailureReason::PolicyDenied,
                message: hooks::denial(&plugin, &violations),
            },
        },
    }
}

/// What no plugin can be shown goes on only where none would refuse it for failing itself: else an odd Dockerfile would be the
/// way around the policy.
fn unjudged(gate: &dyn Gate, reason: FailureReason, message: String) -> Word {
    match hooks::refuses_at(gate, Hook::Inspect) {
        true => Word::Denied {
            failure: Failure { reason, message },
        },
        false => Word::Allowed,
    }
}

/// Plugins saw the Dockerfile, and may quote what is not to stand in the record.
fn redacted(word: Word, reports: &mut [HookReport], pipeline: &Pipeline) -> Word {
    for report in reports {
        for line in report.changes.iter_mut().chain(&mut report.messages) {
            *line = pipeline.redact_text(line);
        }
    }
    match word {
        Word::Allowed => Word::Allowed,
        Word::Held { reasons } => Word::Held {
            reasons: reasons
                .iter()
                .map(|reason| pipeline.redact_text(reason))
                .collect(),
        },
        Word::Denied { failure } => Word::Denied {
            failure: Failure {
                message: pipeline.redact_text(&failure.message),
                ..failure
            },
        },
    }
}
