//! Runs that wait between fetch and build for what plugins say of the Dockerfile.

use ignite_core::{hook::Hook, run::FetchReport};
use ignite_plugins::Decision;

use super::*;
use crate::hooks::scripted::{deny, hold};

const INSPECT: &[Hook] = &[Hook::Inspect];

fn report(commit: &str, dockerfile: &str) -> FetchReport {
    FetchReport {
        resolved_commit: Some(commit.to_owned()),
        context_size_bytes: 9,
        dockerfile: Some(dockerfile.to_owned()),
    }
}

async fn gone_ahead(scene: &Scene, run: RunId) {
    eventually("the go-ahead", async || {
        (scene.executor.gate(run) == Some((true, true))).then_some(())
    })
    .await;
}

async fn approve(scene: &Scene, id: BuildId) {
    let lead = Principal {
        subject: "lead".to_owned(),
        ..acme()
    };
    let request = v1::ApproveBuildRequest {
        build_id: id.to_string(),
        reason: String::new(),
    };
    scene.service().approve_build(&lead, request).await.unwrap();
}

#[tokio::test]
async fn an_allowed_run_goes_on_and_one_that_nobody_inspects_never_waits() {
    let (scene, gates) = Scene::judged(&[], INSPECT).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    assert_eq!(scene.executor.gate(run), Some((true, false)));
    scene.executor.fetched(run, report("c1", "FROM a"));
    gone_ahead(&scene, run).await;
    // The same again, from a stream that broke, is nothing to ask about.
    scene.executor.break_streams(run);
    scene.executor.print(run, "on it goes\n");
    scene.logged(id, 10).await;
    assert_eq!(gates.calls(Hook::Inspect), 1);
    let build = scene.get(id).await;
    assert_eq!(build.hook_reports[0].hook, "validate");
    assert_eq!(build.hook_reports[1].hook, "inspect");
    scene.executor.end(run, EndCause::Exited { code: 1 });
    scene.ended(id).await;

    let (scene, _) = Scene::judged(&[], &[Hook::Validate]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    assert_eq!(scene.executor.gate(run), Some((false, false)));
}

#[tokio::test]
async fn a_denied_run_is_stopped_before_it_builds_and_its_build_has_failed_by_policy() {
    let (scene, gates) = Scene::judged(&[], INSPECT).await;
    gates.script().inspect = deny("dockerfile:1", "must start from one of ours");
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.fetched(run, report("c1", "FROM a"));
    let build = scene.ended(id).await;
    assert_eq!(build.status(), BuildStatus::Failed);
    assert_eq!(build.failure_reason(), v1::FailureReason::PolicyDenied);
    assert_eq!(
        build.error,
        "plugin judge refused the build: dockerfile:1: must start from one of ours"
    );
    assert_eq!(build.resolved_commit, "c1");
    assert!(scene.log(id).await.contains("must start from one of ours"));
    assert_eq!(build.attempts, 1);
}

#[tokio::test]
async fn what_no_plugin_can_be_shown_is_not_built() {
    let (scene, gates) = Scene::judged(&[], INSPECT).await;
    for (dockerfile, reason) in [
        (None, v1::FailureReason::PolicyDenied),
        (Some("nonsense".to_owned()), v1::FailureReason::Dockerfile),
    ] {
        let id = scene.create().await;
        let run = scene.started(id, 1).await;
        let report = FetchReport {
            dockerfile,
            ..report("c1", "")
        };
        scene.executor.fetched(run, report);
        assert_eq!(scene.ended(id).await.failure_reason(), reason);
    }
    assert_eq!(gates.calls(Hook::Inspect), 0);
}

#[tokio::test]
async fn a_held_run_gives_its_place_back_and_what_was_approved_is_then_built() {
    let (mut scene, gates) = Scene::judged(&[("builds_running_max", "1")], INSPECT).await;
    gates.script().inspect = hold("a new base");
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.fetched(run, report("c1", "FROM a"));
    let held = scene.until(id, |build| !build.hold_reason.is_empty()).await;
    assert_eq!(
        (held.status(), held.hold_reason.as_str()),
        (BuildStatus::Pending, "judge: a new base")
    );
    // Another takes the one place there is.
    gates.script().inspect = Decision::Allow;
    let other = scene.create().await;
    let others = scene.started(other, 1).await;
    scene.executor.end(others, EndCause::Exited { code: 1 });
    scene.ended(other).await;
    scene.restart().await;
    let asked = gates.calls(Hook::Inspect);
    approve(&scene, id).await;
    let second = scene.started(id, 2).await;
    scene.executor.fetched(second, report("c1", "FROM a"));
    gone_ahead(&scene, second).await;
    assert_eq!(gates.calls(Hook::Inspect), asked, "it was judged, and approved");
    scene.executor.end(second, EndCause::Exited { code: 1 });
    assert_eq!(scene.ended(id).await.approved_by, "lead");
}

#[tokio::test]
async fn an_approval_is_for_what_was_judged_and_nothing_else() {
    let (scene, gates) = Scene::judged(&[], INSPECT).await;
    gates.script().inspect = hold("a new base");
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.fetched(run, report("c1", "FROM a"));
    scene.until(id, |build| !build.hold_reason.is_empty()).await;
    approve(&scene, id).await;
    // The branch has moved meanwhile.
    let second = scene.started(id, 2).await;
    scene.executor.fetched(second, report("c2", "FROM a"));
    let held = scene.until(id, |build| !build.hold_reason.is_empty()).await;
    assert_eq!(held.approved_by, "");
    assert_eq!(gates.calls(Hook::Inspect), 2);
    assert_eq!(scene.cancel(id).await, BuildStatus::Cancelled);
}

#[tokio::test]
async fn a_daemon_that_dies_while_plugins_think_asks_again_and_the_run_goes_on() {
    let (mut scene, gates) = Scene::judged(&[], INSPECT).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    gates.script().takes = Duration::from_secs(60);
    scene.executor.fetched(run, report("c1", "FROM a"));
    eventually("the question", async || {
        (gates.calls(Hook::Inspect) == 1).then_some(())
    })
    .await;
    gates.script().takes = Duration::ZERO;
    scene.restart().await;
    gone_ahead(&scene, run).await;
    assert_eq!(gates.calls(Hook::Inspect), 2);
    assert_eq!(scene.executor.starts(), [run], "it was started once");
    scene.executor.end(run, EndCause::Exited { code: 1 });
    scene.ended(id).await;
}
