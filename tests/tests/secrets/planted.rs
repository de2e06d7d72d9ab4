//! Builds that print all planted secrets in all forms.

use std::time::Duration;

use ignite_proto::v1::{BuildStatus, FailureReason};
use ignite_tests::{
    caller::{BUILD_DEADLINE, inline},
    context::Context,
    gateway::Gateway,
    paths,
    planted::{forms, values},
    registry::Registry,
    wait::eventually,
};

use super::scene::{Given, Scene, arg_lines, with_args};

/// All secrets in all forms.
fn every_form() -> usize {
    values::all().len() * forms::of("any").len()
}

/// With the program that leaks.
fn leaking(lines: &str) -> Context {
    let leak = std::fs::read(paths::binary("ignite-leak")).unwrap();
    let from = Registry::shared().debian();
    Context::new(&format!(
        "FROM {from}\nCOPY ignite-leak /\n{}{lines}",
        arg_lines()
    ))
    .file_with_mode("ignite-leak", leak, 0o755)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_steps_print_is_nowhere_though_the_daemon_dies_in_between() {
    let mut scene = Scene::start(Gateway::builder(), Given::AsArgs).await;
    let upload = scene.caller.upload(leaking(
        "RUN /ignite-leak lines errors names\nRUN /ignite-leak drip\nRUN /ignite-leak borders\nRUN /ignite-leak lines exit=7\n",
    ).tar_gz());
    let context = upload.await.unwrap().context_id;
    let source = ignite_proto::v1::create_build_request::Source::ContextId(context);
    let id = scene
        .begin(with_args(ignite_tests::caller::request("leaking", source)))
        .await;
    // While it drips, twice, once in the middle of what is held back.
    for wait_ms in [300, 2500] {
        eventually("the step that drips", BUILD_DEADLINE, async || {
            let build = scene.caller.get(&id).await;
            build
                .steps
                .iter()
                .any(|step| step.name.contains("drip"))
                .then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        scene.kill_and_restart();
        scene.follow(&id);
    }
    let build = scene.caller.wait_terminal(&id).await;
    let log = scene.log(&id).await;
    assert_eq!(
        (build.status(), build.failure_reason(), build.attempts),
        (BuildStatus::Failed, FailureReason::UserStep, 1),
        "{build:#?}"
    );
    let printed = scene.printed(&id);
    assert_eq!(printed.len(), every_form(), "not every form was printed");
    let said = format!("leaked 30 secrets in {} forms", every_form());
    assert!(
        log.matches("leaked 30 secrets in").count() >= 3,
        "it did not say {said}"
    );
    scene.nothing_is_found().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mounted_is_in_neither_log_nor_image() {
    let _scene = inline("none", &Context::new(""));
}
