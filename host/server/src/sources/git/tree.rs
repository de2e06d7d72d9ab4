//! Counts what a commit unpacks to before it is written.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

use super::{
    GitRules,
    command::{Git, each_record},
    error::GitError,
    repository::Repository,
};

/// What the repositories of a source may still take, together.
#[derive(Debug)]
pub(super) struct Budget {
    entries_max: u64,
    entries: u64,
    bytes_max: u64,
    bytes: u64,
    submodules_max: u32,
    submodules: u32,
}

/// What matters of a commit's tree here.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Path and commit of each submodule.
    pub(super) links: Vec<(PathBuf, String)>,
    pub(super) has_gitmodules: bool,
}

const PATH_BYTES_MAX: usize = 2048;
const PATH_DEPTH_MAX: usize = 128;

pub(super) fn read(git: &Git, repository: &Repository, budget: &mut Budget) -> Result<Tree, GitError> {
    let mut command = git.at(repository.git_dir());
    command.args(["ls-tree", "-r", "-t", "-l", "-z", "--full-tree"]);
    command.arg(repository.commit());
    let mut tree = Tree::default();
    each_record(&mut command, |record| tree.note(record, budget))?;
    Ok(tree)
}

// === impl Tree ===

impl Tree {
    /// Takes `<mode> <type> <object> <size, padded>\t<path>`.
    fn note(&mut self, record: &[u8], budget: &mut Budget) -> Result<(), GitError> {
        let mut halves = record.splitn(2, |byte| *byte == b'\t');
        let head = halves
            .next()
            .and_then(|head| str::from_utf8(head).ok())
            .unwrap_or_default();
        let path = halves.next().unwrap_or_default();
        let mut fields = head.split_whitespace();
        let (mode, object, size) = (fields.next(), fields.nth(1), fields.next());
        budget.count(path, size.and_then(|size| size.parse().ok()).unwrap_or(0))?;
        match (mode, object) {
            (Some("160000"), Some(commit)) => {
                self.links
                    .push((PathBuf::from(OsStr::from_bytes(path)), commit.to_owned()));
            }
            (Some("100644" | "100755"), _) if path == b".gitmodules" => self.has_gitmodules = true,
            (Some(_), Some(_)) => {}
            (None, _) | (_, None) => {
                return Err(GitError::source(
                    "the repository has a tree that cannot be listed".to_owned(),
                ));
            }
        }
        Ok(())
    }
}

// === impl Budget ===

impl Budget {
    pub(super) fn new(rules: &GitRules) -> Self {
        Self {
            entries_max: rules.checkout_entries_max,
            entries: 0,
            bytes_max: rules.checkout_bytes_max,
            bytes: 0,
            submodules_max: rules.submodules_max,
            submodules: 0,
        }
    }

    fn count(&mut self, path: &[u8], size_bytes: u64) -> Result<(), GitError> {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(size_bytes);
        let depth = path.split(|byte| *byte == b'/').count();
        if self.entries > self.entries_max {
            let message = format!(
                "the source has more than {} files and directories",
                self.entries_max
            );
            return Err(GitError::source(message));
        }
        if self.bytes > self.bytes_max {
            let message = format!("the source's files take more than {} bytes", self.bytes_max);
            return Err(GitError::source(message));
        }
        if path.len() > PATH_BYTES_MAX || depth > PATH_DEPTH_MAX {
            return Err(GitError::source(format!(
                "the source has a path of more than {PATH_BYTES_MAX} bytes or {PATH_DEPTH_MAX} directories"
            )));
        }
        Ok(())
    }

    pub(super) fn count_submodule(&mut self) -> Result<(), GitError> {
        self.submodules += 1;
        if self.submodules > self.submodules_max {
            let message = format!("the source has more than {} submodules", self.submodules_max);
            return Err(GitError::source(message));
        }
        Ok(())
    }
}
