//! Packs a folder into the tar.gz that the gateway builds from.
//!
//! The same folder gives the same bytes: entries are sorted, owners are 0, the compressor keeps no time. Hard links become
//! files, symlinks stay symlinks, and what cannot be in an image (sockets, devices, pipes) stays out with a warning.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Seek as _, Write},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use tar::{EntryType, Header};
use tempfile::SpooledTempFile;
use walkdir::{DirEntry, WalkDir};

use crate::error::{Error, Result};

mod ignore;

use ignore::Ignore;
pub(crate) use ignore::locate_dockerfile;

/// Gives most of the size for a fraction of the time: the gateway is often nearer than the compressor is fast.
const LEVEL: u32 = 1;

/// A packed folder. Up to the limit it was given it is in memory, above that in an unnamed temporary file.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) archive: SpooledTempFile,
    pub(crate) size_bytes: u64,
    pub(crate) entries: u64,
    /// One line for each thing that stayed out though nothing excludes it.
    pub(crate) warnings: Vec<String>,
}

/// Packs `folder`. `dockerfile` is relative to it and may be missing; with its `.dockerignore` it is never left out.
/// `progress` hears the bytes that were read so far.
pub(crate) fn pack(
    folder: &Path,
    dockerfile: &str,
    memory_bytes_max: usize,
    progress: &mut dyn FnMut(u64),
) -> Result<Packed> {
    let root = context_root(folder)?;
    let ignore = Ignore::load(&root, dockerfile)?;
    let spool = SpooledTempFile::new(memory_bytes_max);
    let gzip = GzBuilder::new().mtime(0).write(spool, Compression::new(LEVEL));
    let mut packer = Packer {
        tar: tar::Builder::new(gzip),
        root,
        open_folders: Vec::new(),
        entries: 0,
        read_bytes: 0,
        warnings: Vec::new(),
        progress,
    };
    packer.walk(&ignore)?;
    packer.finish()
}

/// The folder itself, by its real path. Errors say what is wrong with it.
pub(crate) fn context_root(folder: &Path) -> Result<PathBuf> {
    let shown = folder.display();
    let root = fs::canonicalize(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::input(format!("the folder {shown} does not exist")),
        _ => Error::input(format!("the folder {shown}: {error}")),
    })?;
    if root.is_dir() {
        Ok(root)
    } else {
        Err(Error::input(format!("{shown} is not a folder")))
    }
}

struct Packer<'a> {
    tar: tar::Builder<GzEncoder<SpooledTempFile>>,
    root: PathBuf,
    /// The folders that were written and not left yet, outermost first.
    open_folders: Vec<PathBuf>,
    entries: u64,
    read_bytes: u64,
    warnings: Vec<String>,
    progress: &'a mut dyn FnMut(u64),
}

// === impl Packer ===

impl Packer<'_> {
    fn walk(&mut self, ignore: &Ignore) -> Result<()> {
        let mut entries = WalkDir::new(&self.root)
            .min_depth(1)
            .follow_links(false)
            .sort_by_file_name()
            .into_iter();
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|error| Error::input(format!("cannot read the folder: {error}")))?;
            let relative = entry.path().strip_prefix(&self.root).unwrap_or(entry.path());
            let ignored = ignore.is_ignored(relative);
            if ignored && entry.file_type().is_dir() && ignore.can_skip(relative) {
                entries.skip_current_dir();
            }
            if ignored {
                continue;
            }
            self.parents(relative)?;
            self.entry(&entry, relative)?;
        }
        Ok(())
    }

    /// Writes the folders above `relative` that are ignored themselves but hold something that is not.
    fn parents(&mut self, relative: &Path) -> Result<()> {
        let parent = relative.parent().unwrap_or(Path::new(""));
        self.open_folders.retain(|open| parent.starts_with(open));
        let missing: Vec<PathBuf> = parent
            .ancestors()
            .filter(|folder| !folder.as_os_str().is_empty())
            .take_while(|folder| self.open_folders.last().is_none_or(|open| open != folder))
            .map(Path::to_owned)
            .collect();
        for folder in missing.into_iter().rev() {
            let metadata =
                fs::symlink_metadata(self.root.join(&folder)).map_err(|error| unreadable(&folder, &error))?;
            self.folder(&folder, &metadata)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, relative: &Path) -> Result<()> {
        let metadata = entry
            .metadata()
            .map_err(|error| Error::input(format!("cannot read {}: {error}", relative.display())))?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.folder(relative, &metadata)
        } else if kind.is_symlink() {
            self.symlink(entry.path(), relative, &metadata)
        } else if kind.is_file() {
            self.file(entry.path(), relative)
        } else {
            let what = if kind.is_socket() {
                "a socket"
            } else if kind.is_fifo() {
                "a pipe"
            } else {
                "a device"
            };
            self.warnings
                .push(format!("{} is {what} and stays out", relative.display()));
            Ok(())
        }
    }

    fn folder(&mut self, relative: &Path, metadata: &Metadata) -> Result<()> {
        let mut header = header(metadata, EntryType::Directory, 0);
        // Ends with a slash, as tar programs write folders.
        let written = self.tar.append_data(&mut header, relative.join(""), io::empty());
        self.count(relative, written)?;
        self.open_folders.push(relative.to_owned());
        Ok(())
    }

    fn symlink(&mut self, path: &Path, relative: &Path, metadata: &Metadata) -> Result<()> {
        let target = fs::read_link(path).map_err(|error| unreadable(relative, &error))?;
        let mut header = header(metadata, EntryType::Symlink, 0);
        // As it is, where it fits: `append_link` would rewrite `./x` to `x`.
        let written = match header.set_link_name_literal(target.as_os_str().as_bytes()) {
            Ok(()) => self.tar.append_data(&mut header, relative, io::empty()),
            Err(_) => self.tar.append_link(&mut header, relative, &target),
        };
        self.count(relative, written)
    }

    fn file(&mut self, path: &Path, relative: &Path) -> Result<()> {
        let file = File::open(path).map_err(|error| unreadable(relative, &error))?;
        let metadata = file.metadata().map_err(|error| unreadable(relative, &error))?;
        let mut header = header(&metadata, EntryType::Regular, metadata.len());
        let mut data = Counted {
            file: file.take(metadata.len()),
            read_bytes: 0,
            before_bytes: self.read_bytes,
            progress: self.progress,
        };
        let written = self.tar.append_data(&mut header, relative, &mut data);
        let read_bytes = data.read_bytes;
        self.count(relative, written)?;
        if read_bytes != metadata.len() {
            // Its header promised more: what follows would be read as this file's content.
            return Err(Error::input(format!(
                "{} became shorter while it was packed; try again",
                relative.display()
            )));
        }
        self.read_bytes += read_bytes;
        Ok(())
    }

    fn count(&mut self, relative: &Path, written: io::Result<()>) -> Result<()> {
        self.entries += 1;
        written.map_err(|error| Error::local(format!("cannot pack {}", relative.display()), error))
    }

    fn finish(self) -> Result<Packed> {
        let finish = |tar: tar::Builder<GzEncoder<SpooledTempFile>>| -> io::Result<(SpooledTempFile, u64)> {
            let mut archive = tar.into_inner()?.finish()?;
            archive.flush()?;
            let size_bytes = archive.stream_position()?;
            archive.rewind()?;
            Ok((archive, size_bytes))
        };
        let (archive, size_bytes) =
            finish(self.tar).map_err(|error| Error::local("cannot write the packed folder", error))?;
        if self.entries == 0 {
            return Err(Error::input(format!(
                "{} has nothing to send",
                self.root.display()
            )));
        }
        Ok(Packed {
            archive,
            size_bytes,
            entries: self.entries,
            warnings: self.warnings,
        })
    }
}

fn header(metadata: &Metadata, kind: EntryType, size_bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size_bytes);
    header.set_mode(metadata.mode() & 0o7777);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn unreadable(relative: &Path, error: &io::Error) -> Error {
    Error::input(format!("cannot read {}: {error}", relative.display()))
}

/// Counts what is read of a file and tells the progress.
struct Counted<'a, R> {
    file: R,
    read_bytes: u64,
    before_bytes: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read_bytes += count as u64;
        (self.progress)(self.before_bytes + self.read_bytes);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
