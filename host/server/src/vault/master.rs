//! The master key: where it comes from, its id, and the keys that are wrapped under it.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    VaultError,
    key::{KEY_BYTES, Key},
};

/// The environment variable that may hold the key instead of a file; `-` in it means standard input. Not a setting: settings are
/// also flags, and flags are seen by everybody on the machine.
pub const MASTER_KEY_VARIABLE: &str = "IGNITED_MASTER_KEY";
/// The variable's value that means standard input.
pub const FROM_STDIN: &str = "-";

/// Part of the format of wrapped keys: never to be changed.
const WRAPPED: u8 = 3;
const ID_BYTES: usize = 8;
const ID_BINDING: &[u8] = b"ignite master key id\0";
/// A key in base64 or hex, with room for a line's end.
const KEY_TEXT_BYTES_MAX: u64 = 256;

/// Where the master key is.
#[derive(Debug, Clone)]
pub enum MasterKeySource {
    /// Also where Kubernetes mounts a Secret. Made for a store that is new, if it is not there.
    File(PathBuf),
    /// The value of [`MASTER_KEY_VARIABLE`].
    Variable(SecretString),
}

/// Tells master keys apart, and tells nothing of the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MasterKeyId([u8; ID_BYTES]);

/// The key that wraps all others.
#[derive(Debug)]
pub struct MasterKey {
    id: MasterKeyId,
    key: Key,
}

// === impl MasterKeySource ===

impl MasterKeySource {
    /// None if it is a file that is not there. Blocks.
    pub(super) fn read(&self) -> Result<Option<MasterKey>, VaultError> {
        match self {
            Self::File(path) => match fs::File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                file => self.read_from(file.map_err(self.io_error("opening"))?).map(Some),
            },
            Self::Variable(text) if text.expose_secret() == FROM_STDIN => {
                self.read_from(io::stdin().lock()).map(Some)
            }
            Self::Variable(text) => self.parse(text.expose_secret().as_bytes()).map(Some),
        }
    }

    /// As [`Self::read`], but makes the file if it is not there: only its owner may read it, and it is there whole or not at
    /// all. Blocks.
    pub(super) fn read_or_create(&self) -> Result<MasterKey, VaultError> {
        if let Some(key) = self.read()? {
            return Ok(key);
        }
        if let Self::File(path) = self {
            create(path).map_err(self.io_error("making"))?;
            tracing::info!(key.path = %path.display(), "made a new master key: keep a copy, no export can be used without it");
        }
        self.read()?.ok_or_else(|| VaultError::KeyMissing {
            source_name: self.to_string(),
        })
    }

    fn read_from(&self, from: impl Read) -> Result<MasterKey, VaultError> {
        let mut text = Zeroizing::new(Vec::with_capacity(
            usize::try_from(KEY_TEXT_BYTES_MAX).unwrap_or(0),
        ));
        from.take(KEY_TEXT_BYTES_MAX)
            .read_to_end(&mut text)
            .map_err(self.io_error("reading"))?;
        self.parse(&text)
    }

    fn parse(&self, text: &[u8]) -> Result<MasterKey, VaultError> {
        let text = text.trim_ascii();
        let decoded = Zeroizing::new(if text.len() == KEY_BYTES * 2 {
            hex::decode(text).unwrap_or_default()
        } else {
            let unpadded = URL_SAFE_NO_PAD.decode(text);
            STANDARD.decode(text).or(unpadded).unwrap_or_default()
        });
        let key = Key::from_bytes(&decoded).ok_or_else(|| VaultError::BadKey {
            source_name: self.to_string(),
        })?;
        Ok(MasterKey::new(key))
    }

    fn io_error(&self, doing: &'static str) -> impl FnOnce(io::Error) -> VaultError {
        let source_name = self.to_string();
        move |source| VaultError::Io {
            doing,
            source_name,
            source,
        }
    }
}

/// As it is named in messages.
impl fmt::Display for MasterKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the master key {}", path.display()),
            Self::Variable(_) => write!(f, "the master key in {MASTER_KEY_VARIABLE}"),
        }
    }
}

fn create(path: &Path) -> io::Result<()> {
    let key = Key::random().map_err(io::Error::other)?;
    let text = Zeroizing::new(hex::encode(key.expose()));
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    writeln!(file, "{}", text.as_str())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    fs::File::open(dir)?.sync_all()
}

// === impl MasterKey ===

impl MasterKey {
    fn new(key: Key) -> Self {
        let hash = Sha256::new()
            .chain_update(ID_BINDING)
            .chain_update(key.expose())
            .finalize();
        let mut id = [0; ID_BYTES];
        for (to, from) in id.iter_mut().zip(hash) {
            *to = from;
        }
        Self {
            id: MasterKeyId(id),
            key,
        }
    }

    pub fn id(&self) -> MasterKeyId {
        self.id
    }

    /// The key itself, for what was sealed before there were keys under it.
    pub(super) fn copy_of_key(&self) -> Option<Key> {
        Key::from_bytes(self.key.expose())
    }

    /// `3 ‖ id of the master key ‖ nonce ‖ ciphertext`.
    pub(super) fn wrap(&self, binding: &[u8], key: &Key) -> Result<Vec<u8>, VaultError> {
        let header = header(self.id);
        self.key.seal(&header, &[&header, binding].concat(), key.expose())
    }

    pub(super) fn unwrap(&self, binding: &[u8], wrapped: &[u8]) -> Result<Key, VaultError> {
        let header = header(self.id);
        let body = wrapped.strip_prefix(&header[..]).ok_or(VaultError::Unseal)?;
        let plain = self.key.unseal(&[&header, binding].concat(), body)?;
        Key::from_bytes(&plain).ok_or(VaultError::Unseal)
    }
}

fn header(id: MasterKeyId) -> [u8; 1 + ID_BYTES] {
    let mut header = [WRAPPED; 1 + ID_BYTES];
    for (to, from) in header.iter_mut().skip(1).zip(id.0) {
        *to = from;
    }
    header
}

/// Under which master key this was wrapped; None if it is no wrapped key.
pub(super) fn wrapped_under(wrapped: &[u8]) -> Option<MasterKeyId> {
    let (format, rest) = wrapped.split_first()?;
    let (id, _) = rest.split_first_chunk()?;
    (*format == WRAPPED).then_some(MasterKeyId(*id))
}

// === impl MasterKeyId ===

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
