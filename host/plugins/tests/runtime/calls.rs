//! Calls of one component that does what its configuration says, mostly no good.

use std::time::{Duration, Instant};

use ignite_core::hook::{Change, Changes, Hook, ProposedArg, Verdict};
use ignite_plugins::CallError;

use crate::common::{PUPPET, Scene, caller, settings, spec};

const SHORT: Duration = Duration::from_millis(300);

/// What `validate` comes to with this action.
async fn validate(scene: &Scene, action: &str) -> Result<Verdict, CallError> {
    validate_within(scene, action, Duration::from_secs(10)).await
}

async fn validate_within(scene: &Scene, action: &str, timeout: Duration) -> Result<Verdict, CallError> {
    let plugin = scene.plugin(PUPPET).await;
    let mut settings = settings(&format!("{{\"any\": {action}}}"));
    settings.limits.timeout = timeout;
    plugin.validate(&settings, &caller("acme"), &spec()).await
}

fn trapped(result: Result<Verdict, CallError>) -> String {
    match result {
        Err(CallError::Trapped(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_plugin_says_what_is_to_change() {
    let scene = Scene::new();
    let plugin = scene.plugin(PUPPET).await;
    let settings = settings(
        r#"{"rewrite": {"answer": {"changes": [
            {"SetArg": {"name": "T", "value": {"Secret": "TOKEN"}}}, {"AddTag": "x"}], "warnings": ["w"]}}}"#,
    );
    let changes = plugin.rewrite(&settings, &caller("acme"), &spec()).await.unwrap();
    let set = Change::SetArg {
        name: "T".to_owned(),
        value: ProposedArg::Secret("TOKEN".to_owned()),
    };
    let expected = Changes {
        changes: vec![set, Change::AddTag("x".to_owned())],
        warnings: vec!["w".to_owned()],
    };
    assert_eq!(changes, expected);
}

#[tokio::test]
async fn a_secret_is_shown_by_name_only() {
    let Err(CallError::Failed(shown)) = validate(&Scene::new(), r#""echo""#).await else {
        panic!("it echoes by failing")
    };
    assert!(
        shown.contains("API_TOKEN") && shown.contains("release"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn what_computes_or_waits_for_ever_is_ended_in_time() {
    let scene = Scene::new();
    scene.plugin(PUPPET).await;
    for action in [
        r#""loop""#,
        r#""loop-clock""#,
        r#"{"loop-random": 65536}"#,
        r#"{"sleep": 3600}"#,
        r#""print-forever""#,
    ] {
        let began = Instant::now();
        let result = validate_within(&scene, action, SHORT).await;
        assert_eq!(result, Err(CallError::Timeout(SHORT)), "{action}");
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "{action}: {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn a_trap_says_what_and_where() {
    let scene = Scene::new();
    for (action, says) in [
        (r#""trap""#, "unreachable"),
        // Rust keeps its stack below its data, so it runs out of memory's lower end.
        (r#""recurse""#, "out of bounds"),
        (r#"{"panic": "no such luck"}"#, "no such luck"),
        (r#"{"exit": 3}"#, "exit status"),
        (r#""hoard-timers""#, "table"),
    ] {
        let text = trapped(validate(&scene, action).await);
        assert!(text.contains(says), "{action}: {text}");
    }
}

#[tokio::test]
async fn memory_ends_where_the_limit_is() {
    let scene = Scene::new();
    for action in [r#"{"allocate": 100000000}"#, r#"{"reserve": 100000000}"#] {
        let result = validate(&scene, action).await;
        assert_eq!(result, Err(CallError::Memory(64 << 20)), "{action}");
    }
    assert!(validate(&scene, r#"{"allocate": 10000000}"#).await.is_ok());
}

#[tokio::test]
async fn an_answer_that_breaks_the_contract_is_refused() {
    let scene = Scene::new();
    let warnings = r#"{"answer-many": {"element": "w", "count": 65, "wrap": "Allow"}}"#;
    assert!(matches!(
        validate(&scene, warnings).await,
        Err(CallError::Answer(_))
    ));
    assert!(matches!(
        validate(&scene, r#"{"answer": {"Deny": []}}"#).await,
        Err(CallError::Answer(_))
    ));
    assert!(trapped(validate(&scene, r#""fail-invalid""#).await).contains("utf-8"));
    assert!(trapped(validate(&scene, r#"{"fail-long": 30000000}"#).await).contains("fuel"));
    let Err(CallError::Failed(text)) = validate(&scene, r#"{"fail-long": 100000}"#).await else {
        panic!("it fails")
    };
    assert_eq!(text.len(), 1_024);
}

#[tokio::test]
async fn instances_are_fresh_and_see_nothing_of_the_machine() {
    let scene = Scene::new();
    for _ in 0..3 {
        let counted = validate(&scene, r#""count""#).await;
        assert_eq!(counted, Err(CallError::Failed("1".to_owned())));
    }
    let Err(CallError::Failed(seen)) = validate(&scene, r#""environment""#).await else {
        panic!("it tells by failing")
    };
    assert!(
        seen.contains(r#""environment": []"#) || seen.contains(r#""environment":[]"#),
        "{seen}"
    );
}

#[tokio::test]
async fn writing_much_is_no_fault() {
    assert!(
        validate(&Scene::new(), r#"{"print-many": 1000000}"#)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn what_it_did_is_counted() {
    let scene = Scene::new();
    validate(&scene, "[]").await.unwrap();
    validate(
        &scene,
        r#"{"answer": {"Deny": [{"field": "name", "message": "m"}]}}"#,
    )
    .await
    .unwrap();
    validate(&scene, r#""trap""#).await.unwrap_err();
    validate_within(&scene, r#""loop""#, SHORT).await.unwrap_err();
    let metrics = scene.runtime.metrics();
    let [metrics] = metrics.as_slice() else {
        panic!("{metrics:?}")
    };
    assert_eq!(metrics.hook, Hook::Validate);
    assert_eq!((metrics.calls, metrics.failures), (4, 2));
    assert_eq!((metrics.traps, metrics.timeouts, metrics.denials), (1, 1, 1));
    assert_eq!(metrics.latency_buckets.iter().sum::<u64>(), 4);
    assert!(metrics.memory_bytes_peak > 65_536);
}
