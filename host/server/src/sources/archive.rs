//! Untrusted archives: tar, tar.gz, tar.zst and zip, told apart by their first bytes.
//!
//! One walk serves two ends: [`inspect`] reads an archive to its last byte and writes nothing, [`unpack`] writes it. Both
//! apply the same [`rules`], so an archive that was accepted at submission unpacks later. Tools disagree on what odd archives
//! mean, and that disagreement is where attacks live: what is ambiguous is refused, naming the entry, never guessed at.
//!
//! Memory is constant in the archive's size; it grows with the number of entries, which is limited. Symbolic links may
//! point anywhere: they are never followed here, only inside the sandbox that the build runs in.

mod error;
mod name;
mod pax;
mod pick;
mod rules;
mod sink;
mod stream;
mod tar;
mod unpack;
mod walk;
mod zip;

#[cfg(test)]
mod tests;

use std::{fs::File, io::Read, path::Path};

use serde::{Deserialize, Serialize};

pub use self::{
    error::{ArchiveError, Fault},
    name::{EntryName, ShownName},
    pick::read_file,
};
use self::{
    rules::Rules,
    sink::{Discard, Sink},
    stream::Compression,
    unpack::Unpacker,
    walk::Walk,
};

/// How far an archive may go. The ratio holds only past a floor, since small archives of text compress well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArchiveLimits {
    /// Files, links and directories, those included that exist only as parts of names.
    pub entries_max: u64,
    pub unpacked_bytes_max: u64,
    /// Bytes read out of the compression for each byte of the archive, once `ratio_floor_bytes` were read.
    pub ratio_max: u64,
    pub ratio_floor_bytes: u64,
    pub path_bytes_max: usize,
    pub path_depth_max: usize,
    /// All names together: what bounds the memory that directories take until their times are set.
    pub names_bytes_max: u64,
    pub pax_header_bytes_max: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveKind {
    Tar,
    TarGz,
    TarZst,
    Zip,
}

/// What an accepted archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveSummary {
    pub kind: ArchiveKind,
    /// Files, links and directories, those included that exist only as parts of names.
    pub entries: u64,
    /// Regular files, hard links to them not counted.
    pub files: u64,
    /// Bytes of the regular files.
    pub unpacked_bytes: u64,
}

/// Reads the whole archive by the rules, writing nothing.
pub fn inspect(archive: &File, limits: &ArchiveLimits) -> Result<ArchiveSummary, ArchiveError> {
    walk(archive, limits, Discard)
}

/// Unpacks the archive into `dest`, an existing empty directory. On any error `dest` is empty again.
///
/// Permission bits and modification times are kept, owners and extended attributes are not; the mode of `dest` itself stays.
pub fn unpack(archive: &File, dest: &Path, limits: &ArchiveLimits) -> Result<ArchiveSummary, ArchiveError> {
    let unpacker = Unpacker::new(dest)?;
    walk(archive, limits, unpacker).inspect_err(|_| unpack::empty_dir(dest))
}

fn walk(archive: &File, limits: &ArchiveLimits, sink: impl Sink) -> Result<ArchiveSummary, ArchiveError> {
    let length_bytes = archive
        .metadata()
        .map_err(|source| ArchiveError::io("reading the archive's size", source))?
        .len();
    let kind = recognize(archive)?;
    let mut walk = Walk::new(Rules::new(limits, length_bytes), sink);
    let compression = match kind {
        ArchiveKind::Zip => {
            zip::read(archive, length_bytes, &mut walk)?;
            return walk.finish(kind);
        }
        ArchiveKind::Tar => Compression::None,
        ArchiveKind::TarGz => Compression::Gzip,
        ArchiveKind::TarZst => Compression::Zstd,
    };
    let mut tar = stream::open(archive, compression)?;
    tar::read(&mut tar, &mut walk)?;
    walk.finish(kind)
}

fn recognize(archive: &File) -> Result<ArchiveKind, ArchiveError> {
    let mut head = Vec::with_capacity(tar::BLOCK_BYTES);
    stream::At::new(archive, 0)
        .take(tar::BLOCK_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(|source| ArchiveError::io("reading the archive", source))?;
    match head.as_slice() {
        [] => Err(ArchiveError::Empty),
        [0x1f, 0x8b, ..] => Ok(ArchiveKind::TarGz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(ArchiveKind::TarZst),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Ok(ArchiveKind::Zip),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Err(ArchiveError::NotAnArchive { looks_like: "xz" }),
        [b'B', b'Z', b'h', ..] => Err(ArchiveError::NotAnArchive { looks_like: "bzip2" }),
        [b'7', b'z', 0xbc, 0xaf, ..] => Err(ArchiveError::NotAnArchive { looks_like: "7z" }),
        block if tar::starts_archive(block) => Ok(ArchiveKind::Tar),
        _ => Err(ArchiveError::NotAnArchive {
            looks_like: "something else",
        }),
    }
}

// === impl ArchiveLimits ===

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            entries_max: 400_000,
            unpacked_bytes_max: 16 << 30,
            ratio_max: 200,
            ratio_floor_bytes: 64 << 20,
            path_bytes_max: 2048,
            path_depth_max: 128,
            names_bytes_max: 64 << 20,
            pax_header_bytes_max: 1 << 20,
        }
    }
}
