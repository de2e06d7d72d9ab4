//! Seals what must not be readable on disk: the specs of builds, what their logs are redacted by, and the secrets that
//! organizations store.
//!
//! Each organization has data keys; they are in the store, wrapped under the master key, which is beside it: a copy of the store or
//! an export is of no use without that.
//!
//! ```text
//!   sealed   2 ‖ id of the data key u32 BE ‖ nonce 24 bytes ‖ XChaCha20-Poly1305(plain)
//!            bound to: the header ‖ purpose ‖ 0x00 ‖ organization ‖ 0x00 ‖ row
//!   wrapped  3 ‖ id of the master key 8 bytes ‖ nonce 24 bytes ‖ XChaCha20-Poly1305(key)
//!            bound to: the header ‖ what it is ‖ 0x00 …
//!   of old   1 ‖ nonce 24 bytes ‖ XChaCha20-Poly1305(plain)        under the store's first master key, no header in the binding
//! ```
//!
//! A sealed value opens only for the purpose, organization and row that it was sealed for, so rows cannot be swapped. Values of
//! the old format open as long as the first key is kept: until the data keys are rotated ([`Vault::rotate_data_keys`]).

use std::sync::Arc;

use hmac::Mac as _;
use ignite_core::{
    ids::{BuildId, OrgId, RunId},
    spec::BuildSpec,
};
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{
    error::Error,
    store::{
        Store, StoreError,
        codec::{self, CodecError, FORMAT_1},
    },
};

mod key;
mod keyring;
mod master;
mod rotate;
#[cfg(test)]
mod tests;

pub(crate) use key::hmac;
use key::{KEY_BYTES, Key};
use keyring::{Keyring, Root, RootKeys};
pub use master::{FROM_STDIN, MASTER_KEY_VARIABLE, MasterKey, MasterKeyId, MasterKeySource};
pub use rotate::Resealed;

const SEALED: u8 = 2;
const SEALED_OF_OLD: u8 = 1;
const HEADER_BYTES: usize = 5;
/// The value that only the right key opened, in stores without data keys.
const OLD_CHECK_BINDING: &[u8] = b"key-check\0";

#[derive(Debug)]
pub struct Vault {
    keyring: Keyring,
}

/// What a sealed value is, and the row that it belongs to beside its organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    BuildSpec(BuildId),
    /// What plugins want taken out of the log.
    Redaction(BuildId),
    /// What a run is given of the organization's secrets.
    RunSecrets(RunId),
    /// What the organization keeps for its builds.
    Secrets,
}

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error(
        "{source_name} is missing, and the store holds what was sealed with it: put the key back, or start with an empty \
         data directory"
    )]
    KeyMissing { source_name: String },
    #[error("{source_name} is not the one this store was sealed with")]
    WrongKey { source_name: String },
    #[error(
        "{source_name} (id {given}) is not the one this store is sealed with (id {expected}); after a rotation, that is the \
         new one"
    )]
    OtherKey {
        source_name: String,
        given: MasterKeyId,
        expected: MasterKeyId,
    },
    #[error("{source_name} must be {KEY_BYTES} bytes in hex or base64")]
    BadKey { source_name: String },
    #[error("{doing} {source_name}")]
    Io {
        doing: &'static str,
        source_name: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the new master key is the one in use already")]
    SameKey,
    #[error("the system gave no random bytes")]
    Random,
    #[error("a value could not be sealed")]
    Seal,
    /// Damaged, or sealed for something else or with another key.
    #[error("a sealed value does not open")]
    Unseal,
    #[error("the {row} of {owner} does not open, so no key was removed")]
    Reseal { row: &'static str, owner: String },
    #[error("a sealed value could not be encoded or decoded")]
    Record(#[source] CodecError),
    #[error("the vault's keys could not be read or written")]
    Store(#[from] StoreError),
    #[error("the thread at work on the key ended early")]
    Interrupted,
}

// === impl Purpose ===

impl Purpose {
    /// Part of the format: never to be changed.
    fn name(self) -> &'static str {
        match self {
            Self::BuildSpec(_) => "build-spec",
            Self::Redaction(_) => "redaction",
            Self::RunSecrets(_) => "run-secrets",
            Self::Secrets => "secrets",
        }
    }

    /// The same.
    fn binding(self, org: &OrgId) -> Vec<u8> {
        let row = match self {
            Self::BuildSpec(build) | Self::Redaction(build) => build.to_bytes().to_vec(),
            Self::RunSecrets(run) => run.to_string().into_bytes(),
            Self::Secrets => Vec::new(),
        };
        // Neither name holds a zero byte.
        [self.name().as_bytes(), org.as_str().as_bytes(), &row].join(&0)
    }
}

// === impl Vault ===

impl Vault {
    /// Reads the master key and makes sure that it is the store's. For a new store, a key file that is not there is made.
    pub async fn open(source: &MasterKeySource, store: &Arc<Store>) -> Result<Self, VaultError> {
        let root = read_root(store).await?;
        let old_check = store.old_key_check().await?;
        let may_create = root.is_none() && old_check.is_none() && store.is_new().await?;
        let from = source.clone();
        let master = tokio::task::spawn_blocking(move || match may_create {
            true => from.read_or_create(),
            false => from.read()?.ok_or_else(|| VaultError::KeyMissing {
                source_name: from.to_string(),
            }),
        });
        let master = master.await.map_err(|_| VaultError::Interrupted)??;
        let source_name = source.to_string();
        let keys = match root {
            Some(root) => root.open(&master, &source_name)?,
            None => begin(store, &master, old_check, &source_name).await?,
        };
        Ok(Self {
            keyring: Keyring::new(master, keys, Arc::clone(store)),
        })
    }

    /// A build's spec as it is stored.
    pub async fn seal_spec(
        &self,
        org: &OrgId,
        build: BuildId,
        spec: &BuildSpec,
    ) -> Result<Vec<u8>, VaultError> {
        self.seal_record(org, Purpose::BuildSpec(build), spec).await
    }

    pub async fn open_spec(
        &self,
        org: &OrgId,
        build: BuildId,
        sealed: &[u8],
    ) -> Result<BuildSpec, VaultError> {
        self.open_record(org, Purpose::BuildSpec(build), sealed).await
    }

    /// A record, encoded as the store's are and sealed.
    pub async fn seal_record(
        &self,
        org: &OrgId,
        purpose: Purpose,
        record: &impl Serialize,
    ) -> Result<Vec<u8>, VaultError> {
        // A buffer that grew would leave copies of what it held behind.
        let size_bytes = codec::record_size_bytes(FORMAT_1, record).map_err(VaultError::Record)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(size_bytes));
        codec::write_record(&mut *plain, FORMAT_1, record).map_err(VaultError::Record)?;
        self.seal(org, purpose, &plain).await
    }

    pub async fn open_record<T: DeserializeOwned>(
        &self,
        org: &OrgId,
        purpose: Purpose,
        sealed: &[u8],
    ) -> Result<T, VaultError> {
        let plain = self.unseal(org, purpose, sealed).await?;
        codec::decode_record(FORMAT_1, &plain).map_err(VaultError::Record)
    }

    /// Seals under the organization's newest data key. Touches the disk for the first value of an organization only.
    pub async fn seal(&self, org: &OrgId, purpose: Purpose, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let keys = self.keyring.find_or_create(org).await?;
        let header = header(keys.newest);
        let aad = [header.as_slice(), &purpose.binding(org)].concat();
        keys.sealing().ok_or(VaultError::Seal)?.seal(&header, &aad, plain)
    }

    pub async fn unseal(
        &self,
        org: &OrgId,
        purpose: Purpose,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let binding = purpose.binding(org);
        match read_header(sealed) {
            Some((Sealing::DataKey(id), body)) => {
                let keys = self.keyring.find(org).await?;
                let key = keys.as_ref().and_then(|keys| keys.opening(id));
                let aad = [header(id).as_slice(), &binding].concat();
                key.ok_or(VaultError::Unseal)?.unseal(&aad, body)
            }
            Some((Sealing::FirstKey, body)) => {
                let key = self.keyring.root.first_key.as_ref();
                key.ok_or(VaultError::Unseal)?.unseal(&binding, body)
            }
            None => Err(VaultError::Unseal),
        }
    }

    /// Tells equal messages of one kind, over rotations of any key too. Made with a key, as HMAC-SHA256: a plain hash of a request
    /// would let who has the store alone try out short secrets in it.
    pub fn fingerprint(&self, kind: &str, message: &[u8]) -> [u8; 32] {
        let mac = hmac(self.keyring.root.fingerprint_key.expose())
            .chain_update(kind)
            .chain_update([0])
            .chain_update(message);
        mac.finalize().into_bytes().into()
    }
}

/// What a value was sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sealing {
    FirstKey,
    DataKey(u32),
}

fn header(id: u32) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = id.to_be_bytes();
    [SEALED, a, b, c, d]
}

/// None if this is no sealed value.
fn read_header(sealed: &[u8]) -> Option<(Sealing, &[u8])> {
    let (format, rest) = sealed.split_first()?;
    match *format {
        SEALED_OF_OLD => Some((Sealing::FirstKey, rest)),
        SEALED => {
            let (id, body) = rest.split_first_chunk()?;
            Some((Sealing::DataKey(u32::from_be_bytes(*id)), body))
        }
        _ => None,
    }
}

async fn read_root(store: &Store) -> Result<Option<Root>, VaultError> {
    let stored = store.vault_root().await?;
    stored
        .map(|bytes| codec::decode_record(FORMAT_1, &bytes))
        .transpose()
        .map_err(VaultError::Record)
}

fn encode_root(root: &Root) -> Result<Vec<u8>, VaultError> {
    codec::encode_record(FORMAT_1, root).map_err(VaultError::Record)
}

/// Gives a store without data keys what it takes to have them. In one of old, the master key itself has sealed the rows and made
/// the fingerprints: it becomes the key for both.
async fn begin(
    store: &Store,
    master: &MasterKey,
    old_check: Option<Vec<u8>>,
    source_name: &str,
) -> Result<RootKeys, VaultError> {
    let keys = match &old_check {
        Some(check) => {
            let key = || master.copy_of_key().ok_or(VaultError::Unseal);
            let body = check.strip_prefix(&[SEALED_OF_OLD]).ok_or(VaultError::Unseal)?;
            key()?
                .unseal(OLD_CHECK_BINDING, body)
                .map_err(|_| VaultError::WrongKey {
                    source_name: source_name.to_owned(),
                })?;
            RootKeys {
                fingerprint_key: key()?,
                first_key: Some(key()?),
            }
        }
        None => RootKeys {
            fingerprint_key: Key::random()?,
            first_key: None,
        },
    };
    store
        .begin_vault(encode_root(&Root::wrap(master, &keys)?)?)
        .await?;
    Ok(keys)
}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        Self::internal(error)
    }
}
