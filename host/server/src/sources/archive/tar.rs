//! Reads tar: old, ustar, GNU and PAX headers, strictly.
//!
//! The `tar` crate decodes single headers; which headers may follow which is decided here, because leniency there is what
//! lets two tools see two different archives (CVE-2025-62518). The end needs a block of zeros: an archive that was cut at
//! a block's border would pass otherwise.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use tar::{EntryType, Header};

use super::{
    error::{ArchiveError, Fault},
    name::Naming,
    pax::{Extended, GlobalExtended},
    sink::{Meta, Moment, Sink},
    walk::{RawEntry, RawKind, Walk},
};

pub(super) const BLOCK_BYTES: usize = 512;

/// Zeros behind the end: tar pads to its record size, 10 KiB unless told otherwise.
const PADDING_BYTES_MAX: u64 = 16 << 20;

/// What extension headers said about the entry that comes next.
#[derive(Default)]
struct Pending {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    extended: Option<Extended>,
}

/// Whether a file that begins with this block can be a tar archive: an entry's header, or an end at once.
pub(super) fn starts_archive(block: &[u8]) -> bool {
    block.len() == BLOCK_BYTES && (is_zero(block) || has_right_checksum(Header::from_byte_slice(block)))
}

pub(super) fn read(tar: &mut dyn Read, walk: &mut Walk<'_, impl Sink>) -> Result<(), ArchiveError> {
    let mut global = GlobalExtended::default();
    let mut pending = Pending::default();
    loop {
        let mut header = Header::new_old();
        read_exact(tar, walk, header.as_mut_bytes(), None)?;
        if is_zero(header.as_bytes()) {
            if !pending.is_empty() {
                return Err(ArchiveError::Whole(Fault::Truncated));
            }
            return read_padding(tar, walk);
        }
        let name = pending.name(&header).into_owned();
        let refused = |fault| ArchiveError::entry(&name, fault);
        if !has_right_checksum(&header) {
            return Err(refused(Fault::Header("wrong checksum")));
        }
        let size_bytes = size_bytes(&header).map_err(refused)?;
        match header.entry_type() {
            EntryType::XGlobalHeader => {
                let records = read_extension(tar, walk, size_bytes, &name)?;
                global.add(&records).map_err(refused)?;
            }
            EntryType::XHeader => {
                let records = read_extension(tar, walk, size_bytes, &name)?;
                let extended = Extended::parse(&records).map_err(refused)?;
                if pending.extended.replace(extended).is_some() {
                    return Err(refused(Fault::ExtendedHeader("two in a row")));
                }
            }
            EntryType::GNULongName => {
                let long = read_extension(tar, walk, size_bytes, &name)?;
                if pending.long_name.replace(without_nul(long)).is_some() {
                    return Err(refused(Fault::NameAmbiguous));
                }
            }
            EntryType::GNULongLink => {
                let long = read_extension(tar, walk, size_bytes, &name)?;
                if pending.long_link.replace(without_nul(long)).is_some() {
                    return Err(refused(Fault::NameAmbiguous));
                }
            }
            _ => {
                read_entry(
                    tar,
                    walk,
                    &header,
                    &name,
                    size_bytes,
                    &std::mem::take(&mut pending),
                    &global,
                )?;
            }
        }
    }
}

fn read_entry(
    tar: &mut dyn Read,
    walk: &mut Walk<'_, impl Sink>,
    header: &Header,
    name: &[u8],
    size_bytes: u64,
    pending: &Pending,
    global: &GlobalExtended,
) -> Result<(), ArchiveError> {
    let refused = |fault| ArchiveError::entry(name, fault);
    pending.check(size_bytes).map_err(refused)?;
    let link = pending.link(header);
    let kind = kind(header, name, size_bytes, &link).map_err(refused)?;
    let modified = pending
        .extended
        .as_ref()
        .and_then(|extended| extended.modified)
        .or(global.modified)
        .or_else(|| modified(header));
    let mode = mode(header).map_err(refused)?;
    let entry = RawEntry {
        name,
        naming: Naming::Unix,
        kind,
        meta: Meta { mode, modified },
    };
    walk.entry(&entry, tar)?;
    let padding = size_bytes.next_multiple_of(BLOCK_BYTES as u64) - size_bytes;
    skip(tar, walk, padding, name)
}

fn kind<'a>(header: &Header, name: &[u8], size_bytes: u64, link: &'a [u8]) -> Result<RawKind<'a>, Fault> {
    let without_content = |kind| {
        if size_bytes == 0 {
            Ok(kind)
        } else {
            Err(Fault::UnexpectedContent)
        }
    };
    match header.entry_type() {
        // Before POSIX a directory was a file whose name ends so.
        EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => {
            if size_bytes == 0 {
                Ok(RawKind::Directory)
            } else {
                Err(Fault::NotADirectory)
            }
        }
        EntryType::Regular | EntryType::Continuous => Ok(RawKind::File { size_bytes }),
        EntryType::Directory => without_content(RawKind::Directory),
        EntryType::Symlink => without_content(RawKind::Symlink { target: link }),
        EntryType::Link => without_content(RawKind::HardLink { target: link }),
        EntryType::GNUSparse => Err(Fault::Sparse),
        EntryType::Char => Err(Fault::Special("character device")),
        EntryType::Block => Err(Fault::Special("block device")),
        EntryType::Fifo => Err(Fault::Special("named pipe")),
        other => Err(Fault::UnknownType(char::from(other.as_byte()))),
    }
}

/// The body of a header that describes another.
fn read_extension(
    tar: &mut dyn Read,
    walk: &mut Walk<'_, impl Sink>,
    size_bytes: u64,
    name: &[u8],
) -> Result<Vec<u8>, ArchiveError> {
    let max = walk.rules.limits().pax_header_bytes_max;
    let size = usize::try_from(size_bytes)
        .ok()
        .filter(|_| size_bytes <= max)
        .ok_or_else(|| ArchiveError::entry(name, Fault::ExtendedHeaderTooLong { max }))?;
    let mut body = vec![0; size.next_multiple_of(BLOCK_BYTES)];
    read_exact(tar, walk, &mut body, Some(name))?;
    body.truncate(size);
    Ok(body)
}

fn read_exact(
    tar: &mut dyn Read,
    walk: &mut Walk<'_, impl Sink>,
    buffer: &mut [u8],
    name: Option<&[u8]>,
) -> Result<(), ArchiveError> {
    tar.read_exact(buffer)
        .map_err(|source| ArchiveError::reading(name, source))?;
    walk.rules
        .count_stream(buffer.len() as u64)
        .map_err(ArchiveError::Whole)
}

fn skip(
    tar: &mut dyn Read,
    walk: &mut Walk<'_, impl Sink>,
    padding_bytes: u64,
    name: &[u8],
) -> Result<(), ArchiveError> {
    let mut block = [0; BLOCK_BYTES];
    let padding = usize::try_from(padding_bytes)
        .ok()
        .and_then(|bytes| block.get_mut(..bytes));
    read_exact(tar, walk, padding.unwrap_or_default(), Some(name))
}

fn read_padding(tar: &mut dyn Read, walk: &mut Walk<'_, impl Sink>) -> Result<(), ArchiveError> {
    let mut block = [0; 16 * BLOCK_BYTES];
    let mut padding_bytes = 0;
    loop {
        let read = match tar.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ArchiveError::reading(None, error)),
        };
        padding_bytes += read as u64;
        let zeros = block.get(..read).is_some_and(is_zero);
        if !zeros || padding_bytes > PADDING_BYTES_MAX {
            return Err(ArchiveError::Whole(Fault::TrailingData));
        }
        walk.rules
            .count_stream(read as u64)
            .map_err(ArchiveError::Whole)?;
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn has_right_checksum(header: &Header) -> bool {
    const FIELD: std::ops::Range<usize> = 148..156;
    let sum: u32 = header
        .as_bytes()
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(if FIELD.contains(&at) { b' ' } else { *byte }))
        .sum();
    header.cksum().is_ok_and(|stated| stated == sum)
}

fn size_bytes(header: &Header) -> Result<u64, Fault> {
    // Binary numbers have 12 bytes; the crate reads the last 8 and overlooks the others, the sign among them.
    let field = &header.as_old().size;
    if let [first, high @ .., _, _, _, _, _, _, _, _] = field
        && *first & 0x80 != 0
        && (*first != 0x80 || !is_zero(high))
    {
        return Err(Fault::Header("its size is negative or too large"));
    }
    match header.entry_size() {
        Ok(bytes) => Ok(bytes),
        // Left out for what has no content, and read as zero by every other reader.
        Err(_) if is_blank(field) => Ok(0),
        Err(_) => Err(Fault::Header("its size is no number")),
    }
}

fn is_blank(field: &[u8]) -> bool {
    field.iter().all(|byte| matches!(byte, 0 | b' '))
}

fn mode(header: &Header) -> Result<u32, Fault> {
    let is_blank = is_blank(&header.as_old().mode);
    match header.mode() {
        Ok(mode) => Ok(mode & 0o7777),
        // Left out by writers that have no modes.
        Err(_) if is_blank && header.entry_type().is_dir() => Ok(0o755),
        Err(_) if is_blank => Ok(0o644),
        Err(_) => Err(Fault::Header("its mode is no number")),
    }
}

/// A wrong time is no reason to refuse a file.
fn modified(header: &Header) -> Option<Moment> {
    let secs = i64::try_from(header.mtime().ok()?).ok()?;
    Some(Moment { secs, nanos: 0 })
}

/// GNU's long names end with a NUL that does not belong to them.
fn without_nul(mut long: Vec<u8>) -> Vec<u8> {
    long.pop_if(|last| *last == 0);
    long
}

// === impl Pending ===

impl Pending {
    fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_link.is_none() && self.extended.is_none()
    }

    fn name<'a>(&'a self, header: &'a Header) -> Cow<'a, [u8]> {
        let extended = self
            .extended
            .as_ref()
            .and_then(|extended| extended.path.as_deref());
        match extended.or(self.long_name.as_deref()) {
            Some(name) => Cow::Borrowed(name),
            None => header.path_bytes(),
        }
    }

    fn link<'a>(&'a self, header: &'a Header) -> Cow<'a, [u8]> {
        let extended = self
            .extended
            .as_ref()
            .and_then(|extended| extended.link.as_deref());
        match extended.or(self.long_link.as_deref()) {
            Some(link) => Cow::Borrowed(link),
            None => header.link_name_bytes().unwrap_or_default(),
        }
    }

    /// What only an attacker, or a broken tool, says twice.
    fn check(&self, header_size_bytes: u64) -> Result<(), Fault> {
        let Some(extended) = &self.extended else {
            return Ok(());
        };
        let names_twice = extended.path.is_some() && self.long_name.is_some();
        if names_twice || extended.link.is_some() && self.long_link.is_some() {
            return Err(Fault::NameAmbiguous);
        }
        match extended.size_bytes {
            Some(size) if size != header_size_bytes => Err(Fault::SizeAmbiguous {
                header: header_size_bytes,
                extended: size,
            }),
            Some(_) | None => Ok(()),
        }
    }
}
