//! A Python client with stubs generated from the contract, sharing no code with the gateway.

use std::{fs, process::Command};

use ignite_tests::{command, context::Context, gateway::Gateway, image::Image, paths, registry::Registry};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_uploads_builds_follows_and_lists() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("context.tar.gz");
    let context = Context::scratch(r#"CMD ["/bin/busybox", "echo", "from python"]"#);
    fs::write(&archive, context.tar_gz()).unwrap();
    let printed = command::run(
        Command::new(paths::made_by_setup("PYTHON"))
            .arg(paths::repository().join("tests/env/python/client.py"))
            .arg(paths::repository().join("proto/proto"))
            .arg(caller.address())
            .arg(&archive)
            .env("IGNITE_TOKEN", &caller.token),
    );
    let seen: Value = serde_json::from_str(&printed).unwrap();
    let id = seen["build"]["id"].as_str().unwrap();
    caller.remember(id);
    let build = caller.get(id).await;
    assert_eq!(seen["build"], serde_json::to_value(&build).unwrap());
    assert_eq!(seen["log"], caller.log(id).await);
    assert_eq!(seen["listed"][0], id);
    assert_eq!(seen["cancelled"], "BUILD_STATUS_SUCCEEDED");
    assert_eq!(seen["absent"], "NOT_FOUND");
    assert_eq!(
        Image::pull(Registry::shared(), &build.image_refs[0]).run(),
        "from python"
    );
}
