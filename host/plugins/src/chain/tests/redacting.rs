#![allow(clippy::single_range_in_vec_init, reason = "lists of ranges, some of one")]

use super::*;
use crate::chain::{Redaction, Scanned, redact};

/// Too short to be looked for.
const BAD: &str = "ab";

async fn redaction<const N: usize>(plugins: [(&str, Says); N]) -> Redaction {
    let table = Table::of(plugins);
    redact::rules(&table, &table.policy, &caller(), &spec()).await
}

async fn scan<const N: usize>(plugins: [(&str, Says); N]) -> Scanned {
    let table = Table::of(plugins);
    redact::scan(&table, &table.policy, b"one line\n").await
}

fn giving(rules: Vec<Rule>) -> Says {
    Says {
        rules: Ok(rules),
        ..Says::at(Hook::Redact)
    }
}

fn finding(ranges: Vec<Range<usize>>) -> Says {
    Says {
        ranges: Ok(ranges),
        ..Says::at(Hook::RedactScan)
    }
}

fn shown(redaction: &Redaction, text: &str) -> String {
    ignite_core::redact::Redactor::with_rules([], &redaction.rules).redact_text(text)
}

#[tokio::test]
async fn the_rules_of_all_plugins_are_taken_together() {
    let redaction = redaction([
        ("one", giving(vec![literal("key", "first-secret")])),
        ("two", giving(vec![literal("key", "second-secret")])),
        ("none", giving(Vec::new())),
    ])
    .await;
    assert_eq!(redaction.withhold, None);
    assert_eq!(shown(&redaction, "first-secret second-secret"), "*** ***");
    assert_eq!(verdicts(&redaction.reports), [ReportVerdict::Applied; 3]);
    let kept = ignite_core::redact::RuleSet::new(&redaction.given).unwrap();
    assert!(
        redaction.given.len() == 2 && !kept.is_empty(),
        "what a restart has is the same"
    );
    assert_eq!(redaction.reports[0].changes, ["rules: key"]);
    assert!(redaction.reports[2].changes.is_empty());
}

#[tokio::test]
async fn a_bad_rule_is_a_failure_of_its_plugin_alone() {
    let rules = vec![literal("good", "bad-secret"), literal("short", BAD)];
    let bad = giving(rules);
    let good = || giving(vec![literal("key", "good-secret")]);
    let redaction_ = redaction([("bad", bad.clone()), ("good", good())]).await;
    let why = redaction_.withhold.clone().unwrap_or_default();
    assert!(
        why.starts_with("plugin bad failed at redact: rule \"short\""),
        "{why}"
    );
    use ReportVerdict::{Applied, Failed};
    assert_eq!(verdicts(&redaction_.reports), [Failed, Applied]);
    assert_eq!(shown(&redaction_, "bad-secret good-secret"), "bad-secret ***");

    for harmless in [bad.clone().ignored(), bad.monitored()] {
        let redaction = redaction([("bad", harmless), ("good", good())]).await;
        assert_eq!(redaction.withhold, None);
        assert_eq!(verdicts(&redaction.reports), [Failed, Applied]);
    }
}

#[tokio::test]
async fn a_limit_on_all_rules_is_blamed_on_the_plugin_that_passes_it() {
    let many = |count: usize| giving((0..count).map(|i| literal("r", &format!("secret-{i}"))).collect());
    let redaction = redaction([("most", many(200)), ("more", many(57))]).await;
    assert_eq!(
        verdicts(&redaction.reports),
        [ReportVerdict::Applied, ReportVerdict::Failed]
    );
    assert!(redaction.withhold.unwrap_or_default().contains("plugin more"));
}

#[tokio::test]
async fn a_monitored_redactors_rules_are_reported_and_take_out_nothing() {
    let watching = giving(vec![literal("key", "first-secret")]).monitored();
    let redaction = redaction([("watching", watching)]).await;
    assert_eq!(shown(&redaction, "first-secret"), "first-secret");
    assert_eq!(redaction.reports[0].changes, ["rules: key"]);
    assert!(redaction.reports[0].monitored);
}

#[tokio::test]
async fn what_all_scanners_find_is_merged() {
    let scanned = scan([
        ("one", finding(vec![4..6, 0..2])),
        ("two", finding(vec![1..3, 3..4, 7..7])),
        ("watching", finding(vec![0..8]).monitored()),
    ])
    .await;
    assert_eq!(scanned.ranges, [0..3, 3..4, 4..6]);
    assert_eq!(scanned.withhold, None);
    assert!(scanned.failures.is_empty());
}

#[tokio::test]
async fn a_failing_scanner_withholds_unless_it_is_ignored_or_monitored() {
    let broken = || Says::failing(Hook::RedactScan);
    let found = || finding(vec![0..3]);
    let scanned = scan([("broken", broken()), ("finds", found())]).await;
    assert_eq!(
        scanned.withhold.as_deref(),
        Some("plugin broken failed at redact-scan: the plugin trapped: unreachable")
    );
    assert_eq!(verdicts(&scanned.failures), [ReportVerdict::Failed]);
    assert!(scanned.into_ranges().is_err());
    for harmless in [broken().ignored(), broken().monitored()] {
        let scanned = scan([("broken", harmless), ("finds", found())]).await;
        assert_eq!((scanned.withhold, scanned.ranges), (None, vec![0..3]));
        assert_eq!(scanned.failures.len(), 1);
    }
}

#[tokio::test]
async fn a_text_is_shown_as_a_log_would_show_it() {
    let table = Table::of([
        ("one", finding(vec![0..3])),
        ("broken", Says::failing(Hook::RedactScan).ignored()),
    ]);
    let as_it_is = |why| why;
    let shown = redact::scan_text(&table, &table.policy, "one line\n", &as_it_is).await;
    assert_eq!(shown.0, "*** line\n");
    assert_eq!(verdicts(&shown.1), [ReportVerdict::Failed]);

    for wrong in [finding(vec![4..100]), Says::failing(Hook::RedactScan)] {
        let table = Table::of([("wrong", wrong)]);
        let quiet = |_| "why".to_owned();
        let (shown, _) = redact::scan_text(&table, &table.policy, "one line\n", &quiet).await;
        assert_eq!(shown, "[ignite] 9 bytes of the log are withheld: why\n");
    }
    let table = Table::of([("rules", giving(Vec::new()))]);
    let (shown, _) = redact::scan_text(&table, &table.policy, "one line\n", &as_it_is).await;
    assert_eq!(shown, "one line\n");
}
