//! The one path that every entry of every format takes: named, admitted, handed to the sink.

use std::io::{self, Read};

use super::{
    ArchiveKind, ArchiveSummary,
    error::{ArchiveError, Fault},
    name::{EntryName, Naming},
    rules::{Rules, Seen},
    sink::{Meta, Sink},
};

pub(super) struct Walk<'a, S> {
    pub(super) rules: Rules<'a>,
    sink: S,
    buffer: Vec<u8>,
}

/// An entry as a format's reader found it; names are still untrusted.
pub(super) struct RawEntry<'a> {
    pub(super) name: &'a [u8],
    pub(super) naming: Naming,
    pub(super) kind: RawKind<'a>,
    pub(super) meta: Meta,
}

pub(super) enum RawKind<'a> {
    Directory,
    File { size_bytes: u64 },
    Symlink { target: &'a [u8] },
    HardLink { target: &'a [u8] },
}

const BUFFER_BYTES: usize = 256 << 10;
/// What Linux takes as a link's target.
pub(super) const SYMLINK_TARGET_BYTES_MAX: usize = 4095;

// === impl Walk ===

impl<'a, S: Sink> Walk<'a, S> {
    pub(super) fn new(rules: Rules<'a>, sink: S) -> Self {
        Self {
            rules,
            sink,
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    /// Takes one entry; for a file exactly its size is read from `content`.
    pub(super) fn entry(&mut self, entry: &RawEntry<'_>, content: &mut dyn Read) -> Result<(), ArchiveError> {
        let refused = |fault| ArchiveError::entry(entry.name, fault);
        let Some(name) = self.rules.name(entry.name, entry.naming).map_err(refused)? else {
            return match entry.kind {
                RawKind::Directory => Ok(()),
                RawKind::File { .. } | RawKind::Symlink { .. } | RawKind::HardLink { .. } => {
                    Err(refused(Fault::NotADirectory))
                }
            };
        };
        let done = match entry.kind {
            RawKind::Directory => {
                self.rules.admit(&name, Seen::Directory).map_err(refused)?;
                self.sink.directory(&name, entry.meta)
            }
            RawKind::File { size_bytes } => {
                self.rules.admit_size(size_bytes).map_err(refused)?;
                self.rules.admit(&name, Seen::File).map_err(refused)?;
                return self.file(&name, entry, size_bytes, content);
            }
            RawKind::Symlink { target } => {
                let target = symlink_target(target).map_err(refused)?;
                self.rules.admit(&name, Seen::Symlink).map_err(refused)?;
                self.sink.symlink(&name, target, entry.meta)
            }
            RawKind::HardLink { target } => {
                let target = self.hard_link_target(target, entry.naming).map_err(refused)?;
                self.rules.admit(&name, Seen::File).map_err(refused)?;
                self.sink.hard_link(&name, &target)
            }
        };
        done.map_err(|source| writing(&name, source))
    }

    fn file(
        &mut self,
        name: &EntryName,
        entry: &RawEntry<'_>,
        size_bytes: u64,
        content: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        let failed = |source| writing(name, source);
        self.sink.begin_file(name).map_err(failed)?;
        let mut left_bytes = size_bytes;
        while left_bytes > 0 {
            let wanted =
                usize::try_from(left_bytes).map_or(self.buffer.len(), |left| left.min(self.buffer.len()));
            let space = self.buffer.get_mut(..wanted).unwrap_or_default();
            let read = match content.read(space) {
                Ok(0) => return Err(ArchiveError::entry(entry.name, Fault::Truncated)),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ArchiveError::reading(Some(entry.name), error)),
            };
            self.rules
                .count_stream(read as u64)
                .map_err(|fault| ArchiveError::entry(entry.name, fault))?;
            self.sink
                .content(self.buffer.get(..read).unwrap_or_default())
                .map_err(failed)?;
            left_bytes -= read as u64;
        }
        self.sink.end_file(entry.meta).map_err(failed)
    }

    fn hard_link_target(&self, raw: &[u8], naming: Naming) -> Result<EntryName, Fault> {
        let target = self
            .rules
            .name(raw, naming)
            .and_then(|target| target.ok_or(Fault::NameEmpty))
            .map_err(|fault| Fault::HardLinkName(Box::new(fault)))?;
        self.rules.require_file(&target)?;
        Ok(target)
    }

    pub(super) fn finish(mut self, kind: ArchiveKind) -> Result<ArchiveSummary, ArchiveError> {
        if self.rules.entries() == 0 {
            return Err(ArchiveError::Empty);
        }
        self.sink
            .finish()
            .map_err(|source| ArchiveError::io("setting the modes and times of directories", source))?;
        Ok(ArchiveSummary {
            kind,
            entries: self.rules.entries(),
            files: self.rules.files,
            unpacked_bytes: self.rules.unpacked_bytes,
        })
    }
}

fn writing(name: &EntryName, source: io::Error) -> ArchiveError {
    ArchiveError::io(format!("writing {:?}", name.as_str()), source)
}

fn symlink_target(raw: &[u8]) -> Result<&str, Fault> {
    let fits = !raw.is_empty() && raw.len() <= SYMLINK_TARGET_BYTES_MAX && !raw.contains(&0);
    fits.then(|| str::from_utf8(raw).ok())
        .flatten()
        .ok_or(Fault::SymlinkTarget)
}
