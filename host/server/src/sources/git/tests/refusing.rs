//! What cannot or must not be cloned, what is said of it, and that nothing stays behind.

use super::*;
use ignite_core::run::FetchFailure;

#[track_caller]
fn assert_refused(outcome: &Outcome, failure: FetchFailure, why: &str) {
    let error = outcome.error();
    assert_eq!(error.failure, failure, "{error}");
    assert!(error.message.contains(why), "{error}");
}

#[test]
fn what_does_not_exist_is_named() {
    let upstream = Upstream::new();
    let app = upstream.repository("app");
    commit(&app, &[("a", "1")]);
    for branch in 0..12 {
        git(&app, &["branch", &format!("b{branch:02}")]);
    }
    let outcome = upstream.clone("app", "develop");
    assert_refused(
        &outcome,
        FetchFailure::Source,
        "no branch, tag or commit \"develop\"",
    );
    assert_refused(&outcome, FetchFailure::Source, "its branches are b00, b01");
    assert_refused(&outcome, FetchFailure::Source, "and 3 more");
    for unknown in ["0123456789abcdef0123456789abcdef01234567", "0123456789"] {
        for path in ["app", "old/app"] {
            assert_refused(&upstream.clone(path, unknown), FetchFailure::Source, unknown);
        }
    }
    let tree = git(&app, &["rev-parse", "HEAD^{tree}"]);
    git(&app, &["tag", "just-a-tree", &tree]);
    let outcome = upstream.clone("app", "just-a-tree");
    assert_refused(&outcome, FetchFailure::Source, "does not stand for a commit");
    assert_refused(
        &upstream.clone("nothing", "main"),
        FetchFailure::Source,
        "no such repository",
    );
    upstream.repository("empty");
    assert_refused(
        &upstream.clone("empty", "main"),
        FetchFailure::Source,
        "it has no branches",
    );
}

#[test]
fn references_that_git_could_misread_are_refused() {
    let upstream = Upstream::new();
    commit(&upstream.repository("app"), &[("a", "1")]);
    for reference in [
        "--upload-pack=x",
        "-q",
        "main:refs/x",
        "main^",
        "a..b",
        "main\n",
        "ma*n",
        "@{1}",
        "",
    ] {
        let outcome = upstream.clone("app", reference);
        assert_refused(&outcome, FetchFailure::Source, "is not the name of");
        assert!(outcome.lines.is_empty(), "{reference:?}");
    }
}

#[test]
fn servers_that_want_a_login_are_told_apart() {
    let upstream = Upstream::new();
    commit(&upstream.repository("app"), &[("a", "1")]);
    for path in ["private/app", "forbidden/app"] {
        assert_refused(&upstream.clone(path, "main"), FetchFailure::Auth, "credentials");
    }
    assert_refused(
        &upstream.clone("broken/app", "main"),
        FetchFailure::Source,
        "status 503",
    );
    let mut source = upstream.source("app", "main", "");
    source.url = "http://127.0.0.1:1/app".to_owned();
    let outcome = upstream.clone_with(&open_rules(), &source);
    assert_refused(&outcome, FetchFailure::Source, "cannot be reached");
    source.url = "http://no-such-host.invalid/app".to_owned();
    let outcome = upstream.clone_with(&open_rules(), &source);
    assert_refused(&outcome, FetchFailure::Source, "was not found");
}

#[test]
fn redirects_are_not_followed() {
    let upstream = Upstream::new();
    commit(&upstream.repository("app"), &[("a", "1")]);
    assert_refused(
        &upstream.clone("redirect/app", "main"),
        FetchFailure::Source,
        "redirects",
    );
}

#[test]
fn addresses_that_are_not_public_are_refused() {
    let upstream = Upstream::new();
    commit(&upstream.repository("app"), &[("a", "1")]);
    let rules = GitRules {
        http_allowed: true,
        ..GitRules::default()
    };
    let port = upstream.server.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "10.0.0.1",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    ] {
        let mut source = upstream.source("app", "main", "");
        source.url = format!("http://{host}:{port}/app");
        let outcome = upstream.clone_with(&rules, &source);
        assert_refused(&outcome, FetchFailure::Source, "not public");
        assert!(outcome.files.is_empty());
    }
    let mut source = upstream.source("app", "main", "");
    source.url = format!("http://mixed.example:{port}/app");
    let resolve = |_: &str, _: u16| Ok(vec![IpAddr::from([8, 8, 8, 8]), IpAddr::from([127, 0, 0, 1])]);
    let outcome = upstream.clone_by(&resolve, &rules, &source, None);
    assert_refused(&outcome, FetchFailure::Source, "not public");
}

#[test]
fn only_plain_urls_are_taken() {
    let strict = GitRules::default();
    for (url, why) in [
        ("http://example.org/x", "not by http"),
        ("ssh://git:secret@example.org/x", "password"),
        ("git@example.org:", "name a repository"),
        ("git://example.org/x", "only https and ssh"),
        ("file:///etc", "only https and ssh"),
        ("/etc", "not of the form"),
        ("ext::sh -c touch% /tmp/x", "spaces"),
        ("ext::sh", "only https and ssh"),
        ("https::https://example.org/x", "only https and ssh"),
        ("https://user@example.org/x", "credentials"),
        ("https://user:secret@example.org/x", "credentials"),
        ("https://example.org/x?a=b", "query"),
        ("https://example.org/x#y", "fragment"),
        ("https://example.org/a b", "spaces"),
        ("https://example.org\\@evil.example/x", "backslashes"),
        ("https:///", "form"),
        ("--upload-pack=x", "form"),
    ] {
        let error = origin::check(url, &strict).unwrap_err();
        let normalized = error.message.contains(why) || url == "https::https://example.org/x";
        assert!(normalized && !error.message.contains("secret"), "{url}: {error}");
    }
}

#[test]
fn submodules_pass_the_same_door() {
    let upstream = Upstream::new();
    let lib = upstream.repository("lib");
    let lib_id = commit(&lib, &[("lib.c", "1")]);
    let local = lib.display().to_string();
    let cases = [
        (local.clone(), "form"),
        (format!("file://{local}"), "only https and ssh"),
        ("ext::sh".to_owned(), "only https and ssh"),
        ("git@github.com:a/b".to_owned(), "no ssh key is stored"),
        (
            upstream.url("lib").replace("http://", "http://u:p@"),
            "credentials",
        ),
        ("../../../lib".to_owned(), "above the root"),
        (upstream.url("redirect/lib"), "redirects"),
        (upstream.url("missing"), "no such repository"),
        ("-u".to_owned(), "form"),
    ];
    for (at, (url, why)) in cases.into_iter().enumerate() {
        let name = format!("app{at}");
        let app = upstream.repository(&name);
        commit(&app, &[(".gitmodules", &gitmodules("lib", &url))]);
        add_link(&app, "lib", &lib_id);
        let outcome = upstream.clone(&name, "main");
        // Git's own check of the objects may be the one that refuses.
        let error = outcome.error();
        let failure = match url.contains("git@") {
            true => FetchFailure::Auth,
            false => FetchFailure::Source,
        };
        assert_eq!(error.failure, failure, "{url}");
        let by_git = error.message.contains("fsck") || error.message.contains("index-pack");
        let by_us = error.message.contains("submodule lib: ") && error.message.contains(why);
        assert!(by_git || by_us, "{url}: {error}");
    }
}

#[test]
fn a_submodule_on_this_machine_is_refused() {
    let upstream = Upstream::new();
    let place = tempfile::tempdir().unwrap();
    let rules = GitRules {
        http_allowed: true,
        ..GitRules::default()
    };
    let parent_rules = open_rules();
    let parent = origin::check(&upstream.url("app"), &parent_rules).unwrap();
    let parent = Origin::reach(parent, &parent_rules, &origin::resolve_by_system).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut fetcher = Fetcher {
        git: Git::new(scratch.path(), &rules).unwrap(),
        logins: Logins::new(None, &Url::parse("https://h/").unwrap(), &rules),
        rules: &rules,
        resolve: &origin::resolve_by_system,
        scratch,
        workspace: place.path(),
        budget: Budget::new(&rules),
        progress: &mut |_| {},
    };
    for url in [
        upstream.url("lib"),
        "../lib".to_owned(),
        "http://localhost/lib".to_owned(),
    ] {
        let submodule = Submodule {
            path: "lib".into(),
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            url: Some(url),
        };
        let error = fetcher
            .submodule(&parent, &submodule, Path::new(""), 0)
            .unwrap_err();
        assert!(
            error.message.contains("submodule lib: ") && error.message.contains("not public"),
            "{error}"
        );
    }
}

#[test]
fn submodules_are_limited_in_depth_and_number() {
    let upstream = Upstream::new();
    let app = upstream.repository("app");
    commit(&app, &[(".gitmodules", &gitmodules("again", "../app"))]);
    let mut id = git(&app, &["rev-parse", "HEAD"]);
    for _ in 0..4 {
        id = add_link(&app, "again", &id);
    }
    let limited = |depth: u32, number: u32| {
        let rules = GitRules {
            submodule_depth_max: depth,
            submodules_max: number,
            ..open_rules()
        };
        upstream.clone_with(&rules, &upstream.source("app", "main", ""))
    };
    limited(4, 4).commit();
    assert_refused(&limited(3, 4), FetchFailure::Source, "nested deeper than 3");
    assert_refused(&limited(4, 3), FetchFailure::Source, "more than 3 submodules");
}

#[test]
fn sources_are_limited_in_size() {
    let upstream = Upstream::new();
    let app = upstream.repository("app");
    let noise: String = (0..300_000_u64)
        .map(|n| char::from(b'0' + (n * n % 97 % 64) as u8))
        .collect();
    commit(&app, &[("a", &noise), ("b", &noise[1..]), ("c/d", "")]);
    let limited = |change: fn(&mut GitRules)| {
        let mut rules = open_rules();
        change(&mut rules);
        upstream.clone_with(&rules, &upstream.source("app", "main", ""))
    };
    let small = limited(|rules| rules.fetched_bytes_max = 2000);
    assert_refused(&small, FetchFailure::Source, "larger than 2000 bytes");
    let short = limited(|rules| rules.checkout_bytes_max = 599_998);
    assert_refused(&short, FetchFailure::Source, "take more than 599998 bytes");
    let few = limited(|rules| rules.checkout_entries_max = 3);
    assert_refused(&few, FetchFailure::Source, "more than 3 files");
    for outcome in [small, short, few] {
        assert!(outcome.files.is_empty());
    }
    limited(|rules| (rules.checkout_bytes_max, rules.checkout_entries_max) = (599_999, 4)).commit();
}

#[test]
fn a_tree_of_billions_of_files_in_a_few_objects_is_refused() {
    let upstream = Upstream::new();
    let app = upstream.repository("bomb");
    let id = commit(&app, &[("f0", "x")]);
    let mut entry = format!("100644 blob {}", git(&app, &["rev-parse", &format!("{id}:f0")]));
    for _ in 0..10 {
        let lines: String = (0..10).map(|n| format!("{entry}\tf{n}\n")).collect();
        fs::write(app.join("list"), lines).unwrap();
        let tree = git_reading(&app, "list", &["mktree"]);
        entry = format!("040000 tree {tree}");
    }
    let tree = entry.rsplit_once(' ').unwrap().1;
    let bomb = git(&app, &["commit-tree", "-m", "bomb", tree]);
    git(&app, &["branch", "bomb", &bomb]);
    let outcome = upstream.clone("bomb", "bomb");
    assert_refused(&outcome, FetchFailure::Source, "more than 400000 files");
    assert!(outcome.files.is_empty());
}
