//! Submodules: read from the commit itself, fetched by us and not by `git submodule`, so that each URL is checked first.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use url::Url;

use super::{
    command::{Git, each_record},
    error::{self, GitError},
    repository::Repository,
    tree::Tree,
};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Submodule {
    /// In its parent.
    pub(super) path: PathBuf,
    pub(super) commit: String,
    /// As `.gitmodules` has it; none if it does not say.
    pub(super) url: Option<String>,
}

#[derive(Default)]
struct Settings {
    path: Option<String>,
    url: Option<String>,
}

/// The commit's submodules, in the order of the tree.
pub(super) fn read(git: &Git, repository: &Repository, tree: &Tree) -> Result<Vec<Submodule>, GitError> {
    if tree.links.is_empty() {
        return Ok(Vec::new());
    }
    let mut named: BTreeMap<String, Settings> = BTreeMap::new();
    if tree.has_gitmodules {
        let mut command = git.at(repository.git_dir());
        command.args(["config", "--no-includes", "--null", "--list", "--blob"]);
        command.arg(format!("{}:.gitmodules", repository.commit()));
        each_record(&mut command, |record| {
            note(&mut named, &String::from_utf8_lossy(record));
            Ok(())
        })?;
    }
    let submodules = tree.links.iter().map(|(path, commit)| Submodule {
        path: path.clone(),
        commit: commit.clone(),
        url: url_at(&named, path),
    });
    Ok(submodules.collect())
}

fn url_at(named: &BTreeMap<String, Settings>, path: &Path) -> Option<String> {
    let mut all = named.values();
    let settings = all.find(|settings| settings.path.as_deref().map(Path::new) == Some(path))?;
    settings.url.clone()
}

/// Takes `submodule.<name>.<key>\n<value>`.
fn note(named: &mut BTreeMap<String, Settings>, record: &str) {
    let parsed = record.split_once('\n').and_then(|(key, value)| {
        let (name, key) = key.strip_prefix("submodule.")?.rsplit_once('.')?;
        Some((name, key, value))
    });
    if let Some((name, key, value)) = parsed {
        let settings = named.entry(name.to_owned()).or_default();
        match key {
            "path" => settings.path = Some(value.trim_end_matches('/').to_owned()),
            "url" => settings.url = Some(value.to_owned()),
            _ => {}
        }
    }
}

/// A submodule's URL as it is to be fetched: `./` and `../` are relative to the parent's, and stay on its host.
pub(super) fn resolve(parent: &Url, url: &str) -> Result<String, GitError> {
    if !url.starts_with("./") && !url.starts_with("../") {
        return Ok(url.to_owned());
    }
    let mut parts: Vec<&str> = parent.path().split('/').filter(|part| !part.is_empty()).collect();
    for part in url.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_some() => {}
            ".." => {
                let shown = error::shown(url);
                let message = format!("its URL \"{shown}\" leads above the root of {parent}");
                return Err(GitError::source(message));
            }
            part => parts.push(part),
        }
    }
    let mut resolved = parent.clone();
    resolved.set_path(&parts.join("/"));
    Ok(resolved.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_urls_stay_on_their_host() {
        let parent = Url::parse("https://host:8443/org/repo.git/").unwrap();
        let resolved = |url: &str| resolve(&parent, url);
        assert_eq!(
            resolved("../other.git").unwrap(),
            "https://host:8443/org/other.git"
        );
        assert_eq!(resolved("./sub").unwrap(), "https://host:8443/org/repo.git/sub");
        assert_eq!(resolved("../../a/./b").unwrap(), "https://host:8443/a/b");
        assert_eq!(
            resolved("../..//evil.example/x").unwrap(),
            "https://host:8443/evil.example/x"
        );
        assert_eq!(resolved("file:///etc").unwrap(), "file:///etc");
        assert!(resolved("../../../evil.example/x").is_err());
    }
}
