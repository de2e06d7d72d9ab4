//! The hooks that take out: rules for the gateway to search by, and the slow scan of the lines themselves.

use std::{ops::Range, time::Duration};

use ignite_core::{
    hook::{Caller, Hook, HookReport, ReportVerdict, Rule},
    policy::ResolvedPolicy,
    redact::RuleSet,
    spec::BuildSpec,
};

use super::{
    Redaction, Scanned,
    calls::{Calls, timed},
    lines,
    report::{Call, cut},
};

pub(super) async fn rules(
    calls: &impl Calls,
    policy: &ResolvedPolicy,
    caller: &Caller,
    spec: &BuildSpec,
) -> Redaction {
    let mut redaction = Redaction {
        rules: RuleSet::default(),
        given: Vec::new(),
        reports: Vec::new(),
        withhold: None,
    };
    for entry in policy.at(Hook::Redact) {
        let call = Call {
            entry,
            hook: Hook::Redact,
        };
        let (answer, took) = timed(calls.rules(entry, caller, spec)).await;
        let checked = answer
            .map_err(|error| vec![error.to_string()])
            .and_then(|given| add(&redaction.given, given, call.is_monitored()));
        match checked {
            Ok((all, set, change)) => {
                if !call.is_monitored() {
                    (redaction.given, redaction.rules) = (all, set);
                }
                let report = call.report(ReportVerdict::Applied, change, Vec::new(), took);
                redaction.reports.push(report);
            }
            Err(messages) => {
                let why = call.counted_failure(&messages);
                redaction.withhold = redaction.withhold.or(why);
                redaction.reports.push(call.failed(messages, took));
            }
        }
    }
    redaction
}

/// The rules taken so far and those `given`, checked together, so that a limit on all of them is blamed on the plugin that passed
/// it. A monitored plugin's rules stand alone: they would take room from those that count.
fn add(
    taken: &[Rule],
    given: Vec<Rule>,
    monitored: bool,
) -> Result<(Vec<Rule>, RuleSet, Vec<String>), Vec<String>> {
    let names: Vec<&str> = given.iter().map(|rule| rule.name.as_str()).collect();
    let change = match names.len() {
        0 => Vec::new(),
        _ => vec![cut(format!("rules: {}", names.join(", ")))],
    };
    let mut all = match monitored {
        true => Vec::new(),
        false => taken.to_vec(),
    };
    all.extend(given);
    match RuleSet::new(&all) {
        Ok(set) => Ok((all, set, change)),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

pub(super) async fn scan(calls: &impl Calls, policy: &ResolvedPolicy, lines: &[u8]) -> Scanned {
    let mut scanned = Scanned::default();
    let mut found = Vec::new();
    for entry in policy.at(Hook::RedactScan) {
        let call = Call {
            entry,
            hook: Hook::RedactScan,
        };
        let (answer, took) = timed(calls.scan(entry, lines)).await;
        match answer.map_err(|error| error.to_string()) {
            Ok(ranges) if call.is_monitored() => drop(ranges),
            Ok(ranges) => found.extend(ranges),
            Err(message) => fail(&mut scanned, call, message, took),
        }
    }
    scanned.ranges = merged(found);
    scanned
}

pub(super) async fn scan_text(
    calls: &impl Calls,
    policy: &ResolvedPolicy,
    text: &str,
    said: &(dyn Fn(String) -> String + Sync),
) -> (String, Vec<HookReport>) {
    if policy.at(Hook::RedactScan).next().is_none() {
        return (text.to_owned(), Vec::new());
    }
    let mut left = Vec::with_capacity(text.len());
    let mut failures = Vec::new();
    for piece in lines::pieces(text.as_bytes()) {
        let mut scanned = scan(calls, policy, piece).await;
        failures.append(&mut scanned.failures);
        match scanned
            .into_ranges()
            .and_then(|ranges| lines::without(piece, ranges))
        {
            Ok(shown) => left.extend(shown),
            Err(why) => left.extend(lines::withheld(piece.len(), &said(why)).into_bytes()),
        }
    }
    (String::from_utf8_lossy(&left).into_owned(), failures)
}

fn fail(scanned: &mut Scanned, call: Call<'_>, message: String, took: Duration) {
    let messages = vec![message];
    scanned.withhold = scanned.withhold.take().or(call.counted_failure(&messages));
    scanned.failures.push(call.failed(messages, took));
}

/// Ranges that share a byte become one; ranges that only touch stay apart, as in the redactor.
pub(super) fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            Some(_) | None => merged.push(range),
        }
    }
    merged
}
