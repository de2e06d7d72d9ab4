//! What stays out of a packed folder: the seam to the `.dockerignore` rules.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use ignite_core::dockerignore::Matcher;

use crate::error::{Error, Result};

const FILE: &str = ".dockerignore";

/// The rules of one folder. `<Dockerfile>.dockerignore` wins over `.dockerignore`; those two and the Dockerfile are
/// always sent, so that the gateway sees what was decided by.
#[derive(Debug)]
pub(crate) struct Ignore {
    matcher: Option<Matcher>,
    keep: [PathBuf; 3],
}

// === impl Ignore ===

impl Ignore {
    pub(crate) fn load(root: &Path, dockerfile: &str) -> Result<Self> {
        let own = format!("{dockerfile}{FILE}");
        let matcher = match read(root, &own)? {
            Some(matcher) => Some(matcher),
            None => read(root, FILE)?,
        };
        Ok(Self {
            matcher,
            keep: [dockerfile.into(), own.into(), FILE.into()],
        })
    }

    pub(crate) fn is_ignored(&self, relative: &Path) -> bool {
        !self.keep.iter().any(|kept| kept == relative)
            && self
                .matcher
                .as_ref()
                .is_some_and(|matcher| matcher.is_ignored(&relative.to_string_lossy()))
    }

    /// Whether nothing under this ignored folder is sent.
    pub(crate) fn can_skip(&self, folder: &Path) -> bool {
        !self.keep.iter().any(|kept| kept.starts_with(folder))
            && self
                .matcher
                .as_ref()
                .is_some_and(|matcher| matcher.skips_whole(&folder.to_string_lossy()))
    }
}

fn read(root: &Path, name: &str) -> Result<Option<Matcher>> {
    let path = root.join(name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::input(format!("cannot read {}: {error}", path.display()))),
    };
    Matcher::parse(&String::from_utf8_lossy(&bytes))
        .map(Some)
        .map_err(|error| Error::input(format!("{}: {error}", path.display())))
}

/// The Dockerfile's path relative to `root`, without `.` parts; an error if it is not there.
pub(crate) fn locate_dockerfile(root: &Path, dockerfile: &str) -> Result<String> {
    let relative = relative(dockerfile)?;
    if root.join(&relative).is_file() {
        return Ok(relative);
    }
    let mut message = format!(
        "there is no {dockerfile} in {}; --dockerfile names another, relative to that folder",
        root.display()
    );
    // Docker takes the path from the current folder: whoever is used to that gets told what it is here.
    let elsewhere = fs::canonicalize(dockerfile).ok();
    if let Some(inside) = elsewhere.as_deref().and_then(|path| path.strip_prefix(root).ok()) {
        message.push_str(&format!(". Is it --dockerfile {}?", inside.display()));
    }
    Err(Error::input(message))
}

/// A path inside the context as the gateway accepts it: relative, without `.` and `..`.
fn relative(path: &str) -> Result<String> {
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(Error::input(format!(
                    "--dockerfile {path}: must be relative to the context folder and stay inside it"
                )));
            }
        }
    }
    Ok(parts.join("/"))
}
