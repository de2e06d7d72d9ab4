//! What can be cloned, and what then lies in the workspace.

use std::rc::Rc;

use super::*;

#[test]
fn a_branch_a_tag_and_a_commit_are_found() {
    let upstream = Upstream::new();
    let app = upstream.repository("app");
    let first = commit(&app, &[("Dockerfile", "FROM scratch"), ("old", "1")]);
    git(&app, &["tag", "light"]);
    git(&app, &["tag", "-a", "-m", "annotated", "v1.0"]);
    let second = commit(&app, &[("src/new.c", "2")]);
    git(&app, &["branch", "feature/x"]);
    let third = commit(&app, &[("third", "3")]);
    let cases = [
        ("main", &third),
        ("feature/x", &second),
        ("light", &first),
        ("v1.0", &first),
        ("refs/tags/v1.0", &first),
        (&second, &second),
        (&third, &third),
        (&second[..10], &second),
        ("HEAD", &third),
    ];
    for (reference, expected) in cases {
        let outcome = upstream.clone("app", reference);
        assert_eq!(outcome.commit(), expected, "{reference}");
        let expected_files: &[&str] = match expected {
            commit if *commit == first => &["Dockerfile", "old"],
            commit if *commit == second => &["Dockerfile", "old", "src/new.c"],
            _ => &["Dockerfile", "old", "src/new.c", "third"],
        };
        assert_eq!(outcome.files, expected_files, "{reference}");
        let url = upstream.url("app");
        assert_eq!(
            outcome.lines,
            [
                format!("Fetching {url} at {reference}"),
                format!("Resolved commit {expected}")
            ]
        );
    }
}

#[test]
fn a_branch_goes_before_a_tag_of_its_name() {
    let upstream = Upstream::new();
    let app = upstream.repository("app");
    commit(&app, &[("a", "1")]);
    git(&app, &["tag", "release"]);
    let newer = commit(&app, &[("a", "2")]);
    git(&app, &["branch", "release"]);
    assert_eq!(upstream.clone("app", "release").commit(), newer);
}

#[test]
fn a_commit_is_found_where_only_names_are_handed_out() {
    let upstream = Upstream::new();
    let app = upstream.repository("app");
    let first = commit(&app, &[("a", "1")]);
    commit(&app, &[("b", "2")]);
    let outcome = upstream.clone("old/app", &first);
    assert_eq!(outcome.commit(), first);
    assert_eq!(outcome.files, ["a"]);
    assert_eq!(upstream.clone("old/app", "main").files, ["a", "b"]);
}

#[test]
fn a_sha256_repository_is_cloned() {
    let upstream = Upstream::new();
    let app = upstream.root().join("app");
    fs::create_dir(&app).unwrap();
    git(&app, &["init", "-q", "--object-format=sha256"]);
    let id = commit(&app, &[("a", "1")]);
    assert_eq!(id.len(), 64);
    assert_eq!(upstream.clone("app", "main").commit(), id);
    assert_eq!(upstream.clone("app", &id).commit(), id);
}

#[test]
fn files_are_those_of_the_commit() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let upstream = Upstream::new();
    let app = upstream.repository("app");
    symlink("/etc/passwd", app.join("absolute")).unwrap();
    symlink("../x", app.join("relative")).unwrap();
    commit(
        &app,
        &[
            ("run", "#!/bin/sh"),
            ("zażółć/日本", "utf-8"),
            ("crlf.txt", "a\r\nb\n"),
            (".gitattributes", "big filter=lfs diff=lfs merge=lfs -text\n"),
            ("big", "version https://git-lfs.github.com/spec/v1\n"),
        ],
    );
    fs::set_permissions(app.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    commit(&app, &[]);
    let outcome = upstream.clone("app", "main");
    outcome.commit();
    assert!(outcome.files.contains(&"zażółć/日本".to_owned()));
    let workspace = upstream.workspace();
    assert!(!workspace.join(".git").exists());
    assert_eq!(
        fs::read_link(workspace.join("absolute")).unwrap(),
        Path::new("/etc/passwd")
    );
    assert_eq!(
        fs::read_link(workspace.join("relative")).unwrap(),
        Path::new("../x")
    );
    assert_eq!(fs::read(workspace.join("crlf.txt")).unwrap(), b"a\r\nb\n");
    assert!(
        fs::read_to_string(workspace.join("big"))
            .unwrap()
            .starts_with("version https://git-lfs")
    );
    let mode = fs::metadata(workspace.join("run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
}

#[test]
fn submodules_come_along() {
    let upstream = Upstream::new();
    let deep = upstream.repository("deep");
    let deep_id = commit(&deep, &[("bottom", "3")]);
    let lib = upstream.repository("lib");
    commit(
        &lib,
        &[
            ("lib.c", "2"),
            (".gitmodules", &gitmodules("vendor/deep", "../deep")),
        ],
    );
    let lib_id = add_link(&lib, "vendor/deep", &deep_id);
    // Past the tip, so that it has to be asked for by its id.
    git(&lib, &["commit", "-q", "--allow-empty", "-m", "later"]);
    let app = upstream.repository("app");
    commit(
        &app,
        &[
            ("main.c", "1"),
            (
                ".gitmodules",
                &gitmodules("third party/lib", &upstream.url("lib")),
            ),
        ],
    );
    add_link(&app, "third party/lib", &lib_id);
    add_link(&app, "unknown", &lib_id);
    let outcome = upstream.clone("app", "main");
    outcome.commit();
    assert_eq!(
        outcome.files,
        [
            ".gitmodules",
            "main.c",
            "third party/lib/.gitmodules",
            "third party/lib/lib.c",
            "third party/lib/vendor/deep/bottom"
        ]
    );
    let lines = outcome.lines.join("\n");
    assert!(
        lines.contains("Submodule unknown has no URL in .gitmodules: left empty"),
        "{lines}"
    );
    assert!(
        lines.contains("Fetching submodule third party/lib/vendor/deep from http://"),
        "{lines}"
    );
}

#[test]
fn a_context_dir_has_to_be_a_directory_of_the_repository() {
    let upstream = Upstream::new();
    let app = upstream.repository("app");
    std::os::unix::fs::symlink("real", app.join("link")).unwrap();
    commit(&app, &[("real/sub/Dockerfile", "FROM scratch")]);
    let clone = |dir: &str| upstream.clone_with(&open_rules(), &upstream.source("app", "main", dir));
    clone("real/sub").commit();
    for (dir, why) in [
        ("missing", "does not exist"),
        ("real/sub/Dockerfile", "not a directory"),
        ("link", "symbolic link"),
        ("link/sub", "symbolic link"),
        ("..", "leads out"),
    ] {
        let outcome = clone(dir);
        assert!(
            outcome.error().message.contains(why),
            "{dir}: {}",
            outcome.error()
        );
    }
}

#[test]
fn a_host_is_asked_for_once_and_the_connection_pinned_to_the_answer() {
    let upstream = Upstream::new();
    commit(&upstream.repository("app"), &[("a", "1")]);
    let asked = Rc::new(RefCell::new(Vec::new()));
    let note = Rc::clone(&asked);
    let resolve = move |host: &str, port: u16| {
        note.borrow_mut().push(format!("{host}:{port}"));
        Ok(vec![IpAddr::from([127, 0, 0, 1])])
    };
    // The name exists nowhere else: git could not find it by itself.
    let port = upstream.server.port();
    let source = GitSource {
        url: format!("http://Pinned.Invalid.:{port}/app"),
        ..upstream.source("app", "main", "")
    };
    upstream.clone_by(&resolve, &open_rules(), &source, None).commit();
    assert_eq!(*asked.borrow(), [format!("pinned.invalid:{port}")]);
}
