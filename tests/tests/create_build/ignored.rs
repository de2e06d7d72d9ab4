//! `.dockerignore` means the same wherever a context comes from.

use ignite_proto::v1::{self, create_build_request::Source};
use ignite_tests::{
    at_each_site,
    caller::{git, inline, request},
    context::Context,
    image::Image,
    site::Site,
};

at_each_site! {
    archives_inline_and_uploaded,
    git_repositories_and_folders_of_them,
    the_dockerfiles_own_file_wins,
    the_clients_folder_is_packed_without,
}

const IGNORE: &str = "# not for the image\n*.log\nsecret\n!keep.log\n";
const THERE: [&str; 2] = ["keep.log", "kept"];
const GONE: [&str; 3] = ["a.log", "secret", "secret/key"];

/// The same context below a folder, with the given file to say what is ignored.
fn ignoring(folder: &str, ignore_file: &str) -> Context {
    let at = |path: &str| format!("{folder}{path}");
    Context::default()
        .file(&at("Dockerfile"), "FROM scratch\nCOPY . /context/\n")
        .file(&at(ignore_file), IGNORE)
        .file(&at("a.log"), "")
        .file(&at("keep.log"), "")
        .file(&at("kept"), "")
        .file(&at("secret/key"), "")
}

fn check(site: Site<'_>, build: &v1::Build) {
    let image = Image::pull(site.registry(), &build.image_refs[0]);
    for there in THERE {
        let path = image.path(&format!("context/{there}"));
        assert!(path.exists(), "{}: {there} is missing", build.name);
    }
    for gone in GONE {
        let path = image.path(&format!("context/{gone}"));
        assert!(!path.exists(), "{}: {gone} came along", build.name);
    }
}

async fn archives_inline_and_uploaded(site: Site<'_>) {
    let gateway = site.gateway().start();
    let caller = gateway.caller();
    let context = ignoring("", ".dockerignore");
    check(site, &caller.succeed(inline("ignored-tar", &context)).await);
    let zip = request("ignored-zip", Source::ZippedCode(context.zip().into()));
    check(site, &caller.succeed(zip).await);
    let uploaded = caller.upload(context.tar_gz()).await.unwrap();
    let stored = request("ignored-upload", Source::ContextId(uploaded.context_id));
    check(site, &caller.succeed(stored).await);
}

async fn git_repositories_and_folders_of_them(site: Site<'_>) {
    let (gateway, server) = (site.gateway().start(), site.git_server());
    let caller = gateway.caller();
    let repository = server.repository("ignored.git");
    repository.commit(&ignoring("", ".dockerignore"));
    check(
        site,
        &caller
            .succeed(git("ignored-git", repository.url(), "main", ""))
            .await,
    );

    // Of the context, not of the repository.
    let mono = server.repository("ignored-mono.git");
    mono.commit(&ignoring("services/one/", ".dockerignore").file(".dockerignore", "**\n"));
    check(
        site,
        &caller
            .succeed(git("ignored-folder", mono.url(), "main", "services/one"))
            .await,
    );
}

async fn the_dockerfiles_own_file_wins(site: Site<'_>) {
    let gateway = site.gateway().start();
    let context = ignoring("", "Dockerfile.dockerignore").file(".dockerignore", "kept\n");
    check(
        site,
        &gateway.caller().succeed(inline("ignored-own", &context)).await,
    );
}

async fn the_clients_folder_is_packed_without(site: Site<'_>) {
    let gateway = site.gateway().start();
    let (caller, cli) = (gateway.caller(), gateway.cli());
    let (_keep, folder) = ignoring("", ".dockerignore").in_folder();
    let folder = folder.to_str().unwrap();
    let created = cli.json(&["build", "create", "ignored-cli", "--context", folder]);
    let id = created["buildId"].as_str().unwrap();
    caller.remember(id);
    check(site, &caller.wait_terminal(id).await);
}
