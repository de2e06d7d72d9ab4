//! The git server, as the git command line sees it.

use std::fs;

use ignite_tests::{
    command,
    context::Context,
    git_server::{GitServer, LOGIN, git},
};

fn file(content: &str) -> Context {
    Context::default().file("file", content)
}

#[test]
fn branches_tags_and_commits_are_served() {
    let server = GitServer::start();
    let repository = server.repository("team/app.git");
    let first = repository.commit(&file("one"));
    repository.tag("v1");
    repository.branch("next");
    repository.commit(&file("two"));

    let folder = tempfile::tempdir().unwrap();
    for (reference, content) in [("main", "one"), ("v1", "one"), ("next", "two")] {
        command::run(git(folder.path()).args([
            "clone",
            "-q",
            "--branch",
            reference,
            repository.url(),
            reference,
        ]));
        assert_eq!(
            fs::read_to_string(folder.path().join(reference).join("file")).unwrap(),
            content
        );
    }
    command::run(git(folder.path()).args(["init", "-q", "commit"]));
    let by_commit = folder.path().join("commit");
    command::run(git(&by_commit).args(["fetch", "-q", "--depth=1", repository.url(), &first]));
    command::run(git(&by_commit).args(["checkout", "-q", "FETCH_HEAD"]));
    assert_eq!(fs::read_to_string(by_commit.join("file")).unwrap(), "one");
}

#[test]
fn submodules_are_served() {
    let server = GitServer::start();
    let part = server.repository("part.git");
    part.commit(&file("of the part"));
    let whole = server.repository("whole.git");
    whole.submodule(part.url(), "vendor/part");
    whole.commit(&file("of the whole"));

    let folder = tempfile::tempdir().unwrap();
    command::run(git(folder.path()).args(["clone", "-q", "--recurse-submodules", whole.url(), "copy"]));
    let content = fs::read_to_string(folder.path().join("copy/vendor/part/file")).unwrap();
    assert_eq!(content, "of the part");
}

#[test]
fn a_private_repository_asks_for_a_login() {
    let server = GitServer::start();
    let repository = server.repository("private/app.git");
    repository.commit(&file("secret"));
    let folder = tempfile::tempdir().unwrap();
    let stranger = command::output(git(folder.path()).args(["ls-remote", repository.url()]));
    assert!(!stranger.status.success());
    let url = repository
        .url()
        .replace("http://", &format!("http://{}:{}@", LOGIN.0, LOGIN.1));
    assert!(command::run(git(folder.path()).args(["ls-remote", &url])).contains("refs/heads/main"));
}
