use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::store::{DataDir, StoreOptions};

struct Fixture {
    dir: tempfile::TempDir,
    _data: DataDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let store = Store::open(&data, StoreOptions::default()).unwrap();
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
        Vault::open(&self.key_path(), &self.store).await
    }
}

fn org(name: &str) -> OrgId {
    name.parse().unwrap()
}

#[tokio::test]
async fn the_first_start_makes_a_key_that_later_ones_use() {
    let at = Fixture::new();
    let build = BuildId::new(1, 2);
    let first = at.open().await.unwrap();
    let sealed = first
        .seal(Purpose::BuildSpec, &org("acme"), build, b"secret")
        .unwrap();
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
    let mode = fs::metadata(at.key_path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = at.open().await.unwrap();
    let plain = again
        .unseal(Purpose::BuildSpec, &org("acme"), build, &sealed)
        .unwrap();
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
    }
    fs::write(at.key_path(), "0".repeat(64)).unwrap();
    let error = at.open().await.unwrap_err();
    assert!(matches!(error, VaultError::WrongKey { .. }));
    assert!(!error.to_string().contains("0000"));
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
    let sealed = vault.seal_spec(&org("acme"), build, &spec).unwrap();
    assert_eq!(vault.open_spec(&org("acme"), build, &sealed).unwrap(), spec);
    assert!(matches!(
        vault.open_spec(&org("other"), build, &sealed),
        Err(VaultError::Unseal)
    ));
    let older = vault.seal(Purpose::BuildSpec, &org("acme"), build, &[9]).unwrap();
    assert!(matches!(
        vault.open_spec(&org("acme"), build, &older),
        Err(VaultError::Spec(_))
    ));
}

#[tokio::test]
async fn hex_and_base64_are_the_same_key() {
    let at = Fixture::new();
    let build = BuildId::new(1, 2);
    let mut sealed = None;
    for text in [
        hex::encode([7; 32]),
        STANDARD.encode([7; 32]) + "\n",
        URL_SAFE_NO_PAD.encode([7; 32]),
    ] {
        fs::write(at.key_path(), text).unwrap();
        let vault = at.open().await.unwrap();
        let sealed =
            sealed.get_or_insert_with(|| vault.seal(Purpose::BuildSpec, &org("a"), build, b"x").unwrap());
        vault
            .unseal(Purpose::BuildSpec, &org("a"), build, sealed)
            .unwrap();
    }
}

#[tokio::test]
async fn a_fingerprint_depends_on_key_kind_and_message() {
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
    let build = BuildId::new(1, 2);
    let sealed = vault.seal(Purpose::BuildSpec, &org("acme"), build, b"x").unwrap();
    let opens =
        |org: &OrgId, build, sealed: &[u8]| vault.unseal(Purpose::BuildSpec, org, build, sealed).is_ok();
    assert!(opens(&org("acme"), build, &sealed));
    assert!(!opens(&org("acme-2"), build, &sealed));
    assert!(!opens(&org("acme"), BuildId::new(1, 3), &sealed));
    for i in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[i] ^= 1;
        assert!(!opens(&org("acme"), build, &changed), "byte {i}");
        assert!(!opens(&org("acme"), build, &sealed[..i]), "cut at {i}");
    }
    let again = vault.seal(Purpose::BuildSpec, &org("acme"), build, b"x").unwrap();
    assert_ne!(sealed, again);
}
