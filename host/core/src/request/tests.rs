use proptest::prelude::*;

use super::*;

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

fn submission() -> Submission {
    Submission {
        name: "team/web".to_owned(),
        source: Some(git("https://git.example.com/team/web.git")),
        ..Submission::default()
    }
}

fn git(url: &str) -> SubmittedSource {
    SubmittedSource::Git {
        url: url.to_owned(),
        reference: String::new(),
        context_dir: String::new(),
    }
}

/// The fields that a change of the good submission is refused for.
fn refused(change: impl FnOnce(&mut Submission)) -> Vec<String> {
    refused_under(&rules(), change)
}

fn refused_under(rules: &Rules, change: impl FnOnce(&mut Submission)) -> Vec<String> {
    let mut submission = submission();
    change(&mut submission);
    match check(submission, rules) {
        Ok(_) => Vec::new(),
        Err(violations) => violations.into_iter().map(|violation| violation.field).collect(),
    }
}

const NONE: [&str; 0] = [];

#[test]
fn unset_fields_get_their_defaults() {
    let spec = check(submission(), &rules()).unwrap();
    assert_eq!(spec.dockerfile(), "Dockerfile");
    assert_eq!(spec.tags(), ["latest"]);
    assert_eq!(spec.timeout(), Duration::from_secs(1800));
    assert_eq!(spec.platform(), None);
    assert_eq!(
        spec.source(),
        &Source::Git(GitSource {
            url: "https://git.example.com/team/web.git".to_owned(),
            reference: "main".to_owned(),
            context_dir: String::new(),
        })
    );
}

#[test]
fn all_violations_come_together_and_without_the_values() {
    let bad = Submission {
        name: "Über".to_owned(),
        dockerfile: "../../hunter2".to_owned(),
        tags: vec!["ok".to_owned(), "not ok".to_owned(), "ok".to_owned()],
        build_args: BTreeMap::from([("A B".to_owned(), "hunter2".to_owned())]),
        timeout_secs: 7201,
        platform: "linux".to_owned(),
        source: Some(git("https://me:hunter2@example.com/x")),
        idempotency_key: "ключ".to_owned(),
        labels: BTreeMap::from([("-".to_owned(), "hunter2 ".to_owned())]),
        priority: 101,
        webhook_url: "https://hunter2".to_owned(),
        ..Submission::default()
    };
    assert!(!format!("{bad:?}").contains("hunter2"));
    let violations = check(bad, &rules()).unwrap_err();
    assert!(!format!("{violations:?}").contains("hunter2"));
    let fields: Vec<&str> = violations
        .iter()
        .map(|violation| violation.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "name",
            "dockerfile",
            "tags[1]",
            "tags[2]",
            "build_args[\"A B\"]",
            "timeout_secs",
            "platform",
            "git_source.url",
            "idempotency_key",
            "labels[\"-\"]",
            "labels[\"-\"]",
            "priority",
            "webhook_url",
        ]
    );
    let timeout = violations
        .iter()
        .find(|violation| violation.field == "timeout_secs")
        .unwrap();
    assert!(timeout.description.contains("7200"));
}

#[test]
fn names_are_repository_paths() {
    for name in [
        "a",
        "0",
        "web-app",
        "team/web_app",
        "a.b/c__d/e--f---g",
        &"a".repeat(165),
    ] {
        assert_eq!(refused(|s| s.name = name.to_owned()), NONE, "{name}");
    }
    for name in [
        "",
        "A",
        "a/",
        "/a",
        "a//b",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a._b",
        "a:b",
        "a@b",
        "a b",
        "ä",
        ".",
        "..",
        "a/../b",
        "a\n",
        "cache",
        &"a".repeat(166),
    ] {
        assert_eq!(refused(|s| s.name = name.to_owned()), ["name"], "{name:?}");
    }
}

#[test]
fn tags_are_oci_tags() {
    let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        refused(|s| s.tags = tags(&["v1.2-rc_3", "_x", &"T".repeat(128)])),
        NONE
    );
    for tag in ["", ".a", "-a", "a b", "a/b", "a:b", "ä", "a\n", &"t".repeat(129)] {
        assert_eq!(refused(|s| s.tags = tags(&[tag])), ["tags[0]"], "{tag:?}");
    }
    assert_eq!(
        refused(|s| s.tags = (0..33).map(|n| n.to_string()).collect()),
        ["tags"]
    );
    assert_eq!(
        refused(|s| s.tags = (0..32).map(|n| n.to_string()).collect()),
        NONE
    );
}

#[test]
fn paths_stay_inside_the_context_and_are_normalized() {
    for (path, normal) in [
        ("./a//b", "a/b"),
        ("Dockerfile:dev", "Dockerfile:dev"),
        ("-f", "-f"),
        ("ü/…", "ü/…"),
    ] {
        let mut submission = submission();
        submission.dockerfile = path.to_owned();
        assert_eq!(check(submission, &rules()).unwrap().dockerfile(), normal);
    }
    for path in [
        "/etc/passwd",
        "..",
        "a/../../b",
        "a/..",
        ".",
        "./",
        "a/",
        "https://x/Dockerfile",
        "a\\b",
        "a\0b",
        "a\nb",
        &"a".repeat(1025),
        &"a".repeat(256),
    ] {
        assert_eq!(
            refused(|s| s.dockerfile = path.to_owned()),
            ["dockerfile"],
            "{path:?}"
        );
    }
    let in_dir = |dir: &str| SubmittedSource::Git {
        url: "https://example.com/x".to_owned(),
        reference: String::new(),
        context_dir: dir.to_owned(),
    };
    for dir in ["", ".", "./", "a/b/", "a/./b"] {
        assert_eq!(refused(|s| s.source = Some(in_dir(dir))), NONE, "{dir:?}");
    }
    for dir in ["/", "/a", "..", "a/../..", "git://x", "a\\..\\b", "a\u{7f}"] {
        assert_eq!(
            refused(|s| s.source = Some(in_dir(dir))),
            ["git_source.context_dir"],
            "{dir:?}"
        );
    }
}

#[test]
fn one_platform_by_either_field() {
    let with = |one: &str, more: &[&str]| {
        let mut submission = submission();
        submission.platform = one.to_owned();
        submission.platforms = more.iter().map(|platform| (*platform).to_owned()).collect();
        let unsupported = submission.unsupported();
        let platform = check(submission, &rules()).map(|spec| spec.platform().map(str::to_owned));
        (
            platform.map_err(|violations| violations.len()),
            unsupported.is_some(),
        )
    };
    let arm = Some("linux/arm64/v8".to_owned());
    assert_eq!(with("linux/arm64/v8", &[]), (Ok(arm.clone()), false));
    assert_eq!(with("", &["linux/arm64/v8"]), (Ok(arm.clone()), false));
    assert_eq!(with("linux/arm64/v8", &["linux/arm64/v8"]), (Ok(arm), false));
    assert_eq!(with("linux/amd64", &["linux/arm64"]), (Err(1), false));
    assert_eq!(with("", &["linux/amd64", "linux/arm64"]), (Err(1), true));
    for platform in [
        "linux",
        "linux/",
        "/amd64",
        "a/b/c/d",
        "Linux/amd64",
        "linux/amd 64",
        "linux/amd64:x",
        "--/x",
    ] {
        assert_eq!(with(platform, &[]), (Err(1), false), "{platform:?}");
    }
}

#[test]
fn git_urls_are_https_and_public() {
    for url in [
        "https://github.com/a/b",
        "HTTPS://GitHub.com:8443/a/b.git",
        "https://8.8.8.8/a",
        "https://[2606:4700::1]/a",
        "https://bücher.example/a",
        "https://example.com/a%20b",
    ] {
        assert_eq!(refused(|s| s.source = Some(git(url))), NONE, "{url}");
    }
    for url in [
        "",
        "x",
        "-oProxyCommand=x",
        "http://example.com/a",
        "git://example.com/a",
        "file:///etc",
        "ext::sh -c x",
        "/a/b",
        "ssh://git:pw@example.com/a",
        "ssh://git@example.com",
        "git@localhost:a/b",
        "git@127.0.0.1:a/b",
        "https://",
        "https:///a@",
        "https://example.com",
        "https://example.com//",
        "https://me@example.com/a",
        "https://me:pw@example.com/a",
        "https://:pw@example.com/a",
        "https://example.com/a?x=1",
        "https://example.com/a#b",
        "https://example.com/a b",
        "https://example.com\\a",
        "https://example.com/a\n",
        "https://example.com/a%0ab",
        "https://example.com/%00",
        "https://example.com/%7F",
        "https://-x.example.com/a",
        "https://example.com:0/a",
        "https://example.com:99999/a",
        "https://localhost/a",
        "https://LOCALHOST./a",
        "https://a.localhost/a",
        "https://127.0.0.1/a",
        "https://2130706433/a",
        "https://0x7f.1/a",
        "https://0177.0.0.1/a",
        "https://127.1/a",
        "https://0/a",
        "https://169.254.169.254/latest",
        "https://10.0.0.1/a",
        "https://[::1]/a",
        "https://[::ffff:127.0.0.1]/a",
        "https://[::ffff:a00:1]/a",
        "https://[fe80::1]/a",
        "https://[fd00::1]/a",
        "https://１２７.0.0.1/a",
        &format!("https://example.com/{}", "a".repeat(2048)),
    ] {
        assert_eq!(
            refused(|s| s.source = Some(git(url))),
            ["git_source.url"],
            "{url:?}"
        );
    }
}

#[test]
fn the_operator_may_allow_http_and_private_addresses() {
    let open = Rules {
        git_http_allowed: true,
        private_addresses_allowed: true,
        ..rules()
    };
    for url in [
        "http://127.0.0.1:8080/a.git",
        "http://localhost/a",
        "https://[::1]/a",
    ] {
        assert_eq!(refused_under(&open, |s| s.source = Some(git(url))), NONE, "{url}");
    }
    assert_eq!(
        refused_under(&open, |s| s.source = Some(git("file:///a"))),
        ["git_source.url"]
    );
}

#[test]
fn ssh_addresses_have_one_form_and_the_same_hosts() {
    let checked = |url: &str, rules: &Rules| {
        let mut submission = submission();
        submission.source = Some(git(url));
        check(submission, rules).map(|spec| match spec.source() {
            Source::Git(source) => source.url.clone(),
            Source::Archive(_) => panic!("not an archive"),
        })
    };
    assert_eq!(
        checked("git@github.com:a/b.git", &rules()).unwrap(),
        "ssh://git@github.com/a/b.git"
    );
    let private = Rules {
        private_addresses_allowed: true,
        ..rules()
    };
    assert!(checked("ssh://git@10.0.0.1/a", &rules()).is_err());
    assert_eq!(
        checked("ssh://git@10.0.0.1/a", &private).unwrap(),
        "ssh://git@10.0.0.1/a"
    );
}

#[test]
fn references_follow_check_ref_format() {
    let at = |reference: &str| SubmittedSource::Git {
        url: "https://example.com/x".to_owned(),
        reference: reference.to_owned(),
        context_dir: String::new(),
    };
    for reference in [
        "main",
        "v1.2.3",
        "feature/ü-1",
        "refs/tags/v1",
        "HEAD",
        "a@b",
        &"0f".repeat(20),
    ] {
        assert_eq!(refused(|s| s.source = Some(at(reference))), NONE, "{reference}");
    }
    for reference in [
        "-x",
        "--upload-pack=x",
        "a..b",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[",
        "a\\b",
        "/a",
        "a/",
        "a//b",
        "a.",
        "a.lock",
        "a.lock/b",
        ".a",
        "a/.b",
        "@",
        "a@{1}",
        "a\n",
        "a\0",
        "a\u{7f}",
        &"a".repeat(256),
    ] {
        assert_eq!(
            refused(|s| s.source = Some(at(reference))),
            ["git_source.reference"],
            "{reference:?}"
        );
    }
}

#[test]
fn sources_are_one_of_three() {
    assert_eq!(refused(|s| s.source = None), ["source"]);
    assert_eq!(
        refused(|s| s.source = Some(SubmittedSource::ContextId("ctx_1".to_owned()))),
        ["context_id"]
    );
    let inline = |size_bytes| {
        Some(SubmittedSource::ZippedCode {
            sha256: [7; 32],
            size_bytes,
        })
    };
    assert_eq!(refused(|s| s.source = inline(0)), ["zipped_code"]);
    assert_eq!(refused(|s| s.source = inline(4 * 1024 * 1024)), ["zipped_code"]);
    assert_eq!(refused(|s| s.source = inline(4 * 1024 * 1024 - 1)), NONE);
    let mut submission = submission();
    submission.source = inline(1);
    let id = ContextId::from_sha256([7; 32]);
    assert_eq!(
        check(submission.clone(), &rules()).unwrap().source(),
        &Source::Archive(id.clone())
    );
    submission.source = Some(SubmittedSource::ContextId(id.to_string()));
    assert_eq!(
        check(submission, &rules()).unwrap().source(),
        &Source::Archive(id)
    );
}

#[test]
fn build_args_have_arg_names_and_fit_an_environment() {
    let args = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    for name in ["A", "_a1", "HTTP_PROXY", "GO_VERSION", "DOCKER_VERSION"] {
        assert_eq!(refused(|s| s.build_args = args(name, "a\nb=c")), NONE, "{name}");
    }
    for name in [
        "",
        "1A",
        "A-B",
        "A=B",
        "Ä",
        "A ",
        "KANIKO_NO_PUSH",
        "FF_KANIKO_X",
        "PATH",
        "SSL_CERT_FILE",
    ] {
        assert_eq!(
            refused(|s| s.build_args = args(name, "x")),
            [format!("build_args[{name:?}]")]
        );
    }
    assert_eq!(
        refused(|s| s.build_args = args("A", "a\0b")),
        ["build_args[\"A\"]"]
    );
    assert_eq!(
        refused(|s| s.build_args = args("A", &"x".repeat(96 * 1024 + 1))),
        ["build_args[\"A\"]"]
    );
    let many =
        |count: usize, bytes: usize| (0..count).map(|n| (format!("A{n}"), "x".repeat(bytes))).collect();
    assert_eq!(refused(|s| s.build_args = many(4, 65536)), ["build_args"]);
    assert_eq!(refused(|s| s.build_args = many(257, 1)), ["build_args"]);
    let long = "A ".repeat(1000);
    assert!(refused(|s| s.build_args = args(&long, ""))[0].len() < 100);
}

#[test]
fn a_resource_class_is_one_that_there_is() {
    let label = |class: &str| {
        let class = class.to_owned();
        move |s: &mut Submission| {
            s.labels.insert(RESOURCES_LABEL.to_owned(), class);
        }
    };
    let classes = Rules {
        resource_classes: vec!["small".to_owned(), "large".to_owned()],
        ..rules()
    };
    assert_eq!(refused_under(&classes, label("small")), NONE);
    let field = format!("labels[\"{RESOURCES_LABEL}\"]");
    assert_eq!(refused_under(&classes, label("huge")), [field]);
    assert_eq!(refused_under(&rules(), label("huge")), NONE);
}

#[test]
fn labels_follow_kubernetes() {
    let label = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    for (key, value) in [
        ("team", "web"),
        ("example.com/Team_1.x", ""),
        (&"k".repeat(63), &"v".repeat(63)),
    ] {
        assert_eq!(refused(|s| s.labels = label(key, value)), NONE, "{key}={value}");
    }
    for (key, value) in [
        ("", "v"),
        ("-a", "v"),
        ("a-", "v"),
        ("a b", "v"),
        ("/a", "v"),
        ("Example.com/a", "v"),
        ("a/b/c", "v"),
        ("x..y/a", "v"),
        ("a", "-v"),
        ("a", "v v"),
        ("a", "ü"),
        (&"k".repeat(64), "v"),
        ("a", &"v".repeat(64)),
    ] {
        assert_eq!(
            refused(|s| s.labels = label(key, value)),
            [format!("labels[{key:?}]")],
            "{key}={value}"
        );
    }
}

#[test]
fn secrets_are_told_by_name_unless_the_value_is_none() {
    for name in [
        "TOKEN",
        "NPM_TOKEN",
        "npm_token",
        "githubToken",
        "GITHUBTOKEN",
        "DB_PASSWORD",
        "DBPASS_WORD_PASS",
        "MYSQL_PWD",
        "API_KEY",
        "APIKEY",
        "apiKey",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "PRIVATE_KEY",
        "SSH_KEY",
        "AUTH",
        "BASIC_AUTH_2",
        "NPM_TOKEN1",
        "GOOGLE_CREDENTIALS",
        "clientSecret",
        "SECRETS",
        "GPG_PASSPHRASE",
    ] {
        assert!(looks_secret(name, "hunter2"), "{name}");
    }
    for name in [
        "VERSION",
        "AUTHOR",
        "COMPASS",
        "BYPASS",
        "CACHE_KEY",
        "KEYBOARD",
        "TOKENIZER",
        "PASSENGER",
        "",
        "_",
    ] {
        assert!(!looks_secret(name, "hunter2"), "{name}");
    }
    for value in ["", "1", "ab", "  a ", "true", "False", "OFF", "disabled"] {
        assert!(!looks_secret("TOKEN", value), "{value:?}");
    }
    assert!(looks_secret("TOKEN", "abc"));
}

#[test]
fn a_secret_is_masked_in_the_record_and_known_to_the_redactor() {
    let mut submission = submission();
    submission.build_args = [("TOKEN", "hunter2"), ("USE_TOKEN", "true"), ("V", "1.2.3")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let spec = check(submission, &rules()).unwrap();
    let shown = spec.shown_build_args();
    assert_eq!(
        (
            shown["TOKEN"].as_str(),
            shown["USE_TOKEN"].as_str(),
            shown["V"].as_str()
        ),
        ("***", "true", "1.2.3")
    );
    assert_eq!(spec.secret_values().collect::<Vec<_>>(), ["hunter2"]);
}

proptest! {
    #[test]
    fn no_text_in_any_field_panics_or_passes_what_it_must_not(text in ".{0,40}", path in "[a./\\\\:-]{0,12}") {
        let mut submission = submission();
        submission.name = text.clone();
        submission.dockerfile = path.clone();
        submission.tags = vec![text.clone()];
        submission.platform = text.clone();
        submission.labels = BTreeMap::from([(text.clone(), text.clone())]);
        submission.build_args = BTreeMap::from([(text.clone(), text.clone())]);
        submission.source = Some(SubmittedSource::Git { url: text.clone(), reference: text.clone(), context_dir: path.clone() });
        let _ = check(submission, &rules());

        let mut submission = self::submission();
        submission.dockerfile = path;
        if let Ok(spec) = check(submission, &rules()) {
            prop_assert!(!spec.dockerfile().starts_with('/'));
            prop_assert!(spec.dockerfile().split('/').all(|part| !matches!(part, "" | "." | "..")));
        }
    }

    #[test]
    fn what_passes_as_a_public_url_names_no_private_address(host in "[0-9a-fx.:\\[\\]]{1,20}") {
        let url = format!("https://{host}/a");
        let mut submission = submission();
        submission.source = Some(git(&url));
        if let Ok(spec) = check(submission, &rules()) && let Source::Git(source) = spec.source() {
            match url::Url::parse(&source.url).unwrap().host().unwrap() {
                url::Host::Ipv4(v4) => prop_assert!(address::is_public(v4.into())),
                url::Host::Ipv6(v6) => prop_assert!(address::is_public(v6.into())),
                url::Host::Domain(name) => prop_assert!(!name.ends_with("localhost")),
            }
        }
    }
}
