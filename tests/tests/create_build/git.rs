//! Builds from git, over http from a real server.

use ignite_proto::v1;
use ignite_tests::{
    at_each_site,
    caller::git,
    context::Context,
    gateway::Gateway,
    git_server::{GitServer, Repository},
    image::Image,
    site::Site,
};

at_each_site! {
    branch_tag_commit_and_default_are_resolved,
    a_folder_of_a_repository_is_the_context,
    submodules_come_along,
    what_cannot_be_fetched_says_why,
}

/// A repository whose image prints `message`.
fn printing(message: &str) -> Context {
    Context::new("FROM scratch\nCOPY busybox message /\nCMD [\"/busybox\", \"cat\", \"/message\"]\n")
        .busybox()
        .file("message", message)
}

async fn builds(
    site: Site<'_>,
    gateway: &Gateway,
    name: &str,
    repository: &Repository,
    reference: &str,
) -> (v1::Build, String) {
    let request = git(name, repository.url(), reference, "");
    let build = gateway.caller().succeed(request).await;
    let printed = Image::pull(site.registry(), &build.image_refs[0]).run();
    (build, printed)
}

async fn branch_tag_commit_and_default_are_resolved(site: Site<'_>) {
    let (gateway, server) = (site.gateway().start(), site.git_server());
    let repository = server.repository("app.git");
    let first = repository.commit(&printing("first"));
    repository.tag("v1.0");
    let second = repository.commit(&Context::default().file("message", "second"));
    repository.branch("feature/x");
    let third = repository.commit(&Context::default().file("message", "third"));

    for (name, reference, commit, message) in [
        ("by-default", "", &second, "second"),
        ("by-branch", "feature/x", &third, "third"),
        ("by-tag", "v1.0", &first, "first"),
        ("by-commit", first.as_str(), &first, "first"),
    ] {
        let (build, printed) = builds(site, &gateway, name, &repository, reference).await;
        assert_eq!(
            (build.resolved_commit.as_str(), printed.as_str()),
            (commit.as_str(), message),
            "{name}"
        );
        assert!(build.metrics.unwrap().context_size_bytes > 0);
    }
}

async fn a_folder_of_a_repository_is_the_context(site: Site<'_>) {
    let (gateway, server) = (site.gateway().start(), site.git_server());
    let repository = server.repository("mono.git");
    repository.commit(
        &Context::default()
            .file("message", "of the root")
            .file("services/one/message", "of the service")
            .file(
                "services/one/Dockerfile",
                "FROM scratch\nCOPY . /\nCMD [\"/busybox\", \"cat\", \"/message\"]\n",
            )
            .file("services/one/busybox", std::fs::read("/bin/busybox").unwrap()),
    );
    let request = git("folder", repository.url(), "main", "services/one");
    let build = gateway.caller().succeed(request).await;
    let image = Image::pull(site.registry(), &build.image_refs[0]);
    assert_eq!(
        std::fs::read_to_string(image.path("message")).unwrap(),
        "of the service"
    );
    assert!(!image.path(".git").exists());
}

async fn submodules_come_along(site: Site<'_>) {
    let (gateway, server) = (site.gateway().start(), site.git_server());
    let part = server.repository("part.git");
    part.commit(&Context::default().file("message", "of the part"));
    let whole = server.repository("whole.git");
    whole.submodule(part.url(), "vendor/part");
    whole.commit(
        &Context::new(
            "FROM scratch\nCOPY busybox vendor/part/message /\nCMD [\"/busybox\", \"cat\", \"/message\"]\n",
        )
        .busybox(),
    );
    let (_, printed) = builds(site, &gateway, "whole", &whole, "main").await;
    assert_eq!(printed, "of the part");
}

async fn what_cannot_be_fetched_says_why(site: Site<'_>) {
    let (gateway, server) = (site.gateway().start(), site.git_server());
    let public = server.repository("app.git");
    public.commit(&printing("here"));
    let private = server.repository("private/app.git");
    private.commit(&printing("hidden"));
    let absent = public.url().replace("app.git", "absent.git");
    let caller = gateway.caller();
    for (name, url, reference, folder, reason, hint) in [
        (
            "ref",
            public.url(),
            "no-such-branch",
            "",
            v1::FailureReason::SourceFetch,
            "no-such-branch",
        ),
        (
            "repo",
            absent.as_str(),
            "main",
            "",
            v1::FailureReason::SourceFetch,
            "absent.git",
        ),
        (
            "login",
            private.url(),
            "main",
            "",
            v1::FailureReason::SourceAuth,
            "credentials",
        ),
        (
            "key",
            "ssh://git@127.0.0.1/app.git",
            "main",
            "",
            v1::FailureReason::SourceAuth,
            "no ssh key is stored",
        ),
        (
            "folder",
            public.url(),
            "main",
            "no/such/folder",
            v1::FailureReason::SourceFetch,
            "no/such/folder",
        ),
    ] {
        let (build, _) = caller.fail(git(name, url, reference, folder), reason).await;
        assert!(build.error.contains(hint), "{name}: {}", build.error);
        assert_eq!(build.attempts, 1, "{name} was tried again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_and_private_addresses_need_the_operators_word() {
    let server = GitServer::start();
    let repository = server.repository("app.git");
    repository.commit(&printing("here"));
    let gateway = Gateway::builder()
        .setting("git_http_allowed", false)
        .setting("git_private_addresses_allowed", false)
        .start();
    let caller = gateway.caller();
    for url in [
        repository.url(),
        "https://127.0.0.1/app.git",
        "https://[::1]/app.git",
        "https://169.254.169.254/latest",
        "https://user:password@example.org/app.git",
        "ssh://git@127.0.0.1/app.git",
        "git@10.0.0.1:app.git",
        "file:///etc",
        "ext::sh -c id",
        "--upload-pack=id",
    ] {
        let refused = caller.try_create(git("app", url, "main", "")).await.unwrap_err();
        assert_eq!(
            ignite_tests::caller::violated_fields(&refused),
            ["git_source.url"],
            "{url}"
        );
    }
}
