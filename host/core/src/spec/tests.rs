use super::*;

fn spec(args: &serde_json::Value) -> BuildSpec {
    serde_json::from_value(serde_json::json!({
        "name": "web/app",
        "source": { "archive": format!("ctx_{}", "ab".repeat(32)) },
        "dockerfile": "Dockerfile",
        "tags": ["latest"],
        "build_args": args,
        "no_cache": false,
        "timeout": { "secs": 60, "nanos": 0 },
        "platform": null,
        "labels": {},
        "priority": 0,
    }))
    .unwrap()
}

/// As specs were stored before args could name a stored secret.
fn sent() -> BuildSpec {
    spec(&serde_json::json!({
        "MODE": { "value": "release", "secret": false },
        "TOKEN": { "value": "sent-with-the-request", "secret": true },
    }))
}

#[test]
fn stored_secrets_become_args_unless_the_request_has_them() {
    let spec = sent().with_stored_secrets(["TOKEN", "NPM_TOKEN"]);
    assert_eq!(spec.stored_secrets().collect::<Vec<_>>(), ["NPM_TOKEN"]);
    let shown = spec.shown_build_args();
    assert_eq!(
        shown.into_iter().collect::<Vec<_>>(),
        [("MODE", "release"), ("NPM_TOKEN", "***"), ("TOKEN", "***")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(
        spec.secret_values().collect::<Vec<_>>(),
        ["sent-with-the-request"]
    );
    let back: BuildSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
    assert_eq!(back, spec);
    assert!(!format!("{spec:?}").contains("sent-with"));
}

#[test]
fn a_run_is_given_values_and_what_is_missing_is_named() {
    let spec = sent().with_stored_secrets(["NPM_TOKEN", "PIP_TOKEN"]);
    let found = spec.resolved_build_args(|name| Some(if name == "NPM_TOKEN" { "npm" } else { "pip" }));
    let found = found.unwrap();
    for (name, value) in [
        ("MODE", "release"),
        ("TOKEN", "sent-with-the-request"),
        ("NPM_TOKEN", "npm"),
        ("PIP_TOKEN", "pip"),
    ] {
        assert_eq!(found[name].reveal(), value);
        assert_eq!(found[name].is_secret(), name != "MODE");
    }
    let missing = spec.resolved_build_args(|_| None).unwrap_err();
    let pair = |name: &str| (name.to_owned(), name.to_owned());
    assert_eq!(missing.args, [pair("NPM_TOKEN"), pair("PIP_TOKEN")]);
    let text = missing.to_string();
    assert!(text.contains("build arg PIP_TOKEN takes its value from the stored secret PIP_TOKEN"));
    // Nothing is asked for where nothing is stored.
    assert_eq!(
        sent().resolved_build_args(|_| None).unwrap(),
        *sent().build_args()
    );
}
