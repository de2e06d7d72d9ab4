//! Finds and reads the Dockerfile of an untrusted tree.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// What stands at the Dockerfile's path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dockerfile {
    /// None where it is too long or no text: Kaniko may think of it what it likes.
    Found(Option<String>),
    Missing(Missing),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    NotThere,
    NotAFile,
    /// A link that leads out of the workspace, or nowhere.
    LeadsOut,
}

const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Reads `path` in the workspace. Links are followed as long as they stay in it.
pub(super) fn read(workspace: &Path, path: &Path) -> io::Result<Dockerfile> {
    let dir = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, workspace, dir, Mode::empty())?;
    // Not to wait on what looks like a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Dockerfile::Missing(Missing::NotThere)),
        Err(Errno::XDEV | Errno::LOOP) => return Ok(Dockerfile::Missing(Missing::LeadsOut)),
        Err(errno) => return Err(errno.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(Dockerfile::Missing(Missing::NotAFile));
    }
    let mut text = Vec::new();
    file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut text)?;
    let fits = text.len() as u64 <= TEXT_BYTES_MAX;
    Ok(Dockerfile::Found(String::from_utf8(text).ok().filter(|_| fits)))
}

/// Files that look like Dockerfiles, relative to `context`: a few, from its upper levels.
pub(super) fn similar(context: &Path) -> Vec<String> {
    const DEPTH_MAX: usize = 3;
    const LOOKED_AT_MAX: usize = 10_000;
    const SHOWN_MAX: usize = 8;
    let mut found: Vec<String> = walkdir::WalkDir::new(context)
        .max_depth(DEPTH_MAX)
        .into_iter()
        .take(LOOKED_AT_MAX)
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().to_ascii_lowercase();
            name.contains("dockerfile") || name.contains("containerfile")
        })
        .filter_map(|entry| {
            let path = entry
                .path()
                .strip_prefix(context)
                .ok()?
                .to_string_lossy()
                .into_owned();
            (!path.ends_with(".dockerignore") && !path.contains(char::is_control)).then_some(path)
        })
        .take(SHOWN_MAX)
        .collect();
    found.sort();
    found
}

// === impl Missing ===

impl Missing {
    /// What it does to the context.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NotThere => "is not in",
            Self::NotAFile => "is not a file of",
            Self::LeadsOut => "is a link that leads out of",
        }
    }
}
