//! Builds that plugins judge when they are submitted.

use ignite_core::hook::Hook;

use super::*;
use crate::hooks::scripted::{deny, hold};

const AT_SUBMISSION: &[Hook] = &[Hook::Rewrite, Hook::Validate];

fn lead() -> crate::principal::Principal {
    crate::principal::Principal {
        subject: "lead".to_owned(),
        ..acme()
    }
}

async fn approve(scene: &Scene, id: BuildId, by: &crate::principal::Principal) -> Result<BuildStatus> {
    let request = v1::ApproveBuildRequest {
        build_id: id.to_string(),
        reason: "seen and found good".to_owned(),
    };
    let approved = scene.service().approve_build(by, request).await?;
    Ok(approved.status())
}

fn keyed() -> v1::CreateBuildRequest {
    v1::CreateBuildRequest {
        idempotency_key: "key".to_owned(),
        ..request("web")
    }
}

/// With an archive that holds this Dockerfile.
fn inline(dockerfile: &str) -> v1::CreateBuildRequest {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(dockerfile.len() as u64);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, "Dockerfile", dockerfile.as_bytes())
        .unwrap();
    let archive = builder.into_inner().unwrap();
    v1::CreateBuildRequest {
        source: Some(Source::ZippedCode(archive.into())),
        ..request("web")
    }
}

#[tokio::test]
async fn a_denied_build_is_refused_with_its_violations_and_never_was() {
    let (scene, gates) = Scene::judged(&[], AT_SUBMISSION).await;
    gates.script().validate = deny("tags[0]", "must be a version");
    let error = scene.create_as(request("web")).await.unwrap_err();
    let Error::PolicyDenied { plugin, violations } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(plugin, "judge");
    assert_eq!(violations[0].field, "tags[0]");
    assert_eq!(
        error.to_string(),
        "plugin judge refused the build: tags[0]: must be a version"
    );
    let listed = scene.service().list_builds(&acme(), Default::default()).await;
    assert_eq!(listed.unwrap().builds.len(), 0);
    assert_eq!(scene.executor.starts(), []);
}

#[tokio::test]
async fn what_rewriters_made_of_a_request_is_what_runs_and_what_the_record_shows() {
    let (mut scene, gates) = Scene::judged(&[], AT_SUBMISSION).await;
    gates.script().rewritten_tags = Some(vec!["v1".to_owned(), "stable".to_owned()]);
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.end(run, EndCause::Exited { code: 1 });
    scene.ended(id).await;
    scene.restart().await;
    let build = scene.get(id).await;
    assert_eq!(build.tags, ["v1", "stable"]);
    assert_eq!(build.hook_reports.len(), 1);
    assert_eq!(build.hook_reports[0].verdict, "allow");
    assert_eq!(build.hook_reports[0].mode, "enforce");
    // A retry is judged again, by the policy in force.
    gates.script().rewritten_tags = None;
    let retry = v1::RetryBuildRequest {
        build_id: id.to_string(),
        ..Default::default()
    };
    let retried = scene.service().retry_build(&acme(), retry.clone()).await.unwrap();
    let retried = scene.get(retried.build_id.parse().unwrap()).await;
    assert_eq!(retried.tags, ["v1", "stable"], "it starts from what ran");
    assert_eq!(gates.calls(Hook::Validate), 2);
    gates.script().validate = deny("", "not today");
    let refused = scene.service().retry_build(&acme(), retry).await.unwrap_err();
    assert!(matches!(refused, Error::PolicyDenied { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_repeated_request_asks_no_plugin_again() {
    let (scene, gates) = Scene::judged(&[], AT_SUBMISSION).await;
    let id = scene.create_as(keyed()).await.unwrap();
    gates.script().validate = deny("", "not any more");
    assert_eq!(scene.create_as(keyed()).await.unwrap(), id);
    assert_eq!(gates.calls(Hook::Validate), 1);
}

#[tokio::test]
async fn a_held_build_waits_for_another_person_through_restarts() {
    let (mut scene, gates) = Scene::judged(&[("builds_running_max", "1")], AT_SUBMISSION).await;
    gates.script().validate = hold("a release needs two people");
    let id = scene.create().await;
    gates.script().validate = ignite_plugins::Decision::Allow;
    // It takes neither a turn nor a place.
    let other = scene.create().await;
    let run = scene.started(other, 1).await;
    scene.executor.end(run, EndCause::Exited { code: 1 });
    scene.ended(other).await;
    scene.restart().await;
    let held = scene.get(id).await;
    assert_eq!(held.status(), BuildStatus::Pending);
    assert_eq!(held.hold_reason, "judge: a release needs two people");
    assert_eq!((held.queue_position, held.approved_by.as_str()), (0, ""));

    let own = approve(&scene, id, &acme()).await.unwrap_err();
    assert!(
        matches!(
            own,
            Error::Forbidden {
                reason: "SELF_APPROVAL",
                ..
            }
        ),
        "{own:?}"
    );
    let theirs = approve(&scene, id, &principal("other")).await.unwrap_err();
    assert!(matches!(theirs, Error::NotFound { .. }), "{theirs:?}");
    let mut scopeless = lead();
    scopeless.scopes.remove(&crate::principal::Scope::BuildsApprove);
    let without = approve(&scene, id, &scopeless).await.unwrap_err();
    assert!(matches!(without, Error::PermissionDenied { .. }), "{without:?}");

    let watched = tokio::spawn({
        let service = Arc::clone(scene.service());
        async move {
            let request = v1::WatchBuildRequest {
                build_id: id.to_string(),
            };
            let states = service.watch_build(&acme(), request).await.unwrap();
            states.try_collect::<Vec<_>>().await.unwrap()
        }
    });
    tokio::task::yield_now().await;
    approve(&scene, id, &lead()).await.unwrap();
    approve(&scene, id, &lead()).await.unwrap();
    let run = scene.started(id, 1).await;
    let build = scene.get(id).await;
    assert_eq!(
        (build.hold_reason.as_str(), build.approved_by.as_str()),
        ("", "lead")
    );
    scene.executor.end(run, EndCause::Exited { code: 1 });
    scene.ended(id).await;
    approve(&scene, id, &lead()).await.unwrap();
    let seen = watched.await.unwrap();
    assert!(seen.iter().any(|build| build.approved_by == "lead"));
}

#[tokio::test]
async fn only_what_is_held_can_be_approved_and_what_is_held_can_be_cancelled() {
    let (scene, gates) = Scene::judged(&[("queue_per_org_max", "2")], AT_SUBMISSION).await;
    let id = scene.create().await;
    scene.started(id, 1).await;
    assert_eq!(
        reason(&approve(&scene, id, &lead()).await.unwrap_err()),
        "NOT_HELD"
    );
    gates.script().validate = hold("why");
    let held = scene.create().await;
    scene.create().await;
    assert_eq!(
        reason(&scene.create_as(request("web")).await.unwrap_err()),
        "QUEUE_FULL",
        "held builds pile up to a limit too"
    );
    assert_eq!(scene.cancel(held).await, BuildStatus::Cancelled);
    assert_eq!(
        reason(&approve(&scene, held, &lead()).await.unwrap_err()),
        "NOT_HELD"
    );
    scene.create().await;
}

#[tokio::test]
async fn a_build_that_nobody_approves_in_time_fails_as_denied() {
    let (mut scene, gates) = Scene::judged(&[("hold_timeout", "1ms")], AT_SUBMISSION).await;
    gates.script().validate = hold("why");
    let id = scene.create().await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    // The reconciler looks at start, and then on a timer.
    scene.restart().await;
    let build = scene.ended(id).await;
    assert_eq!(build.status(), BuildStatus::Failed);
    assert_eq!(build.failure_reason(), v1::FailureReason::PolicyDenied);
    assert!(build.error.contains("approved"), "{}", build.error);
}

#[tokio::test]
async fn an_archives_dockerfile_is_judged_before_its_build_is_accepted() {
    let (scene, gates) = Scene::judged(&[], &[Hook::Inspect]).await;
    gates.script().inspect = deny("dockerfile:1", "must be one of ours");
    let refused = scene.create_as(inline("FROM bad")).await.unwrap_err();
    assert!(matches!(refused, Error::PolicyDenied { .. }), "{refused:?}");
    gates.script().inspect = hold("look at it");
    let id = scene.create_as(inline("FROM good")).await.unwrap();
    assert_eq!(scene.get(id).await.hold_reason, "judge: look at it");
    approve(&scene, id, &lead()).await.unwrap();
    let run = scene.started(id, 1).await;
    scene.executor.fetched(
        run,
        FetchReport {
            resolved_commit: None,
            context_size_bytes: 9,
            dockerfile: Some("FROM good".to_owned()),
        },
    );
    scene.executor.end(run, EndCause::Exited { code: 1 });
    scene.ended(id).await;
    assert_eq!(
        gates.calls(Hook::Inspect),
        2,
        "what was judged is not judged again"
    );
}

const ARG: &str = "hunter2-in-the-request";
const STORED: &str = "hunter2-in-the-store";

/// One that has a secret of its own, of an organization that has stored another.
async fn with_secrets(scene: &Scene) -> v1::CreateBuildRequest {
    let stored = v1::SaveBuildSecretsRequest {
        build_secrets: [("STORED".to_owned(), STORED.to_owned())].into(),
        ..Default::default()
    };
    scene.service().save_build_secrets(&acme(), stored).await.unwrap();
    v1::CreateBuildRequest {
        build_args: [("API_TOKEN".to_owned(), ARG.to_owned())].into(),
        ..request("web")
    }
}

#[tokio::test]
async fn what_plugins_say_of_a_refused_or_held_build_has_no_secret_in_it() {
    let (scene, gates) = Scene::judged(&[], AT_SUBMISSION).await;
    let request = with_secrets(&scene).await;
    gates.script().validate = deny(ARG, &format!("no {STORED} here, nor {}…", &ARG[..12]));
    let error = scene.create_as(request.clone()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "plugin judge refused the build: ***: no *** here, nor …"
    );
    gates.script().validate = hold(&format!("{ARG} and {STORED} must be seen"));
    gates.script().messages = vec![format!("seen: {ARG}"), format!("and {STORED}")];
    let id = scene.create_as(request).await.unwrap();
    let held = scene.get(id).await;
    assert_eq!(held.hold_reason, "judge: *** and *** must be seen");
    assert_eq!(held.hook_reports[0].messages, ["seen: ***", "and ***"]);
}

#[tokio::test]
async fn why_a_log_is_withheld_has_no_secret_in_it() {
    let (scene, gates) = Scene::judged(&[], &[Hook::Redact]).await;
    let request = with_secrets(&scene).await;
    gates.script().withhold = Some(format!("plugin judge failed: {ARG} {STORED}"));
    gates.script().messages = vec![format!("seen: {ARG}"), format!("and {STORED}")];
    let id = scene.create_as(request).await.unwrap();
    let run = scene.started(id, 1).await;
    scene.executor.print(run, "anything\n");
    scene.executor.end(run, EndCause::Exited { code: 1 });
    let build = scene.ended(id).await;
    assert_eq!(build.error, "withheld: plugin judge failed: *** ***");
    assert_eq!(
        scene.log(id).await,
        "[ignite] the log is withheld: plugin judge failed: *** ***\n"
    );
    let told: Vec<&String> = build
        .hook_reports
        .iter()
        .flat_map(|report| &report.messages)
        .collect();
    assert_eq!(told, ["seen: ***", "and ***", "seen: ***", "and ***"]);
}

#[tokio::test]
async fn why_lines_are_withheld_has_no_secret_in_it() {
    let (scene, gates) = Scene::judged(&[], &[Hook::RedactScan]).await;
    let request = with_secrets(&scene).await;
    gates.script().scan = |_| Err(format!("plugin judge failed: {ARG} {STORED}"));
    let id = scene.create_as(request).await.unwrap();
    let run = scene.started(id, 1).await;
    scene.executor.print(run, "line\n");
    scene.executor.end(run, EndCause::Exited { code: 1 });
    scene.ended(id).await;
    assert_eq!(
        scene.log(id).await,
        "[ignite] 5 bytes of the log are withheld: plugin judge failed: *** ***\n"
    );
}
