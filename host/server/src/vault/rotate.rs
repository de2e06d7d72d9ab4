//! New keys for old ones. To be run while the daemon is not.
//!
//! A new master key is one transaction: every key under it is wrapped anew, or none is, so at any moment exactly one master key
//! opens the store.
//!
//! New data keys take several, and each leaves a store that opens, for values say which key they are sealed with:
//!
//! ```text
//!   1  each organization gets one more key                  what is sealed from here on is sealed with it
//!   2  what was sealed with others is sealed anew           some with the old, some with the new, both are there
//!   3  all but the newest keys are removed, the first too   only after every row was seen under the newest
//! ```
//!
//! Broken off anywhere and begun again, it makes one more key and does all of it once more.

use std::sync::Arc;

use futures::future::try_join_all;
use ignite_core::ids::OrgId;

use super::{
    Key, MasterKeyId, MasterKeySource, Purpose, Root, RootKeys, Sealing, Vault, VaultError, encode_root,
    read_header,
};
use crate::store::{SealedRows, Store};

/// Builds that are read at once.
const BUILDS_AT_ONCE: usize = 64;

/// What a rotation of data keys has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resealed {
    pub organizations: usize,
    pub rows: usize,
}

/// Called after each step that is on disk; an error breaks the rotation off.
type Interrupt<'a> = &'a mut (dyn FnMut() -> Result<(), VaultError> + Send);

// === impl Vault ===

impl Vault {
    /// Puts the store under the master key of `new`, a file that is made if it is not there. Returns its id. Fine to repeat: then
    /// `current` may be the old key still.
    pub async fn rotate_master_key(
        current: &MasterKeySource,
        new: &MasterKeySource,
        store: &Arc<Store>,
    ) -> Result<MasterKeyId, VaultError> {
        let opened = match Self::open(current, store).await {
            // An earlier rotation to this key may have ended before its operator learned of it.
            Err(VaultError::OtherKey { expected, .. }) if is_key(new, expected).await? => {
                return Ok(expected);
            }
            opened => opened?,
        };
        let from = new.clone();
        let master = tokio::task::spawn_blocking(move || from.read_or_create());
        let master = master.await.map_err(|_| VaultError::Interrupted)??;
        let keyring = &opened.keyring;
        if master.id() == keyring.master.id() {
            return Err(VaultError::SameKey);
        }
        let rows = store.all_data_keys().await?;
        let rewrapped = rows
            .iter()
            .map(|row| keyring.rewrap(row, &master))
            .collect::<Result<_, _>>()?;
        let root = encode_root(&Root::wrap(&master, &keyring.root)?)?;
        store.replace_data_keys(root, rewrapped, Vec::new()).await?;
        Ok(master.id())
    }

    /// Seals everything with new data keys and removes the old ones.
    pub async fn rotate_data_keys(self) -> Result<Resealed, VaultError> {
        self.rotate_data_keys_with(&mut || Ok(())).await
    }

    pub(super) async fn rotate_data_keys_with(
        self,
        interrupt: Interrupt<'_>,
    ) -> Result<Resealed, VaultError> {
        let store = Arc::clone(&self.keyring.store);
        let mut newest = std::collections::BTreeMap::<OrgId, u32>::new();
        for row in store.all_data_keys().await? {
            // In the order of their ids.
            newest.insert(row.org, row.id);
        }
        let added = newest
            .iter()
            .map(|(org, id)| self.keyring.new_row(org, id.saturating_add(1)))
            .collect::<Result<_, _>>()?;
        store.put_data_keys_once(added).await?;
        self.keyring.forget();
        interrupt()?;

        let mut done = Resealed::default();
        let mut after = None;
        loop {
            let builds = store.sealed_rows(after.clone(), BUILDS_AT_ONCE).await?;
            let Some(last) = builds.last() else { break };
            after = Some((last.org.clone(), last.build));
            let resealed = try_join_all(builds.iter().map(|rows| self.reseal_build(rows))).await?;
            done.rows += resealed.into_iter().sum::<usize>();
            interrupt()?;
        }
        for (org, sealed) in store.all_secrets().await? {
            let owner = org.to_string();
            if let Some(anew) = self
                .reseal(&org, Purpose::Secrets, &sealed, "secrets", &owner)
                .await?
            {
                store.put_secrets(&org, Some(anew), || ()).await?;
                done.rows += 1;
                interrupt()?;
            }
        }
        done.organizations = self.remove_old_keys(&store).await?;
        interrupt()?;
        Ok(done)
    }

    /// How many of its rows were sealed anew.
    async fn reseal_build(&self, rows: &SealedRows) -> Result<usize, VaultError> {
        let (org, build) = (&rows.org, rows.build);
        let owner = build.to_string();
        let mut anew = SealedRows {
            org: org.clone(),
            build,
            spec: None,
            redaction: None,
            run_secrets: None,
        };
        if let Some(sealed) = &rows.spec {
            anew.spec = self
                .reseal(org, Purpose::BuildSpec(build), sealed, "specification", &owner)
                .await?;
        }
        if let Some(sealed) = &rows.redaction {
            anew.redaction = self
                .reseal(org, Purpose::Redaction(build), sealed, "redaction rules", &owner)
                .await?;
        }
        if let Some((run, sealed)) = &rows.run_secrets {
            let resealed = self
                .reseal(org, Purpose::RunSecrets(*run), sealed, "run's secrets", &owner)
                .await?;
            anew.run_secrets = resealed.map(|sealed| (*run, sealed));
        }
        let count = usize::from(anew.spec.is_some())
            + usize::from(anew.redaction.is_some())
            + usize::from(anew.run_secrets.is_some());
        if count > 0 {
            self.keyring.store.put_sealed_rows(anew).await?;
        }
        Ok(count)
    }

    /// None if it is sealed with the newest key already.
    async fn reseal(
        &self,
        org: &OrgId,
        purpose: Purpose,
        sealed: &[u8],
        row: &'static str,
        owner: &str,
    ) -> Result<Option<Vec<u8>>, VaultError> {
        let newest = self.keyring.find(org).await?.map(|keys| keys.newest);
        if let (Some((Sealing::DataKey(id), _)), Some(newest)) = (read_header(sealed), newest)
            && id == newest
        {
            return Ok(None);
        }
        let opened = self.unseal(org, purpose, sealed).await;
        let plain = opened.map_err(|_| VaultError::Reseal {
            row,
            owner: owner.to_owned(),
        })?;
        self.seal(org, purpose, &plain).await.map(Some)
    }

    /// How many organizations there are.
    async fn remove_old_keys(&self, store: &Store) -> Result<usize, VaultError> {
        let rows = store.all_data_keys().await?;
        let mut old = Vec::new();
        for (row, next) in rows.iter().zip(rows.iter().skip(1)) {
            if row.org == next.org {
                old.push(row.clone());
            }
        }
        let organizations = rows.len().saturating_sub(old.len());
        let keys = &self.keyring.root;
        let first = keys.first_key.as_ref();
        let fingerprint_key = match first.is_some_and(|key| key.expose() == keys.fingerprint_key.expose()) {
            // In a store of old this was a master key: whoever has that must not have this.
            true => Key::random()?,
            false => Key::from_bytes(keys.fingerprint_key.expose()).ok_or(VaultError::Seal)?,
        };
        let root = RootKeys {
            fingerprint_key,
            first_key: None,
        };
        let root = encode_root(&Root::wrap(&self.keyring.master, &root)?)?;
        store.replace_data_keys(root, Vec::new(), old).await?;
        Ok(organizations)
    }
}

/// Whether `source` holds the master key of this id.
async fn is_key(source: &MasterKeySource, id: MasterKeyId) -> Result<bool, VaultError> {
    let source = source.clone();
    let read = tokio::task::spawn_blocking(move || source.read());
    let key = read.await.map_err(|_| VaultError::Interrupted)??;
    Ok(key.is_some_and(|key| key.id() == id))
}
