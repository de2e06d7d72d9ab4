//! Reads zip, strictly: its directory says what is there, and each entry's own header has to agree.
//!
//! Written here rather than on the `zip` crate, which keeps one of two entries of the same name without a word, holds the
//! whole directory in memory before any limit can be applied, and does not compare the two headers.

mod directory;
mod fields;
mod local;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek},
};

use flate2::{Crc, bufread::DeflateDecoder};

use self::directory::{Record, Unpacked};
use super::{
    error::{ArchiveError, Fault},
    name::Naming,
    sink::{Meta, Sink},
    stream::{At, BUFFER_BYTES},
    walk::{RawEntry, RawKind, SYMLINK_TARGET_BYTES_MAX, Walk},
};

const STORE: u16 = 0;
const DEFLATE: u16 = 8;

/// Which bytes entries take, by their first: entries that share bytes are how a small zip unpacks to petabytes.
#[derive(Default)]
struct Ranges(BTreeMap<u64, u64>);

/// Content on its way out, its checksum kept.
struct Summed<R> {
    inner: R,
    crc: Crc,
}

pub(super) fn read(
    archive: &File,
    length_bytes: u64,
    walk: &mut Walk<'_, impl Sink>,
) -> Result<(), ArchiveError> {
    let directory = directory::find(archive, length_bytes)?;
    if directory.entries == 0 {
        return Err(ArchiveError::Empty);
    }
    let max = walk.rules.limits().entries_max;
    if directory.entries > max {
        return Err(ArchiveError::Whole(Fault::TooManyEntries { max }));
    }
    let mut records = BufReader::with_capacity(BUFFER_BYTES, At::new(archive, directory.start))
        .take(directory.end - directory.start);
    let mut data = BufReader::with_capacity(BUFFER_BYTES, At::new(archive, 0));
    let mut ranges = Ranges::default();
    for _ in 0..directory.entries {
        let record = Record::read(&mut records)?;
        let refused = |fault| ArchiveError::entry(&record.name, fault);
        record.check().map_err(refused)?;
        let place = local::check(archive, &record)?;
        if place.end > directory.start || !ranges.insert(place.start, place.end) {
            return Err(refused(Fault::Overlap));
        }
        let here = data
            .stream_position()
            .map_err(|source| ArchiveError::io("reading the archive", source))?;
        data.seek_relative(place.data.wrapping_sub(here).cast_signed())
            .map_err(|source| ArchiveError::io("reading the archive", source))?;
        read_entry(&record, (&mut data).take(record.packed_bytes), walk)?;
    }
    if records.limit() > 0 {
        return Err(ArchiveError::Whole(Fault::ZipDirectory(
            "it is longer than its entries",
        )));
    }
    Ok(())
}

fn read_entry(
    record: &Record,
    packed: io::Take<&mut BufReader<At<'_>>>,
    walk: &mut Walk<'_, impl Sink>,
) -> Result<(), ArchiveError> {
    let refused = |fault| ArchiveError::entry(&record.name, fault);
    match record.method {
        STORE if record.packed_bytes != record.size_bytes => Err(refused(Fault::ContentMismatch("size"))),
        STORE => read_content(record, packed, walk).map(drop),
        DEFLATE => {
            let mut decoder = read_content(record, DeflateDecoder::new(packed), walk)?;
            // The compressed stream has to end here as well, not only the bytes that were asked of it.
            let mut beyond = [0];
            let beyond = decoder
                .read(&mut beyond)
                .map_err(|source| ArchiveError::reading(Some(&record.name), source))?;
            if beyond > 0 || decoder.get_ref().limit() > 0 {
                return Err(refused(Fault::ContentMismatch("size")));
            }
            Ok(())
        }
        other => Err(refused(Fault::Method(other))),
    }
}

fn read_content<R: Read>(
    record: &Record,
    content: R,
    walk: &mut Walk<'_, impl Sink>,
) -> Result<R, ArchiveError> {
    let refused = |fault| ArchiveError::entry(&record.name, fault);
    let mut content = Summed {
        inner: content,
        crc: Crc::new(),
    };
    let mut target = Vec::new();
    let kind = match record.unpacked().map_err(refused)? {
        Unpacked::Directory => RawKind::Directory,
        Unpacked::File => RawKind::File {
            size_bytes: record.size_bytes,
        },
        Unpacked::Symlink if record.size_bytes > SYMLINK_TARGET_BYTES_MAX as u64 => {
            return Err(refused(Fault::SymlinkTarget));
        }
        Unpacked::Symlink => {
            (&mut content)
                .take(record.size_bytes)
                .read_to_end(&mut target)
                .map_err(|source| ArchiveError::reading(Some(&record.name), source))?;
            RawKind::Symlink { target: &target }
        }
    };
    let entry = RawEntry {
        name: &record.name,
        naming: Naming::Portable,
        kind,
        meta: Meta {
            mode: record.mode(),
            modified: record.modified(),
        },
    };
    walk.entry(&entry, &mut content)?;
    if content.crc.sum() != record.crc {
        return Err(refused(Fault::ContentMismatch("checksum")));
    }
    Ok(content.inner)
}

// === impl Ranges ===

impl Ranges {
    /// False where the range meets another.
    fn insert(&mut self, start: u64, end: u64) -> bool {
        let free_before = self
            .0
            .range(..=start)
            .next_back()
            .is_none_or(|(_, before_end)| *before_end <= start);
        let free_after = self
            .0
            .range(start..)
            .next()
            .is_none_or(|(after, _)| *after >= end);
        self.0.insert(start, end);
        free_before && free_after
    }
}

// === impl Summed ===

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.crc.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
