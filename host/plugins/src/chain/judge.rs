//! The hooks that decide: rewrite and validate at submission, inspect on the Dockerfile.

use ignite_core::{
    hook::{Caller, Found, Hook, HookReport, ReportVerdict},
    policy::ResolvedPolicy,
    request::{self, Rules},
    spec::BuildSpec,
};

use super::{
    Decision, Judged,
    calls::{Calls, timed},
    report::{Call, violation_line},
    verdicts::Verdicts,
};

pub(super) async fn judge(
    calls: &impl Calls,
    policy: &ResolvedPolicy,
    caller: &Caller,
    spec: &BuildSpec,
    rules: &Rules,
    secret_is_stored: &(dyn Fn(&str) -> bool + Sync),
) -> Judged {
    let mut judged = Judged {
        spec: spec.clone(),
        decision: Decision::Allow,
        reports: Vec::new(),
    };
    let mut verdicts = Verdicts::default();
    rewrite(
        calls,
        policy,
        caller,
        rules,
        secret_is_stored,
        &mut judged,
        &mut verdicts,
    )
    .await;
    // What a chain of rewriters that broke off has left is not what would run.
    if !verdicts.is_denied() {
        for entry in policy.at(Hook::Validate) {
            let call = Call {
                entry,
                hook: Hook::Validate,
            };
            let (answer, took) = timed(calls.validate(entry, caller, &judged.spec)).await;
            judged.reports.push(verdicts.take(call, answer, took));
        }
    }
    judged.decision = verdicts.decide();
    judged
}

pub(super) async fn inspect(
    calls: &impl Calls,
    policy: &ResolvedPolicy,
    caller: &Caller,
    spec: &BuildSpec,
    found: &Found,
) -> (Decision, Vec<HookReport>) {
    let mut verdicts = Verdicts::default();
    let mut reports = Vec::new();
    for entry in policy.at(Hook::Inspect) {
        let call = Call {
            entry,
            hook: Hook::Inspect,
        };
        let (answer, took) = timed(calls.inspect(entry, caller, spec, found)).await;
        reports.push(verdicts.take(call, answer, took));
    }
    (verdicts.decide(), reports)
}

/// Each rewriter on what the one before left, until one fails that must not.
async fn rewrite(
    calls: &impl Calls,
    policy: &ResolvedPolicy,
    caller: &Caller,
    rules: &Rules,
    secret_is_stored: &(dyn Fn(&str) -> bool + Sync),
    judged: &mut Judged,
    verdicts: &mut Verdicts,
) {
    for entry in policy.at(Hook::Rewrite) {
        let call = Call {
            entry,
            hook: Hook::Rewrite,
        };
        let (answer, took) = timed(calls.rewrite(entry, caller, &judged.spec)).await;
        let patched =
            answer
                .map_err(|error| vec![error.to_string()])
                .and_then(|answer| {
                    match request::patch(&judged.spec, &answer.changes, rules, secret_is_stored) {
                        Ok(patched) => Ok((patched, answer.warnings)),
                        Err(refused) => {
                            let line = |violation: request::FieldViolation| {
                                violation_line(&violation.field, &violation.description)
                            };
                            let why = "its changes would leave a request that is not taken".to_owned();
                            Err(std::iter::once(why)
                                .chain(refused.into_iter().map(line))
                                .collect())
                        }
                    }
                });
        let report = match patched {
            Err(messages) => verdicts.fail(call, messages, took),
            Ok((patched, warnings)) => {
                let verdict = match patched.changes.is_empty() {
                    true => ReportVerdict::Unchanged,
                    false => ReportVerdict::Changed,
                };
                if !call.is_monitored() {
                    judged.spec = patched.spec;
                }
                call.report(verdict, patched.changes, warnings, took)
            }
        };
        judged.reports.push(report);
        if verdicts.is_denied() {
            return;
        }
    }
}
