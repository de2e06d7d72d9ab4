//! What runs are given of what their organizations store: taken at their start, kept until their end, shown nowhere.

use ignite_proto::v1::FailureReason;

use super::*;

const NPM: &str = "npm-s3cr3t-of-today";
const REGISTRY: &str = "registry-s3cr3t";
const GIT: &str = "git-s3cr3t-token";

fn build_secrets(pairs: &[(&str, &str)]) -> v1::SaveBuildSecretsRequest {
    v1::SaveBuildSecretsRequest {
        build_secrets: pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Default::default()
    }
}

/// One of every group.
fn everything() -> v1::SaveBuildSecretsRequest {
    v1::SaveBuildSecretsRequest {
        registry_credentials: [("index.docker.io".to_owned(), format!("bot:{REGISTRY}"))].into(),
        git_credentials: Some(v1::GitCredentials {
            username: "bot".to_owned(),
            password: GIT.to_owned(),
            ..Default::default()
        }),
        ..build_secrets(&[("NPM_TOKEN", NPM)])
    }
}

fn clear_build_secrets() -> v1::SaveBuildSecretsRequest {
    v1::SaveBuildSecretsRequest {
        clear: vec![v1::SecretGroup::BuildSecrets.into()],
        ..Default::default()
    }
}

async fn save(scene: &Scene, request: v1::SaveBuildSecretsRequest) {
    scene
        .service()
        .save_build_secrets(&acme(), request)
        .await
        .unwrap();
}

/// The value of the arg that the run was handed.
fn arg(scene: &Scene, run: RunId, name: &str) -> String {
    let plan = scene.executor.take_plan(run).unwrap();
    plan.build_args[name].reveal().to_owned()
}

#[tokio::test]
async fn a_run_is_given_what_is_stored_and_nothing_shows_it() {
    let scene = Scene::start(&[]).await;
    save(&scene, everything()).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    let plan = eventually("the plan", async || scene.executor.take_plan(run)).await;
    assert_eq!(plan.build_args["NPM_TOKEN"].reveal(), NPM);
    assert_eq!(plan.secrets.mounts["NPM_TOKEN"].reveal(), NPM);
    assert_eq!(plan.secrets.registries["docker.io"].password.reveal(), REGISTRY);
    assert_eq!(plan.secrets.git.unwrap().https.unwrap().password.reveal(), GIT);
    assert!(plan.kaniko_args.contains(&"--build-arg=NPM_TOKEN".to_owned()));
    // `bot:registry-s3cr3t` in base64, as it stands in a Docker configuration.
    scene.executor.print(
        run,
        &format!("{NPM} {REGISTRY} {GIT} Ym90OnJlZ2lzdHJ5LXMzY3IzdA==\n"),
    );
    scene.executor.end(run, EndCause::Exited { code: 1 });
    let build = scene.ended(id).await;
    assert_eq!(build.build_args["NPM_TOKEN"], "***");
    assert_eq!(scene.log(id).await, "*** *** *** ***\n");
    // What the run was given is gone with it.
    assert_eq!(scene.app().store.run_secrets(id).await.unwrap(), None);
}

#[tokio::test]
async fn an_arg_of_the_request_wins_and_others_organizations_have_none() {
    let scene = Scene::start(&[]).await;
    save(&scene, everything()).await;
    let build_args = [("NPM_TOKEN".to_owned(), "of-the-request".to_owned())].into();
    let id = scene
        .create_as(v1::CreateBuildRequest {
            build_args,
            ..request("web")
        })
        .await
        .unwrap();
    let run = scene.started(id, 1).await;
    assert_eq!(arg(&scene, run, "NPM_TOKEN"), "of-the-request");
    let other = scene
        .service()
        .create_build(&principal("other"), request("web"))
        .await
        .unwrap();
    let run = scene.started(other.build_id.parse().unwrap(), 1).await;
    let plan = scene.executor.take_plan(run).unwrap();
    assert!(plan.build_args.is_empty() && plan.secrets == Default::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_hands_over_and_hides_what_the_run_began_with() {
    let mut scene = Scene::start(&[]).await;
    save(&scene, everything()).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    let begun = scene.executor.take_plan(run).unwrap();
    let (half, rest) = NPM.split_at(7);
    scene.executor.print(run, &format!("whole {NPM} half {half}"));
    scene.logged(id, "whole *** half ".len()).await;
    save(&scene, build_secrets(&[("NPM_TOKEN", "rotated-meanwhile")])).await;
    scene.restart().await;
    eventually("the plan", async || scene.executor.take_plan(run)).await;
    // Even what is no longer stored is still hidden: the run has it.
    save(&scene, clear_build_secrets()).await;
    scene.restart().await;
    let again = eventually("the plan", async || scene.executor.take_plan(run)).await;
    assert_eq!(again.secrets, begun.secrets);
    assert_eq!(again.build_args, begun.build_args);
    scene.executor.print(run, &format!("{rest}\n"));
    scene.executor.end(run, EndCause::Exited { code: 1 });
    let build = scene.ended(id).await;
    assert_eq!(build.attempts, 1);
    assert_eq!(scene.log(id).await, "whole *** half ***\n");
}

#[tokio::test]
async fn a_later_attempt_has_what_is_stored_then() {
    let scene = Scene::start(&[]).await;
    save(&scene, build_secrets(&[("NPM_TOKEN", NPM)])).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    assert_eq!(arg(&scene, run, "NPM_TOKEN"), NPM);
    save(
        &scene,
        build_secrets(&[("NPM_TOKEN", "rotated-meanwhile"), ("NEW", "new-value")]),
    )
    .await;
    scene.executor.end(run, lost());
    let run = scene.started(id, 2).await;
    let plan = scene.executor.take_plan(run).unwrap();
    assert_eq!(plan.build_args["NPM_TOKEN"].reveal(), "rotated-meanwhile");
    // It is no arg of this build, but may be asked for by its name.
    assert!(!plan.build_args.contains_key("NEW"));
    assert_eq!(plan.secrets.mounts["NEW"].reveal(), "new-value");
    scene.executor.print(run, "rotated-meanwhile new-value\n");
    scene.executor.end(run, EndCause::Exited { code: 1 });
    scene.ended(id).await;
    assert!(scene.log(id).await.ends_with("*** ***\n"));
}

#[tokio::test]
async fn a_build_whose_secret_has_gone_fails_by_its_name_and_starts_nothing() {
    let scene = Scene::start(&[("builds_running_max", "1")]).await;
    save(&scene, build_secrets(&[("NPM_TOKEN", NPM)])).await;
    let busy = scene.create().await;
    let run = scene.started(busy, 1).await;
    let id = scene.create().await;
    save(&scene, clear_build_secrets()).await;
    scene.executor.end(run, EndCause::Exited { code: 1 });
    let build = scene.ended(id).await;
    assert_eq!(
        (build.status(), build.failure_reason()),
        (BuildStatus::Failed, FailureReason::SecretMissing)
    );
    assert!(
        build
            .error
            .contains("build arg NPM_TOKEN takes its value from the stored secret NPM_TOKEN"),
        "{}",
        build.error
    );
    assert!(scene.log(id).await.contains("NPM_TOKEN"));
    assert_eq!(scene.executor.starts(), [run]);
    // A retry says so before it begins; stored again, it runs.
    let retry = || v1::RetryBuildRequest {
        build_id: id.to_string(),
        ..Default::default()
    };
    let refused = scene.service().retry_build(&acme(), retry()).await.unwrap_err();
    assert_eq!(reason(&refused), "SECRET_MISSING");
    save(&scene, build_secrets(&[("NPM_TOKEN", "stored-again")])).await;
    let again = scene.service().retry_build(&acme(), retry()).await.unwrap();
    let run = scene.started(again.build_id.parse().unwrap(), 1).await;
    assert_eq!(arg(&scene, run, "NPM_TOKEN"), "stored-again");
}

#[tokio::test]
async fn nothing_of_it_is_on_disk_in_clear() {
    let mut scene = Scene::start(&[]).await;
    save(&scene, everything()).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.print(run, &format!("{NPM} {GIT}\n"));
    scene.logged(id, 8).await;
    scene.stop().await;
    let mut files = 0;
    for entry in walkdir::WalkDir::new(scene.directory()) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            for secret in [NPM, REGISTRY, GIT] {
                let found = bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes());
                assert!(!found, "{secret} is in {}", entry.path().display());
            }
            files += 1;
        }
    }
    assert!(files > 5);
    scene.open().await;
    scene.executor.end(run, EndCause::Exited { code: 1 });
    scene.ended(id).await;
}
