//! Writes an archive's entries below one directory.
//!
//! Every file is made by its last name in a directory that is already open, and directories are opened by
//! `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`: the rules keep entries from passing through links, and if they ever
//! failed to, the kernel would refuse. Modes and times of directories come last, since writing into one changes its time
//! and a read-only one takes no files.

use std::{
    fs, io,
    io::Write,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::{
    error::ArchiveError,
    name::EntryName,
    sink::{Meta, Sink},
};

pub(super) struct Unpacker {
    root: OwnedFd,
    /// The directory written to last: entries mostly come grouped.
    current: Option<(String, OwnedFd)>,
    file: Option<fs::File>,
    directories: Vec<(EntryName, Meta)>,
}

const DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const NEW_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// Of directories that no entry describes.
const IMPLICIT_DIR_MODE: u32 = 0o755;

/// Removes everything in `dir`, as far as that goes: it is called where something else has failed already.
pub(super) fn empty_dir(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
            Ok(_) | Err(_) => fs::remove_file(entry.path()),
        };
        if let Err(error) = removed {
            tracing::warn!(path = %entry.path().display(), %error, "a file of a refused archive stays behind");
        }
    }
}

// === impl Unpacker ===

impl Unpacker {
    pub(super) fn new(dest: &Path) -> Result<Self, ArchiveError> {
        let failed = |source| ArchiveError::io("opening the directory to unpack into", source);
        let root = rustix::fs::openat(CWD, dest, DIR, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        if fs::read_dir(dest).map_err(failed)?.next().is_some() {
            return Err(failed(io::ErrorKind::DirectoryNotEmpty.into()));
        }
        Ok(Self {
            root,
            current: None,
            file: None,
            directories: Vec::new(),
        })
    }

    /// Opens the directory `path` (empty for the root), made with all above it where it is missing.
    fn directory(&mut self, path: &str) -> io::Result<BorrowedFd<'_>> {
        if path.is_empty() {
            return Ok(self.root.as_fd());
        }
        let is_current = self.current.as_ref().is_some_and(|(current, _)| current == path);
        if !is_current {
            let opened = self.open_or_make(path)?;
            self.current = Some((path.to_owned(), opened));
        }
        let current = self.current.as_ref().map(|(_, dir)| dir.as_fd());
        current.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open_or_make(&self, path: &str) -> io::Result<OwnedFd> {
        match rustix::fs::openat2(&self.root, path, DIR, Mode::empty(), BENEATH) {
            Err(rustix::io::Errno::NOENT) => {}
            opened => return Ok(opened?),
        }
        let mut dir = self.root.try_clone()?;
        for part in path.split('/') {
            let made = rustix::fs::mkdirat(&dir, part, Mode::RWXU);
            let next = rustix::fs::openat(&dir, part, DIR, Mode::empty())?;
            match made {
                // By chmod, because mkdir's mode passes through the umask.
                Ok(()) => rustix::fs::fchmod(&next, Mode::from_raw_mode(IMPLICIT_DIR_MODE))?,
                Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            dir = next;
        }
        Ok(dir)
    }

    fn parent<'n>(&mut self, name: &'n EntryName) -> io::Result<(BorrowedFd<'_>, &'n str)> {
        let (parent, last) = name.split();
        Ok((self.directory(parent)?, last))
    }
}

impl Sink for Unpacker {
    fn directory(&mut self, name: &EntryName, meta: Meta) -> io::Result<()> {
        self.open_or_make(name.as_str())?;
        self.directories.push((name.clone(), meta));
        Ok(())
    }

    fn symlink(&mut self, name: &EntryName, target: &str, meta: Meta) -> io::Result<()> {
        let (dir, last) = self.parent(name)?;
        rustix::fs::symlinkat(target, dir, last)?;
        Ok(rustix::fs::utimensat(
            dir,
            last,
            &times(meta),
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    fn hard_link(&mut self, name: &EntryName, target: &EntryName) -> io::Result<()> {
        let (target_parent, target_last) = target.split();
        let from = if target_parent.is_empty() {
            self.root.try_clone()?
        } else {
            self.open_or_make(target_parent)?
        };
        let (dir, last) = self.parent(name)?;
        Ok(rustix::fs::linkat(
            from,
            target_last,
            dir,
            last,
            AtFlags::empty(),
        )?)
    }

    fn begin_file(&mut self, name: &EntryName) -> io::Result<()> {
        let (dir, last) = self.parent(name)?;
        let file = rustix::fs::openat(dir, last, NEW_FILE, Mode::RUSR | Mode::WUSR)?;
        self.file = Some(fs::File::from(file));
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn end_file(&mut self, meta: Meta) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            rustix::fs::futimens(&file, &times(meta))?;
            // After the content, because writing clears setuid.
            rustix::fs::fchmod(&file, Mode::from_raw_mode(meta.mode))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.current = None;
        // Deepest first: what lies in a directory must be reached before its mode may close it. The sort is stable, so
        // the last word on a directory that appears twice stays the last.
        self.directories
            .sort_by(|(a, _), (b, _)| b.as_str().cmp(a.as_str()));
        for (name, meta) in &self.directories {
            let dir = rustix::fs::openat2(&self.root, name.as_str(), DIR, Mode::empty(), BENEATH)?;
            rustix::fs::futimens(&dir, &times(*meta))?;
            rustix::fs::fchmod(&dir, Mode::from_raw_mode(meta.mode))?;
        }
        Ok(())
    }
}

fn times(meta: Meta) -> Timestamps {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let modified = match meta.modified {
        Some(moment) => Timespec {
            tv_sec: moment.secs,
            tv_nsec: moment.nanos.into(),
        },
        None => now,
    };
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: modified,
    }
}
