//! Which entries are admitted: every decision that depends on what came before in the archive.
//!
//! Names are remembered as 16 bytes of their SHA-256, so that half a million of them take some ten megabytes.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::{
    ArchiveLimits,
    error::Fault,
    name::{EntryName, Naming, ShownName},
};

pub(super) struct Rules<'a> {
    limits: &'a ArchiveLimits,
    /// Bytes that may come out of the compression.
    stream_bytes_max: u64,
    stream_bytes: u64,
    seen: HashMap<Key, Seen>,
    names_bytes: u64,
    /// The directory that was last found to be one: entries mostly come grouped by directory.
    known_dir: String,
    pub(super) files: u64,
    pub(super) unpacked_bytes: u64,
}

type Key = [u8; 16];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Directory,
    /// Hard links count as files: they are the same thing under another name.
    File,
    Symlink,
}

// === impl Rules ===

impl<'a> Rules<'a> {
    pub(super) fn new(limits: &'a ArchiveLimits, archive_bytes: u64) -> Self {
        Self {
            limits,
            stream_bytes_max: archive_bytes
                .saturating_mul(limits.ratio_max)
                .max(limits.ratio_floor_bytes),
            stream_bytes: 0,
            seen: HashMap::new(),
            names_bytes: 0,
            known_dir: String::new(),
            files: 0,
            unpacked_bytes: 0,
        }
    }

    pub(super) fn limits(&self) -> &'a ArchiveLimits {
        self.limits
    }

    pub(super) fn entries(&self) -> u64 {
        self.seen.len() as u64
    }

    pub(super) fn name(&self, raw: &[u8], naming: Naming) -> Result<Option<EntryName>, Fault> {
        EntryName::parse(raw, naming, self.limits)
    }

    /// Counts bytes as they come out of the compression.
    pub(super) fn count_stream(&mut self, bytes: u64) -> Result<(), Fault> {
        self.stream_bytes = self.stream_bytes.saturating_add(bytes);
        if self.stream_bytes > self.stream_bytes_max {
            return Err(Fault::Ratio {
                max: self.limits.ratio_max,
            });
        }
        Ok(())
    }

    /// Admits a name as the kind of thing it is to be, with all directories above it.
    pub(super) fn admit(&mut self, name: &EntryName, kind: Seen) -> Result<(), Fault> {
        self.names_bytes = self.names_bytes.saturating_add(name.as_str().len() as u64);
        if self.names_bytes > self.limits.names_bytes_max {
            return Err(Fault::NamesTooLong {
                max: self.limits.names_bytes_max,
            });
        }
        self.admit_parents(name)?;
        match (self.seen.get(&key(name.as_str())), kind) {
            (None, _) => self.remember(name.as_str(), kind),
            (Some(Seen::Directory), Seen::Directory) => Ok(()),
            (Some(_), _) => Err(Fault::Duplicate),
        }
    }

    fn admit_parents(&mut self, name: &EntryName) -> Result<(), Fault> {
        let (parent, _) = name.split();
        if parent == self.known_dir {
            return Ok(());
        }
        for ancestor in name.ancestors() {
            match self.seen.get(&key(ancestor)) {
                None => self.remember(ancestor, Seen::Directory)?,
                Some(Seen::Directory) => {}
                Some(Seen::Symlink) => {
                    return Err(Fault::ThroughSymlink(ShownName::new(ancestor.as_bytes())));
                }
                Some(Seen::File) => return Err(Fault::BelowFile(ShownName::new(ancestor.as_bytes()))),
            }
        }
        parent.clone_into(&mut self.known_dir);
        Ok(())
    }

    fn remember(&mut self, name: &str, kind: Seen) -> Result<(), Fault> {
        if self.entries() >= self.limits.entries_max {
            return Err(Fault::TooManyEntries {
                max: self.limits.entries_max,
            });
        }
        self.seen.insert(key(name), kind);
        Ok(())
    }

    /// Admits a file's size as its header states it; its content may not be longer.
    pub(super) fn admit_size(&mut self, size_bytes: u64) -> Result<(), Fault> {
        self.files += 1;
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(size_bytes);
        if self.unpacked_bytes > self.limits.unpacked_bytes_max {
            return Err(Fault::TooLarge {
                max: self.limits.unpacked_bytes_max,
            });
        }
        Ok(())
    }

    pub(super) fn require_file(&self, target: &EntryName) -> Result<(), Fault> {
        match self.seen.get(&key(target.as_str())) {
            Some(Seen::File) => Ok(()),
            Some(Seen::Directory | Seen::Symlink) | None => {
                Err(Fault::HardLinkTarget(ShownName::new(target.as_str().as_bytes())))
            }
        }
    }
}

fn key(name: &str) -> Key {
    let mut key = Key::default();
    let hash = Sha256::digest(name.as_bytes());
    key.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    key
}
