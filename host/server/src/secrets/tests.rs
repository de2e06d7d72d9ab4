use ignite_core::{
    request::{check_secrets, secrets::SubmittedSecrets},
    secrets::GitHttpsLogin,
};

use super::*;
use crate::{
    store::{DataDir, StoreOptions},
    vault::MasterKeySource,
};

struct Fixture {
    _dir: tempfile::TempDir,
    _data: DataDir,
    key: MasterKeySource,
    store: Arc<Store>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let store = Arc::new(Store::open(&data, StoreOptions::default()).unwrap());
        Self {
            key: MasterKeySource::File(dir.path().join("master.key")),
            _dir: dir,
            _data: data,
            store,
        }
    }

    /// As after a start.
    async fn secrets(&self) -> Secrets {
        let vault = Vault::open(&self.key, &self.store).await.unwrap();
        Secrets::new(Arc::clone(&self.store), Arc::new(vault))
    }
}

fn org(name: &str) -> OrgId {
    name.parse().unwrap()
}

fn build_secrets(pairs: &[(&str, &str)]) -> SecretsChange {
    let pairs = pairs.iter();
    let pairs = pairs.map(|(name, value)| ((*name).to_owned(), SecretText::new((*value).to_owned())));
    check_secrets(SubmittedSecrets {
        build_secrets: pairs.collect(),
        ..SubmittedSecrets::default()
    })
    .unwrap()
}

fn clear(groups: &[SecretGroup]) -> SecretsChange {
    check_secrets(SubmittedSecrets {
        clear: groups.iter().copied().map(Some).collect(),
        ..SubmittedSecrets::default()
    })
    .unwrap()
}

fn names(names: &[&str]) -> Names {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn what_is_saved_is_there_for_its_organization_and_after_a_start() {
    let at = Fixture::new();
    let secrets = at.secrets().await;
    let (acme, other) = (org("acme"), org("other"));
    assert_eq!(*secrets.names(&acme).await.unwrap(), names(&[]));
    secrets
        .save(&acme, build_secrets(&[("A", "aaaaaa"), ("B", "bbbbbb")]), 5)
        .await
        .unwrap();
    assert_eq!(*secrets.names(&acme).await.unwrap(), names(&["A", "B"]));
    assert_eq!(*secrets.names(&other).await.unwrap(), names(&[]));
    // A group is replaced as a whole; the others stay.
    let login = GitLogin {
        hosts: Vec::new(),
        https: Some(GitHttpsLogin {
            username: "bot".to_owned(),
            password: SecretText::new("git-password".to_owned()),
        }),
        ssh: None,
    };
    let git = SecretsChange {
        git: GroupChange::Set(login),
        build: GroupChange::Keep,
        registries: GroupChange::Keep,
    };
    secrets.save(&acme, git, 6).await.unwrap();
    secrets
        .save(&acme, build_secrets(&[("C", "cccccc")]), 7)
        .await
        .unwrap();
    let started = at.secrets().await;
    for secrets in [&secrets, &started] {
        assert_eq!(*secrets.names(&acme).await.unwrap(), names(&["C"]));
        let listed = secrets.load(&acme).await.unwrap().listed();
        let listed: Vec<_> = listed
            .iter()
            .map(|it| (it.group, it.name.as_str(), it.updated_at_ms))
            .collect();
        assert_eq!(
            listed,
            [(SecretGroup::Git, "https", 6), (SecretGroup::Build, "C", 7)]
        );
    }
    // Emptied, nothing is left of the row.
    secrets
        .save(&acme, clear(&[SecretGroup::Git, SecretGroup::Build]), 8)
        .await
        .unwrap();
    assert_eq!(at.store.secrets(&acme).await.unwrap(), None);
    assert_eq!(*secrets.names(&acme).await.unwrap(), names(&[]));
}

#[tokio::test]
async fn a_row_is_of_no_use_to_another_organization() {
    let at = Fixture::new();
    let secrets = at.secrets().await;
    let (acme, other) = (org("acme"), org("other"));
    secrets
        .save(&acme, build_secrets(&[("A", "aaaaaa")]), 5)
        .await
        .unwrap();
    secrets
        .save(&other, build_secrets(&[("B", "bbbbbb")]), 5)
        .await
        .unwrap();
    let mine = at.store.secrets(&acme).await.unwrap();
    at.store.put_secrets(&other, mine, || ()).await.unwrap();
    assert!(secrets.load(&other).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_once_lose_none_of_each_other() {
    let at = Fixture::new();
    let secrets = at.secrets().await;
    let acme = org("acme");
    for round in 0..20 {
        let registries = SecretsChange {
            registries: GroupChange::Set(BTreeMap::from([(
                "r.example.com".to_owned(),
                RegistryLogin {
                    username: format!("user-{round}"),
                    password: SecretText::new("password".to_owned()),
                },
            )])),
            git: GroupChange::Keep,
            build: GroupChange::Keep,
        };
        let build = build_secrets(&[(&format!("R{round}"), "aaaaaa")]);
        let (a, b, seen) = tokio::join!(
            secrets.save(&acme, registries, round),
            secrets.save(&acme, build, round),
            secrets.names(&acme),
        );
        a.and(b).and(seen.map(|_| ())).unwrap();
        let stored = secrets.load(&acme).await.unwrap();
        assert_eq!(
            *secrets.names(&acme).await.unwrap(),
            names(&[&format!("R{round}")])
        );
        assert_eq!(stored.listed().len(), 2);
        let login = &stored.registries.unwrap().content["r.example.com"];
        assert_eq!(login.username, format!("user-{round}"));
    }
}
