//! Random histories against a model that knows only what matters: who runs, who waits, who is done.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::request::{Rules, Submission, SubmittedSource, check};

const RETRY: RetryPolicy = RetryPolicy {
    attempts_max: 3,
    backoff_ms: 10,
    backoff_ms_max: 25,
};

fn build() -> Build {
    let submission = Submission {
        name: "web".to_owned(),
        source: Some(SubmittedSource::ZippedCode {
            sha256: [0; 32],
            size_bytes: 1,
        }),
        ..Submission::default()
    };
    let rules = Rules {
        timeout_default: Duration::from_secs(1),
        timeout_max: Duration::from_secs(1),
        registry: String::new(),
        git_http_allowed: false,
        private_addresses_allowed: false,
        resource_classes: Vec::new(),
    };
    let spec = check(submission, &rules).unwrap();
    Build::new(
        BuildId::new(5, 0),
        "acme".parse().unwrap(),
        "me".to_owned(),
        &spec,
    )
}

fn run(attempt: u32) -> RunId {
    RunId {
        build: BuildId::new(5, 0),
        platform: 0,
        attempt,
    }
}

fn failure(reason: FailureReason) -> Failure {
    Failure {
        reason,
        message: "why".to_owned(),
    }
}

fn infrastructure(attempt: u32) -> Event {
    Event::Ended {
        run: run(attempt),
        outcome: Outcome::Infrastructure {
            failure: failure(FailureReason::Internal),
        },
    }
}

fn changed(build: &mut Build, event: Event, now_ms: i64) -> Vec<Effect> {
    match apply(build, event, now_ms, &RETRY) {
        Ok(Applied::Changed(effects)) => effects,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_build_that_loses_its_runs_is_tried_again_later_and_later_and_then_fails() {
    let mut build = build();
    let mut waits = Vec::new();
    for attempt in 1..=3 {
        assert_eq!(
            changed(&mut build, Event::Started { run: run(attempt) }, 1000),
            [Effect::Dequeue]
        );
        let effects = changed(&mut build, infrastructure(attempt), 1000);
        assert_eq!(effects[0], Effect::ForgetRun(run(attempt)));
        assert_eq!(effects.contains(&Effect::Requeue), attempt < 3);
        waits.push(build.not_before_ms - 1000);
    }
    assert_eq!(waits, [10, 20, 20]);
    assert_eq!((build.status, build.attempts()), (Status::Failed, 3));
    assert_eq!(build.started_at_ms, Some(1000));
}

#[test]
fn a_cancellation_between_two_attempts_is_final() {
    let mut build = build();
    changed(&mut build, Event::Started { run: run(1) }, 1);
    changed(&mut build, infrastructure(1), 2);
    assert_eq!(build.status, Status::Pending);
    assert_eq!(changed(&mut build, Event::CancelRequested, 3), [Effect::Dequeue]);
    assert_eq!(build.status, Status::Cancelled);
    assert_eq!(
        apply(&mut build, Event::Started { run: run(2) }, 4, &RETRY),
        Err(Denied::Terminal(Status::Cancelled))
    );
    // The late end of the run that was lost changes nothing either.
    assert_eq!(
        apply(&mut build, infrastructure(1), 5, &RETRY),
        Ok(Applied::AlreadySo)
    );
}

#[test]
fn a_cancelled_run_that_gets_lost_is_not_tried_again() {
    let mut build = build();
    changed(&mut build, Event::Started { run: run(1) }, 1);
    assert_eq!(
        changed(&mut build, Event::CancelRequested, 2),
        [Effect::StopRun(run(1))]
    );
    assert_eq!(
        apply(&mut build, Event::CancelRequested, 3, &RETRY),
        Ok(Applied::AlreadySo)
    );
    assert_eq!(
        changed(&mut build, infrastructure(1), 4),
        [Effect::ForgetRun(run(1))]
    );
    assert_eq!(build.status, Status::Cancelled);
    assert_eq!(build.failure.unwrap().reason, FailureReason::Cancelled);
}

#[test]
fn a_push_that_was_done_outlives_a_late_cancellation() {
    let mut build = build();
    changed(&mut build, Event::Started { run: run(1) }, 1);
    changed(&mut build, Event::CancelRequested, 2);
    let outcome = Outcome::Succeeded {
        image: Image {
            digest: "sha256:x".to_owned(),
            size_bytes: 1,
            layer_count: 1,
        },
        image_refs: vec!["r/acme/web:latest".to_owned()],
    };
    changed(&mut build, Event::Ended { run: run(1), outcome }, 3);
    assert_eq!((build.status, build.failure), (Status::Succeeded, None));
}

fn report(lines: usize) -> HookReport {
    HookReport {
        plugin: "base-images".to_owned(),
        digest: crate::ids::PluginDigest::from_sha256([7; 32]),
        hook: crate::hook::Hook::Inspect,
        monitored: false,
        verdict: crate::hook::ReportVerdict::Deny,
        changes: Vec::new(),
        messages: vec!["é".repeat(5000); lines],
        micros: 1,
    }
}

fn approval() -> Approval {
    Approval {
        subject: "lead".to_owned(),
        reason: "seen".to_owned(),
        at_ms: 1,
    }
}

#[test]
fn a_held_build_runs_once_it_is_approved_and_what_was_approved_is_not_judged_again() {
    let mut build = build();
    changed(&mut build, Event::Started { run: run(1) }, 1);
    let word = Word::Held {
        reasons: vec!["approval: a release".to_owned()],
    };
    let inspected = Inspected {
        found: "abc".to_owned(),
        word,
    };
    let reports = vec![report(1)];
    changed(
        &mut build,
        Event::Inspected {
            run: run(1),
            inspected,
            reports,
        },
        2,
    );
    let reasons = vec!["approval: a release".to_owned()];
    let outcome = Outcome::Held { reasons };
    let effects = changed(&mut build, Event::Ended { run: run(1), outcome }, 3);
    assert_eq!(
        effects,
        [Effect::ForgetRun(run(1))],
        "it has no place in the queue"
    );
    assert_eq!((build.status, build.is_due()), (Status::Pending, false));
    assert_eq!(build.hold.as_ref().unwrap().since_ms, 3);
    assert_eq!(
        apply(&mut build, Event::Started { run: run(2) }, 4, &RETRY),
        Err(Denied::Held)
    );
    assert_eq!(
        changed(&mut build, Event::Approved(approval()), 5),
        [Effect::Requeue]
    );
    assert_eq!(build.inspected.as_ref().unwrap().word, Word::Allowed);
    assert_eq!(
        apply(&mut build, Event::Approved(approval()), 6, &RETRY),
        Ok(Applied::AlreadySo)
    );
    changed(&mut build, Event::Started { run: run(2) }, 7);
}

#[test]
fn attempts_that_a_policy_stopped_leave_all_retries_to_failures_of_ours() {
    let mut build = build();
    for attempt in 1..=4 {
        changed(&mut build, Event::Started { run: run(attempt) }, 1);
        let outcome = Outcome::Held {
            reasons: vec!["again".to_owned()],
        };
        let ended = Event::Ended {
            run: run(attempt),
            outcome,
        };
        changed(&mut build, ended, 2);
        changed(&mut build, Event::Approved(approval()), 3);
    }
    for attempt in 5..=7 {
        assert_eq!(build.status, Status::Pending);
        changed(&mut build, Event::Started { run: run(attempt) }, 4);
        changed(&mut build, infrastructure(attempt), 5);
    }
    assert_eq!(build.status, Status::Failed);
}

#[test]
fn a_hold_that_nobody_releases_fails_the_build_as_denied() {
    let mut build = build().held(vec!["approval: a release".to_owned()]);
    assert_eq!(
        build.hold.as_ref().unwrap().expires_at_ms(10),
        build.created_at_ms + 10
    );
    assert_eq!(changed(&mut build, Event::HoldExpired, 20), []);
    assert_eq!(build.status, Status::Failed);
    assert_eq!(
        build.failure.as_ref().unwrap().reason,
        FailureReason::PolicyDenied
    );
    assert_eq!(build.hold, None);
}

#[test]
fn reports_stay_within_bounds_and_the_newest_are_kept() {
    let mut kept = Vec::new();
    for n in 0..200 {
        judgement::add_reports(
            &mut kept,
            vec![HookReport {
                micros: n,
                ..report(100)
            }],
        );
    }
    let bytes: usize = kept
        .iter()
        .flat_map(|report| report.messages.iter().map(String::len))
        .sum();
    assert!(bytes <= judgement::REPORTS_BYTES_MAX, "{bytes}");
    assert_eq!(kept.last().unwrap().micros, 199);
    let mut small = Vec::new();
    judgement::add_reports(&mut small, vec![report(0); 100]);
    assert_eq!(small.len(), judgement::REPORTS_MAX);
    // Nor do reasons to hold.
    let hold = Hold::new(vec!["é".repeat(5000); 100], 0);
    assert_eq!(hold.reasons.len(), judgement::LINES_MAX);
    assert_eq!(hold.reasons[0].len(), judgement::LINE_BYTES_MAX);
}

#[test]
fn what_a_run_waits_for_is_shown_until_it_begins_or_ends() {
    let waiting = |reason: Option<&str>| Event::Waiting {
        run: run(1),
        reason: reason.map(str::to_owned),
    };
    let mut build = build();
    changed(&mut build, Event::Started { run: run(1) }, 1);
    changed(&mut build, waiting(Some("no node has room")), 2);
    assert_eq!(build.waiting.as_deref(), Some("no node has room"));
    assert_eq!(
        apply(&mut build, waiting(Some("no node has room")), 3, &RETRY),
        Ok(Applied::AlreadySo)
    );
    changed(&mut build, waiting(None), 4);
    assert_eq!(build.waiting, None);
    changed(&mut build, waiting(Some("no node has room")), 5);
    changed(&mut build, infrastructure(1), 6);
    assert_eq!(build.waiting, None);
}

#[test]
fn backoff_never_overflows() {
    let retry = RetryPolicy {
        attempts_max: u32::MAX,
        backoff_ms: i64::MAX / 2,
        backoff_ms_max: i64::MAX,
    };
    assert_eq!(retry.backoff_ms_after(u32::MAX), i64::MAX);
    assert_eq!(retry.backoff_ms_after(0), i64::MAX / 2);
}

/// What of a build a model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Model {
    stage: Stage,
    runs: u32,
    /// Runs that a policy stopped.
    held_runs: u32,
    approved: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Pending,
    Held,
    Running { cancel: bool },
    Done(Status),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    Changed(Model),
    AlreadySo,
    Denied,
}

fn expected(model: &Model, event: &Event) -> Expected {
    use Expected::{AlreadySo, Changed, Denied};
    let to = |stage| {
        Changed(Model {
            stage,
            ..model.clone()
        })
    };
    match (&model.stage, event) {
        (Stage::Pending, Event::Started { run }) if run.attempt == model.runs + 1 => Changed(Model {
            stage: Stage::Running { cancel: false },
            runs: model.runs + 1,
            ..model.clone()
        }),
        (Stage::Running { .. }, Event::Started { run }) if run.attempt == model.runs => AlreadySo,
        (Stage::Pending | Stage::Held, Event::CancelRequested) => to(Stage::Done(Status::Cancelled)),
        (Stage::Running { cancel: false }, Event::CancelRequested) => to(Stage::Running { cancel: true }),
        (Stage::Running { cancel: true } | Stage::Done(_), Event::CancelRequested) => AlreadySo,
        (Stage::Held, Event::HoldExpired) => to(Stage::Done(Status::Failed)),
        (Stage::Held, Event::Approved(_)) => Changed(Model {
            stage: Stage::Pending,
            approved: true,
            ..model.clone()
        }),
        (Stage::Pending | Stage::Running { .. } | Stage::Done(_), Event::Approved(_)) if model.approved => {
            AlreadySo
        }
        (
            Stage::Running { .. },
            Event::Fetched { run, .. }
            | Event::Waiting { run, .. }
            | Event::Progressed { run, .. }
            | Event::Inspected { run, .. }
            | Event::Reported { run, .. },
        ) if run.attempt == model.runs => Changed(model.clone()),
        (Stage::Running { cancel }, Event::Ended { run, outcome }) if run.attempt == model.runs => {
            match outcome {
                Outcome::Succeeded { .. } => to(Stage::Done(Status::Succeeded)),
                Outcome::Failed { .. } => to(Stage::Done(Status::Failed)),
                Outcome::Cancelled { .. } => to(Stage::Done(Status::Cancelled)),
                Outcome::Infrastructure { .. } | Outcome::Held { .. } if *cancel => {
                    to(Stage::Done(Status::Cancelled))
                }
                Outcome::Held { .. } => Changed(Model {
                    stage: Stage::Held,
                    held_runs: model.held_runs + 1,
                    approved: false,
                    ..model.clone()
                }),
                Outcome::Infrastructure { .. } if model.runs - model.held_runs < RETRY.attempts_max => {
                    to(Stage::Pending)
                }
                Outcome::Infrastructure { .. } => to(Stage::Done(Status::Failed)),
            }
        }
        (
            Stage::Pending | Stage::Held | Stage::Running { .. } | Stage::Done(_),
            Event::Started { .. }
            | Event::Fetched { .. }
            | Event::Waiting { .. }
            | Event::Progressed { .. }
            | Event::Inspected { .. }
            | Event::Reported { .. }
            | Event::Approved(_)
            | Event::HoldExpired
            | Event::Ended { .. },
        ) => Denied,
    }
}

fn event() -> impl Strategy<Value = Event> {
    let run = || (1..7_u32).prop_map(run);
    let outcome = prop_oneof![
        1 => Just(Outcome::Succeeded {
            image: Image { digest: String::new(), size_bytes: 0, layer_count: 0 },
            image_refs: vec![],
        }),
        1 => Just(Outcome::Failed { failure: failure(FailureReason::UserStep), image_refs: vec![] }),
        1 => Just(Outcome::Cancelled { image_refs: vec![] }),
        6 => Just(Outcome::Infrastructure { failure: failure(FailureReason::Internal) }),
        4 => Just(Outcome::Held { reasons: vec!["approval: a release".to_owned()] }),
    ];
    let word = prop_oneof![
        Just(Word::Allowed),
        Just(Word::Held {
            reasons: vec!["why".to_owned()]
        }),
        Just(Word::Denied {
            failure: failure(FailureReason::PolicyDenied)
        }),
    ];
    let steps = (0..3_i64).prop_map(|count| {
        (0..count)
            .map(|at| Step {
                name: format!("RUN {at}"),
                cached: false,
                started_at_ms: at,
                completed_at_ms: None,
            })
            .collect::<Vec<_>>()
    });
    prop_oneof![
        4 => run().prop_map(|run| Event::Started { run }),
        1 => (run(), 0..3_u64).prop_map(|(run, context_size_bytes)| Event::Fetched {
            run,
            report: FetchReport { resolved_commit: None, context_size_bytes, dockerfile: None },
        }),
        1 => (run(), proptest::option::of("[ab]")).prop_map(|(run, reason)| Event::Waiting { run, reason }),
        2 => (run(), steps, 0..3_u64).prop_map(|(run, steps, log_bytes)| Event::Progressed { run, steps, log_bytes }),
        1 => Just(Event::CancelRequested),
        1 => (run(), word).prop_map(|(run, word)| Event::Inspected {
            run,
            inspected: Inspected { found: "f".to_owned(), word },
            reports: vec![],
        }),
        1 => (run(), 0..2_usize).prop_map(|(run, count)| Event::Reported { run, reports: vec![report(1); count] }),
        4 => Just(Event::Approved(approval())),
        1 => Just(Event::HoldExpired),
        3 => (run(), outcome).prop_map(|(run, outcome)| Event::Ended { run, outcome }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn random_histories_follow_the_model(held: bool, events in prop::collection::vec(event(), 0..60)) {
        let mut build = if held { build().held(vec!["from the start".to_owned()]) } else { build() };
        let stage = if held { Stage::Held } else { Stage::Pending };
        let mut model = Model { stage, runs: 0, held_runs: 0, approved: false };
        for (now_ms, event) in (100..).zip(events) {
            let before = build.clone();
            let expected = expected(&model, &event);
            let result = apply(&mut build, event.clone(), now_ms, &RETRY);
            match (&result, expected) {
                (Ok(Applied::Changed(effects)), Expected::Changed(next)) => {
                    prop_assert_eq!(build.generation, before.generation + 1);
                    check_effects(&before, &build, effects)?;
                    model = next;
                }
                // News that is none, and the repeated end of the last run.
                (Ok(Applied::AlreadySo), Expected::Changed(same)) => {
                    prop_assert_eq!(&same, &model);
                    let news = matches!(
                        event,
                        Event::Fetched { .. }
                            | Event::Waiting { .. }
                            | Event::Progressed { .. }
                            | Event::Inspected { .. }
                            | Event::Reported { .. }
                    );
                    prop_assert!(news);
                    prop_assert_eq!(&build, &before);
                }
                (Ok(Applied::AlreadySo), Expected::Denied) => {
                    let of_last = before.runs.last().map(|run| run.id);
                    let is_last = matches!(&event, Event::Ended { run, .. } if Some(*run) == of_last);
                    prop_assert!(is_last && before.status.is_terminal(), "{:?}", event);
                    prop_assert_eq!(&build, &before);
                }
                (Ok(Applied::AlreadySo), Expected::AlreadySo) | (Err(_), Expected::Denied) => {
                    prop_assert_eq!(&build, &before);
                }
                (result, expected) => prop_assert!(false, "{:?} on {:?}: {:?}, not {:?}", event, model, result, expected),
            }
            check_invariants(&build)?;
            let stage = match build.status {
                Status::Pending if build.hold.is_some() => Stage::Held,
                Status::Pending => Stage::Pending,
                Status::Running => Stage::Running { cancel: build.cancel_requested },
                terminal @ (Status::Succeeded | Status::Failed | Status::Cancelled) => Stage::Done(terminal),
            };
            let held_runs = build.runs.iter().filter(|run| run.held).count();
            let shown = Model {
                stage,
                runs: build.attempts(),
                held_runs: u32::try_from(held_runs).unwrap(),
                approved: build.approved_by.is_some(),
            };
            prop_assert_eq!(&shown, &model);
            if before.status.is_terminal() {
                prop_assert_eq!(&build, &before);
            }
        }
    }
}

fn check_invariants(build: &Build) -> Result<(), TestCaseError> {
    let live = build.runs.iter().filter(|run| run.ended_at_ms.is_none()).count();
    prop_assert_eq!(live, usize::from(build.status == Status::Running));
    let counted = build.runs.iter().filter(|run| !run.held).count();
    prop_assert!(counted <= RETRY.attempts_max as usize);
    prop_assert!(build.hold.is_none() || build.status == Status::Pending);
    prop_assert!(build.hold.is_none() || build.approved_by.is_none());
    let attempts: Vec<u32> = build.runs.iter().map(|run| run.id.attempt).collect();
    prop_assert_eq!(attempts, (1..=build.attempts()).collect::<Vec<_>>());
    prop_assert_eq!(build.completed_at_ms.is_some(), build.status.is_terminal());
    let explained = matches!(build.status, Status::Failed | Status::Cancelled);
    prop_assert_eq!(build.failure.is_some(), explained);
    prop_assert_eq!(build.image.is_some(), build.status == Status::Succeeded);
    if build.status.is_terminal() {
        prop_assert!(build.steps.iter().all(|step| step.completed_at_ms.is_some()));
    }
    Ok(())
}

/// Effects say exactly what became of queue and run.
fn check_effects(before: &Build, after: &Build, effects: &[Effect]) -> Result<(), TestCaseError> {
    let queued = |build: &Build| build.is_due();
    prop_assert_eq!(
        effects.contains(&Effect::Dequeue),
        queued(before) && !queued(after)
    );
    prop_assert_eq!(
        effects.contains(&Effect::Requeue),
        !queued(before) && queued(after)
    );
    for effect in effects {
        match effect {
            Effect::StopRun(run) => prop_assert!(after.current_run() == Some(*run) && after.cancel_requested),
            Effect::ForgetRun(run) => {
                prop_assert_eq!(before.current_run(), Some(*run));
                prop_assert_eq!(after.current_run(), None);
            }
            Effect::Dequeue | Effect::Requeue => {}
        }
    }
    Ok(())
}
