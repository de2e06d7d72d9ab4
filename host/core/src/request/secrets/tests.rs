use super::*;

const OPENSSH: &str = include_str!("tests/openssh.key");
const KNOWN_HOST: &str =
    "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFTkb9pWwjIeFvvVt5BS/dM1VvHYm2psfz+f80aLDdKO";
/// Must be in no message.
const VALUE: &str = "hunter2-hunter2";

fn text(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, SecretText> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), text(value)))
        .collect()
}

fn registries(pairs: &[(&str, &str)]) -> SubmittedSecrets {
    SubmittedSecrets {
        registry_credentials: map(pairs),
        ..SubmittedSecrets::default()
    }
}

fn build(pairs: &[(&str, &str)]) -> SubmittedSecrets {
    SubmittedSecrets {
        build_secrets: map(pairs),
        ..SubmittedSecrets::default()
    }
}

fn git(change: impl FnOnce(&mut SubmittedGit)) -> SubmittedSecrets {
    let mut git = SubmittedGit {
        username: "bot".to_owned(),
        password: text(VALUE),
        ..SubmittedGit::default()
    };
    change(&mut git);
    SubmittedSecrets {
        git_credentials: Some(git),
        ..SubmittedSecrets::default()
    }
}

fn ssh(key: &str, known_hosts: &str) -> SubmittedSecrets {
    git(|git| {
        git.ssh_private_key = text(key);
        git.ssh_known_hosts = known_hosts.to_owned();
    })
}

fn set<T>(change: GroupChange<T>) -> T {
    match change {
        GroupChange::Set(set) => set,
        GroupChange::Keep | GroupChange::Clear => panic!("not set"),
    }
}

/// The fields that are refused; none of the messages tells a value.
fn refused(submitted: SubmittedSecrets) -> Vec<String> {
    let violations = check_secrets(submitted).unwrap_err();
    for violation in &violations {
        assert!(!violation.description.contains(VALUE), "{violation:?}");
        assert!(!violation.description.contains("hunter"), "{violation:?}");
    }
    violations.into_iter().map(|violation| violation.field).collect()
}

#[test]
fn hosts_come_out_as_image_references_have_them() {
    for (given, expected) in [
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("Registry.Example.COM", "registry.example.com"),
        ("registry.example.com:5000", "registry.example.com:5000"),
        ("registry.example.com:443", "registry.example.com:443"),
        ("localhost", "localhost"),
        ("registry:5000", "registry:5000"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("[::1]:5000", "[::1]:5000"),
    ] {
        let change = check_secrets(registries(&[(given, "u:p")])).unwrap();
        let logins = set(change.registries);
        assert_eq!(logins.keys().collect::<Vec<_>>(), [expected], "{given}");
    }
    for given in [
        "",
        "registry",
        "https://registry.example.com",
        "registry.example.com/team",
        "user@registry.example.com",
        "registry.example.com:",
        "registry.example.com:0",
        "registry.example.com:99999",
        "registry.example.com:+5",
        "registry example.com",
        "-registry.example.com",
        "127.1",
        "ümlaut.example.com",
        "[::1",
    ] {
        let field = keyed("registry_credentials", given);
        assert_eq!(
            refused(registries(&[(given, "user:hunter2-hunter2")])),
            [field],
            "{given}"
        );
    }
    assert_eq!(
        refused(registries(&[("docker.io", "u:p"), ("index.docker.io", "u:p")])),
        [r#"registry_credentials["index.docker.io"]"#]
    );
}

#[test]
fn a_login_with_a_colon_is_plain_and_any_other_is_base64() {
    // `dXNlcjpwYXNz` is `user:pass`.
    for (given, user, password) in [
        ("user:pass", "user", "pass"),
        ("dXNlcjpwYXNz", "user", "pass"),
        ("user:dXNlcjpwYXNz", "user", "dXNlcjpwYXNz"),
        ("user:a:b:c", "user", "a:b:c"),
        // With and without padding, and with the line's end of `base64`.
        ("dTpw", "u", "p"),
        ("dXU6cA==", "uu", "p"),
        ("dXU6cA", "uu", "p"),
        ("dXU6cA==\n", "uu", "p"),
        (
            "_json_key:{\n  \"type\": \"service_account\"\n}\n",
            "_json_key",
            "{\n  \"type\": \"service_account\"\n}\n",
        ),
    ] {
        let change = check_secrets(registries(&[("r.example.com", given)])).unwrap();
        let login = &set(change.registries)["r.example.com"];
        assert_eq!(
            (login.username.as_str(), login.password.reveal()),
            (user, password)
        );
    }
    for given in [
        VALUE,
        "",
        ":hunter2-hunter2",
        "user:",
        "dXNlcg==",
        "//////hunter8",
        "us\ner:hunter2-hunter2",
        "user:hunter2\0",
        &format!("user:{}", "x".repeat(16 * 1024)),
    ] {
        assert_eq!(
            refused(registries(&[("r.example.com", given)])),
            [r#"registry_credentials["r.example.com"]"#],
            "{given}"
        );
    }
}

#[test]
fn build_secrets_are_args_that_can_be_kept_out_of_logs() {
    let lines = "-----BEGIN X-----\nabc\n-----END X-----\n";
    let change = check_secrets(build(&[("NPM_TOKEN", VALUE), ("_cert2", lines)])).unwrap();
    assert_eq!(set(change.build)["_cert2"].reveal(), lines);
    for (name, value) in [
        ("", VALUE),
        ("2FA", VALUE),
        ("A B", VALUE),
        ("A=B", VALUE),
        ("PATH", VALUE),
        ("DOCKER_CONFIG", VALUE),
        ("TOKEN", ""),
        ("TOKEN", "abc"),
        ("TOKEN", "  hunt \n"),
        ("TOKEN", "hunter2\0"),
        ("TOKEN", &"x".repeat(97 * 1024)),
    ] {
        assert_eq!(
            refused(build(&[(name, value)])),
            [keyed("build_secrets", name)],
            "{name}"
        );
    }
    let many: Vec<String> = (0..=BUILD_SECRETS_MAX).map(|n| format!("N{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), VALUE)).collect();
    assert_eq!(refused(build(&many)), ["build_secrets"]);
    let large = "x".repeat(90 * 1024);
    assert_eq!(
        refused(build(&[("A", &large), ("B", &large), ("C", &large)])),
        ["build_secrets"]
    );
}

#[test]
fn git_logins_are_whole_and_for_hosts() {
    let login = set(check_secrets(git(|git| {
        git.hosts = ["GitHub.com", "git.example.com:8443", "github.com"]
            .map(str::to_owned)
            .to_vec();
    }))
    .unwrap()
    .git);
    assert_eq!(login.hosts, ["github.com", "git.example.com:8443"]);
    assert!(login.https.is_some() && login.ssh.is_none());
    let field = |name: &str| format!("git_credentials.{name}");
    for (case, expected) in [
        (
            git(|git| *git = SubmittedGit::default()),
            "git_credentials".to_owned(),
        ),
        (git(|git| git.username.clear()), field("username")),
        (git(|git| git.username = "a:b".to_owned()), field("username")),
        (git(|git| git.password = text("")), field("password")),
        (
            git(|git| git.password = text("hunter2\nhost=evil")),
            field("password"),
        ),
        (
            git(|git| git.hosts = vec!["https://github.com".to_owned()]),
            field("hosts[0]"),
        ),
        (git(|git| git.hosts = vec!["a".to_owned(); 65]), field("hosts")),
        (ssh(OPENSSH, ""), field("ssh_known_hosts")),
        (ssh("", KNOWN_HOST), field("ssh_private_key")),
    ] {
        assert_eq!(refused(case), [expected]);
    }
}

#[test]
fn keys_need_no_passphrase() {
    for key in [
        OPENSSH,
        include_str!("tests/ec.key"),
        include_str!("tests/pkcs8.key"),
    ] {
        // As a terminal or a browser may have made of it.
        for sent in [
            key.to_owned(),
            key.replace('\n', "\r\n"),
            key.trim_end().to_owned(),
            format!("\n{key}\n"),
        ] {
            let login = set(check_secrets(ssh(&sent, KNOWN_HOST)).unwrap().git);
            assert_eq!(login.ssh.unwrap().private_key.reveal(), key);
        }
    }
    let cut = OPENSSH.replace("b3BlbnNzaC1rZXkt", "b3BlbnNzaC1rZXku");
    for (key, says) in [
        (include_str!("tests/openssh-passphrase.key"), "passphrase"),
        (include_str!("tests/pkcs8-passphrase.key"), "passphrase"),
        (include_str!("tests/ec-passphrase.key"), "passphrase"),
        ("hunter2-hunter2", "text form"),
        (
            "-----BEGIN CERTIFICATE-----\naGk=\n-----END CERTIFICATE-----\n",
            "text form",
        ),
        (&OPENSSH[..200], "text form"),
        (&cut, "text form"),
        (&"x".repeat(20_000), "at most"),
    ] {
        let violations = check_secrets(ssh(key, KNOWN_HOST)).unwrap_err();
        assert_eq!(violations[0].field, "git_credentials.ssh_private_key");
        assert!(violations[0].description.contains(says), "{violations:?}");
        assert!(!violations[0].description.contains("hunter"));
    }
}

#[test]
fn known_hosts_have_their_form() {
    let more = format!(
        "# ours\n\n{KNOWN_HOST}\n|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= {}\r\n\
         @cert-authority *.example.com {} comment of several words\n",
        KNOWN_HOST.split_once(' ').unwrap().1,
        KNOWN_HOST.split_once(' ').unwrap().1
    );
    check_secrets(ssh(OPENSSH, &more)).unwrap();
    for wrong in [
        "# nothing".to_owned(),
        "github.com".to_owned(),
        "github.com ssh-ed25519 hunter2".to_owned(),
        KNOWN_HOST.replace("ssh-ed25519", "ssh-rsa"),
        format!("@trusted {KNOWN_HOST}"),
        format!("{KNOWN_HOST}\nhunter2"),
        "x".repeat(65 * 1024),
    ] {
        assert_eq!(
            refused(ssh(OPENSSH, &wrong)),
            ["git_credentials.ssh_known_hosts"],
            "{wrong}"
        );
    }
}

#[test]
fn groups_are_sent_cleared_or_left_alone() {
    let clear = |groups: &[Option<SecretGroup>], sent: SubmittedSecrets| SubmittedSecrets {
        clear: groups.to_vec(),
        ..sent
    };
    let cleared = check_secrets(clear(
        &[Some(SecretGroup::Git), Some(SecretGroup::Git)],
        build(&[("TOKEN", VALUE)]),
    ))
    .unwrap();
    assert_eq!(cleared.registries, GroupChange::Keep);
    assert_eq!(cleared.git, GroupChange::Clear);
    assert_eq!(set(cleared.build).len(), 1);
    assert_eq!(
        refused(clear(
            &[Some(SecretGroup::Registries), None, Some(SecretGroup::Build)],
            build(&[("TOKEN", VALUE)])
        )),
        ["clear[1]", "clear[2]"]
    );
    assert_eq!(refused(SubmittedSecrets::default()), ["clear"]);
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let all = SubmittedSecrets {
        registry_credentials: map(&[("nowhere", "u:p"), ("r.example.com", VALUE)]),
        build_secrets: map(&[("A B", VALUE)]),
        clear: vec![None],
        ..git(|git| git.username.clear())
    };
    assert_eq!(refused(all).len(), 5);
}
