//! Every small world there is: each state of a build against each set of runs an executor can know.

use std::collections::BTreeSet;

use super::*;
use crate::{
    build::{Applied, Event, Failure, FailureReason, Outcome, RetryPolicy, apply},
    request::{Rules, Submission, SubmittedSource, check},
    run::{EndCause, RunEnd},
};

const RETRY: RetryPolicy = RetryPolicy {
    attempts_max: 3,
    backoff_ms: 10,
    backoff_ms_max: 100,
};

fn pending(n: u64) -> Build {
    let submission = Submission {
        name: "web".to_owned(),
        source: Some(SubmittedSource::ZippedCode {
            sha256: [0; 32],
            size_bytes: 1,
        }),
        ..Submission::default()
    };
    let rules = Rules {
        timeout_default: std::time::Duration::from_secs(1),
        timeout_max: std::time::Duration::from_secs(1),
        registry: String::new(),
        git_http_allowed: false,
        private_addresses_allowed: false,
        resource_classes: Vec::new(),
    };
    let spec = check(submission, &rules).unwrap();
    Build::new(
        BuildId::new(n, 0),
        "acme".parse().unwrap(),
        "me".to_owned(),
        &spec,
    )
}

type Step = fn(&Build) -> Event;

fn after(mut build: Build, events: &[Step]) -> Build {
    for event in events {
        let event = event(&build);
        apply(&mut build, event, 0, &RETRY).unwrap();
    }
    build
}

fn started(build: &Build) -> Event {
    Event::Started {
        run: build.next_run(),
    }
}

fn cancelled(_: &Build) -> Event {
    Event::CancelRequested
}

fn failure() -> Failure {
    Failure {
        reason: FailureReason::Internal,
        message: String::new(),
    }
}

fn held(build: &Build) -> Event {
    Event::Ended {
        run: build.current_run().unwrap(),
        outcome: Outcome::Held {
            reasons: vec!["why".to_owned()],
        },
    }
}

fn approved(_: &Build) -> Event {
    Event::Approved(crate::build::Approval {
        subject: "lead".to_owned(),
        reason: String::new(),
        at_ms: 0,
    })
}

fn lost(build: &Build) -> Event {
    Event::Ended {
        run: build.current_run().unwrap(),
        outcome: Outcome::Infrastructure { failure: failure() },
    }
}

fn failed(build: &Build) -> Event {
    Event::Ended {
        run: build.current_run().unwrap(),
        outcome: Outcome::Failed {
            failure: failure(),
            image_refs: Vec::new(),
        },
    }
}

/// Each state a build can be in, as far as plans tell them apart, by up to two attempts.
fn states(n: u64) -> Vec<Build> {
    let histories: [&[Step]; 13] = [
        &[],
        &[cancelled],
        &[started],
        &[started, cancelled],
        &[started, failed],
        &[started, lost],
        &[started, lost, cancelled],
        &[started, lost, started],
        &[started, lost, started, cancelled],
        &[started, lost, started, failed],
        &[started, held],
        &[started, held, approved],
        &[started, held, approved, started],
    ];
    histories.iter().map(|events| after(pending(n), events)).collect()
}

fn run(n: u64, attempt: u32) -> RunId {
    RunId {
        build: BuildId::new(n, 0),
        platform: 0,
        attempt,
    }
}

/// Each set of runs: attempts 1 and 2 of the build and a run of nobody, each unknown, live or ended.
fn observations(n: u64) -> Vec<Vec<ObservedRun>> {
    let end = RunEnd {
        cause: EndCause::Exited { code: 0 },
        ended_at_ms: 0,
        digest: None,
    };
    let phases = [None, Some(RunPhase::Live), Some(RunPhase::Ended(end))];
    let mut all = Vec::new();
    for first in &phases {
        for second in &phases {
            for stranger in &phases {
                let seen = [(run(n, 1), first), (run(n, 2), second), (run(99, 1), stranger)];
                all.push(
                    seen.into_iter()
                        .filter_map(|(run, phase)| {
                            Some(ObservedRun {
                                run,
                                phase: phase.clone()?,
                            })
                        })
                        .collect(),
                );
            }
        }
    }
    all
}

fn run_of(action: Action) -> Option<RunId> {
    match action {
        Action::Enqueue(_) | Action::Await(_) => None,
        Action::Adopt(run)
        | Action::Recover(run)
        | Action::ReportLost(run)
        | Action::Stop(run)
        | Action::Forget(run) => Some(run),
    }
}

fn count(actions: &[Action], which: impl Fn(&Action) -> bool) -> usize {
    actions.iter().filter(|action| which(action)).count()
}

#[test]
fn every_small_world_has_the_right_plan() {
    let mut worlds = 0;
    for build in states(1) {
        for observed in observations(1) {
            worlds += 1;
            let actions = plan([&build], &observed);
            let context = format!(
                "{:?} {:?}: {observed:?} -> {actions:?}",
                build.status,
                build.current_run()
            );
            let seen: BTreeSet<RunId> = observed.iter().map(|seen| seen.run).collect();
            let live = |run| {
                observed
                    .iter()
                    .any(|seen| seen.run == run && seen.phase == RunPhase::Live)
            };
            let distinct: BTreeSet<Action> = actions.iter().copied().collect();
            assert_eq!(distinct.len(), actions.len(), "{context}");

            // One way on for a live build, none for a terminal one.
            let ways = count(&actions, |action| {
                !matches!(action, Action::Stop(_) | Action::Forget(_))
            });
            assert_eq!(ways, usize::from(!build.status.is_terminal()), "{context}");
            assert_eq!(
                actions.contains(&Action::Enqueue(build.id)),
                build.status == Status::Pending && build.hold.is_none(),
                "{context}"
            );
            assert_eq!(
                actions.contains(&Action::Await(build.id)),
                build.hold.is_some(),
                "{context}"
            );

            match build.current_run() {
                Some(current) => {
                    assert_eq!(
                        actions.contains(&Action::Adopt(current)),
                        seen.contains(&current),
                        "{context}"
                    );
                    let gone = !seen.contains(&current);
                    assert_eq!(
                        actions.contains(&Action::Recover(current)),
                        gone && !build.cancel_requested,
                        "{context}"
                    );
                    assert_eq!(
                        actions.contains(&Action::ReportLost(current)),
                        gone && build.cancel_requested,
                        "{context}"
                    );
                    assert_eq!(
                        actions.contains(&Action::Stop(current)),
                        build.cancel_requested && live(current),
                        "{context}"
                    );
                }
                None => assert_eq!(
                    count(&actions, |action| !matches!(
                        action,
                        Action::Enqueue(_) | Action::Await(_) | Action::Forget(_)
                    )),
                    0,
                    "{context}"
                ),
            }

            // Whatever else the executor knows goes, and nothing that it does not know.
            for run in &seen {
                let wanted = build.current_run() == Some(*run);
                assert_eq!(actions.contains(&Action::Forget(*run)), !wanted, "{context}");
            }
            for action in &actions {
                if let Action::Forget(run) = action {
                    assert!(seen.contains(run), "{context}");
                }
                if let Some(run) = run_of(*action) {
                    assert!(
                        seen.contains(&run) || build.current_run() == Some(run),
                        "{context}"
                    );
                }
            }
        }
    }
    assert_eq!(worlds, 351);
}

#[test]
fn builds_do_not_disturb_each_other() {
    for first in states(1) {
        for second in states(2) {
            for observed in observations(1)
                .iter()
                .zip(observations(2))
                .map(|(a, b)| [a.as_slice(), &b[..]].concat())
            {
                let of = |build: &Build| {
                    let own = |seen: &ObservedRun| seen.run.build == build.id;
                    let observed: Vec<ObservedRun> =
                        observed.iter().filter(|seen| own(seen)).cloned().collect();
                    plan([build], &observed)
                };
                let both: BTreeSet<Action> = plan([&first, &second], &observed)
                    .into_iter()
                    .filter(|action| run_of(*action).is_none_or(|run| run.build != BuildId::new(99, 0)))
                    .collect();
                let apart: BTreeSet<Action> = of(&first).into_iter().chain(of(&second)).collect();
                assert_eq!(both, apart);
            }
        }
    }
}

/// Acts plans out as a driver would, killing it after every possible number of steps.
#[test]
fn a_driver_that_dies_anywhere_gets_every_build_to_its_end_and_starts_no_run_twice() {
    for build in states(1) {
        for observed in observations(1) {
            for dies_after in 0..12 {
                let mut world = World {
                    build: build.clone(),
                    runs: observed.clone(),
                    starts: Vec::new(),
                };
                let mut steps = dies_after;
                for _ in 0..20 {
                    let actions = plan([&world.build], &world.runs);
                    for action in actions {
                        world.act(action, &mut steps);
                        if steps == 0 {
                            break;
                        }
                    }
                    // It comes back, and lives on.
                    steps = usize::MAX;
                }
                assert!(world.build.status.is_terminal(), "{world:?}");
                assert!(world.runs.is_empty(), "{world:?}");
                let distinct: BTreeSet<RunId> = world.starts.iter().copied().collect();
                assert_eq!(distinct.len(), world.starts.len(), "{world:?}");
            }
        }
    }
}

#[derive(Debug)]
struct World {
    build: Build,
    runs: Vec<ObservedRun>,
    starts: Vec<RunId>,
}

impl World {
    /// Each line that changes something is a step after which the driver may be dead.
    fn act(&mut self, action: Action, steps: &mut usize) {
        let mut alive = || {
            *steps = steps.saturating_sub(1);
            *steps > 0
        };
        match action {
            // Somebody comes and approves it.
            Action::Await(_) => {
                let event = approved(&self.build);
                self.record(event);
                alive();
            }
            Action::Enqueue(_) => {
                let run = self.build.next_run();
                self.record(Event::Started { run });
                if alive() {
                    self.ensure(run);
                }
            }
            Action::Recover(run) => {
                self.ensure(run);
                alive();
            }
            Action::ReportLost(run) => {
                let outcome = Outcome::Infrastructure { failure: failure() };
                self.record(Event::Ended { run, outcome });
                alive();
            }
            Action::Stop(run) => {
                self.end(run);
                alive();
            }
            Action::Adopt(run) => {
                self.end(run);
                if alive() {
                    let event = failed(&self.build);
                    self.record(event);
                    if alive() {
                        self.runs.retain(|seen| seen.run != run);
                    }
                }
            }
            Action::Forget(run) => {
                self.runs.retain(|seen| seen.run != run);
                alive();
            }
        }
    }

    fn record(&mut self, event: Event) {
        assert!(matches!(
            apply(&mut self.build, event, 0, &RETRY),
            Ok(Applied::Changed(_))
        ));
    }

    fn ensure(&mut self, run: RunId) {
        if !self.runs.iter().any(|seen| seen.run == run) {
            self.starts.push(run);
            self.runs.push(ObservedRun {
                run,
                phase: RunPhase::Live,
            });
        }
    }

    fn end(&mut self, run: RunId) {
        for seen in self.runs.iter_mut().filter(|seen| seen.run == run) {
            seen.phase = RunPhase::Ended(RunEnd {
                cause: EndCause::Stopped,
                ended_at_ms: 0,
                digest: None,
            });
        }
    }
}
