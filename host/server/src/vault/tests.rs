use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use secrecy::SecretString;

use super::*;
use crate::store::{DataDir, StoreOptions};

mod rotation;

struct Fixture {
    dir: tempfile::TempDir,
    _data: DataDir,
    store: Arc<Store>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let store = Arc::new(Store::open(&data, StoreOptions::default()).unwrap());
        Self {
            dir,
            _data: data,
            store,
        }
    }

    fn key_path(&self) -> PathBuf {
        self.dir.path().join("master.key")
    }

    async fn open(&self) -> Result<Vault, VaultError> {
        self.open_with(&file(&self.key_path())).await
    }

    async fn open_with(&self, source: &MasterKeySource) -> Result<Vault, VaultError> {
        Vault::open(source, &self.store).await
    }
}

fn file(path: &Path) -> MasterKeySource {
    MasterKeySource::File(path.to_owned())
}

fn variable(text: &str) -> MasterKeySource {
    MasterKeySource::Variable(SecretString::from(text))
}

fn org(name: &str) -> OrgId {
    name.parse().unwrap()
}

fn spec_of(random: u128) -> Purpose {
    Purpose::BuildSpec(BuildId::new(1, random))
}

/// Of all purposes, for the same build.
fn purposes() -> [Purpose; 4] {
    let build = BuildId::new(1, 2);
    let run = RunId {
        build,
        platform: 0,
        attempt: 1,
    };
    [
        Purpose::BuildSpec(build),
        Purpose::Redaction(build),
        Purpose::RunSecrets(run),
        Purpose::Secrets,
    ]
}

#[tokio::test]
async fn the_first_start_makes_a_key_that_later_ones_use() {
    let at = Fixture::new();
    let first = at.open().await.unwrap();
    let sealed = first.seal(&org("acme"), spec_of(2), b"secret").await.unwrap();
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
    let mode = fs::metadata(at.key_path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = at.open().await.unwrap();
    let plain = again.unseal(&org("acme"), spec_of(2), &sealed).await.unwrap();
    assert_eq!(plain.as_slice(), b"secret");
}

#[tokio::test]
async fn a_missing_wrong_or_malformed_key_is_refused() {
    let at = Fixture::new();
    at.open().await.unwrap();
    fs::remove_file(at.key_path()).unwrap();
    assert!(matches!(at.open().await, Err(VaultError::KeyMissing { .. })));
    assert!(!at.key_path().exists());
    for bad in [
        "",
        "abc",
        &"0".repeat(63),
        &"z".repeat(64),
        &STANDARD.encode([1; 31]),
    ] {
        fs::write(at.key_path(), bad).unwrap();
        assert!(
            matches!(at.open().await, Err(VaultError::BadKey { .. })),
            "{bad:?}"
        );
        let error = at.open_with(&variable(bad)).await.unwrap_err();
        assert!(matches!(error, VaultError::BadKey { .. }), "{bad:?}");
        assert!(error.to_string().contains(MASTER_KEY_VARIABLE));
    }
    fs::write(at.key_path(), "0".repeat(64)).unwrap();
    let error = at.open().await.unwrap_err();
    assert!(matches!(error, VaultError::OtherKey { .. }));
    assert!(!error.to_string().contains("0000000"));
}

#[tokio::test]
async fn a_key_from_the_environment_is_the_key_of_a_file() {
    let at = Fixture::new();
    let text = hex::encode([7; 32]);
    let sealed = {
        let vault = at.open_with(&variable(&text)).await.unwrap();
        vault.seal(&org("a"), spec_of(2), b"x").await.unwrap()
    };
    for text in [
        text.clone() + "\n",
        STANDARD.encode([7; 32]) + "\n",
        URL_SAFE_NO_PAD.encode([7; 32]),
    ] {
        fs::write(at.key_path(), text).unwrap();
        let vault = at.open().await.unwrap();
        vault.unseal(&org("a"), spec_of(2), &sealed).await.unwrap();
    }
    assert!(!format!("{:?}", variable(&text)).contains("0707"));
}

#[tokio::test]
async fn a_spec_comes_back_as_it_was() {
    let at = Fixture::new();
    let vault = at.open().await.unwrap();
    let build = BuildId::new(1, 2);
    let spec: BuildSpec = serde_json::from_value(serde_json::json!({
        "name": "web/app",
        "source": { "archive": format!("ctx_{}", "ab".repeat(32)) },
        "dockerfile": "Dockerfile",
        "tags": ["latest"],
        "build_args": { "TOKEN": { "value": "hunter2hunter2", "secret": true } },
        "no_cache": false,
        "timeout": { "secs": 60, "nanos": 0 },
        "platform": null,
        "labels": {},
        "priority": 0,
    }))
    .unwrap();
    let acme = org("acme");
    let sealed = vault.seal_spec(&acme, build, &spec).await.unwrap();
    assert_eq!(vault.open_spec(&acme, build, &sealed).await.unwrap(), spec);
    assert!(matches!(
        vault.open_spec(&org("other"), build, &sealed).await,
        Err(VaultError::Unseal)
    ));
    let older = vault.seal(&acme, Purpose::BuildSpec(build), &[9]).await.unwrap();
    assert!(matches!(
        vault.open_spec(&acme, build, &older).await,
        Err(VaultError::Record(_))
    ));
}

#[tokio::test]
async fn a_fingerprint_depends_on_store_kind_and_message() {
    let (one, other) = (Fixture::new(), Fixture::new());
    let (vault, of_other) = (one.open().await.unwrap(), other.open().await.unwrap());
    let fingerprint = vault.fingerprint("create", b"PASSWORD=1234");
    assert_eq!(
        fingerprint,
        one.open().await.unwrap().fingerprint("create", b"PASSWORD=1234")
    );
    assert_ne!(fingerprint, vault.fingerprint("create", b"PASSWORD=1235"));
    assert_ne!(fingerprint, vault.fingerprint("retry", b"PASSWORD=1234"));
    assert_ne!(fingerprint, of_other.fingerprint("create", b"PASSWORD=1234"));
}

#[tokio::test]
async fn a_sealed_value_opens_only_where_it_belongs_and_unchanged() {
    let at = Fixture::new();
    let vault = at.open().await.unwrap();
    let acme = org("acme");
    let other_run = RunId {
        build: BuildId::new(1, 2),
        platform: 0,
        attempt: 2,
    };
    // Others have a key too: it is the binding that keeps their rows apart, not the lack of one.
    vault.seal(&org("acme-2"), Purpose::Secrets, b"x").await.unwrap();
    for purpose in purposes() {
        let sealed = vault.seal(&acme, purpose, b"x").await.unwrap();
        assert!(vault.unseal(&acme, purpose, &sealed).await.is_ok());
        assert!(vault.unseal(&org("acme-2"), purpose, &sealed).await.is_err());
        assert!(vault.unseal(&org("nobody"), purpose, &sealed).await.is_err());
        let elsewhere = [spec_of(3), Purpose::RunSecrets(other_run)];
        for other in purposes().into_iter().chain(elsewhere) {
            let opens = vault.unseal(&acme, other, &sealed).await.is_ok();
            assert_eq!(opens, other == purpose, "{purpose:?} as {other:?}");
        }
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(vault.unseal(&acme, purpose, &changed).await.is_err(), "byte {i}");
            assert!(vault.unseal(&acme, purpose, &sealed[..i]).await.is_err());
        }
        assert_ne!(sealed, vault.seal(&acme, purpose, b"x").await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_organization_has_one_key_however_many_ask_for_it_at_once() {
    let at = Fixture::new();
    let vault = at.open().await.unwrap();
    let (acme, other) = (org("acme"), org("other"));
    let seals = (0..16).map(|n| {
        let org = if n % 2 == 0 { &acme } else { &other };
        vault.seal(org, Purpose::Secrets, b"x")
    });
    let sealed = futures::future::try_join_all(seals).await.unwrap();
    let keys = at.store.all_data_keys().await.unwrap();
    assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), [1, 1]);
    let fresh = at.open().await.unwrap();
    for (n, sealed) in sealed.iter().enumerate() {
        let (mine, theirs) = if n % 2 == 0 {
            (&acme, &other)
        } else {
            (&other, &acme)
        };
        fresh.unseal(mine, Purpose::Secrets, sealed).await.unwrap();
        assert!(fresh.unseal(theirs, Purpose::Secrets, sealed).await.is_err());
    }
}

#[tokio::test]
async fn wrapped_keys_cannot_be_swapped_or_replaced() {
    let at = Fixture::new();
    let vault = at.open().await.unwrap();
    for name in ["acme", "other"] {
        vault.seal(&org(name), Purpose::Secrets, b"x").await.unwrap();
    }
    let keys = at.store.all_data_keys().await.unwrap();
    let mut swapped = keys.clone();
    swapped[0].wrapped.clone_from(&keys[1].wrapped);
    let root = at.store.vault_root().await.unwrap().unwrap();
    at.store
        .replace_data_keys(root.clone(), swapped, Vec::new())
        .await
        .unwrap();
    let reopened = at.open().await.unwrap();
    assert!(matches!(
        reopened.seal(&org("acme"), Purpose::Secrets, b"x").await,
        Err(VaultError::Unseal)
    ));
    // The fingerprint key is none for data, though the same master key wraps it.
    let root: Root = codec::decode_record(FORMAT_1, &root).unwrap();
    let mut posing = keys.clone();
    posing[1].wrapped = root.fingerprint_key.clone();
    at.store
        .replace_data_keys(encode_root(&root).unwrap(), posing, Vec::new())
        .await
        .unwrap();
    let reopened = at.open().await.unwrap();
    assert!(
        reopened
            .seal(&org("other"), Purpose::Secrets, b"x")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn nothing_of_a_key_is_shown() {
    let at = Fixture::new();
    let vault = at.open().await.unwrap();
    vault.seal(&org("acme"), Purpose::Secrets, b"x").await.unwrap();
    let text = fs::read_to_string(at.key_path()).unwrap();
    let key = hex::decode(text.trim()).unwrap();
    let shown = format!("{vault:?}");
    assert!(shown.contains("Key"), "{shown}");
    let decimal = format!("{}, {}, {}", key[0], key[1], key[2]);
    assert!(
        !shown.contains(&decimal) && !shown.contains(text.trim()),
        "{shown}"
    );
    // Its bytes are in no file but its own.
    at.store.shutdown().await;
    for entry in walkdir::WalkDir::new(at.dir.path().join("store")) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            assert!(!bytes.windows(key.len()).any(|window| window == key));
        }
    }
}
