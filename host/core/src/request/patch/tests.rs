use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    request::{Submission, SubmittedSource, check},
    spec::Source,
};

fn rules() -> Rules {
    Rules {
        timeout_default: Duration::from_secs(1800),
        timeout_max: Duration::from_secs(7200),
        registry: "registry.example.com:5000".to_owned(),
        git_http_allowed: false,
        private_addresses_allowed: false,
        resource_classes: Vec::new(),
    }
}

fn spec() -> BuildSpec {
    let submission = Submission {
        name: "team/web".to_owned(),
        source: Some(SubmittedSource::Git {
            url: "https://git.example.com/team/web.git".to_owned(),
            reference: String::new(),
            context_dir: String::new(),
        }),
        tags: vec!["1.0".to_owned()],
        build_args: BTreeMap::from([
            ("MODE".to_owned(), "dev".to_owned()),
            ("TOKEN".to_owned(), "hunter2".to_owned()),
        ]),
        labels: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
        ..Submission::default()
    };
    check(submission, &rules()).unwrap()
}

fn patched(changes: &[Change]) -> Result<Patched, Vec<FieldViolation>> {
    patch(&spec(), changes, &rules(), &|_| false)
}

/// The fields that the changes are refused for.
fn refused(changes: &[Change]) -> Vec<String> {
    let violations = patched(changes).err().unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

fn plain(name: &str, value: &str) -> Change {
    Change::SetArg {
        name: name.to_owned(),
        value: ProposedArg::Plain(value.to_owned()),
    }
}

fn secret(name: &str, secret: &str) -> Change {
    Change::SetArg {
        name: name.to_owned(),
        value: ProposedArg::Secret(secret.to_owned()),
    }
}

fn label(key: &str, value: &str) -> Change {
    Change::SetLabel {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn add_tag(tag: &str) -> Change {
    Change::AddTag(tag.to_owned())
}

fn remove_tag(tag: &str) -> Change {
    Change::RemoveTag(tag.to_owned())
}

#[test]
fn changes_apply_in_order_with_a_line_each() {
    let patched = patched(&[
        plain("MODE", "x\n"),
        plain("NEW", ""),
        Change::RemoveArg("NEW".to_owned()),
        add_tag("1.2"),
        remove_tag("1.0"),
        label("team", "api"),
        Change::RemoveLabel("team".to_owned()),
        Change::SetPlatform("linux/arm64".to_owned()),
        Change::SetNoCache(true),
        Change::SetTimeoutSeconds(60),
    ])
    .unwrap();
    assert_eq!(
        patched.changes,
        [
            r#"build arg MODE set to "x\n""#,
            r#"build arg NEW set to """#,
            "build arg NEW removed",
            "tag 1.2 added",
            "tag 1.0 removed",
            r#"label team set to "api""#,
            "label team removed",
            "platform set to linux/arm64",
            "no_cache set to true",
            "timeout set to 60 s",
        ]
    );
    let spec = patched.spec;
    assert_eq!(spec.build_args()["MODE"].reveal(), "x\n");
    assert_eq!(spec.tags(), ["1.2"]);
    assert!(spec.labels().is_empty() && spec.no_cache());
    assert_eq!(spec.platform(), Some("linux/arm64"));
    assert_eq!(spec.timeout(), Duration::from_secs(60));
}

#[test]
fn what_is_so_already_yields_no_line() {
    let nothing = patched(&[
        plain("MODE", "dev"),
        Change::RemoveArg("OTHER".to_owned()),
        add_tag("1.0"),
        remove_tag("2.0"),
        label("team", "web"),
        Change::RemoveLabel("other".to_owned()),
        Change::SetNoCache(false),
        Change::SetTimeoutSeconds(1800),
    ]);
    assert_eq!(
        nothing,
        Ok(Patched {
            spec: spec(),
            changes: Vec::new()
        })
    );
}

#[test]
fn secrets_are_replaced_or_removed_and_never_shown() {
    let replaced = patched(&[plain("TOKEN", "hunter3"), plain("API_KEY", "abcdef")]).unwrap();
    assert_eq!(
        replaced.changes,
        [
            "build arg TOKEN set to a secret value",
            "build arg API_KEY set to a secret value"
        ]
    );
    assert!(replaced.spec.build_args()["API_KEY"].is_secret());
    assert_eq!(replaced.spec.build_args()["TOKEN"].reveal(), "hunter3");
    let removed = patched(&[Change::RemoveArg("TOKEN".to_owned())]).unwrap();
    assert_eq!(removed.changes, ["build arg TOKEN removed"]);
    // No answer may tell whether a guess was right.
    let guessed = patched(&[plain("TOKEN", "hunter2")]).unwrap();
    assert_eq!(
        guessed.changes,
        patched(&[plain("TOKEN", "hunter1")]).unwrap().changes
    );
}

#[test]
fn a_secret_that_is_not_stored_is_refused() {
    let violations = patched(&[secret("TOKEN", "TOKEN")]).unwrap_err();
    assert_eq!(violations[0].field, r#"build_args["TOKEN"]"#);
    assert!(
        violations[0]
            .description
            .starts_with("changes[0]: no secret of this name is stored")
    );
}

#[test]
fn a_stored_secret_is_routed_by_name() {
    let is_stored = |name: &str| name == "NPM";
    let patched = |changes: &[Change]| patch(&spec(), changes, &rules(), &is_stored);
    let routed = patched(&[secret("TOKEN", "NPM"), secret("NEW", "NPM")]).unwrap();
    assert_eq!(
        routed.changes,
        [
            "build arg TOKEN set to the stored secret NPM",
            "build arg NEW set to the stored secret NPM"
        ]
    );
    let args = routed.spec.build_args();
    assert_eq!(args["TOKEN"].stored_name(), Some("NPM"));
    assert_eq!((args["NEW"].shown(), args["NEW"].reveal()), ("***", ""));
    // Told once: it is there already.
    let again = patch(&routed.spec, &[secret("NEW", "NPM")], &rules(), &is_stored).unwrap();
    assert_eq!(again.changes, [] as [&str; 0]);
    // And replaced like any other.
    let replaced = patch(&routed.spec, &[plain("NEW", "1")], &rules(), &is_stored).unwrap();
    assert_eq!(replaced.spec.build_args()["NEW"].stored_name(), None);
    for name in ["A B", "PATH"] {
        let violations = patched(&[secret(name, "NPM")]).unwrap_err();
        assert_eq!(violations[0].field, keyed("build_args", name));
    }
}

#[test]
fn what_is_stored_takes_no_place_away_from_other_args() {
    let names: Vec<String> = (0..300).map(|n| format!("STORED_{n}")).collect();
    let many = spec().with_stored_secrets(names.iter().map(String::as_str));
    assert!(patch(&many, &[plain("A", "1")], &rules(), &|_| false).is_ok());
}

#[test]
fn the_last_tag_stays() {
    assert_eq!(refused(&[remove_tag("1.0")]), ["tags"]);
    assert_eq!(refused(&[remove_tag("1.0"), add_tag("2.0")]), ["tags"]);
    assert_eq!(refused(&[add_tag("2.0"), remove_tag("1.0")]), [""; 0]);
}

#[test]
fn what_a_caller_may_not_send_a_rewriter_may_not_set() {
    for (change, field) in [
        (plain("A B", "x"), r#"build_args["A B"]"#),
        (plain("PATH", "x"), r#"build_args["PATH"]"#),
        (plain("A", "\0"), r#"build_args["A"]"#),
        (add_tag("a b"), "tags[1]"),
        (label("a b", ""), r#"labels["a b"]"#),
        (label("a", "b c"), r#"labels["a"]"#),
        (Change::SetPlatform(String::new()), "platform"),
        (Change::SetPlatform("linux".to_owned()), "platform"),
        (Change::SetTimeoutSeconds(0), "timeout_secs"),
        (Change::SetTimeoutSeconds(7201), "timeout_secs"),
        (Change::SetTimeoutSeconds(u64::MAX), "timeout_secs"),
    ] {
        assert_eq!(refused(std::slice::from_ref(&change)), [field], "{change:?}");
        // Nor may it be right again only at the end.
        let later = [
            change,
            Change::RemoveArg("A".to_owned()),
            Change::SetTimeoutSeconds(1),
        ];
        assert_eq!(refused(&later)[0], field);
    }
    let many: Vec<Change> = (0..256).map(|n| plain(&format!("A{n}"), "")).collect();
    assert_eq!(refused(&many), ["build_args", "build_args"]);
    let large: Vec<Change> = (0..3)
        .map(|n| plain(&format!("A{n}"), &"x".repeat(90_000)))
        .collect();
    assert_eq!(refused(&large), ["build_args"]);
    let tags: Vec<Change> = (0..32).map(|n| add_tag(&n.to_string())).collect();
    assert_eq!(refused(&tags), ["tags"]);
}

#[test]
fn all_refused_changes_come_back_together() {
    let violations =
        patched(&[add_tag("a b"), plain("MODE", "x"), Change::SetTimeoutSeconds(0)]).unwrap_err();
    let starts: Vec<&str> = violations.iter().map(|one| &one.description[..10]).collect();
    assert_eq!(starts, ["changes[0]", "changes[2]"]);
}

#[test]
fn the_number_of_changes_is_bounded() {
    assert_eq!(refused(&vec![Change::SetNoCache(true); 257]), [""]);
    assert_eq!(
        patched(&vec![Change::SetNoCache(true); 256])
            .unwrap()
            .changes
            .len(),
        1
    );
}

#[test]
fn long_values_are_shown_in_part() {
    let line = &patched(&[plain("A", &"ä".repeat(1000))]).unwrap().changes[0];
    assert!(line.len() < 600 && line.ends_with("… (2000 bytes)"), "{line}");
}

fn any_change() -> impl Strategy<Value = Change> {
    let name = || prop_oneof!["[AB]{1,2}", "TOKEN|MODE|PATH|API_KEY|.{0,3}"];
    let value = || prop_oneof!["[ab/.-]{0,3}", ".{0,4}", "a{60,70}", "(linux/)?[a-z/]{1,6}"];
    prop_oneof![
        (name(), value()).prop_map(|(name, value)| plain(&name, &value)),
        (name(), name()).prop_map(|(name, stored)| secret(&name, &stored)),
        name().prop_map(Change::RemoveArg),
        value().prop_map(Change::AddTag),
        prop_oneof![value(), Just("1.0".to_owned())].prop_map(Change::RemoveTag),
        (value(), value()).prop_map(|(key, value)| label(&key, &value)),
        name().prop_map(Change::RemoveLabel),
        value().prop_map(Change::SetPlatform),
        any::<bool>().prop_map(Change::SetNoCache),
        (0..8000_u64).prop_map(Change::SetTimeoutSeconds),
    ]
}

/// What its sender would have had to send.
fn submission_of(spec: &BuildSpec) -> Submission {
    let Source::Git(git) = spec.source() else {
        panic!("the sample is a git source");
    };
    let args = spec.build_args().iter();
    Submission {
        name: spec.name().to_owned(),
        dockerfile: spec.dockerfile().to_owned(),
        tags: spec.tags().to_vec(),
        build_args: args
            .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
            .collect(),
        no_cache: spec.no_cache(),
        timeout_secs: spec.timeout().as_secs(),
        platform: spec.platform().unwrap_or_default().to_owned(),
        source: Some(SubmittedSource::Git {
            url: git.url.clone(),
            reference: git.reference.clone(),
            context_dir: git.context_dir.clone(),
        }),
        labels: spec.labels().clone(),
        priority: spec.priority(),
        ..Submission::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_patched_could_have_been_sent(changes in prop::collection::vec(any_change(), 0..4)) {
        let before = spec();
        match patch(&before, &changes, &rules(), &|_| false) {
            Ok(patched) => {
                let sent = check(submission_of(&patched.spec), &rules());
                prop_assert_eq!(sent.as_ref(), Ok(&patched.spec));
                if patched.changes.is_empty() {
                    prop_assert_eq!(&patched.spec, &before);
                }
                prop_assert!(patched.changes.iter().all(|line| !line.contains("hunter") && !line.contains('\n')));
            }
            Err(violations) => prop_assert!(!violations.is_empty()),
        }
        prop_assert_eq!(before, spec());
    }
}
