//! The keys under the master key, as they are stored and as they are kept in memory.
//!
//! ```text
//!   master key ─┬─▶ fingerprint key                 one, for the life of the store
//!               ├─▶ first key                       only where rows are left of before there were data keys
//!               └─▶ data keys  organization ‖ id    the newest seals; older ones open what is not sealed anew yet
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use ignite_core::ids::OrgId;
use serde::{Deserialize, Serialize};

use super::{
    VaultError,
    key::Key,
    master::{MasterKey, wrapped_under},
};
use crate::store::{DataKey, Store};

const FINGERPRINT_BINDING: &[u8] = b"fingerprint-key\0";
const FIRST_BINDING: &[u8] = b"first-key\0";
const FIRST_DATA_KEY: u32 = 1;

/// The keys that are not an organization's, wrapped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Root {
    #[serde(with = "serde_bytes")]
    pub(super) fingerprint_key: Vec<u8>,
    #[serde(default, with = "serde_bytes")]
    pub(super) first_key: Option<Vec<u8>>,
}

/// The same, open.
#[derive(Debug)]
pub(super) struct RootKeys {
    pub(super) fingerprint_key: Key,
    pub(super) first_key: Option<Key>,
}

/// An organization's data keys.
#[derive(Debug)]
pub(super) struct OrgKeys {
    pub(super) newest: u32,
    keys: BTreeMap<u32, Key>,
}

#[derive(Debug)]
pub(super) struct Keyring {
    pub(super) master: MasterKey,
    pub(super) root: RootKeys,
    pub(super) store: Arc<Store>,
    /// Read once for each organization that something is sealed or opened for.
    known: RwLock<HashMap<OrgId, Arc<OrgKeys>>>,
}

// === impl Root ===

impl Root {
    pub(super) fn wrap(master: &MasterKey, keys: &RootKeys) -> Result<Self, VaultError> {
        let first_key = keys.first_key.as_ref();
        Ok(Self {
            fingerprint_key: master.wrap(FINGERPRINT_BINDING, &keys.fingerprint_key)?,
            first_key: first_key.map(|key| master.wrap(FIRST_BINDING, key)).transpose()?,
        })
    }

    /// An error if this is not the master key that they are wrapped under; `source_name` says which it is.
    pub(super) fn open(&self, master: &MasterKey, source_name: &str) -> Result<RootKeys, VaultError> {
        let expected = wrapped_under(&self.fingerprint_key).ok_or(VaultError::Unseal)?;
        if expected != master.id() {
            return Err(VaultError::OtherKey {
                source_name: source_name.to_owned(),
                given: master.id(),
                expected,
            });
        }
        let first_key = self.first_key.as_ref();
        Ok(RootKeys {
            fingerprint_key: master.unwrap(FINGERPRINT_BINDING, &self.fingerprint_key)?,
            first_key: first_key
                .map(|wrapped| master.unwrap(FIRST_BINDING, wrapped))
                .transpose()?,
        })
    }
}

// === impl OrgKeys ===

impl OrgKeys {
    pub(super) fn sealing(&self) -> Option<&Key> {
        self.keys.get(&self.newest)
    }

    pub(super) fn opening(&self, id: u32) -> Option<&Key> {
        self.keys.get(&id)
    }
}

// === impl Keyring ===

impl Keyring {
    pub(super) fn new(master: MasterKey, root: RootKeys, store: Arc<Store>) -> Self {
        Self {
            master,
            root,
            store,
            known: RwLock::default(),
        }
    }

    /// The organization's keys; None if it has none yet.
    pub(super) async fn find(&self, org: &OrgId) -> Result<Option<Arc<OrgKeys>>, VaultError> {
        if let Some(known) = self.in_memory(org) {
            return Ok(Some(known));
        }
        let mut keys = BTreeMap::new();
        for row in self.store.data_keys(org).await? {
            keys.insert(row.id, self.master.unwrap(&binding(org, row.id), &row.wrapped)?);
        }
        let Some(newest) = keys.last_key_value().map(|(id, _)| *id) else {
            return Ok(None);
        };
        let keys = Arc::new(OrgKeys { newest, keys });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(Arc::clone(known.entry(org.clone()).or_insert(keys))))
    }

    /// The organization's keys; its first is made, and on disk, before anything is sealed with it.
    pub(super) async fn find_or_create(&self, org: &OrgId) -> Result<Arc<OrgKeys>, VaultError> {
        loop {
            if let Some(keys) = self.find(org).await? {
                return Ok(keys);
            }
            let row = self.new_row(org, FIRST_DATA_KEY)?;
            // Whoever was first: the next look finds it.
            let _made = self.store.put_data_keys_once(vec![row]).await?;
        }
    }

    /// A new key, wrapped.
    pub(super) fn new_row(&self, org: &OrgId, id: u32) -> Result<DataKey, VaultError> {
        let wrapped = self.master.wrap(&binding(org, id), &Key::random()?)?;
        Ok(DataKey {
            org: org.clone(),
            id,
            wrapped,
        })
    }

    /// The same key under another master key.
    pub(super) fn rewrap(&self, row: &DataKey, master: &MasterKey) -> Result<DataKey, VaultError> {
        let binding = binding(&row.org, row.id);
        let key = self.master.unwrap(&binding, &row.wrapped)?;
        Ok(DataKey {
            wrapped: master.wrap(&binding, &key)?,
            ..row.clone()
        })
    }

    /// For when the stored keys have changed.
    pub(super) fn forget(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn in_memory(&self, org: &OrgId) -> Option<Arc<OrgKeys>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(org).map(Arc::clone)
    }
}

fn binding(org: &OrgId, id: u32) -> Vec<u8> {
    // An organization's name holds no zero byte.
    [b"data-key\0", org.as_str().as_bytes(), b"\0", &id.to_be_bytes()].concat()
}
