//! Who may read a stored context without an organization's token: the fetch step of a run that happens elsewhere, for a while.
//!
//! A token is proof by itself, so nothing of it is stored, and a gateway that starts anew takes those that were given before:
//!
//! ```text
//!   base64url( HMAC-SHA256(run ‖ 0x00 ‖ claim) ‖ claim )
//!   claim = 1 ‖ expiry, ms since the epoch, i64 BE ‖ SHA-256 of the context ‖ organization
//! ```
//!
//! The key is made from one of the vault's that outlives rotations.

#[cfg(test)]
mod tests;

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use ignite_core::{
    ids::{ContextId, OrgId, RunId},
    secrets::SecretText,
};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::Sha256;

use crate::vault::{Vault, hmac};

/// Where the gateway serves a run's context; `{run}` stands for the run.
pub const ROUTE: &str = "/internal/v1/runs/{run}/context";

const FORMAT: u8 = 1;
const MAC_BYTES: usize = 32;
const EXPIRY_BYTES: usize = 8;
const SHA256_BYTES: usize = 32;
/// Longer than any token of ours: an organization's name has at most 63 bytes.
const TOKEN_CHARS_MAX: usize = 256;

/// Makes tokens and checks them.
pub struct ContextGrants {
    key: SecretBox<[u8; 32]>,
}

/// How a run gets its context: `GET`, with the token as bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextGrant {
    /// Path and query, to be put behind the gateway's address.
    pub url_path: String,
    pub token: SecretText,
}

// === impl ContextGrants ===

impl ContextGrants {
    pub fn new(vault: &Vault) -> Self {
        Self::under(vault.fingerprint("context grants", b""))
    }

    fn under(key: [u8; 32]) -> Self {
        Self {
            key: SecretBox::new(Box::new(key)),
        }
    }

    /// Lets the run read the organization's context until `expires_at_ms` since the epoch.
    pub fn grant(&self, run: RunId, org: &OrgId, context: &ContextId, expires_at_ms: i64) -> ContextGrant {
        let claim = [
            &[FORMAT],
            expires_at_ms.to_be_bytes().as_slice(),
            context.sha256(),
            org.as_str().as_bytes(),
        ]
        .concat();
        let mac = self.mac(run, &claim).finalize().into_bytes();
        let token = URL_SAFE_NO_PAD.encode([mac.as_slice(), &claim].concat());
        ContextGrant {
            url_path: ROUTE.replace("{run}", &run.to_string()),
            token: SecretText::new(token),
        }
    }

    /// What the token lets the run read at `now_ms`; none if it is not ours, for another run, or has expired.
    pub fn check(&self, run: RunId, token: &str, now_ms: i64) -> Option<(OrgId, ContextId)> {
        if token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (mac, claim) = bytes.split_first_chunk::<MAC_BYTES>()?;
        // In constant time.
        self.mac(run, claim).verify_slice(mac).ok()?;
        let (&[FORMAT], rest) = claim.split_first_chunk()? else {
            return None;
        };
        let (expires_at_ms, rest) = rest.split_first_chunk::<EXPIRY_BYTES>()?;
        let (sha256, org) = rest.split_first_chunk::<SHA256_BYTES>()?;
        if i64::from_be_bytes(*expires_at_ms) <= now_ms {
            return None;
        }
        let org = str::from_utf8(org).ok()?.parse().ok()?;
        Some((org, ContextId::from_sha256(*sha256)))
    }

    fn mac(&self, run: RunId, claim: &[u8]) -> Hmac<Sha256> {
        hmac(self.key.expose_secret())
            .chain_update(run.to_string())
            .chain_update([0])
            .chain_update(claim)
    }
}

impl fmt::Debug for ContextGrants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContextGrants")
    }
}
