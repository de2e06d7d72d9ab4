//! What an organization stores reaches its builds, over restarts and rotations of keys, and is shown nowhere.

use std::{fs, process::Command, time::Duration};

use ignite_proto::v1;
use ignite_tests::{
    caller::{Caller, inline},
    command::{output, run},
    context::Context,
    gateway::Gateway,
    paths,
    registry::Registry,
    wait::eventually,
};

const SECRET: &str = "hunter2-hunter2-hunter2";
const SECRET_SCOPES: &str = "secrets:read,secrets:write";

/// Prints the secret before and after somebody had time to look.
fn request(name: &str, pause_secs: u32) -> v1::CreateBuildRequest {
    let context = Context::new(&format!(
        "FROM {}\nARG NPM_TOKEN\nRUN echo \"before $NPM_TOKEN\"; sleep {pause_secs}; echo \"after $NPM_TOKEN, length ${{#NPM_TOKEN}}\"\n",
        Registry::shared().busybox()
    ));
    v1::CreateBuildRequest {
        no_cache: true,
        ..inline(name, &context)
    }
}

async fn check(caller: &Caller, build: &v1::Build) {
    assert_eq!(build.build_args["NPM_TOKEN"], "***");
    assert!(!format!("{build:?}").contains(SECRET));
    let log = caller.log(&build.id).await;
    assert!(!log.contains(SECRET), "{log}");
    assert!(log.contains("before ***"), "{log}");
    assert!(
        log.contains(&format!("after ***, length {}", SECRET.len())),
        "{log}"
    );
}

fn found_in(gateway: &Gateway, text: &str) -> String {
    let found = output(
        Command::new("grep")
            .args([
                "--recursive",
                "--text",
                "--files-with-matches",
                "--fixed-strings",
                text,
            ])
            .arg(gateway.data_dir()),
    );
    String::from_utf8_lossy(&found.stdout).into_owned()
}

fn rotate_keys(gateway: &Gateway, arguments: &[&str]) -> String {
    let mut ignited = Command::new(paths::binary("ignited"));
    ignited
        .arg("rotate-keys")
        .args(arguments)
        .env("IGNITED_DATA_DIR", gateway.data_dir());
    run(&mut ignited)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_secret_outlives_restarts_and_rotations_and_is_shown_nowhere() {
    let mut gateway = Gateway::start();
    let caller = gateway.caller();
    let file = gateway.data_dir().with_file_name("token");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let operator = gateway.cli_of("operator", SECRET_SCOPES);
    let from_file = format!("NPM_TOKEN={}", file.display());
    operator.run(&["build", "secrets", "set", "--from-file", &from_file]);
    fs::remove_file(&file).unwrap();
    let listed = operator.json(&["build", "secrets", "get"]);
    assert_eq!(listed["secrets"][0]["name"], "NPM_TOKEN");
    assert!(!listed.to_string().contains(SECRET));

    // In the middle of its run.
    let id = caller.create(request("restarted", 5)).await;
    caller.wait_logged(&id, "before ***").await;
    gateway.kill9();
    gateway.restart();
    let build = caller.wait_terminal(&id).await;
    assert_eq!(
        (build.status(), build.attempts),
        (v1::BuildStatus::Succeeded, 1),
        "{build:#?}"
    );
    check(&caller, &build).await;

    // Another organization has nothing of it.
    let other = gateway.caller_of("other", &format!("builds:read,builds:write,{SECRET_SCOPES}"));
    let names = other
        .grpc
        .clone()
        .get_build_secrets(v1::GetBuildSecretsRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(names.secrets.len(), 0);
    let theirs = other.succeed(request("other", 0)).await;
    assert_eq!(theirs.build_args.len(), 0);
    assert!(other.log(&theirs.id).await.contains("after , length 0"));

    // New keys of both kinds; the old master key is of no use then.
    gateway.terminate();
    let (key, new_key) = (
        gateway.data_dir().join("master.key"),
        gateway.data_dir().with_file_name("new.key"),
    );
    let new_key_text = new_key.display().to_string();
    let said = rotate_keys(&gateway, &["--new-key-file", &new_key_text, "--data-keys"]);
    assert!(said.contains("organizations have new data keys"), "{said}");
    let refused = output(
        Command::new(paths::binary("ignited"))
            .args(["rotate-keys", "--data-keys"])
            .env("IGNITED_DATA_DIR", gateway.data_dir()),
    );
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{why}");
    assert!(why.contains("is not the one this store is sealed with"), "{why}");
    fs::rename(&new_key, &key).unwrap();
    gateway.restart();
    let build = caller.succeed(request("rotated", 0)).await;
    check(&caller, &build).await;
    // So do specifications of before.
    let retry = v1::RetryBuildRequest {
        build_id: id,
        ..Default::default()
    };
    let retried = caller.grpc.clone().retry_build(retry).await.unwrap().into_inner();
    caller.remember(&retried.build_id);
    let retried = caller.wait_terminal(&retried.build_id).await;
    check(&caller, &retried).await;

    // What the steps printed is in the raw log of a run until that is cleared away.
    let runs = gateway.data_dir().join("runs");
    eventually(
        "the runs to be cleared away",
        Duration::from_secs(30),
        async || {
            let left = fs::read_dir(&runs).unwrap().flatten();
            let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("bld-"));
            (left.count() == 0).then_some(())
        },
    )
    .await;
    assert_eq!(found_in(&gateway, SECRET), "", "the secret is on disk");
    let log = gateway.log();
    assert!(!log.contains(SECRET), "{log}");
    assert!(
        log.contains("build set to NPM_TOKEN"),
        "nobody can tell who saved what:\n{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_key_in_the_environment_is_in_that_of_no_process() {
    const KEY: &str = "8f3c9a41d07be6250c1a77e94bd2f8036e5519caa0de4187b2c36f90d4e81b57";
    let mut gateway = Gateway::builder().setting("master_key", KEY).start();
    let caller = gateway.caller();
    let id = caller.create(request("environment", 3)).await;
    caller.wait_logged(&id, "before").await;
    let mut looked_at = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        // Those of other users, and those that have just ended, cannot be read.
        if let Ok(environment) = fs::read(entry.path().join("environ")) {
            let shown = String::from_utf8_lossy(&environment);
            assert!(!shown.contains(KEY), "{}: {shown}", entry.path().display());
            looked_at += 1;
        }
    }
    assert!(looked_at > 2);
    let build = caller.wait_terminal(&id).await;
    assert_eq!(build.status(), v1::BuildStatus::Succeeded, "{build:#?}");
    // It is the key, and is kept nowhere.
    gateway.terminate();
    gateway.restart();
    assert_eq!(caller.get(&build.id).await.status(), v1::BuildStatus::Succeeded);
    assert!(!gateway.data_dir().join("master.key").exists());
    assert_eq!(found_in(&gateway, KEY), "");
}
