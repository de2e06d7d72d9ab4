//! Every way of failing, at every hook, whichever way the policy wants failures to count.

use std::{sync::Arc, time::Duration};

use ignite_core::{
    dockerfile,
    hook::{Found, Hook, HookReport, ReportVerdict},
    policy::{Mode, OnFailure, ResolvedEntry, ResolvedPolicy},
    request::Rules,
};
use ignite_plugins::{Chain, Decision};

use crate::common::{PUPPET, Scene, caller, settings, spec};

const SHORT: Duration = Duration::from_millis(300);

/// What any hook can do wrong, and what is said of it.
const ANY: [(&str, &str); 9] = [
    (r#""loop""#, "longer than"),
    (r#"{"loop-random": 65536}"#, "longer than"),
    (r#"{"allocate": 100000000}"#, "memory"),
    (r#""recurse""#, "out of bounds"),
    (r#""trap""#, "unreachable"),
    (r#"{"exit": 3}"#, "exit status"),
    (r#""hoard-timers""#, "table"),
    (r#"{"fail-long": 30000000}"#, "fuel"),
    (r#""fail-invalid""#, "utf-8"),
];

/// What only one of them can: answers that cannot be used.
const OWN: [(Hook, &str, &str); 12] = [
    (
        Hook::Rewrite,
        r#"{"answer": {"changes": [{"AddTag": "not a tag"}], "warnings": []}}"#,
        "tags",
    ),
    (
        Hook::Rewrite,
        r#"{"answer": {"changes": [{"SetTimeout": 4294967295}], "warnings": []}}"#,
        "timeout",
    ),
    (
        Hook::Rewrite,
        r#"{"answer": {"changes": [{"SetArg": {"name": "A", "value": {"Secret": "NOT_STORED"}}}], "warnings": []}}"#,
        "no secret",
    ),
    (
        Hook::Rewrite,
        r#"{"answer-many": {"element": {"AddTag": "x"}, "count": 2000000, "wrap": "changes"}}"#,
        "",
    ),
    (
        Hook::Validate,
        r#"{"answer-many": {"element": "w", "count": 65, "wrap": "Allow"}}"#,
        "warnings",
    ),
    (Hook::Inspect, r#"{"answer": {"Deny": []}}"#, "violation"),
    (
        Hook::Redact,
        r#"{"answer": [{"name": "r", "pattern": {"Expression": {"text": "(a", "length_max": 9}}, "replacement": null}]}"#,
        "expression",
    ),
    (
        Hook::Redact,
        r#"{"answer": [{"name": "r", "pattern": {"Expression": {"text": "((a{9}){99}){99}", "length_max": 9}}, "replacement": null}]}"#,
        "too large",
    ),
    (
        Hook::Redact,
        r#"{"answer-many": {"element": {"name": "r", "pattern": {"Literal": "aaaaaaaaaaaa"}, "replacement": null}, "count": 257, "wrap": null}}"#,
        "256",
    ),
    (
        Hook::RedactScan,
        r#"{"answer": [{"start": 0, "end": 4000}]}"#,
        "range",
    ),
    (
        Hook::RedactScan,
        r#"{"answer": [{"start": 3, "end": 2}]}"#,
        "range",
    ),
    (
        Hook::RedactScan,
        r#"{"answer": [{"start": 2, "end": 9}]}"#,
        "line",
    ),
];

/// What came of one hook.
#[derive(Debug)]
struct Outcome {
    /// Denied, or withheld: why.
    rejected: Option<String>,
    reports: Vec<HookReport>,
    untouched: bool,
}

async fn outcome(chain: &Chain, hook: Hook) -> Outcome {
    let (caller, spec) = (caller("acme"), spec());
    let denied = |decision| match decision {
        Decision::Deny { violations, plugin } => {
            assert_eq!(plugin, "puppet");
            Some(format!("{violations:?}"))
        }
        Decision::Allow => None,
        Decision::Hold { reasons } => panic!("{reasons:?}"),
    };
    match hook {
        Hook::Rewrite | Hook::Validate => {
            let rules = Rules {
                timeout_default: Duration::from_secs(60),
                timeout_max: Duration::from_secs(600),
                registry: "registry.example.com".to_owned(),
                git_http_allowed: false,
                private_addresses_allowed: false,
                resource_classes: Vec::new(),
            };
            let judged = chain.judge(&caller, &spec, &rules, &|_| false).await;
            Outcome {
                rejected: denied(judged.decision),
                reports: judged.reports,
                untouched: judged.spec == spec,
            }
        }
        Hook::Inspect => {
            let found = Found {
                dockerfile: dockerfile::parse("FROM scratch\n", spec.build_args()).unwrap(),
                resolved_commit: None,
                context_size_bytes: 1,
            };
            let (decision, reports) = chain.inspect(&caller, &spec, &found).await;
            Outcome {
                rejected: denied(decision),
                reports,
                untouched: true,
            }
        }
        Hook::Redact => {
            let redaction = chain.redaction(&caller, &spec).await;
            Outcome {
                rejected: redaction.withhold,
                reports: redaction.reports,
                untouched: redaction.given.is_empty() && redaction.rules.is_empty(),
            }
        }
        Hook::RedactScan => {
            let scanned = chain.scan(b"line\nline\n").await;
            Outcome {
                rejected: scanned.withhold,
                reports: scanned.failures,
                untouched: scanned.ranges.is_empty(),
            }
        }
        Hook::Notify => unreachable!("an announcement that fails is tried again, whatever the policy says"),
    }
}

async fn chain(scene: &Scene, hook: Hook, action: &str, on_failure: OnFailure, mode: Mode) -> Chain {
    let mut settings = settings(&format!("{{\"any\": {action}}}"));
    settings.limits.timeout = SHORT;
    (settings.on_failure, settings.mode) = (on_failure, mode);
    let entry = ResolvedEntry {
        plugin: "puppet".to_owned(),
        version: "0.1.0".to_owned(),
        digest: scene.plugin(PUPPET).await.digest(),
        hooks: [hook].into(),
        settings,
    };
    Chain {
        runtime: Arc::clone(&scene.runtime),
        policy: Arc::new(ResolvedPolicy {
            revision: 1,
            entries: vec![entry],
        }),
    }
}

async fn holds(scene: &Scene, hook: Hook, action: &str, says: &str) -> Result<(), String> {
    let ways = [
        (OnFailure::Reject, Mode::Enforce, true),
        (OnFailure::Ignore, Mode::Enforce, false),
        (OnFailure::Reject, Mode::Monitor, false),
    ];
    for (on_failure, mode, rejects) in ways {
        let outcome = outcome(&chain(scene, hook, action, on_failure, mode).await, hook).await;
        let told = format!("{hook}, {action}, {on_failure:?}, {mode:?}: {outcome:?}");
        let [report] = outcome.reports.as_slice() else {
            return Err(format!("one report: {told}"));
        };
        let text = report.messages.join("; ").to_lowercase();
        if report.verdict != ReportVerdict::Failed || report.hook != hook || report.plugin != "puppet" {
            return Err(format!("a failure, by name: {told}"));
        }
        if !text.contains(&says.to_lowercase()) {
            return Err(format!("says {says:?}: {told}"));
        }
        let named = |why: &String| why.contains("puppet") && why.contains(&hook.to_string());
        if outcome.rejected.is_some() != rejects || !outcome.rejected.iter().all(named) {
            return Err(format!("rejected: {rejects}: {told}"));
        }
        if !outcome.untouched {
            return Err(format!("untouched: {told}"));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_at_any_hook_counts_as_the_policy_says_and_is_told_by_name() {
    let scene = Scene::new();
    let hooks = [
        Hook::Rewrite,
        Hook::Validate,
        Hook::Inspect,
        Hook::Redact,
        Hook::RedactScan,
    ];
    let any = ANY
        .iter()
        .flat_map(|(action, says)| hooks.map(|hook| (hook, *action, *says)));
    let mut wrong = Vec::new();
    for (hook, action, says) in any.chain(OWN) {
        if let Err(told) = holds(&scene, hook, action, says).await {
            wrong.push(told);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
