//! Plugins from registries that want a login.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use ignite_core::secrets::{RegistryLogin, SecretText};
use ignite_proto::v1;
use ignite_server::{
    error::Error,
    registry::import::{ImportRules, Importer, WasmReference},
};
use oci_client::secrets::RegistryAuth;

use crate::{
    gateway::{self, Gateway},
    registry::{self, Registry},
    token_server,
};

fn auth((user, password): (&str, &str)) -> RegistryAuth {
    RegistryAuth::Basic(user.to_owned(), password.to_owned())
}

async fn save_login(gateway: &Gateway, host: &str, (user, password): (&str, &str)) {
    let login = (host.to_owned(), format!("{user}:{password}"));
    gateway
        .save_secrets(v1::SaveBuildSecretsRequest {
            registry_credentials: [login].into(),
            ..v1::SaveBuildSecretsRequest::default()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_comes_from_a_private_registry_with_the_organizations_login() {
    let private = Registry::guarded();
    let host = private.address();
    let gateway = Gateway::with(&[("registry", &host), ("registry_insecure", "true")]).await;
    let login = auth(registry::LOGIN);
    gateway::push_component_as(&login, &host, "plugins/trivial", "0.1.0", "trivial").await;
    let digest = gateway::digest_as(&login, &host, "plugins/trivial", "0.1.0").await;
    let reference = format!("{host}/plugins/trivial@{digest}");
    for wrong in [None, Some((registry::LOGIN.0, "not-its-password"))] {
        if let Some(wrong) = wrong {
            save_login(&gateway, &host, wrong).await;
        }
        let refused = gateway.import(&reference).await.unwrap_err();
        let Error::FailedPrecondition {
            reason: "REGISTRY_REFUSED",
            message,
        } = &refused
        else {
            panic!("{refused:?}");
        };
        assert!(message.contains("store a login"), "{message}");
        assert!(!format!("{refused:?}").contains("not-its-password"));
    }
    save_login(&gateway, &host, registry::LOGIN).await;
    let imported = gateway.import(&reference).await.unwrap();
    assert_eq!(imported.imported_from, reference);
    assert!(!format!("{imported:?}").contains(registry::LOGIN.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_service_gives_a_token_for_the_organizations_login() {
    let folder = tempfile::tempdir().unwrap();
    let service = token_server::start(folder.path()).await;
    let realm = service.split('"').nth(1).unwrap();
    let (_, rest) = realm.split_once("//").unwrap();
    let issuer = rest.split('/').next().unwrap().to_owned();
    let private = Registry::with_auth(|_| service);
    let host = private.address();
    let login = auth(token_server::LOGIN);
    gateway::push_component_as(&login, &host, "plugins/trivial", "0.1.0", "trivial").await;
    let digest = gateway::digest_as(&login, &host, "plugins/trivial", "0.1.0").await;
    let importer = Importer::new(
        ImportRules {
            insecure: vec![host.clone(), issuer],
            private_addresses_allowed: true,
            component_bytes_max: 64 << 20,
            ..ImportRules::default()
        },
        None,
        None,
    )
    .unwrap();
    let reference: WasmReference = format!("{host}/plugins/trivial@{digest}").parse().unwrap();
    let import = async |(user, password): (&str, &str)| {
        let login = RegistryLogin {
            username: user.to_owned(),
            password: SecretText::new(password.to_owned()),
        };
        let logins = BTreeMap::from([(host.clone(), login)]);
        let component = importer.component(&reference, &logins).await?;
        component.try_collect::<Vec<_>>().await
    };
    assert!(!import(token_server::LOGIN).await.unwrap().is_empty());
    for wrong in [token_server::EXPIRED, ("builder", "not-its-password")] {
        let refused = import(wrong).await.unwrap_err();
        assert!(
            matches!(
                refused,
                Error::FailedPrecondition {
                    reason: "REGISTRY_REFUSED",
                    ..
                }
            ),
            "{refused:?}"
        );
        assert!(!format!("{refused:?}").contains(wrong.1));
    }
}
