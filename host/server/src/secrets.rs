//! What organizations keep for their builds: one sealed row for each.
//!
//! ```text
//!   SaveBuildSecrets ─▶ checked change ─▶ read, changed, sealed, stored      one after the other, all or nothing
//!   CreateBuild      ─▶ names             from memory
//!   a run's start    ─▶ snapshot          sealed for the run, on disk before an executor hears of it
//! ```
//!
//! One row and not one for each secret: groups are replaced as a whole, so nothing is ever read or written alone, and a rotation of
//! keys sees it at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ignite_core::{
    ids::OrgId,
    request::secrets::{GroupChange, SecretGroup, SecretsChange},
    secrets::{GitLogin, RegistryLogin, SecretText},
};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{
    error::Result,
    store::Store,
    vault::{Purpose, Vault},
};

mod snapshot;
#[cfg(test)]
mod tests;

pub use snapshot::Snapshot;

/// Organizations of which is kept in memory what there is.
const ORGS_CACHED: usize = 10_000;

pub type Names = BTreeSet<String>;

#[derive(Debug)]
pub struct Secrets {
    store: Arc<Store>,
    vault: Arc<Vault>,
    /// Filled by the writing thread in the order of commits, and by reads that no write came in between.
    known: Arc<Cache<OrgId, Known>>,
    /// Goes up with each change that is on disk, before its caller hears of it.
    generation: Arc<AtomicU64>,
    /// Held from the read to the write of a change.
    saving: Mutex<()>,
}

/// What is kept in memory of an organization: no value.
#[derive(Debug, Clone)]
struct Known {
    /// Of build secrets.
    names: Arc<Names>,
    /// There is no secret at all, as with most organizations: then there is nothing to read.
    is_empty: bool,
}

/// All that an organization keeps.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    registries: Option<Group<BTreeMap<String, RegistryLogin>>>,
    git: Option<Group<GitLogin>>,
    build: Option<Group<BTreeMap<String, SecretText>>>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Group<T> {
    content: T,
    updated_at_ms: i64,
}

/// What may be told of one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub group: SecretGroup,
    pub name: String,
    pub updated_at_ms: i64,
}

// === impl Secrets ===

impl Secrets {
    pub fn new(store: Arc<Store>, vault: Arc<Vault>) -> Self {
        Self {
            store,
            vault,
            known: Arc::new(Cache::new(ORGS_CACHED)),
            generation: Arc::default(),
            saving: Mutex::default(),
        }
    }

    /// Names of the organization's build secrets. From memory, but for the first time.
    pub async fn names(&self, org: &OrgId) -> Result<Arc<Names>> {
        Ok(self.known(org).await?.names)
    }

    async fn known(&self, org: &OrgId) -> Result<Known> {
        // The guard's insert gives way to a write that came in between.
        let guard = match self.known.get_value_or_guard_async(org).await {
            Ok(known) => return Ok(known),
            Err(guard) => guard,
        };
        let known = Known::of(&self.read(org).await?);
        let _gave_way = guard.insert(known.clone());
        Ok(known)
    }

    /// Another one than before: some organization's secrets were changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub async fn load(&self, org: &OrgId) -> Result<Stored> {
        if self.known(org).await?.is_empty {
            return Ok(Stored::default());
        }
        self.read(org).await
    }

    async fn read(&self, org: &OrgId) -> Result<Stored> {
        match self.store.secrets(org).await? {
            Some(sealed) => Ok(self.vault.open_record(org, Purpose::Secrets, &sealed).await?),
            None => Ok(Stored::default()),
        }
    }

    /// Stores the change; on disk when this returns. Its caller may no longer wait.
    pub async fn save(&self, org: &OrgId, change: SecretsChange, now_ms: i64) -> Result<()> {
        let _saving = self.saving.lock().await;
        let mut stored = self.read(org).await?;
        stored.apply(change, now_ms);
        let sealed = match stored.is_empty() {
            true => None,
            false => Some(self.vault.seal_record(org, Purpose::Secrets, &stored).await?),
        };
        let (cache, owner, known) = (Arc::clone(&self.known), org.clone(), Known::of(&stored));
        let generation = Arc::clone(&self.generation);
        // If this is cut off here, the row may be written all the same: the writing thread then keeps the names right, and the
        // next change reads what it finds.
        self.store
            .put_secrets(org, sealed, move || {
                cache.insert(owner, known);
                generation.fetch_add(1, Ordering::Release);
            })
            .await?;
        Ok(())
    }
}

// === impl Known ===

impl Known {
    fn of(stored: &Stored) -> Self {
        Self {
            names: Arc::new(stored.names()),
            is_empty: stored.is_empty(),
        }
    }
}

// === impl Stored ===

impl Stored {
    fn apply(&mut self, change: SecretsChange, now_ms: i64) {
        self.registries = changed(self.registries.take(), change.registries, now_ms);
        self.git = changed(self.git.take(), change.git, now_ms);
        self.build = changed(self.build.take(), change.build, now_ms);
    }

    fn is_empty(&self) -> bool {
        self.registries.is_none() && self.git.is_none() && self.build.is_none()
    }

    fn names(&self) -> Names {
        let build = self.build.iter();
        build.flat_map(|group| group.content.keys().cloned()).collect()
    }

    /// By registry, as they were given.
    pub fn into_registry_logins(self) -> BTreeMap<String, RegistryLogin> {
        self.registries.map(|group| group.content).unwrap_or_default()
    }

    /// Without values.
    pub fn listed(&self) -> Vec<Listed> {
        let mut listed = Vec::new();
        let mut add = |group, name: &str, updated_at_ms| {
            listed.push(Listed {
                group,
                name: name.to_owned(),
                updated_at_ms,
            });
        };
        if let Some(registries) = &self.registries {
            for host in registries.content.keys() {
                add(SecretGroup::Registries, host, registries.updated_at_ms);
            }
        }
        if let Some(git) = &self.git {
            if git.content.https.is_some() {
                add(SecretGroup::Git, "https", git.updated_at_ms);
            }
            if git.content.ssh.is_some() {
                add(SecretGroup::Git, "ssh", git.updated_at_ms);
            }
        }
        if let Some(build) = &self.build {
            for name in build.content.keys() {
                add(SecretGroup::Build, name, build.updated_at_ms);
            }
        }
        listed
    }
}

fn changed<T>(before: Option<Group<T>>, change: GroupChange<T>, now_ms: i64) -> Option<Group<T>> {
    match change {
        GroupChange::Keep => before,
        GroupChange::Clear => None,
        GroupChange::Set(content) => Some(Group {
            content,
            updated_at_ms: now_ms,
        }),
    }
}
