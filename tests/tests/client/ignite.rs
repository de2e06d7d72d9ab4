//! The command-line client, as a user runs it.

use std::process::Command;

use ignite_tests::{
    command,
    context::{Context, noise},
    gateway::Gateway,
    git_server::GitServer,
    image::Image,
    paths,
    registry::Registry,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_built_followed_and_read_back() {
    let gateway = Gateway::start();
    let (caller, cli) = (gateway.caller(), gateway.cli());
    let context = Context::new(&format!(
        "FROM {}\nARG WHO\nRUN echo \"hello $WHO\" > /hello && echo a-step-ran\nCMD [\"cat\", \"/hello\"]\n",
        Registry::shared().busybox()
    ))
    .file(".dockerignore", "junk\n")
    // Past the inline limit if it were sent.
    .file("junk", noise(6 << 20, 3));
    let (_keep, folder) = context.in_folder();
    let folder = folder.to_str().unwrap();

    let printed = cli.run(&[
        "build",
        "create",
        "by-cli",
        "--context",
        folder,
        "--build-arg",
        "WHO=cli",
        "--tag",
        "one",
        "--no-cache",
        "--follow",
    ]);
    assert!(printed.contains("a-step-ran"), "{printed}");
    let listed = cli.json(&["build", "list"]);
    let id = listed["builds"][0]["id"].as_str().unwrap();
    caller.remember(id);
    let got = cli.json(&["build", "get", id]);
    let build = caller.get(id).await;
    assert_eq!(got["build"], serde_json::to_value(&build).unwrap());
    assert_eq!(cli.run(&["build", "logs", id]), caller.log(id).await);
    assert_eq!(
        Image::pull(Registry::shared(), &build.image_refs[0]).run(),
        "hello cli"
    );
    assert!(cli.run(&["build", "get", id]).contains("by-cli"));
    assert!(
        cli.run(&["build", "get", id, "-o", "yaml"])
            .contains("name: by-cli")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_folder_is_uploaded_without_being_asked() {
    let gateway = Gateway::start();
    let (caller, cli) = (gateway.caller(), gateway.cli());
    let (_keep, folder) = Context::scratch("COPY big /\n")
        .file("big", noise(9 << 20, 5))
        .in_folder();
    let folder = folder.to_str().unwrap();
    cli.run(&["build", "create", "big", "--context", folder, "--follow"]);
    let uploaded = cli.json(&["build", "upload", "--folder", folder, "--name", "again"]);
    let context = uploaded["contextId"].as_str().unwrap();
    cli.run(&["build", "create", "bigger", "--context-id", context, "--follow"]);
    let listed = cli.json(&["build", "list", "--status", "succeeded"]);
    for build in listed["builds"].as_array().unwrap() {
        caller.remember(build["id"].as_str().unwrap());
    }
    assert_eq!(listed["builds"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_what_happened() {
    let gateway = Gateway::start();
    let (caller, cli) = (gateway.caller(), gateway.cli());
    let server = GitServer::start();
    let repository = server.repository("failing.git");
    repository.commit(&Context::scratch(r#"RUN ["/bin/busybox", "false"]"#));

    let failed = cli.output(&[
        "build",
        "create",
        "failing",
        "--git-url",
        repository.url(),
        "--follow",
    ]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let absent = cli.output(&["build", "get", "bld_01HZX9ABCDEFGHJKMNPQRSTVWX"]);
    assert_eq!(absent.status.code(), Some(5), "{absent:?}");
    let wrong = cli.output(&["build", "create", "UPPER", "--git-url", repository.url()]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    let mut stranger = cli.command(&["build", "list"]);
    stranger.env("IGNITE_TOKEN", "not-a-token");
    assert_eq!(command::output(&mut stranger).status.code(), Some(3));
    let mut nowhere = cli.command(&["build", "list", "--timeout", "3s"]);
    nowhere.env("IGNITE_API_ENDPOINT", "http://127.0.0.1:1");
    assert!(matches!(command::output(&mut nowhere).status.code(), Some(8 | 9)));

    let (_keep, folder) = Context::scratch(r#"RUN ["/bin/busybox", "sleep", "300"]"#).in_folder();
    let created = cli.json(&["build", "create", "slow", "--context", folder.to_str().unwrap()]);
    let id = created["buildId"].as_str().unwrap();
    caller.remember(id);
    caller.wait_running(id).await;
    cli.run(&["build", "cancel", id]);
    let watched = cli.output(&["build", "watch", id]);
    assert_eq!(watched.status.code(), Some(20), "{watched:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_retried_and_an_offset_that_cannot_be_is_refused_plainly() {
    let gateway = Gateway::start();
    let (caller, cli) = (gateway.caller(), gateway.cli());
    let build = caller
        .succeed(ignite_tests::caller::inline("again", &Context::scratch("")))
        .await;
    let retried = cli.json(&["build", "retry", &build.id]);
    let id = retried["buildId"].as_str().unwrap();
    caller.remember(id);
    let watched = cli.run(&["build", "watch", id]);
    assert!(
        watched.trim_end().lines().last().unwrap().contains("succeeded"),
        "{watched}"
    );

    let refused = cli.output(&["build", "logs", id, "--offset", "99999999"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("offset: ") && !said.contains("go on with"),
        "{said}"
    );
}

#[test]
fn completions_are_scripts_that_their_shell_can_read() {
    let script = command::run(Command::new(paths::binary("ignite")).args(["completions", "bash"]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ignite.bash");
    std::fs::write(&file, script).unwrap();
    // What bash would offer after `ignite build c`.
    let offered = command::run(Command::new("bash").arg("-c").arg(format!(
        "source {}; COMP_WORDS=(ignite build c) COMP_CWORD=2; _ignite ignite c build; echo \"${{COMPREPLY[@]}}\"",
        file.display()
    )));
    assert_eq!(offered.trim(), "create cancel");
    for shell in ["zsh", "fish"] {
        let script = command::run(Command::new(paths::binary("ignite")).args(["completions", shell]));
        assert!(script.contains("idempotency-key"), "{shell}");
    }
}
