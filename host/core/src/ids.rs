//! Identifiers: a type for each, so that none is taken for another.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// An identifier that does not have the form it must have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must look like {form}")]
pub struct InvalidId {
    pub(crate) what: &'static str,
    /// What it must look like, for messages that name it themselves.
    pub form: &'static str,
}

/// A build: `bld_` and a ULID. Ids of one gateway sort by creation time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BuildId(Ulid);

/// An organization, as its tokens name it: a lower-case DNS label, 1 to 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct OrgId(String);

/// An uploaded build context: `ctx_` and the hex SHA-256 of the archive. Belongs to one organization.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContextId([u8; 32]);

/// A plugin's component: `sha256:` and the hex SHA-256 of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PluginDigest([u8; 32]);

/// One execution of a build: one for each platform and attempt.
///
/// Shown as `bld-<ulid, lower case>-p<platform>-a<attempt>`: a DNS label, so it names pods, containers and directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunId {
    pub build: BuildId,
    /// Index into the build's platforms.
    pub platform: u8,
    /// From 1.
    pub attempt: u32,
}

// === impl BuildId ===

impl BuildId {
    pub const PREFIX: &str = "bld_";

    /// The id of a build created at `created_at_ms`, told apart from others of that millisecond by `random`.
    pub fn new(created_at_ms: u64, random: u128) -> Self {
        Self(Ulid::from_parts(created_at_ms, random))
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Ulid::from_bytes(bytes))
    }

    /// Big-endian, so that byte order is creation order.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_bytes()
    }

    pub fn created_at_ms(self) -> u64 {
        self.0.timestamp_ms()
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.0)
    }
}

impl FromStr for BuildId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId {
            what: "build_id",
            form: "bld_01HZX9ABCDEFGHJKMNPQRSTVWX",
        };
        let ulid = text.strip_prefix(Self::PREFIX).ok_or_else(|| invalid.clone())?;
        let parsed = Ulid::from_string(ulid).map_err(|_| invalid.clone())?;
        // One spelling each: lower case and overflowing forms would be second names of the same build.
        if parsed.to_string() == ulid {
            Ok(Self(parsed))
        } else {
            Err(invalid)
        }
    }
}

// === impl OrgId ===

impl OrgId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for OrgId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes = text.as_bytes();
        let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends_well = bytes.first().is_some_and(alnum) && bytes.last().is_some_and(alnum);
        if ends_well && bytes.len() <= 63 && bytes.iter().all(|b| alnum(b) || *b == b'-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId {
                what: "organization",
                form: "acme-corp (lower-case letters, digits and dashes, at most 63)",
            })
        }
    }
}

// === impl ContextId ===

impl ContextId {
    pub const PREFIX: &str = "ctx_";

    pub fn from_sha256(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    pub fn sha256(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn sha256_hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, hex::encode(self.0))
    }
}

impl FromStr for ContextId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        hex_sha256(text, Self::PREFIX).map(Self).ok_or(InvalidId {
            what: "context_id",
            form: "ctx_ and 64 lower-case hex digits",
        })
    }
}

// === impl PluginDigest ===

impl PluginDigest {
    pub const PREFIX: &str = "sha256:";

    pub fn from_sha256(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    pub fn sha256(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PluginDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, hex::encode(self.0))
    }
}

impl FromStr for PluginDigest {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        hex_sha256(text, Self::PREFIX).map(Self).ok_or(InvalidId {
            what: "digest",
            form: "sha256: and 64 lower-case hex digits",
        })
    }
}

/// What stands behind `prefix` as 64 lower-case hex digits.
fn hex_sha256(text: &str, prefix: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix(prefix)?;
    if digits.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut sha256 = [0; 32];
    hex::decode_to_slice(digits, &mut sha256).ok()?;
    Some(sha256)
}

// === impl RunId ===

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ulid = self.build.0.to_string().to_ascii_lowercase();
        write!(f, "bld-{ulid}-p{}-a{}", self.platform, self.attempt)
    }
}

impl FromStr for RunId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parse = || {
            let (ulid, rest) = text.strip_prefix("bld-")?.split_once("-p")?;
            let (platform, attempt) = rest.split_once("-a")?;
            let build = BuildId(Ulid::from_string(&ulid.to_ascii_uppercase()).ok()?);
            let run = Self {
                build,
                platform: platform.parse().ok()?,
                attempt: attempt.parse().ok()?,
            };
            (run.to_string() == text).then_some(run)
        };
        parse().ok_or(InvalidId {
            what: "run",
            form: "bld-<ulid>-p0-a1",
        })
    }
}

/// `TryFrom<String>` and `Into<String>` for serde, by way of `FromStr` and `Display`.
macro_rules! serde_by_text {
    ($($id:ty),*) => {$(
        impl TryFrom<String> for $id {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> { text.parse() }
        }
        impl From<$id> for String {
            fn from(id: $id) -> String { id.to_string() }
        }
    )*};
}
serde_by_text!(BuildId, OrgId, ContextId, PluginDigest, RunId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_reads_back_what_it_shows() {
        let build = BuildId::new(1_748_390_400_000, 7);
        assert_eq!(build.to_string().parse(), Ok(build));
        assert_eq!(build.created_at_ms(), 1_748_390_400_000);
        let run = RunId {
            build,
            platform: 0,
            attempt: 12,
        };
        assert_eq!(run.to_string().parse(), Ok(run));
        let context = ContextId::from_sha256([0xab; 32]);
        assert_eq!(context.to_string().parse(), Ok(context));
    }

    #[test]
    fn other_spellings_are_refused() {
        let build = BuildId::new(1_748_390_400_000, 2).to_string();
        for text in [
            "",
            "bld_",
            "bld_x",
            &build.to_ascii_lowercase(),
            &build.replace("bld_", ""),
        ] {
            assert!(text.parse::<BuildId>().is_err(), "{text:?}");
        }
        for text in ["", "-a", "a-", "A", "a_b", "a/b", &"a".repeat(64)] {
            assert!(text.parse::<OrgId>().is_err(), "{text:?}");
        }
        assert!("bld-01-p0-a1".parse::<RunId>().is_err());
        assert!(format!("ctx_{}", "AB".repeat(32)).parse::<ContextId>().is_err());
    }
}
