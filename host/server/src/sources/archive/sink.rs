//! Where a walk puts what it has admitted: nowhere when it inspects, a directory when it unpacks.

use std::io;

use super::name::EntryName;

/// What is kept of an entry besides its content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// Permission bits, setuid, setgid and sticky among them.
    pub(super) mode: u32,
    pub(super) modified: Option<Moment>,
}

/// A time since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) secs: i64,
    pub(super) nanos: u32,
}

/// Names that arrive are admitted: nothing else has them, and every directory above is one.
pub(super) trait Sink {
    fn directory(&mut self, name: &EntryName, meta: Meta) -> io::Result<()>;
    fn symlink(&mut self, name: &EntryName, target: &str, meta: Meta) -> io::Result<()>;
    /// `target` is a regular file that this sink was given before.
    fn hard_link(&mut self, name: &EntryName, target: &EntryName) -> io::Result<()>;
    fn begin_file(&mut self, name: &EntryName) -> io::Result<()>;
    /// More of the file that was begun.
    fn content(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn end_file(&mut self, meta: Meta) -> io::Result<()>;
    /// After the last entry, once the archive is known to be good.
    fn finish(&mut self) -> io::Result<()>;
}

pub(super) struct Discard;

// === impl Discard ===

impl Sink for Discard {
    fn directory(&mut self, _name: &EntryName, _meta: Meta) -> io::Result<()> {
        Ok(())
    }

    fn symlink(&mut self, _name: &EntryName, _target: &str, _meta: Meta) -> io::Result<()> {
        Ok(())
    }

    fn hard_link(&mut self, _name: &EntryName, _target: &EntryName) -> io::Result<()> {
        Ok(())
    }

    fn begin_file(&mut self, _name: &EntryName) -> io::Result<()> {
        Ok(())
    }

    fn content(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn end_file(&mut self, _meta: Meta) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
