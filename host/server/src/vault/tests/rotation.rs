//! Keys change, the process ends at any moment of it, and what was sealed opens all the same.

use hmac::{Hmac, KeyInit as _};
use sha2::Sha256;

use super::*;
use crate::store::{Live, RunSecretsRow, builds::tests::build};

const BUILDS: u64 = 5;
const ORGS: [&str; 3] = ["acme", "other", "third"];

/// Something sealed of every kind, for several organizations.
struct Filled {
    at: Fixture,
    fingerprint: [u8; 32],
}

impl Filled {
    async fn new() -> Self {
        let at = Fixture::new();
        let vault = at.open().await.unwrap();
        for name in ORGS {
            fill(&at.store, &vault, &org(name)).await;
        }
        let fingerprint = vault.fingerprint("create", b"x");
        Self { at, fingerprint }
    }

    /// As a release without data keys left it.
    async fn of_old() -> Self {
        let at = Fixture::new();
        fs::write(at.key_path(), hex::encode([9; 32])).unwrap();
        let key = Key::from_bytes(&[9; 32]).unwrap();
        let check = key.seal(&[SEALED_OF_OLD], OLD_CHECK_BINDING, &[]).unwrap();
        let check_key = crate::store::schema::MetaKey("vault.key_check".to_owned());
        at.store.put_meta_once(&check_key, check).await.unwrap();
        for name in ORGS {
            for n in 0..BUILDS {
                let build = build(name, n + 1, number(name));
                let purpose = Purpose::BuildSpec(build.id);
                let binding = purpose.binding(&build.org);
                let sealed = key
                    .seal(&[SEALED_OF_OLD], &binding, plain(purpose).as_bytes())
                    .unwrap();
                at.store
                    .create_build(Arc::new(build.clone()), sealed, None)
                    .await
                    .unwrap();
                let purpose = Purpose::Redaction(build.id);
                let binding = purpose.binding(&build.org);
                let sealed = key.seal(&[SEALED_OF_OLD], &binding, plain(purpose).as_bytes());
                at.store.put_redaction(build.id, sealed.unwrap()).await.unwrap();
            }
        }
        // As it was computed then: with the master key itself.
        let mac = Hmac::<Sha256>::new_from_slice(&[9; 32]).unwrap();
        let mac = mac.chain_update("create").chain_update([0]).chain_update("x");
        let fingerprint = mac.finalize().into_bytes().into();
        Self { at, fingerprint }
    }

    /// Everything opens with this key, by a process that has just started.
    async fn check(&self, source: &MasterKeySource) -> Vault {
        let vault = self.at.open_with(source).await.unwrap();
        let mut seen = 0;
        for rows in self.at.store.sealed_rows(None, 1000).await.unwrap() {
            let opens = async |purpose: Purpose, sealed: &[u8]| {
                let opened = vault.unseal(&rows.org, purpose, sealed).await.unwrap();
                assert_eq!(opened.as_slice(), plain(purpose).as_bytes());
            };
            opens(Purpose::BuildSpec(rows.build), &rows.spec.unwrap()).await;
            opens(Purpose::Redaction(rows.build), &rows.redaction.unwrap()).await;
            if let Some((run, sealed)) = rows.run_secrets {
                opens(Purpose::RunSecrets(run), &sealed).await;
            }
            seen += 1;
        }
        assert_eq!(seen, ORGS.len() * usize::try_from(BUILDS).unwrap());
        for (org, sealed) in self.at.store.all_secrets().await.unwrap() {
            let opened = vault.unseal(&org, Purpose::Secrets, &sealed).await.unwrap();
            assert_eq!(opened.as_slice(), plain(Purpose::Secrets).as_bytes());
        }
        vault
    }

    /// The ids of all data keys.
    async fn key_ids(&self) -> Vec<u32> {
        let keys = self.at.store.all_data_keys().await.unwrap();
        keys.iter().map(|key| key.id).collect()
    }
}

async fn fill(store: &Store, vault: &Vault, org: &OrgId) {
    for n in 0..BUILDS {
        let build = build(org.as_str(), n + 1, number(org.as_str()));
        let seal =
            async |purpose: Purpose| vault.seal(org, purpose, plain(purpose).as_bytes()).await.unwrap();
        let spec = seal(Purpose::BuildSpec(build.id)).await;
        store
            .create_build(Arc::new(build.clone()), spec, None)
            .await
            .unwrap();
        let redaction = seal(Purpose::Redaction(build.id)).await;
        store.put_redaction(build.id, redaction).await.unwrap();
        let run = build.next_run();
        let sealed = seal(Purpose::RunSecrets(run)).await;
        store
            .put_run_secrets(&RunSecretsRow { run, sealed })
            .await
            .unwrap();
    }
    let sealed = vault
        .seal(org, Purpose::Secrets, plain(Purpose::Secrets).as_bytes())
        .await
        .unwrap();
    store.put_secrets(org, Some(sealed), || ()).await.unwrap();
}

/// So that no two of them have a build of the same id.
fn number(org: &str) -> u128 {
    org.bytes().fold(0, |sum, byte| sum * 256 + u128::from(byte))
}

fn plain(purpose: Purpose) -> String {
    format!("hunter2 {purpose:?}")
}

#[tokio::test]
async fn a_new_master_key_opens_everything_and_the_old_one_is_refused() {
    for scene in [Filled::new().await, Filled::of_old().await] {
        let (old, new) = (
            file(&scene.at.key_path()),
            file(&scene.at.dir.path().join("new.key")),
        );
        let id = Vault::rotate_master_key(&old, &new, &scene.at.store)
            .await
            .unwrap();
        let vault = scene.check(&new).await;
        assert_eq!(vault.fingerprint("create", b"x"), scene.fingerprint);
        let refused = scene.at.open().await.unwrap_err();
        assert!(
            matches!(refused, VaultError::OtherKey { expected, .. } if expected == id),
            "{refused}"
        );
        // Whoever did not see its end begins it again.
        let again = Vault::rotate_master_key(&old, &new, &scene.at.store).await;
        assert_eq!(again.unwrap(), id);
        let same = Vault::rotate_master_key(&new, &new, &scene.at.store).await;
        assert!(matches!(same, Err(VaultError::SameKey)), "{same:?}");
        // And on to another.
        let third = variable(&hex::encode([3; 32]));
        Vault::rotate_master_key(&new, &third, &scene.at.store)
            .await
            .unwrap();
        scene.check(&third).await;
        assert!(scene.at.open_with(&new).await.is_err());
    }
}

#[tokio::test]
async fn a_rotation_with_a_wrong_key_changes_nothing() {
    let scene = Filled::new().await;
    let (wrong, new) = (variable(&hex::encode([1; 32])), variable(&hex::encode([2; 32])));
    let refused = Vault::rotate_master_key(&wrong, &new, &scene.at.store).await;
    assert!(matches!(refused, Err(VaultError::OtherKey { .. })), "{refused:?}");
    scene.check(&file(&scene.at.key_path())).await;
}

#[tokio::test]
async fn broken_off_at_any_step_a_rotation_of_data_keys_leaves_everything_open() {
    for is_old in [false, true] {
        for steps in 1.. {
            let scene = if is_old {
                Filled::of_old().await
            } else {
                Filled::new().await
            };
            let source = file(&scene.at.key_path());
            let vault = scene.check(&source).await;
            assert_eq!(vault.fingerprint("create", b"x"), scene.fingerprint);
            let mut left = steps;
            let mut interrupt = || {
                left -= 1;
                if left == 0 {
                    Err(VaultError::Interrupted)
                } else {
                    Ok(())
                }
            };
            let rotated = vault.rotate_data_keys_with(&mut interrupt).await;
            scene.check(&source).await;
            if rotated.is_ok() {
                // It has ended before.
                assert!(steps > 3, "only {steps} steps");
                break;
            }
            // A master key may come in between.
            let new = variable(&hex::encode([5; 32]));
            Vault::rotate_master_key(&source, &new, &scene.at.store)
                .await
                .unwrap();
            let vault = scene.check(&new).await;
            let done = vault.rotate_data_keys().await.unwrap();
            assert_eq!(done.organizations, ORGS.len());
            let vault = scene.check(&new).await;
            assert_eq!(scene.key_ids().await.len(), ORGS.len(), "old keys are left");
            assert!(vault.keyring.root.first_key.is_none());
            assert_eq!(vault.fingerprint("create", b"x") == scene.fingerprint, !is_old);
        }
    }
}

#[tokio::test]
async fn new_data_keys_replace_the_old_ones_for_every_row() {
    let scene = Filled::new().await;
    let source = file(&scene.at.key_path());
    let before = scene.at.store.sealed_rows(None, 1000).await.unwrap();
    assert_eq!(scene.key_ids().await, [1, 1, 1]);
    let vault = scene.check(&source).await;
    let done = vault.rotate_data_keys().await.unwrap();
    let rows = ORGS.len() * (3 * usize::try_from(BUILDS).unwrap() + 1);
    assert_eq!((done.organizations, done.rows), (ORGS.len(), rows));
    assert_eq!(scene.key_ids().await, [2, 2, 2]);
    let vault = scene.check(&source).await;
    assert_eq!(vault.fingerprint("create", b"x"), scene.fingerprint);
    // What somebody kept of before is of no use any more.
    for rows in before {
        let purpose = Purpose::BuildSpec(rows.build);
        let opened = vault.unseal(&rows.org, purpose, &rows.spec.unwrap()).await;
        assert!(matches!(opened, Err(VaultError::Unseal)));
    }
}

#[tokio::test]
async fn no_key_is_removed_while_a_row_does_not_open() {
    let scene = Filled::new().await;
    let source = file(&scene.at.key_path());
    let mut rows = scene.at.store.sealed_rows(None, 1).await.unwrap().remove(0);
    let whole = rows.spec.clone();
    rows.spec.as_mut().unwrap()[40] ^= 1;
    scene.at.store.put_sealed_rows(rows.clone()).await.unwrap();
    let vault = scene.at.open().await.unwrap();
    let refused = vault.rotate_data_keys().await.unwrap_err();
    assert!(refused.to_string().contains(&rows.build.to_string()), "{refused}");
    assert_eq!(scene.key_ids().await, [1, 2, 1, 2, 1, 2]);
    // Mended, it is as if nothing had been.
    rows.spec = whole;
    scene.at.store.put_sealed_rows(rows).await.unwrap();
    let vault = scene.check(&source).await;
    vault.rotate_data_keys().await.unwrap();
    scene.check(&source).await;
    assert_eq!(scene.key_ids().await, [3, 3, 3]);
}

#[tokio::test]
async fn a_store_of_old_is_taken_over_with_its_key_only() {
    let scene = Filled::of_old().await;
    let wrong = scene.at.open_with(&variable(&hex::encode([8; 32]))).await;
    assert!(matches!(wrong, Err(VaultError::WrongKey { .. })), "{wrong:?}");
    let source = file(&scene.at.key_path());
    let vault = scene.check(&source).await;
    assert_eq!(vault.fingerprint("create", b"x"), scene.fingerprint);
    assert_eq!(scene.key_ids().await, [] as [u32; 0], "nothing was sealed yet");
    // New rows have data keys at once, beside the old ones.
    let sealed = vault.seal(&org("acme"), Purpose::Secrets, b"x").await.unwrap();
    assert_eq!(sealed[0], SEALED);
    scene.check(&source).await;
}

#[tokio::test]
async fn what_a_run_was_given_goes_with_its_build() {
    let scene = Filled::new().await;
    let mut build = build("acme", 1, number("acme"));
    assert!(scene.at.store.run_secrets(build.id).await.unwrap().is_some());
    build.generation += 1;
    scene
        .at
        .store
        .update_build(Arc::new(build.clone()), Live::Retire)
        .await
        .unwrap();
    assert_eq!(scene.at.store.run_secrets(build.id).await.unwrap(), None);
}
