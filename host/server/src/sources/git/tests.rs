//! Against git's own http server, behind a small CGI server of ours.

mod cloning;
mod logins;
mod refusing;
pub(crate) mod server;
mod ssh;
mod tls;

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ignite_core::secrets::{GitHttpsLogin, SecretText};

use super::*;

pub(crate) const USER: &str = "oauth2";
pub(crate) const PASSWORD: &str = "glpat hunter2/+:%";

/// Repositories that are served, and what a clone needs.
pub(crate) struct Upstream {
    pub(crate) server: server::Server,
    root: TempDir,
    place: TempDir,
}

/// What came of a clone.
pub(crate) struct Outcome {
    pub(crate) result: Result<Cloned, GitError>,
    pub(crate) files: Vec<String>,
    pub(crate) lines: Vec<String>,
}

// === impl Upstream ===

impl Upstream {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self {
            server: server::Server::start(root.path().to_owned()),
            root,
            place: tempfile::tempdir().unwrap(),
        }
    }

    /// A repository of this name on branch `main`, without commits.
    pub(crate) fn repository(&self, name: &str) -> PathBuf {
        let dir = self.root.path().join(name);
        fs::create_dir(&dir).unwrap();
        git(&dir, &["init", "-q"]);
        dir
    }

    /// Where repositories are.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// Of the clone made last.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.place.path().join("workspace")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.server.port())
    }

    pub(crate) fn clone(&self, path: &str, reference: &str) -> Outcome {
        self.clone_with(&open_rules(), &self.source(path, reference, ""))
    }

    pub(crate) fn source(&self, path: &str, reference: &str, context_dir: &str) -> GitSource {
        GitSource {
            url: self.url(path),
            reference: reference.to_owned(),
            context_dir: context_dir.to_owned(),
        }
    }

    pub(crate) fn clone_with(&self, rules: &GitRules, source: &GitSource) -> Outcome {
        self.clone_by(&origin::resolve_by_system, rules, source, None)
    }

    /// With a login, under [`open_rules`].
    pub(crate) fn clone_as(&self, login: &GitLogin, source: &GitSource) -> Outcome {
        self.clone_by(&origin::resolve_by_system, &open_rules(), source, Some(login))
    }

    fn clone_by(
        &self,
        resolve: &Resolve,
        rules: &GitRules,
        source: &GitSource,
        login: Option<&GitLogin>,
    ) -> Outcome {
        let scratch = self.place.path().join("scratch");
        let workspace = self.place.path().join("workspace");
        for dir in [&scratch, &workspace] {
            let _ = fs::remove_dir_all(dir);
            fs::create_dir(dir).unwrap();
        }
        let lines = RefCell::new(Vec::new());
        let result = clone_by(resolve, source, login, &workspace, &scratch, rules, &mut |line| {
            lines.borrow_mut().push(line.to_owned());
        });
        assert_eq!(
            files(&scratch),
            Vec::<String>::new(),
            "git's own files stay behind"
        );
        Outcome {
            result,
            files: files(&workspace),
            lines: lines.into_inner(),
        }
    }
}

// === impl Outcome ===

impl Outcome {
    #[track_caller]
    pub(crate) fn commit(&self) -> &str {
        match &self.result {
            Ok(cloned) => &cloned.commit,
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    pub(crate) fn error(&self) -> &GitError {
        self.result.as_ref().expect_err("it was cloned")
    }
}

/// The login that opens `/guarded/`.
pub(crate) fn password(hosts: &[&str]) -> GitLogin {
    GitLogin {
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        https: Some(GitHttpsLogin {
            username: USER.to_owned(),
            password: SecretText::new(PASSWORD.to_owned()),
        }),
        ssh: None,
    }
}

/// For servers of this machine.
pub(crate) fn open_rules() -> GitRules {
    GitRules {
        http_allowed: true,
        private_addresses_allowed: true,
        ..GitRules::default()
    }
}

/// Runs git as a user would; what it prints.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.org",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(["-c", "protocol.file.allow=always"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Writes the files and commits them; the commit's id.
pub(crate) fn commit(repository: &Path, files: &[(&str, &str)]) -> String {
    for (path, content) in files {
        let path = repository.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    git(repository, &["add", "--all"]);
    git(repository, &["commit", "-qm", "more"]);
    git(repository, &["rev-parse", "HEAD"])
}

/// A `.gitmodules` with one submodule.
pub(crate) fn gitmodules(path: &str, url: &str) -> String {
    format!("[submodule \"one\"]\n\tpath = {path}\n\turl = {url}\n")
}

/// Commits a link to another repository's commit, as a submodule has it; the new commit's id.
pub(crate) fn add_link(repository: &Path, path: &str, commit: &str) -> String {
    let entry = format!("160000,{commit},{path}");
    git(repository, &["update-index", "--add", "--cacheinfo", &entry]);
    git(repository, &["commit", "-qm", "link"]);
    git(repository, &["rev-parse", "HEAD"])
}

/// Every file and link, relative, sorted.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    walkdir::WalkDir::new(dir)
        .sort_by_file_name()
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| entry.path().strip_prefix(dir).unwrap().display().to_string())
        .collect()
}

/// Runs git with a file of the repository's directory as its input.
fn git_reading(dir: &Path, input: &str, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(args)
        .current_dir(dir)
        .stdin(File::open(dir.join(input)).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
