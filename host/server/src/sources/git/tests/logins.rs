//! Who is shown the login by https, and who is not.

use ignite_core::run::FetchFailure;

use super::{tls::Tls, *};

fn at(url: String) -> GitSource {
    GitSource {
        url,
        reference: "main".to_owned(),
        context_dir: String::new(),
    }
}

fn app(upstream: &Upstream) -> PathBuf {
    let app = upstream.repository("app");
    commit(&app, &[("file", "x")]);
    app
}

#[track_caller]
fn refused(outcome: &Outcome, says: &str) {
    let error = outcome.error();
    assert_eq!(error.failure, FetchFailure::Auth, "{error}");
    assert!(error.message.contains(says), "{error}");
    assert!(!error.message.contains("hunter2"), "{error}");
}

#[test]
fn a_private_repository_is_fetched_with_the_login_and_over_tls() {
    let upstream = Upstream::new();
    app(&upstream);
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::start(folder.path(), upstream.server.port());
    let rules = GitRules {
        ca_file: Some(folder.path().join("cert.pem")),
        private_addresses_allowed: true,
        ..GitRules::default()
    };
    let clone = |rules: &GitRules, url: String, login: Option<&GitLogin>| {
        upstream.clone_by(&origin::resolve_by_system, rules, &at(url), login)
    };
    for host in ["127.0.0.1", "localhost"] {
        let url = || tls.url(host, "guarded/app");
        refused(&clone(&rules, url(), None), "store a git login");
        let login = password(&[]);
        assert_eq!(clone(&rules, url(), Some(&login)).files, ["file"]);
        assert!(!upstream.server.logins().is_empty());
        let stranger = GitRules {
            ca_file: None,
            ..rules.clone()
        };
        let error = clone(&stranger, url(), Some(&login));
        assert!(error.error().message.contains("certificate"), "{}", error.error());
    }
    // No server was shown it that did not ask.
    let before = upstream.server.logins().len();
    let open = clone(&rules, tls.url("127.0.0.1", "app"), Some(&password(&[])));
    assert_eq!(open.files, ["file"]);
    assert_eq!(upstream.server.logins().len(), before);
}

#[test]
fn a_wrong_login_is_refused_without_being_shown_to_the_user() {
    let upstream = Upstream::new();
    app(&upstream);
    let mut login = password(&[]);
    if let Some(https) = &mut login.https {
        https.password = SecretText::new("expired-hunter2".to_owned());
    }
    let outcome = upstream.clone_as(&login, &at(upstream.url("guarded/app")));
    refused(&outcome, "refused the stored git login");
    let outcome = upstream.clone_as(&login, &at(upstream.url("forbidden/app")));
    refused(&outcome, "refused the stored git login");
}

#[test]
fn a_server_cannot_have_the_login_shown_by_saying_it_back() {
    let upstream = Upstream::new();
    let outcome = upstream.clone_as(&password(&[]), &at(upstream.url("echo/app")));
    let error = outcome.error();
    assert!(error.message.contains("***"), "{error}");
    assert!(!error.message.contains("hunter2"), "{error}");
    let pair = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("{USER}:{PASSWORD}"),
    );
    assert!(!error.message.contains(&pair), "{error}");
}

#[test]
fn another_host_is_never_shown_the_login() {
    let upstream = Upstream::new();
    app(&upstream);
    let url = || upstream.url("guarded/app");
    for hosts in [["git.example.com"], ["127.0.0.1"], ["localhost"]] {
        let outcome = upstream.clone_as(&password(&hosts), &at(url()));
        refused(&outcome, "is for other hosts");
    }
    assert_eq!(upstream.server.logins(), Vec::<String>::new());
    let here = format!("127.0.0.1:{}", upstream.server.port());
    let outcome = upstream.clone_as(&password(&["git.example.com", &here]), &at(url()));
    assert_eq!(outcome.files, ["file"]);
}

#[test]
fn a_submodule_is_shown_the_login_on_the_same_host_only() {
    let (upstream, other) = (Upstream::new(), Upstream::new());
    let mut links = Vec::new();
    for (server, name) in [(&upstream, "near"), (&other, "far")] {
        let part = server.repository(name);
        links.push(commit(&part, &[("part", "x")]));
    }
    let with = |name: &str, url: &str, link: &str| {
        let whole = upstream.repository(name);
        commit(&whole, &[("file", "x"), (".gitmodules", &gitmodules("sub", url))]);
        add_link(&whole, "sub", link);
        upstream.url(&format!("guarded/{name}"))
    };
    let near = with("with-near", &upstream.url("guarded/near"), &links[0]);
    assert_eq!(
        upstream.clone_as(&password(&[]), &at(near)).files,
        [".gitmodules", "file", "sub/part"]
    );
    let far = with("with-far", &other.url("guarded/far"), &links[1]);
    let outcome = upstream.clone_as(&password(&[]), &at(far.clone()));
    refused(&outcome, "is for other hosts");
    assert_eq!(other.server.logins(), Vec::<String>::new());
    // Unless it is named.
    let hosts = [&upstream, &other].map(|one| format!("127.0.0.1:{}", one.server.port()));
    let named = password(&[&hosts[0], &hosts[1]]);
    assert_eq!(
        upstream.clone_as(&named, &at(far)).files,
        [".gitmodules", "file", "sub/part"]
    );
}

#[test]
fn a_redirect_is_not_followed_with_a_login_either() {
    let upstream = Upstream::new();
    app(&upstream);
    let outcome = upstream.clone_as(&password(&[]), &at(upstream.url("redirect/guarded/app")));
    assert_eq!(outcome.error().failure, FetchFailure::Source);
    assert_eq!(upstream.server.logins(), Vec::<String>::new());
}

#[test]
fn a_submodule_cannot_bring_the_login_down_to_plain_http() {
    let upstream = Upstream::new();
    let part = upstream.repository("part");
    let link = commit(&part, &[("part", "x")]);
    let whole = upstream.repository("whole");
    let plain = upstream.url("guarded/part");
    commit(
        &whole,
        &[("file", "x"), (".gitmodules", &gitmodules("sub", &plain))],
    );
    add_link(&whole, "sub", &link);
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::start(folder.path(), upstream.server.port());
    let rules = GitRules {
        ca_file: Some(folder.path().join("cert.pem")),
        ..open_rules()
    };
    // Named, so that it is the scheme alone that is in the way.
    let host = format!("127.0.0.1:{}", upstream.server.port());
    let source = at(tls.url("127.0.0.1", "whole"));
    let outcome = upstream.clone_by(
        &origin::resolve_by_system,
        &rules,
        &source,
        Some(&password(&[&host])),
    );
    refused(&outcome, "is for other hosts, or for ssh");
    assert_eq!(upstream.server.logins(), Vec::<String>::new());
}
