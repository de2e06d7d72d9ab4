//! The tables of the state database, and their keys.
//!
//! An organization's rows share the prefix `org ‖ 0x00`, so that what belongs to one tenant is one range, and newest-first is a
//! reverse scan: an organization's name holds no zero byte, and a ULID's byte order is its order in time.

use ignite_core::{
    build::{Build, Status},
    ids::{BuildId, ContextId, OrgId},
    notification::NotificationId,
};
use serde::{Deserialize, Serialize};

use super::{
    codec::{self, CodecError, FORMAT_1, Key, Value, record_values},
    contexts::ContextRow,
    outbox::OutboxRow,
    plugins::PluginRow,
    policies::{InForceRow, RevisionRow},
    table::{KeyRange, Table, TableInfo},
    vault::RunSecretsRow,
};

/// Every build.
pub const BUILDS: Table<BuildKey, Build> = Table::large("builds");
/// Every build once, under its status.
pub const BUILDS_BY_STATUS: Table<StatusKey, ()> = Table::small("builds_by_status");
/// What the reconciler must look at: builds that have not ended, or whose run is still to be forgotten.
pub const LIVE: Table<BuildId, LiveRow> = Table::small("live");
/// Sealed specs.
pub const SPECS: Table<BuildId, Blob> = Table::large("specs");
/// Sealed: what plugins want taken out of the logs of builds that have not ended.
pub const REDACTIONS: Table<BuildId, Blob> = Table::large("redactions");
/// Sealed: what the last runs of builds that have not ended were given of their organizations' secrets.
pub const RUN_SECRETS: Table<BuildId, RunSecretsRow> = Table::large("run_secrets");
/// Sealed: what an organization keeps for its builds.
pub const SECRETS: Table<OrgId, Blob> = Table::large("secrets");
/// Organizations' data keys, wrapped under the master key.
pub const VAULT: Table<DataKeyKey, Blob> = Table::small("vault");
pub const IDEMPOTENCY: Table<IdempotencyKey, IdempotencyRow> = Table::small("idempotency");
pub const CONTEXTS: Table<ContextKey, ContextRow> = Table::small("contexts");
/// Every stored version of every plugin; the components' bytes are elsewhere.
pub const PLUGINS: Table<PluginKey, PluginRow> = Table::large("plugins");
/// Which revision of an organization's policy judges new builds.
pub const POLICIES: Table<OrgId, InForceRow> = Table::small("policies");
/// Every policy that ever was in force.
pub const POLICY_REVISIONS: Table<RevisionKey, RevisionRow> = Table::large("policy_revisions");
/// Announcements that are not made yet.
pub const OUTBOX: Table<OutboxKey, OutboxRow> = Table::large("outbox");
/// Those of them that are pending, in the order in which they are due.
pub const OUTBOX_DUE: Table<OutboxDueKey, ()> = Table::small("outbox_due");
/// Values of the store itself.
pub const META: Table<MetaKey, Blob> = Table::small("meta");

pub const STATE_TABLES: &[TableInfo] = &[
    BUILDS.info,
    BUILDS_BY_STATUS.info,
    LIVE.info,
    SPECS.info,
    REDACTIONS.info,
    RUN_SECRETS.info,
    SECRETS.info,
    VAULT.info,
    IDEMPOTENCY.info,
    CONTEXTS.info,
    PLUGINS.info,
    POLICIES.info,
    POLICY_REVISIONS.info,
    OUTBOX.info,
    OUTBOX_DUE.info,
    META.info,
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildKey {
    pub org: OrgId,
    pub id: BuildId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusKey {
    pub org: OrgId,
    pub status: Status,
    pub id: BuildId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub org: OrgId,
    pub key: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextKey {
    pub org: OrgId,
    pub id: ContextId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginKey {
    pub org: OrgId,
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionKey {
    pub org: OrgId,
    /// From 1.
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKeyKey {
    pub org: OrgId,
    /// From 1.
    pub id: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutboxKey {
    pub org: OrgId,
    pub id: NotificationId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxDueKey {
    pub org: OrgId,
    pub at_ms: i64,
    pub id: NotificationId,
}

/// Name of a value in [`META`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaKey(pub String);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRow {
    pub org: OrgId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRow {
    /// Of the request that came with the key first.
    pub fingerprint: [u8; 32],
    pub build: BuildId,
    pub created_at_ms: i64,
}

/// Bytes that the store does not look into.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

record_values!(
    Build,
    LiveRow,
    IdempotencyRow,
    ContextRow,
    PluginRow,
    InForceRow,
    RevisionRow,
    OutboxRow,
    RunSecretsRow,
);

// === impl BuildKey ===

impl BuildKey {
    pub fn of(build: &Build) -> Self {
        Self {
            org: build.org.clone(),
            id: build.id,
        }
    }

    pub fn range(org: &OrgId) -> KeyRange<Self> {
        KeyRange::of_prefix(org_prefix(org))
    }
}

impl Key for BuildKey {
    fn encode(&self) -> Vec<u8> {
        [org_prefix(&self.org).as_slice(), &self.id.to_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (org, id) = split_org(bytes)?;
        let id = Key::decode(id)?;
        Some(Self { org, id })
    }
}

// === impl StatusKey ===

impl StatusKey {
    pub fn of(build: &Build, status: Status) -> Self {
        Self {
            org: build.org.clone(),
            status,
            id: build.id,
        }
    }

    pub fn range(org: &OrgId, status: Status) -> KeyRange<Self> {
        let mut prefix = org_prefix(org);
        prefix.push(status_byte(status));
        KeyRange::of_prefix(prefix)
    }
}

impl Key for StatusKey {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = org_prefix(&self.org);
        bytes.push(status_byte(self.status));
        bytes.extend_from_slice(&self.id.to_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (org, rest) = split_org(bytes)?;
        let (byte, id) = rest.split_first()?;
        let status = STATUSES
            .into_iter()
            .find(|status| status_byte(*status) == *byte)?;
        let id = Key::decode(id)?;
        Some(Self { org, status, id })
    }
}

pub(super) const STATUSES: [Status; 5] = [
    Status::Pending,
    Status::Running,
    Status::Succeeded,
    Status::Failed,
    Status::Cancelled,
];

/// Part of the format: never to be changed.
fn status_byte(status: Status) -> u8 {
    match status {
        Status::Pending => 1,
        Status::Running => 2,
        Status::Succeeded => 3,
        Status::Failed => 4,
        Status::Cancelled => 5,
    }
}

// === impl IdempotencyKey ===

impl Key for IdempotencyKey {
    fn encode(&self) -> Vec<u8> {
        [org_prefix(&self.org).as_slice(), self.key.as_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (org, key) = split_org(bytes)?;
        let key = std::str::from_utf8(key).ok()?.to_owned();
        Some(Self { org, key })
    }
}

// === impl ContextKey ===

impl ContextKey {
    pub fn range(org: &OrgId) -> KeyRange<Self> {
        KeyRange::of_prefix(org_prefix(org))
    }
}

impl Key for ContextKey {
    fn encode(&self) -> Vec<u8> {
        [org_prefix(&self.org).as_slice(), self.id.sha256()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (org, sha256) = split_org(bytes)?;
        let id = ContextId::from_sha256(sha256.try_into().ok()?);
        Some(Self { org, id })
    }
}

// === impl PluginKey ===

impl PluginKey {
    pub fn range(org: &OrgId) -> KeyRange<Self> {
        KeyRange::of_prefix(org_prefix(org))
    }

    /// Every version of a plugin.
    pub fn versions(org: &OrgId, name: &str) -> KeyRange<Self> {
        KeyRange::of_prefix(Self::prefix(org, name))
    }

    fn prefix(org: &OrgId, name: &str) -> Vec<u8> {
        let mut prefix = org_prefix(org);
        prefix.extend_from_slice(name.as_bytes());
        prefix.push(0);
        prefix
    }
}

impl Key for PluginKey {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Self::prefix(&self.org, &self.name);
        bytes.extend_from_slice(self.version.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (org, rest) = split_org(bytes)?;
        let (name, version) = std::str::from_utf8(rest).ok()?.split_once('\0')?;
        Some(Self {
            org,
            name: name.to_owned(),
            version: version.to_owned(),
        })
    }
}

// === impl RevisionKey ===

impl RevisionKey {
    pub fn range(org: &OrgId) -> KeyRange<Self> {
        KeyRange::of_prefix(org_prefix(org))
    }
}

impl Key for RevisionKey {
    fn encode(&self) -> Vec<u8> {
        [org_prefix(&self.org).as_slice(), &self.revision.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (org, revision) = split_org(bytes)?;
        let revision = u64::from_be_bytes(revision.try_into().ok()?);
        Some(Self { org, revision })
    }
}

// === impl DataKeyKey ===

impl DataKeyKey {
    pub fn range(org: &OrgId) -> KeyRange<Self> {
        KeyRange::of_prefix(org_prefix(org))
    }
}

impl Key for DataKeyKey {
    fn encode(&self) -> Vec<u8> {
        [org_prefix(&self.org).as_slice(), &self.id.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (org, id) = split_org(bytes)?;
        let id = u32::from_be_bytes(id.try_into().ok()?);
        Some(Self { org, id })
    }
}

// === impl OutboxKey ===

impl OutboxKey {
    pub fn range(org: &OrgId) -> KeyRange<Self> {
        KeyRange::of_prefix(org_prefix(org))
    }
}

impl Key for OutboxKey {
    fn encode(&self) -> Vec<u8> {
        [org_prefix(&self.org).as_slice(), &notification_bytes(self.id)].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (org, id) = split_org(bytes)?;
        let id = read_notification(id)?;
        Some(Self { org, id })
    }
}

// === impl OutboxDueKey ===

impl OutboxDueKey {
    /// Of a row that is pending.
    pub fn of(key: &OutboxKey, row: &OutboxRow) -> Self {
        Self {
            org: key.org.clone(),
            // A negative one would come last.
            at_ms: row.next_at_ms.max(0),
            id: key.id,
        }
    }

    pub fn row(self) -> OutboxKey {
        OutboxKey {
            org: self.org,
            id: self.id,
        }
    }

    pub fn range(org: &OrgId) -> KeyRange<Self> {
        KeyRange::of_prefix(org_prefix(org))
    }

    /// All organizations behind this one.
    pub fn after(org: &OrgId) -> KeyRange<Self> {
        let mut start = org.as_str().as_bytes().to_vec();
        start.push(1);
        KeyRange::from_bytes(start)
    }
}

impl Key for OutboxDueKey {
    fn encode(&self) -> Vec<u8> {
        [
            org_prefix(&self.org).as_slice(),
            &self.at_ms.to_be_bytes(),
            &notification_bytes(self.id),
        ]
        .concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (org, rest) = split_org(bytes)?;
        let (at_ms, id) = rest.split_first_chunk()?;
        let at_ms = i64::from_be_bytes(*at_ms);
        let id = read_notification(id)?;
        Some(Self { org, at_ms, id })
    }
}

fn notification_bytes(id: NotificationId) -> [u8; 18] {
    let mut bytes = [0; 18];
    let (build, entry) = bytes.split_at_mut(16);
    build.copy_from_slice(&id.build.to_bytes());
    entry.copy_from_slice(&id.entry.to_be_bytes());
    bytes
}

fn read_notification(bytes: &[u8]) -> Option<NotificationId> {
    let (build, entry) = bytes.split_first_chunk()?;
    Some(NotificationId {
        build: BuildId::from_bytes(*build),
        entry: u16::from_be_bytes(entry.try_into().ok()?),
    })
}

// === impl OrgId, BuildId, MetaKey ===

impl Key for OrgId {
    fn encode(&self) -> Vec<u8> {
        self.as_str().as_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok()?.parse().ok()
    }
}

impl Key for BuildId {
    fn encode(&self) -> Vec<u8> {
        self.to_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_bytes)
    }
}

impl Key for MetaKey {
    fn encode(&self) -> Vec<u8> {
        self.0.clone().into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        String::from_utf8(bytes.to_vec()).ok().map(Self)
    }
}

// === impl Blob ===

impl Value for Blob {
    fn encode(&self) -> Result<Vec<u8>, CodecError> {
        Ok([&[FORMAT_1], self.0.as_slice()].concat())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(Self(codec::body(FORMAT_1, bytes)?.to_vec()))
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

fn org_prefix(org: &OrgId) -> Vec<u8> {
    let mut prefix = org.as_str().as_bytes().to_vec();
    prefix.push(0);
    prefix
}

fn split_org(bytes: &[u8]) -> Option<(OrgId, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (org, rest) = bytes.split_at_checked(end)?;
    let org = std::str::from_utf8(org).ok()?.parse().ok()?;
    Some((org, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_stay_within_their_organization() {
        let org: OrgId = "acme".parse().unwrap();
        let longer: OrgId = "acme-2".parse().unwrap();
        let id = BuildId::new(1_748_390_400_000, 7);
        for status in STATUSES {
            let key = StatusKey {
                org: org.clone(),
                status,
                id,
            };
            assert_eq!(StatusKey::decode(&key.encode()), Some(key));
        }
        let (mine, theirs) = (BuildKey { org: org.clone(), id }, BuildKey { org: longer, id });
        assert_eq!(BuildKey::decode(&mine.encode()), Some(mine.clone()));
        let bounds = BuildKey::range(&org).bounds().unwrap();
        use std::ops::RangeBounds;
        assert!(bounds.contains(&mine.encode()));
        assert!(!bounds.contains(&theirs.encode()));
        let context = ContextKey {
            org: org.clone(),
            id: ContextId::from_sha256([0; 32]),
        };
        assert_eq!(ContextKey::decode(&context.encode()), Some(context));
        let idempotency = IdempotencyKey {
            org,
            key: "a\0b".to_owned(),
        };
        assert_eq!(IdempotencyKey::decode(&idempotency.encode()), Some(idempotency));
    }

    #[test]
    fn a_plugins_versions_are_one_range_and_revisions_sort_by_number() {
        use std::ops::RangeBounds;
        let org: OrgId = "acme".parse().unwrap();
        let key = |name: &str, version: &str| PluginKey {
            org: org.clone(),
            name: name.to_owned(),
            version: version.to_owned(),
        };
        let mine = key("tags", "1.0.0");
        assert_eq!(PluginKey::decode(&mine.encode()), Some(mine.clone()));
        let bounds = PluginKey::versions(&org, "tags").bounds().unwrap();
        assert!(bounds.contains(&mine.encode()));
        assert!(!bounds.contains(&key("tags-2", "1.0.0").encode()));
        let revision = |revision| RevisionKey {
            org: org.clone(),
            revision,
        };
        assert_eq!(RevisionKey::decode(&revision(7).encode()), Some(revision(7)));
        assert!(revision(255).encode() < revision(256).encode());
    }
}
