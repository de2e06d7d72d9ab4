use super::*;
use crate::principal::{Principal, Scope};

const VALUE: &str = "hunter2-hunter2";

fn may_only(scope: Scope) -> Principal {
    Principal {
        scopes: [scope].into(),
        ..acme()
    }
}

fn save(names: &[&str]) -> v1::SaveBuildSecretsRequest {
    v1::SaveBuildSecretsRequest {
        build_secrets: names
            .iter()
            .map(|name| ((*name).to_owned(), VALUE.to_owned()))
            .collect(),
        ..Default::default()
    }
}

async fn listed(scene: &Scene, caller: &Principal) -> Vec<(v1::SecretGroup, String)> {
    let request = v1::GetBuildSecretsRequest {};
    let answer = scene.service().get_build_secrets(caller, request).await.unwrap();
    let secrets = answer.secrets.into_iter();
    secrets
        .map(|it| {
            assert!(it.updated_at_ms > 0);
            (it.group(), it.name)
        })
        .collect()
}

#[tokio::test]
async fn writing_does_not_let_read_nor_reading_write() {
    let scene = Scene::start(&[]).await;
    let (reader, writer) = (may_only(Scope::SecretsRead), may_only(Scope::SecretsWrite));
    let service = scene.service();
    service.save_build_secrets(&writer, save(&["A"])).await.unwrap();
    assert_eq!(
        listed(&scene, &reader).await,
        [(v1::SecretGroup::BuildSecrets, "A".to_owned())]
    );
    let refused = [
        service.save_build_secrets(&reader, save(&["B"])).await.err(),
        service
            .get_build_secrets(&writer, v1::GetBuildSecretsRequest {})
            .await
            .err(),
        // Who may build may neither, though builds have the values.
        service
            .save_build_secrets(&may_only(Scope::BuildsWrite), save(&["B"]))
            .await
            .err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(Error::PermissionDenied { .. })), "{error:?}");
    }
    assert_eq!(listed(&scene, &principal("other")).await, []);
}

#[tokio::test]
async fn a_refused_change_changes_nothing_and_tells_no_value() {
    let scene = Scene::start(&[]).await;
    scene
        .service()
        .save_build_secrets(&acme(), save(&["A"]))
        .await
        .unwrap();
    for wrong in [
        save(&["B", "not an arg"]),
        v1::SaveBuildSecretsRequest {
            clear: vec![v1::SecretGroup::BuildSecrets.into()],
            ..save(&["B"])
        },
        v1::SaveBuildSecretsRequest {
            clear: vec![0],
            ..save(&["B"])
        },
        v1::SaveBuildSecretsRequest {
            registry_credentials: [("r.example.com".to_owned(), VALUE.to_owned())].into(),
            ..save(&["B"])
        },
        v1::SaveBuildSecretsRequest::default(),
    ] {
        let refused = scene.service().save_build_secrets(&acme(), wrong).await;
        let Err(Error::InvalidArgument(violations)) = refused else {
            panic!("{refused:?}");
        };
        assert!(!format!("{violations:?}").contains("hunter2"));
        assert_eq!(
            listed(&scene, &acme()).await,
            [(v1::SecretGroup::BuildSecrets, "A".to_owned())]
        );
    }
}

#[tokio::test]
async fn a_dry_run_shows_names_and_confirms_no_guess() {
    let scene = Scene::start(&[]).await;
    scene
        .service()
        .save_build_secrets(&acme(), save(&["NPM_TOKEN"]))
        .await
        .unwrap();
    let answer = scene
        .service()
        .dry_run_policy(
            &acme(),
            v1::DryRunPolicyRequest {
                request: Some(request("web")),
                log_sample: format!("is it {VALUE}?"),
                ..Default::default()
            },
        )
        .await
        .unwrap();
    let rewritten = answer.rewritten.unwrap();
    assert_eq!(rewritten.build_args["NPM_TOKEN"], "secret(NPM_TOKEN)");
    assert_eq!(answer.redacted_log_sample, format!("is it {VALUE}?"));
}
