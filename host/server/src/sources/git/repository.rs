//! One repository at one commit: found by its name, fetched without its history where the server allows.

use std::{io, path::Path};

use super::{
    GitRules,
    command::{Ended, Git, Watch, run},
    error::{self, GitError, Shown},
    logins::Access,
    origin::Origin,
};

/// What of a repository is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A branch, a tag, the beginning of a commit's id.
    Named(String),
    /// A full commit id.
    Commit(String),
}

/// A repository on disk that holds the wanted commit, for as long as this lives.
#[derive(Debug)]
pub(super) struct Repository {
    git_dir: tempfile::TempDir,
    commit: String,
}

struct Fetch<'a> {
    git: &'a Git,
    git_dir: &'a Path,
    origin: &'a Origin,
    access: &'a Access,
    rules: &'a GitRules,
}

/// A name that the server knows, and the object it stands for.
struct RemoteRef {
    name: String,
    object: String,
}

/// Where what was fetched is put.
const FETCHED: &str = "refs/ignite/wanted";

// === impl Wanted ===

impl Wanted {
    /// Refuses what git would not take for a name, or would take for something else.
    pub(super) fn parse(reference: &str) -> Result<Self, GitError> {
        if is_commit(reference) {
            return Ok(Self::Commit(reference.to_ascii_lowercase()));
        }
        let is_odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
        let is_bad = reference.is_empty()
            || reference.len() > 255
            || reference.starts_with(['-', '/', '.'])
            || reference.ends_with(['/', '.'])
            || reference.contains(is_odd)
            || ["..", "@{", "//", "/."]
                .iter()
                .any(|part| reference.contains(part));
        if is_bad {
            let shown = error::shown(reference);
            let message = format!("\"{shown}\" is not the name of a branch, a tag or a commit");
            return Err(GitError::source(message));
        }
        Ok(Self::Named(reference.to_owned()))
    }
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_short_commit(text: &str) -> bool {
    (7..40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

// === impl Repository ===

impl Repository {
    pub(super) fn fetch(
        git: &Git,
        scratch: &Path,
        origin: &Origin,
        access: &Access,
        wanted: &Wanted,
        rules: &GitRules,
    ) -> Result<Self, GitError> {
        let git_dir = tempfile::Builder::new()
            .prefix("repository-")
            .tempdir_in(scratch)
            .map_err(|source| GitError::internal("making a directory for git", &source))?;
        let fetch = Fetch {
            git,
            git_dir: git_dir.path(),
            origin,
            access,
            rules,
        };
        let commit = match wanted {
            Wanted::Commit(commit) => fetch.commit(commit)?,
            Wanted::Named(name) => fetch.named(name)?,
        };
        Ok(Self { git_dir, commit })
    }

    pub(super) fn git_dir(&self) -> &Path {
        self.git_dir.path()
    }

    pub(super) fn commit(&self) -> &str {
        &self.commit
    }

    pub(super) fn check_out(&self, git: &Git, to: &Path) -> Result<(), GitError> {
        let mut command = git.at(self.git_dir());
        command
            .env("GIT_WORK_TREE", to)
            .args([
                "-c",
                "core.bare=false",
                "checkout",
                "--quiet",
                "--force",
                "--detach",
            ])
            .arg(&self.commit);
        let ended = run(&mut command, None)?;
        if ended.status.success() {
            Ok(())
        } else {
            Err(error::classify(&ended.stderr, "the commit", Shown::Nothing))
        }
    }
}

// === impl Fetch ===

impl Fetch<'_> {
    /// A branch goes before a tag of the same name, as with `git clone --branch`; names go before commits.
    fn named(&self, name: &str) -> Result<String, GitError> {
        let candidates = [
            format!("refs/heads/{name}"),
            format!("refs/tags/{name}"),
            name.to_owned(),
        ];
        let known = self.list(&candidates)?;
        let found = candidates
            .iter()
            .find_map(|candidate| known.iter().find(|remote| remote.name == *candidate));
        match found {
            Some(remote) => {
                self.init(&remote.object)?;
                let ended = self.get(true, &[format!("+{}:{FETCHED}", remote.name)])?;
                self.require(&ended)?;
                let no_commit = || {
                    let message = format!("\"{}\" does not stand for a commit", error::shown(name));
                    GitError::source(message)
                };
                self.peel(FETCHED)?.ok_or_else(no_commit)
            }
            None if is_short_commit(name) => {
                self.init("")?;
                self.everything()?;
                self.peel(name)?.ok_or_else(|| self.missing(name))
            }
            None => Err(self.missing(name)),
        }
    }

    fn commit(&self, commit: &str) -> Result<String, GitError> {
        const REFUSALS: [&str; 3] = ["not our ref", "unadvertised object", "couldn't find remote ref"];
        self.init(commit)?;
        let ended = self.get(true, &[format!("+{commit}:{FETCHED}")])?;
        if !ended.status.success() {
            if !REFUSALS.iter().any(|words| ended.stderr.contains(words)) {
                return Err(error::classify(
                    &ended.stderr,
                    self.origin.url().as_str(),
                    self.access.shown(),
                ));
            }
            // Servers may hand out only what has a name: then it is among what the names reach, or nowhere.
            self.everything()?;
        }
        self.peel(commit)?.ok_or_else(|| self.missing(commit))
    }

    /// An empty repository, of the kind that this object id belongs to.
    fn init(&self, object: &str) -> Result<(), GitError> {
        let format = if object.len() == 64 { "sha256" } else { "sha1" };
        let mut command = self.git.at(self.git_dir);
        command.args(["init", "--quiet", "--bare", "--template="]);
        command.arg(format!("--object-format={format}"));
        let ended = run(&mut command, None)?;
        if ended.status.success() {
            return Ok(());
        }
        let said = io::Error::other(error::shown(&ended.stderr));
        Err(GitError::internal("making an empty repository", &said))
    }

    fn everything(&self) -> Result<(), GitError> {
        let all = ["heads", "tags"].map(|kind| format!("+refs/{kind}/*:refs/ignite/{kind}/*"));
        let ended = self.get(false, &all)?;
        self.require(&ended)
    }

    fn get(&self, shallow: bool, refspecs: &[String]) -> Result<Ended, GitError> {
        let mut command = self.git.to(self.git_dir, self.origin, self.access);
        command.args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"]);
        if shallow {
            command.arg("--depth=1");
        }
        command.arg("--").arg(self.origin.url().as_str()).args(refspecs);
        let watch = Watch {
            dir: self.git_dir,
            bytes_max: self.rules.fetched_bytes_max,
        };
        run(&mut command, Some(watch))
    }

    fn list(&self, patterns: &[String]) -> Result<Vec<RemoteRef>, GitError> {
        let mut command = self.git.to(self.git_dir, self.origin, self.access);
        command.args(["ls-remote", "--quiet", "--"]);
        command.arg(self.origin.url().as_str()).args(patterns);
        let ended = run(&mut command, None)?;
        self.require(&ended)?;
        let parse = |line: &str| {
            let (object, name) = line.split_once('\t')?;
            Some(RemoteRef {
                name: name.to_owned(),
                object: object.to_owned(),
            })
        };
        Ok(ended.stdout.lines().filter_map(parse).collect())
    }

    fn require(&self, ended: &Ended) -> Result<(), GitError> {
        if ended.status.success() {
            Ok(())
        } else {
            Err(error::classify(
                &ended.stderr,
                self.origin.url().as_str(),
                self.access.shown(),
            ))
        }
    }

    /// The full id of the commit that a name stands for here, tags looked through.
    fn peel(&self, name: &str) -> Result<Option<String>, GitError> {
        let mut command = self.git.at(self.git_dir);
        command.args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
        command.arg(format!("{name}^{{commit}}"));
        let ended = run(&mut command, None)?;
        let id = ended.stdout.trim();
        Ok((ended.status.success() && is_commit(id)).then(|| id.to_owned()))
    }

    fn missing(&self, name: &str) -> GitError {
        const SHOWN_MAX: usize = 10;
        let heads = self.list(&["refs/heads/*".to_owned()]).unwrap_or_default();
        let mut branches: Vec<String> = heads
            .iter()
            .filter_map(|head| head.name.strip_prefix("refs/heads/"))
            .map(error::shown)
            .collect();
        let more = branches.len().saturating_sub(SHOWN_MAX);
        branches.truncate(SHOWN_MAX);
        let known = match (branches.is_empty(), more) {
            (true, _) => "it has no branches".to_owned(),
            (false, 0) => format!("its branches are {}", branches.join(", ")),
            (false, more) => format!("its branches are {} and {more} more", branches.join(", ")),
        };
        let (url, name) = (self.origin.url(), error::shown(name));
        GitError::source(format!("{url} has no branch, tag or commit \"{name}\"; {known}"))
    }
}
