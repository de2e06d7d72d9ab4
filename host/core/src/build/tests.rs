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
enum Model {
    Pending { lost: u32 },
    Running { attempt: u32, cancel: bool },
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
    match (model, event) {
        (Model::Pending { lost }, Event::Started { run }) if run.attempt == lost + 1 => {
            Changed(Model::Running {
                attempt: run.attempt,
                cancel: false,
            })
        }
        (Model::Running { attempt, .. }, Event::Started { run }) if run.attempt == *attempt => AlreadySo,
        (Model::Pending { .. }, Event::CancelRequested) => Changed(Model::Done(Status::Cancelled)),
        (
            Model::Running {
                attempt,
                cancel: false,
            },
            Event::CancelRequested,
        ) => Changed(Model::Running {
            attempt: *attempt,
            cancel: true,
        }),
        (Model::Running { cancel: true, .. } | Model::Done(_), Event::CancelRequested) => AlreadySo,
        (Model::Running { attempt, .. }, Event::Fetched { run, .. } | Event::Progressed { run, .. })
            if run.attempt == *attempt =>
        {
            Changed(model.clone())
        }
        (Model::Running { attempt, cancel }, Event::Ended { run, outcome }) if run.attempt == *attempt => {
            Changed(match outcome {
                Outcome::Succeeded { .. } => Model::Done(Status::Succeeded),
                Outcome::Failed { .. } => Model::Done(Status::Failed),
                Outcome::Cancelled { .. } => Model::Done(Status::Cancelled),
                Outcome::Infrastructure { .. } if *cancel => Model::Done(Status::Cancelled),
                Outcome::Infrastructure { .. } if *attempt < RETRY.attempts_max => {
                    Model::Pending { lost: *attempt }
                }
                Outcome::Infrastructure { .. } => Model::Done(Status::Failed),
            })
        }
        (
            Model::Pending { .. } | Model::Running { .. } | Model::Done(_),
            Event::Started { .. } | Event::Fetched { .. } | Event::Progressed { .. } | Event::Ended { .. },
        ) => Denied,
    }
}

fn event() -> impl Strategy<Value = Event> {
    let run = || (1..5_u32).prop_map(run);
    let outcome = prop_oneof![
        1 => Just(Outcome::Succeeded {
            image: Image { digest: String::new(), size_bytes: 0, layer_count: 0 },
            image_refs: vec![],
        }),
        1 => Just(Outcome::Failed { failure: failure(FailureReason::UserStep), image_refs: vec![] }),
        1 => Just(Outcome::Cancelled { image_refs: vec![] }),
        6 => Just(Outcome::Infrastructure { failure: failure(FailureReason::Internal) }),
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
        2 => (run(), steps, 0..3_u64).prop_map(|(run, steps, log_bytes)| Event::Progressed { run, steps, log_bytes }),
        1 => Just(Event::CancelRequested),
        3 => (run(), outcome).prop_map(|(run, outcome)| Event::Ended { run, outcome }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn random_histories_follow_the_model(events in prop::collection::vec(event(), 0..60)) {
        let mut build = build();
        let mut model = Model::Pending { lost: 0 };
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
                    let news = matches!(event, Event::Fetched { .. } | Event::Progressed { .. });
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
            let shown = match build.status {
                Status::Pending => Model::Pending { lost: build.attempts() },
                Status::Running => Model::Running { attempt: build.attempts(), cancel: build.cancel_requested },
                terminal @ (Status::Succeeded | Status::Failed | Status::Cancelled) => Model::Done(terminal),
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
    prop_assert!(build.attempts() <= RETRY.attempts_max);
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
    let queued = |build: &Build| build.status == Status::Pending;
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
