use super::*;
use crate::chain::report::{MESSAGE_BYTES_MAX, MESSAGES_MAX};

const MODES: [Mode; 2] = [Mode::Enforce, Mode::Monitor];
const FAILURES: [OnFailure; 2] = [OnFailure::Reject, OnFailure::Ignore];

#[tokio::test]
async fn each_rewriter_sees_what_the_one_before_left_and_validators_what_will_run() {
    let table = Table::of([
        ("look", Says::at(Hook::Validate)),
        ("first", Says::changing([tag("a")])),
        ("second", Says::changing([tag("b")])),
        ("idle", Says::changing([tag("b")])),
    ]);
    let judged = table.judge().await;
    let seen: Vec<_> = table
        .seen()
        .into_iter()
        .map(|(plugin, _, tags)| format!("{plugin} {}", tags.join(",")))
        .collect();
    assert_eq!(
        seen,
        ["first 1.0", "second 1.0,a", "idle 1.0,a,b", "look 1.0,a,b"]
    );
    assert_eq!(judged.decision, Decision::Allow);
    assert_eq!(judged.spec.tags(), ["1.0", "a", "b"]);
    use ReportVerdict::{Allow, Changed, Unchanged};
    assert_eq!(verdicts(&judged.reports), [Changed, Changed, Unchanged, Allow]);
    assert_eq!(judged.reports[0].changes.len(), 1);
    assert_eq!(
        (judged.reports[0].plugin.as_str(), judged.reports[0].hook),
        ("first", Hook::Rewrite)
    );
}

#[tokio::test]
async fn one_denial_denies_and_says_what_all_of_them_found() {
    let table = Table::of([
        ("holds", Says::judging(hold("ask a human"))),
        ("one", Says::judging(deny("tags[0]", "not semantic"))),
        ("two", Says::judging(deny("name", "unknown team"))),
        ("fine", Says::at(Hook::Validate)),
    ]);
    let judged = table.judge().await;
    let expected = Decision::Deny {
        violations: vec![
            violation("tags[0]", "not semantic"),
            violation("name", "unknown team"),
        ],
        plugin: "one, two".to_owned(),
    };
    assert_eq!(judged.decision, expected);
    use ReportVerdict::{Allow, Deny, Hold};
    assert_eq!(verdicts(&judged.reports), [Hold, Deny, Deny, Allow]);
    assert_eq!(judged.reports[1].messages, ["tags[0]: not semantic"]);
}

#[tokio::test]
async fn holds_are_collected_where_nobody_denies() {
    let table = Table::of([
        ("one", Says::judging(hold("release"))),
        ("two", Says::judging(hold("friday"))),
    ]);
    let expected = Decision::Hold {
        reasons: vec!["one: release".to_owned(), "two: friday".to_owned()],
    };
    assert_eq!(table.judge().await.decision, expected);
}

#[tokio::test]
async fn a_denial_without_a_reason_denies_all_the_same() {
    let silent = Verdict::Deny {
        violations: Vec::new(),
    };
    let judged = Table::of([("silent", Says::judging(silent))]).judge().await;
    assert!(matches!(judged.decision, Decision::Deny { violations, .. } if violations.len() == 1));
}

#[tokio::test]
async fn a_failure_counts_by_mode_and_on_failure_at_every_hook() {
    for mode in MODES {
        for on_failure in FAILURES {
            for hook in [Hook::Rewrite, Hook::Validate, Hook::Inspect] {
                let says = Says {
                    mode,
                    on_failure,
                    ..Says::failing(hook)
                };
                let table = Table::of([("broken", says)]);
                let (decision, reports) = match hook {
                    Hook::Inspect => table.inspect().await,
                    _ => {
                        let judged = table.judge().await;
                        (judged.decision, judged.reports)
                    }
                };
                let case = format!("{mode:?} {on_failure:?} {hook}");
                assert_eq!(verdicts(&reports), [ReportVerdict::Failed], "{case}");
                assert_eq!(reports[0].messages, ["the plugin trapped: unreachable"], "{case}");
                assert_eq!(reports[0].monitored, mode == Mode::Monitor, "{case}");
                let counts = mode == Mode::Enforce && on_failure == OnFailure::Reject;
                match decision {
                    Decision::Deny { violations, plugin } => {
                        assert!(counts, "{case}");
                        assert_eq!(plugin, "broken");
                        let message =
                            format!("plugin broken failed at {hook}: the plugin trapped: unreachable");
                        assert_eq!(violations, [violation("", &message)]);
                    }
                    Decision::Allow => assert!(!counts, "{case}"),
                    Decision::Hold { .. } => panic!("{case}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn what_a_monitored_plugin_says_is_reported_and_changes_nothing() {
    for on_failure in FAILURES {
        let with = |says: Says| Says { on_failure, ..says }.monitored();
        let table = Table::of([
            ("tags", with(Says::changing([tag("a")]))),
            ("bad", with(Says::changing([tag("not a tag")]))),
            ("denies", with(Says::judging(deny("name", "no")))),
            ("holds", with(Says::judging(hold("wait")))),
            ("look", Says::at(Hook::Validate)),
        ]);
        let judged = table.judge().await;
        assert_eq!(judged.decision, Decision::Allow);
        assert_eq!(judged.spec, spec());
        assert_eq!(
            table.seen().pop().unwrap().2,
            ["1.0"],
            "an unchanged request is judged"
        );
        use ReportVerdict::{Allow, Changed, Deny, Failed, Hold};
        assert_eq!(verdicts(&judged.reports), [Changed, Failed, Deny, Hold, Allow]);
        assert_eq!(judged.reports[0].changes.len(), 1, "what it would have changed");
        assert!(judged.reports[..4].iter().all(|report| report.monitored));
    }
}

#[tokio::test]
async fn a_patch_that_breaks_the_request_is_a_failure_of_its_plugin() {
    let bad = Says::changing([tag("fine"), tag("not a tag")]);
    let table = Table::of([
        ("good", Says::changing([tag("a")])),
        ("bad", bad.clone()),
        ("later", Says::changing([tag("b")])),
        ("judge", Says::at(Hook::Validate)),
    ]);
    let judged = table.judge().await;
    let Decision::Deny { violations, plugin } = judged.decision else {
        panic!("{:?}", judged.decision);
    };
    assert_eq!(plugin, "bad");
    assert_eq!(violations.len(), 1);
    assert!(
        violations[0].field.is_empty() && violations[0].message.contains("tags"),
        "{violations:?}"
    );
    assert_eq!(judged.spec.tags(), ["1.0", "a"], "all or nothing");
    assert_eq!(table.seen().len(), 2, "nothing is judged that nobody meant");

    let table = Table::of([("bad", bad.ignored()), ("later", Says::changing([tag("b")]))]);
    let judged = table.judge().await;
    assert_eq!(judged.decision, Decision::Allow);
    assert_eq!(judged.spec.tags(), ["1.0", "b"]);
    assert_eq!(
        verdicts(&judged.reports),
        [ReportVerdict::Failed, ReportVerdict::Changed]
    );
}

#[tokio::test]
async fn inspectors_are_asked_at_their_hook_only_and_decide_alike() {
    let mut inspector = Says::judging(deny("dockerfile:3", "latest"));
    inspector.hooks = BTreeSet::from([Hook::Inspect]);
    let table = Table::of([("base", inspector), ("other", Says::judging(deny("name", "no")))]);
    let (decision, reports) = table.inspect().await;
    let expected = Decision::Deny {
        violations: vec![violation("dockerfile:3", "latest")],
        plugin: "base".to_owned(),
    };
    assert_eq!(decision, expected);
    assert_eq!(reports.len(), 1);
}

#[tokio::test]
async fn what_plugins_say_is_kept_within_bounds() {
    // Three bytes each: the limit falls inside a character.
    let long = "€".repeat(MESSAGE_BYTES_MAX);
    let table = Table::of([
        (
            "warns",
            Says::judging(Verdict::Allow {
                warnings: vec![long.clone(); MESSAGES_MAX + 1],
            }),
        ),
        (
            "denies",
            Says::judging(Verdict::Deny {
                violations: vec![violation(&long, &long); MESSAGES_MAX + 1],
            }),
        ),
        ("holds", Says::judging(hold(&long))),
    ]);
    let judged = table.judge().await;
    for report in &judged.reports {
        assert!(report.messages.len() <= MESSAGES_MAX);
        assert!(
            report
                .messages
                .iter()
                .all(|text| text.len() <= MESSAGE_BYTES_MAX && text.len() > 900)
        );
    }
    let Decision::Deny { violations, .. } = judged.decision else {
        panic!("{:?}", judged.decision);
    };
    assert_eq!(violations.len(), MESSAGES_MAX);
    assert!(
        violations
            .iter()
            .all(|one| one.message.len() <= MESSAGE_BYTES_MAX)
    );
    assert!(violations.iter().all(|one| one.field.len() <= MESSAGE_BYTES_MAX));
}
