//! The policy directory: `<organization>.toml`, read at the start and again when a file changes.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::PoisonError,
    time::{Duration, SystemTime},
};

use ignite_core::{ids::OrgId, policy::DOCUMENT_BYTES_MAX};
use tokio_util::sync::CancellationToken;

use super::{Policies, Put};
use crate::{clock, error::Result};

/// How long a change may go unseen, and how soon a broken file is tried again: what it lacked may be there by now.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);
const EXTENSION: &str = "toml";

/// The directory could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the policy directory {path} could not be read")]
pub struct PolicyDirError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What was made of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    fingerprint: Fingerprint,
    /// None once it is in force.
    problem: Option<String>,
}

/// Tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

// === impl Policies ===

impl Policies {
    /// Puts the files in force that changed or could not be before. One that has gone leaves its revision in force, and the
    /// organization may put policies itself again.
    ///
    /// # Errors
    /// If the directory cannot be read. What is wrong with a file is logged and told to its organization.
    pub async fn reload_files(&self) -> std::result::Result<(), PolicyDirError> {
        let Some(directory) = self.directory.clone() else {
            return Ok(());
        };
        let failed = |source| PolicyDirError {
            path: directory.clone(),
            source,
        };
        let path = directory.clone();
        let (files, strange) = tokio::task::spawn_blocking(move || list(&path))
            .await
            .map_err(|error| failed(io::Error::other(error)))?
            .map_err(failed)?;
        self.warn_of(strange);
        self.forget_files_but(&files);
        for (org, (path, fingerprint)) in files {
            let seen = self.seen().get(&org).cloned();
            let settled = |seen: &Seen| seen.fingerprint == fingerprint && seen.problem.is_none();
            if seen.as_ref().is_some_and(settled) {
                continue;
            }
            let problem = self
                .load(&org, &path)
                .await
                .err()
                .map(|error| clock::chain(&error));
            let now = Seen { fingerprint, problem };
            if seen.as_ref() != Some(&now) {
                match &now.problem {
                    Some(problem) => {
                        tracing::error!(%org, file = %path.display(), problem, "policy.file_refused");
                    }
                    None => tracing::info!(%org, file = %path.display(), "policy.file_loaded"),
                }
            }
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.files.insert(org.clone(), now.problem.clone());
            drop(known);
            self.seen().insert(org, now);
        }
        Ok(())
    }

    /// Follows changes of the directory until `stop`.
    pub async fn watch_files(self: std::sync::Arc<Self>, stop: CancellationToken) {
        if self.directory.is_none() {
            return;
        }
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RELOAD_INTERVAL) => {}
            }
            match self.reload_files().await {
                Ok(()) => failing = false,
                // Said once, not every other second.
                Err(_) if failing => {}
                Err(error) => {
                    failing = true;
                    tracing::error!(error = %clock::chain(&error), "policies not reloaded: the old ones stay");
                }
            }
        }
    }

    async fn load(&self, org: &OrgId, path: &Path) -> Result<()> {
        let path = path.to_owned();
        let text = tokio::task::spawn_blocking(move || text_of(&path))
            .await
            .map_err(crate::error::Error::internal)?
            .map_err(|error| crate::error::Error::invalid("", format!("cannot be read: {error}")))?;
        let put = Put {
            text: &text,
            subject: "policy directory",
            etag: "",
            validate_only: false,
            from_file: true,
        };
        self.put(org, put).await.map(|_| ())
    }

    /// Whoever names a file `Acme.toml` believes that it counts.
    fn warn_of(&self, strange: Vec<PathBuf>) {
        let mut warned = self.strange.lock().unwrap_or_else(PoisonError::into_inner);
        if *warned != strange {
            for file in &strange {
                tracing::warn!(file = %file.display(), "policy.file_of_no_organization: it is not read");
            }
            *warned = strange;
        }
    }

    fn forget_files_but(&self, files: &Files) {
        self.seen().retain(|org, _| {
            let there = files.contains_key(org);
            if !there {
                tracing::warn!(%org, "policy.file_gone: its last revision stays in force");
            }
            there
        });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.files.retain(|org, _| files.contains_key(org));
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashMap<OrgId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Files = HashMap<OrgId, (PathBuf, Fingerprint)>;

/// The files that are named like an organization, and those that are named otherwise but end alike.
fn list(directory: &Path) -> io::Result<(Files, Vec<PathBuf>)> {
    use std::os::unix::fs::MetadataExt as _;
    let (mut files, mut strange) = (HashMap::new(), Vec::new());
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let named = path.extension().is_some_and(|extension| extension == EXTENSION);
        let org = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.parse().ok());
        let org = match (named, org) {
            (false, _) => continue,
            (true, Some(org)) => org,
            (true, None) => {
                strange.push(path);
                continue;
            }
        };
        // Links are followed: that is how a mounted ConfigMap looks. One that has just gone is read the next time.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        let fingerprint = Fingerprint {
            modified: metadata.modified()?,
            length: metadata.len(),
            inode: metadata.ino(),
        };
        files.insert(org, (path, fingerprint));
    }
    strange.sort();
    Ok((files, strange))
}

fn text_of(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        // Reading a pipe would wait for a writer for ever.
        return Err(io::Error::other("it is not a plain file"));
    }
    if metadata.len() > DOCUMENT_BYTES_MAX as u64 {
        return Err(io::Error::other(format!(
            "it is larger than {DOCUMENT_BYTES_MAX} bytes"
        )));
    }
    fs::read_to_string(path)
}
