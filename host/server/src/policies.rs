//! Each organization's policy: kept in revisions, checked when it is put, ready when a build comes.
//!
//! ```text
//!   PutPolicy ───────┐
//!                    ├─▶ check: parse ─▶ resolve ─▶ schema ─▶ check-config ─▶ a new revision, in force once it is on disk
//!   policy_dir/*.toml┘                                                                │
//!                                                       in_force: from memory ◀───────┘
//! ```
//!
//! A file of the policy directory wins over the API for its organization. While one is broken, the last good revision stays in
//! force; where there never was one the organization's builds are refused: never is there silently no policy.

mod check;
mod files;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use ignite_core::{ids::OrgId, policy::ResolvedPolicy};
use ignite_plugins::{Chain, Runtime};
use quick_cache::sync::Cache;

pub use self::files::PolicyDirError;
use self::files::Seen;
use crate::{
    clock,
    error::{Error, Result},
    plugins::PluginStore,
    store::{PutOutcome, RevisionRow, Store},
};

/// Earlier revisions that are kept decoded: builds in progress ask for theirs.
const REVISIONS_CACHED: usize = 1024;
/// A put that finds another came in between tries so often.
const PUT_TRIES: u32 = 8;

#[derive(Debug)]
pub struct Policies {
    runtime: Arc<Runtime>,
    store: Arc<Store>,
    plugins: Arc<PluginStore>,
    /// Program and arguments of the child that holds configurations against schemas.
    schema_checker: Vec<String>,
    known: Arc<RwLock<Known>>,
    revisions: Cache<(OrgId, u64), Arc<ResolvedPolicy>>,
    directory: Option<PathBuf>,
    seen: Mutex<HashMap<OrgId, Seen>>,
    /// Files of the directory that are no organization's.
    strange: Mutex<Vec<PathBuf>>,
}

/// What a build's way needs, in memory.
#[derive(Debug, Default)]
struct Known {
    /// Goes up with each commit, so that what was read before one is not taken for news.
    generation: u64,
    in_force: HashMap<OrgId, Option<Arc<ResolvedPolicy>>>,
    /// Organizations that have a file, with what is wrong with it.
    files: HashMap<OrgId, Option<String>>,
}

/// A policy to be put.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Put<'a> {
    pub(crate) text: &'a str,
    pub(crate) subject: &'a str,
    /// Of the policy that it replaces; empty replaces any.
    pub(crate) etag: &'a str,
    pub(crate) validate_only: bool,
    pub(crate) from_file: bool,
}

/// Of a revision; 0 where none was ever put.
pub(crate) fn etag(revision: u64) -> String {
    format!("r{revision}")
}

// === impl Policies ===

impl Policies {
    /// `directory` is that of policy files; read them with [`Self::reload_files`] before the first build.
    pub fn new(
        runtime: Arc<Runtime>,
        store: Arc<Store>,
        plugins: Arc<PluginStore>,
        schema_checker: Vec<String>,
        directory: Option<PathBuf>,
    ) -> Self {
        Self {
            runtime,
            store,
            plugins,
            schema_checker,
            known: Arc::default(),
            revisions: Cache::new(REVISIONS_CACHED),
            directory,
            seen: Mutex::default(),
            strange: Mutex::default(),
        }
    }

    /// What judges the organization's new builds; None: no policy was ever put. From memory, but for the first time.
    ///
    /// # Errors
    /// `FailedPrecondition` if the organization's policy file is broken and nothing else was ever in force.
    pub async fn in_force(&self, org: &OrgId) -> Result<Option<Arc<ResolvedPolicy>>> {
        loop {
            let generation = {
                let known = self.known();
                if let Some(policy) = known.in_force.get(org) {
                    return usable(policy.clone(), &known, org);
                }
                known.generation
            };
            let read = match self.store.policy_in_force(org).await? {
                Some(row) => self.revision(org, row.revision).await?,
                None => None,
            };
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if known.generation == generation {
                known.in_force.insert(org.clone(), read.clone());
                return usable(read, &known, org);
            }
        }
    }

    /// The revision that a build was judged by; None if there never was such a one.
    pub async fn revision(&self, org: &OrgId, revision: u64) -> Result<Option<Arc<ResolvedPolicy>>> {
        let key = (org.clone(), revision);
        if let Some(policy) = self.revisions.get(&key) {
            return Ok(Some(policy));
        }
        let Some(row) = self.store.policy_revision(org, revision).await? else {
            return Ok(None);
        };
        let policy = Arc::new(row.policy);
        self.revisions.insert(key, Arc::clone(&policy));
        Ok(Some(policy))
    }

    pub fn chain(&self, policy: Arc<ResolvedPolicy>) -> Chain {
        Chain {
            runtime: Arc::clone(&self.runtime),
            policy,
        }
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// Whether the organization's policy is the operator's: a file of the policy directory.
    pub(crate) fn is_from_file(&self, org: &OrgId) -> bool {
        self.known().files.contains_key(org)
    }

    /// The revision in force with its text; None: none was ever put.
    pub(crate) async fn current(&self, org: &OrgId) -> Result<Option<RevisionRow>> {
        match self.store.policy_in_force(org).await? {
            Some(row) => Ok(self.store.policy_revision(org, row.revision).await?),
            None => Ok(None),
        }
    }

    /// Checks a policy and makes it the one in force, on disk when this returns. The text that is in force already makes no new
    /// revision.
    ///
    /// # Errors
    /// `Aborted` if the etag is not that of the policy in force, `InvalidArgument` with all that is wrong with the text.
    pub(crate) async fn put(&self, org: &OrgId, put: Put<'_>) -> Result<RevisionRow> {
        for _ in 0..PUT_TRIES {
            let current = self.current(org).await?;
            let before = current.as_ref().map_or(0, |row| row.policy.revision);
            if !put.etag.is_empty() && put.etag != etag(before) {
                return Err(changed(before));
            }
            if !put.validate_only
                && let Some(current) = current.filter(|current| current.text == put.text)
            {
                return Ok(current);
            }
            let row = RevisionRow {
                text: put.text.to_owned(),
                policy: self.check(org, put.text, before.saturating_add(1)).await?,
                updated_at_ms: clock::now_ms(),
                updated_by: put.subject.to_owned(),
                from_file: put.from_file,
            };
            if put.validate_only {
                return Ok(row);
            }
            if self.store(org, before, &row).await? == PutOutcome::Stored {
                tracing::info!(%org, revision = row.policy.revision, subject = put.subject, "policy.put");
                return Ok(row);
            }
        }
        Err(Error::Aborted {
            reason: "POLICY_CHANGED",
            message: "the policy or its plugins keep changing: try again".to_owned(),
        })
    }

    async fn store(&self, org: &OrgId, before: u64, row: &RevisionRow) -> Result<PutOutcome> {
        let policy = Arc::new(row.policy.clone());
        let (known, for_org) = (Arc::clone(&self.known), org.clone());
        // On the writing thread: in force for all once it is on disk, though the caller has gone meanwhile.
        let stored = move || {
            let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
            known.generation = known.generation.saturating_add(1);
            known.in_force.insert(for_org, Some(policy));
        };
        Ok(self.store.put_policy(org, before, row, stored).await?)
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn usable(
    policy: Option<Arc<ResolvedPolicy>>,
    known: &Known,
    org: &OrgId,
) -> Result<Option<Arc<ResolvedPolicy>>> {
    match known.files.get(org) {
        Some(Some(problem)) if policy.is_none() => Err(Error::FailedPrecondition {
            reason: "POLICY_UNUSABLE",
            message: format!(
                "builds are refused until the operator mends the organization's policy file: {problem}"
            ),
        }),
        Some(_) | None => Ok(policy),
    }
}

fn changed(revision: u64) -> Error {
    Error::Aborted {
        reason: "POLICY_CHANGED",
        message: format!(
            "another policy is in force by now, revision {revision} with the etag {:?}: look at it and put yours again",
            etag(revision)
        ),
    }
}
