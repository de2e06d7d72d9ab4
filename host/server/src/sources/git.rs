//! Untrusted git repositories: fetched by the real `git` at a branch, tag or commit, submodules included.
//!
//! Each URL, of the repository and of every submodule, passes the same door ([`origin`]): https only, no credentials, its
//! host resolved once by us, refused where that is no public address, and the connection pinned to what was checked. Git
//! itself runs with nothing of our environment ([`command`]), its repository outside the workspace: a context holds the
//! files of a commit and no `.git`, as Docker's git contexts do.
//!
//! What is fetched and what it unpacks to are both limited: a few kilobytes of nested trees can stand for billions of files,
//! so the tree is counted before it is written.

mod address;
mod command;
mod error;
mod logins;
mod origin;
mod repository;
mod submodules;
mod tree;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    fs::File,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ignite_core::{secrets::GitLogin, spec::GitSource};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use url::Url;

pub use self::error::GitError;
use self::{
    command::Git,
    logins::Logins,
    origin::Origin,
    repository::{Repository, Wanted},
    submodules::Submodule,
    tree::Budget,
};

/// What a git source may be and how large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GitRules {
    /// Plain http, besides https.
    pub http_allowed: bool,
    /// Hosts on loopback, private and link-local addresses.
    pub private_addresses_allowed: bool,
    /// PEM certificates of authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// For each repository, compressed.
    pub fetched_bytes_max: u64,
    /// For all repositories of a source together.
    pub checkout_bytes_max: u64,
    pub checkout_entries_max: u64,
    pub submodules_max: u32,
    pub submodule_depth_max: u32,
}

/// A source that is in the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloned {
    /// The full id.
    pub commit: String,
}

/// Finds a host's addresses.
type Resolve = dyn Fn(&str, u16) -> io::Result<Vec<IpAddr>>;

/// One source being fetched.
struct Fetcher<'a> {
    rules: &'a GitRules,
    resolve: &'a Resolve,
    git: Git,
    logins: Logins<'a>,
    /// For repositories while they are needed.
    scratch: TempDir,
    workspace: &'a Path,
    budget: Budget,
    progress: &'a mut dyn FnMut(&str),
}

/// Puts the source's files into `workspace`, an existing empty directory. `scratch` is a directory on the same disk for
/// git's own files, which are gone when this returns. `login` is shown to the hosts that it is for, and to no others.
/// `progress` gets lines for the build's log.
///
/// # Errors
/// [`FetchFailure::Auth`](ignite_core::run::FetchFailure) where a server wants a login, or refuses this one. No message has
/// any of it.
pub fn clone(
    source: &GitSource,
    login: Option<&GitLogin>,
    workspace: &Path,
    scratch: &Path,
    rules: &GitRules,
    progress: &mut dyn FnMut(&str),
) -> Result<Cloned, GitError> {
    clone_by(
        &origin::resolve_by_system,
        source,
        login,
        workspace,
        scratch,
        rules,
        progress,
    )
}

fn clone_by(
    resolve: &Resolve,
    source: &GitSource,
    login: Option<&GitLogin>,
    workspace: &Path,
    scratch: &Path,
    rules: &GitRules,
    progress: &mut dyn FnMut(&str),
) -> Result<Cloned, GitError> {
    let making = |source| GitError::internal("making a directory for git", &source);
    let scratch = tempfile::Builder::new()
        .prefix("git-")
        .tempdir_in(scratch)
        .map_err(making)?;
    let url = origin::check(&source.url, rules)?;
    let mut fetcher = Fetcher {
        git: Git::new(scratch.path(), rules).map_err(making)?,
        logins: Logins::new(login, &url, rules),
        rules,
        resolve,
        scratch,
        workspace,
        budget: Budget::new(rules),
        progress,
    };
    fetcher
        .source(url, source)
        .map_err(|error| fetcher.logins.scrubbed(error))
}

/// Opens a directory of the workspace that is reached by directories alone, no links.
fn open_directory(workspace: &Path, path: &Path) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, workspace, flags, Mode::empty())?;
    if path.as_os_str().is_empty() {
        return Ok(root.into());
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve).map(File::from)
}

fn require_directory(workspace: &Path, context_dir: &str) -> Result<(), GitError> {
    let why = match open_directory(workspace, Path::new(context_dir)) {
        Ok(_) => return Ok(()),
        Err(Errno::NOENT) => "does not exist in the repository",
        Err(Errno::NOTDIR) => "is not a directory of the repository",
        Err(Errno::LOOP) => "is reached through a symbolic link, which is not followed",
        Err(Errno::XDEV) => "leads out of the repository",
        Err(errno) => return Err(GitError::internal("opening context_dir", &errno)),
    };
    let shown = error::shown(context_dir);
    Err(GitError::source(format!("context_dir \"{shown}\" {why}")))
}

// === impl Fetcher ===

impl Fetcher<'_> {
    fn source(&mut self, url: Url, source: &GitSource) -> Result<Cloned, GitError> {
        let wanted = Wanted::parse(&source.reference)?;
        (self.progress)(&format!("Fetching {url} at {}", source.reference));
        let origin = self.reach(url)?;
        let repository = self.fetch(&origin, &wanted)?;
        (self.progress)(&format!("Resolved commit {}", repository.commit()));
        self.check_out(&origin, &repository, Path::new(""), 0)?;
        require_directory(self.workspace, &source.context_dir)?;
        Ok(Cloned {
            commit: repository.commit().to_owned(),
        })
    }

    fn reach(&self, url: Url) -> Result<Origin, GitError> {
        // Nothing is asked of the network for what cannot be fetched anyway.
        self.logins.require_key(&url)?;
        Origin::reach(url, self.rules, self.resolve)
    }

    fn fetch(&self, origin: &Origin, wanted: &Wanted) -> Result<Repository, GitError> {
        let access = self.logins.access(origin)?;
        Repository::fetch(
            &self.git,
            self.scratch.path(),
            origin,
            &access,
            wanted,
            self.rules,
        )
    }

    /// Writes the commit's files to `at` in the workspace, then those of its submodules.
    fn check_out(
        &mut self,
        origin: &Origin,
        repository: &Repository,
        at: &Path,
        depth: u32,
    ) -> Result<(), GitError> {
        let tree = tree::read(&self.git, repository, &mut self.budget)?;
        repository.check_out(&self.git, &self.workspace.join(at))?;
        for submodule in submodules::read(&self.git, repository, &tree)? {
            self.submodule(origin, &submodule, at, depth)?;
        }
        Ok(())
    }

    fn submodule(
        &mut self,
        parent: &Origin,
        submodule: &Submodule,
        parent_at: &Path,
        depth: u32,
    ) -> Result<(), GitError> {
        let at = parent_at.join(&submodule.path);
        let shown = error::shown(&at.to_string_lossy());
        let Some(url) = &submodule.url else {
            (self.progress)(&format!(
                "Submodule {shown} has no URL in .gitmodules: left empty"
            ));
            return Ok(());
        };
        let within = |error: GitError| error.within(&format!("submodule {shown}"));
        if depth >= self.rules.submodule_depth_max {
            let message = format!("submodules are nested deeper than {depth}");
            return Err(within(GitError::source(message)));
        }
        self.budget.count_submodule().map_err(within)?;
        let url = submodules::resolve(parent.url(), url)
            .and_then(|url| origin::check(&url, self.rules))
            .map_err(within)?;
        let commit = &submodule.commit;
        (self.progress)(&format!("Fetching submodule {shown} from {url} at {commit}"));
        let origin = self.reach(url).map_err(within)?;
        let wanted = Wanted::Commit(commit.clone());
        let repository = self.fetch(&origin, &wanted).map_err(within)?;
        // Git left an empty directory here; it must be that, and not something that its own name leads to.
        open_directory(self.workspace, &at)
            .map_err(|_| within(GitError::source("its place is not a plain directory".to_owned())))?;
        self.check_out(&origin, &repository, &at, depth + 1)
    }
}

// === impl GitRules ===

impl Default for GitRules {
    fn default() -> Self {
        Self {
            http_allowed: false,
            private_addresses_allowed: false,
            ca_file: None,
            fetched_bytes_max: 4 << 30,
            checkout_bytes_max: 16 << 30,
            checkout_entries_max: 400_000,
            submodules_max: 64,
            submodule_depth_max: 8,
        }
    }
}
