//! One key: 32 random bytes and the cipher that they are for. All that is encrypted here goes through this file.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Generate, Payload},
};
use hmac::Hmac;
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::VaultError;

pub(super) const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const SHA256_BLOCK_BYTES: usize = 64;

/// A key of XChaCha20-Poly1305. Wiped when it goes; `Debug` does not show it.
pub(super) struct Key(SecretBox<[u8; KEY_BYTES]>);

/// HMAC-SHA256 under a key, to be given its message.
pub(crate) fn hmac(key: &[u8; KEY_BYTES]) -> Hmac<Sha256> {
    // HMAC fills its key up with zeros.
    let mut block = Zeroizing::new([0; SHA256_BLOCK_BYTES]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new((&*block).into())
}

// === impl Key ===

impl Key {
    pub(super) fn random() -> Result<Self, VaultError> {
        let bytes = Zeroizing::new(<[u8; KEY_BYTES]>::try_generate().map_err(|_| VaultError::Random)?);
        Ok(Self::copy_of(&bytes))
    }

    /// None if these are not 32 bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::copy_of)
    }

    fn copy_of(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(SecretBox::init_with_mut(|key: &mut [u8; KEY_BYTES]| {
            key.copy_from_slice(bytes);
        }))
    }

    pub(super) fn expose(&self) -> &[u8; KEY_BYTES] {
        self.0.expose_secret()
    }

    /// `header` ‖ nonce ‖ ciphertext. The nonce is random: 192 bits never meet again.
    pub(super) fn seal(&self, header: &[u8], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let nonce = XNonce::try_generate().map_err(|_| VaultError::Random)?;
        let payload = Payload { msg: plain, aad };
        let sealed = self
            .cipher()
            .encrypt(&nonce, payload)
            .map_err(|_| VaultError::Seal)?;
        Ok([header, nonce.as_slice(), &sealed].concat())
    }

    /// Opens what follows the header.
    pub(super) fn unseal(&self, aad: &[u8], body: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (nonce, msg) = body
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(VaultError::Unseal)?;
        let plain = self.cipher().decrypt(&XNonce::from(*nonce), Payload { msg, aad });
        plain.map(Zeroizing::new).map_err(|_| VaultError::Unseal)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.expose().into())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}
