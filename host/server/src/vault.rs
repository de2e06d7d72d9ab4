//! Seals what must not be readable on disk: the specs of builds, which hold real build-arg values.
//!
//! ```text
//! sealed: key id ‖ nonce 24 bytes ‖ XChaCha20-Poly1305(plain)      bound to: purpose ‖ 0x00 ‖ organization ‖ 0x00 ‖ build
//! ```
//!
//! A sealed value opens only for the purpose, organization and build that it was sealed for, so rows cannot be swapped. The nonce is
//! random: 192 bits never meet again. The key id leaves room for a second key. The master key is a file beside the store, not in
//! it, so that a copy of the data directory or an export is of no use without it.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Generate, Payload},
};
use ignite_core::{
    ids::{BuildId, OrgId},
    spec::BuildSpec,
};
use secrecy::{ExposeSecret, SecretBox};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::store::{
    Store, StoreError,
    codec::{self, CodecError, FORMAT_1},
    schema::MetaKey,
};

const KEY_BYTES: usize = 32;
const KEY_ID: u8 = 1;
const SHA256_BLOCK_BYTES: usize = 64;
const NONCE_BYTES: usize = 24;
/// A key in base64 or hex, with room for a line's end.
const KEY_FILE_BYTES_MAX: u64 = 256;
/// The value in the store that only the right key opens.
const KEY_CHECK: &str = "vault.key_check";
const KEY_CHECK_BINDING: &[u8] = b"key-check\0";

pub struct Vault {
    key: SecretBox<[u8; KEY_BYTES]>,
}

/// What a sealed value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    BuildSpec,
    /// What plugins want taken out of the log.
    Redaction,
}

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error(
        "the master key {path} is missing, and the store holds what was sealed with it: put the key back, or start with an \
         empty data directory"
    )]
    KeyMissing { path: PathBuf },
    #[error("the master key {path} is not the one this store was sealed with")]
    WrongKey { path: PathBuf },
    #[error("the master key {path} must be {KEY_BYTES} bytes in hex or base64")]
    BadKey { path: PathBuf },
    #[error("{doing} the master key {path}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the system gave no random bytes")]
    Random,
    #[error("a value could not be sealed")]
    Seal,
    /// Damaged, or sealed for something else or with another key.
    #[error("a sealed value does not open")]
    Unseal,
    #[error("a spec could not be encoded or decoded")]
    Spec(#[source] CodecError),
    #[error("the key check could not be read or written")]
    Store(#[from] StoreError),
    #[error("the thread at work on the key ended early")]
    Interrupted,
}

// === impl Purpose ===

impl Purpose {
    /// Part of the format: never to be changed.
    fn name(self) -> &'static str {
        match self {
            Self::BuildSpec => "build-spec",
            Self::Redaction => "redaction",
        }
    }
}

// === impl Vault ===

impl Vault {
    /// Reads the master key and makes sure that it is the store's. For a new store, a key that is not there is made.
    pub async fn open(key_path: &Path, store: &Store) -> Result<Self, VaultError> {
        let check_key = MetaKey(KEY_CHECK.to_owned());
        let check = store.meta(check_key.clone()).await?;
        let may_create = check.is_none() && store.is_new().await?;
        let path = key_path.to_owned();
        let key = tokio::task::spawn_blocking(move || match read_key(&path)? {
            Some(key) => Ok(key),
            None if may_create => create_key(&path),
            None => Err(VaultError::KeyMissing { path }),
        });
        let vault = Self {
            key: key.await.map_err(|_| VaultError::Interrupted)??,
        };
        match check {
            Some(check) => {
                vault
                    .unseal_bound(KEY_CHECK_BINDING, &check)
                    .map_err(|_| VaultError::WrongKey {
                        path: key_path.to_owned(),
                    })?;
            }
            None => {
                let check = vault.seal_bound(KEY_CHECK_BINDING, &[])?;
                store.put_meta_once(&check_key, check).await?;
            }
        }
        Ok(vault)
    }

    /// A build's spec as it is stored.
    pub fn seal_spec(&self, org: &OrgId, build: BuildId, spec: &BuildSpec) -> Result<Vec<u8>, VaultError> {
        // A buffer that grew would leave copies of what it held behind.
        let size_bytes = codec::record_size_bytes(FORMAT_1, spec).map_err(VaultError::Spec)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(size_bytes));
        codec::write_record(&mut *plain, FORMAT_1, spec).map_err(VaultError::Spec)?;
        self.seal(Purpose::BuildSpec, org, build, &plain)
    }

    pub fn open_spec(&self, org: &OrgId, build: BuildId, sealed: &[u8]) -> Result<BuildSpec, VaultError> {
        let plain = self.unseal(Purpose::BuildSpec, org, build, sealed)?;
        codec::decode_record(FORMAT_1, &plain).map_err(VaultError::Spec)
    }

    pub fn seal(
        &self,
        purpose: Purpose,
        org: &OrgId,
        build: BuildId,
        plain: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        self.seal_bound(&binding(purpose, org, build), plain)
    }

    pub fn unseal(
        &self,
        purpose: Purpose,
        org: &OrgId,
        build: BuildId,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.unseal_bound(&binding(purpose, org, build), sealed)
    }

    /// Tells equal messages of one kind. Made with the key, as HMAC is: a plain hash of a request would let who has the store
    /// alone try out short secrets in it.
    pub fn fingerprint(&self, kind: &str, message: &[u8]) -> [u8; 32] {
        let keyed = |pad: u8| {
            let mut block = Zeroizing::new([pad; SHA256_BLOCK_BYTES]);
            for (byte, key) in block.iter_mut().zip(self.key.expose_secret()) {
                *byte ^= key;
            }
            Sha256::new().chain_update(block.as_slice())
        };
        let inner = keyed(0x36)
            .chain_update(kind)
            .chain_update([0])
            .chain_update(message);
        keyed(0x5c).chain_update(inner.finalize()).finalize().into()
    }

    fn seal_bound(&self, aad: &[u8], msg: &[u8]) -> Result<Vec<u8>, VaultError> {
        let nonce = XNonce::try_generate().map_err(|_| VaultError::Random)?;
        let sealed = self
            .cipher()
            .encrypt(&nonce, Payload { msg, aad })
            .map_err(|_| VaultError::Seal)?;
        Ok([&[KEY_ID], nonce.as_slice(), &sealed].concat())
    }

    fn unseal_bound(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let body = match sealed.split_first() {
            Some((&KEY_ID, body)) => body,
            Some(_) | None => return Err(VaultError::Unseal),
        };
        let (nonce, msg) = body
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(VaultError::Unseal)?;
        let plain = self.cipher().decrypt(&XNonce::from(*nonce), Payload { msg, aad });
        plain.map(Zeroizing::new).map_err(|_| VaultError::Unseal)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.key.expose_secret().into())
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

fn binding(purpose: Purpose, org: &OrgId, build: BuildId) -> Vec<u8> {
    // Neither name holds a zero byte.
    let parts: [&[u8]; 3] = [
        purpose.name().as_bytes(),
        org.as_str().as_bytes(),
        &build.to_bytes(),
    ];
    parts.join(&0)
}

/// None if the file is not there. Blocks.
fn read_key(path: &Path) -> Result<Option<SecretBox<[u8; KEY_BYTES]>>, VaultError> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(io_error("opening", path))?,
    };
    let mut text = Zeroizing::new(Vec::new());
    file.take(KEY_FILE_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(io_error("reading", path))?;
    let text = text.trim_ascii();
    let decoded = Zeroizing::new(if text.len() == KEY_BYTES * 2 {
        hex::decode(text).unwrap_or_default()
    } else {
        let unpadded = URL_SAFE_NO_PAD.decode(text);
        STANDARD.decode(text).or(unpadded).unwrap_or_default()
    });
    let key =
        Zeroizing::new(
            <[u8; KEY_BYTES]>::try_from(decoded.as_slice()).map_err(|_| VaultError::BadKey {
                path: path.to_owned(),
            })?,
        );
    Ok(Some(SecretBox::init_with_mut(|secret: &mut [u8; KEY_BYTES]| {
        secret.copy_from_slice(key.as_slice());
    })))
}

/// Makes a key file that only its owner may read, whole or not at all. Blocks.
fn create_key(path: &Path) -> Result<SecretBox<[u8; KEY_BYTES]>, VaultError> {
    let key = Zeroizing::new(<[u8; KEY_BYTES]>::try_generate().map_err(|_| VaultError::Random)?);
    let text = Zeroizing::new(hex::encode(key.as_slice()));
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        writeln!(file, "{}", text.as_str())?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        fs::File::open(dir)?.sync_all()
    };
    write().map_err(io_error("making", path))?;
    tracing::info!(key.path = %path.display(), "made a new master key: keep a copy, no export can be used without it");
    read_key(path)?.ok_or_else(|| VaultError::KeyMissing {
        path: path.to_owned(),
    })
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VaultError {
    let path = path.to_owned();
    move |source| VaultError::Io { doing, path, source }
}

#[cfg(test)]
mod tests;
