//! An entry's own header, and the descriptor behind its content: both have to say what the directory says.

use std::{fs::File, os::unix::fs::FileExt};

use super::{
    super::error::{ArchiveError, Fault},
    directory::Record,
    fields::{Fields, ZIP64, extra},
};

/// Where an entry lies in the archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) data: u64,
    pub(super) end: u64,
}

const HEADER_BYTES: usize = 30;
const SIGNATURE: u32 = 0x0403_4b50;
const DESCRIPTOR_SIGNATURE: u32 = 0x0807_4b50;

struct Header {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    name_bytes: u16,
    extra_bytes: u16,
}

pub(super) fn check(archive: &File, record: &Record) -> Result<Place, ArchiveError> {
    let refused = |fault| ArchiveError::entry(&record.name, fault);
    let mut fixed = [0; HEADER_BYTES];
    read_at(archive, record, &mut fixed, record.offset)?;
    let header = Header::parse(&fixed).ok_or_else(|| refused(Fault::HeadersDisagree("place")))?;
    let mut variable = vec![0; usize::from(header.name_bytes) + usize::from(header.extra_bytes)];
    read_at(
        archive,
        record,
        &mut variable,
        record.offset.saturating_add(HEADER_BYTES as u64),
    )?;
    let mut variable = Fields(&variable);
    let name = variable.bytes(header.name_bytes.into()).unwrap_or_default();
    header.compare(record, name, variable).map_err(refused)?;

    let data = record
        .offset
        .saturating_add(HEADER_BYTES as u64)
        .saturating_add(header.name_bytes.into())
        .saturating_add(header.extra_bytes.into());
    let data_end = data.saturating_add(record.packed_bytes);
    let descriptor_bytes = if record.has_descriptor() {
        descriptor(archive, record, data_end)?
    } else {
        0
    };
    Ok(Place {
        start: record.offset,
        data,
        end: data_end.saturating_add(descriptor_bytes),
    })
}

/// The length of the descriptor at `at`. It has four forms: with or without signature, 4 or 8 bytes a size.
fn descriptor(archive: &File, record: &Record, at: u64) -> Result<u64, ArchiveError> {
    let mut bytes = [0; 24];
    // There is always a directory behind it, so that many bytes can be read.
    read_at(archive, record, &mut bytes, at)?;
    let parse = |signed: bool, wide: bool| {
        let mut fields = Fields(&bytes);
        if signed && fields.u32()? != DESCRIPTOR_SIGNATURE {
            return None;
        }
        let crc = fields.u32()?;
        let mut size = || {
            if wide {
                fields.u64()
            } else {
                fields.u32().map(u64::from)
            }
        };
        let found = (crc, size()?, size()?);
        let length = bytes.len() - fields.0.len();
        (found == (record.crc, record.packed_bytes, record.size_bytes)).then_some(length as u64)
    };
    parse(true, true)
        .or_else(|| parse(true, false))
        .or_else(|| parse(false, true))
        .or_else(|| parse(false, false))
        .ok_or_else(|| ArchiveError::entry(&record.name, Fault::HeadersDisagree("data descriptor")))
}

fn read_at(archive: &File, record: &Record, buffer: &mut [u8], at: u64) -> Result<(), ArchiveError> {
    archive
        .read_exact_at(buffer, at)
        .map_err(|source| ArchiveError::reading(Some(&record.name), source))
}

// === impl Header ===

impl Header {
    fn parse(fixed: &[u8]) -> Option<Self> {
        let mut fields = Fields(fixed);
        if fields.u32()? != SIGNATURE {
            return None;
        }
        let _version_needed = fields.u16()?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        let _dos_time = fields.u32()?;
        Some(Self {
            flags,
            method,
            crc: fields.u32()?,
            packed: fields.u32()?,
            size: fields.u32()?,
            name_bytes: fields.u16()?,
            extra_bytes: fields.u16()?,
        })
    }

    fn compare(&self, record: &Record, name: &[u8], extras: Fields<'_>) -> Result<(), Fault> {
        if name != record.name {
            return Err(Fault::HeadersDisagree("name"));
        }
        if self.method != record.method {
            return Err(Fault::HeadersDisagree("compression method"));
        }
        if self.flags != record.flags {
            return Err(Fault::HeadersDisagree("flags"));
        }
        let wide = extra(extras, ZIP64).map_err(|()| Fault::HeadersDisagree("size"))?;
        let mut wide = wide.unwrap_or(Fields(&[]));
        let (size, packed) = wide
            .widen(self.size)
            .and_then(|size| Some((size, wide.widen(self.packed)?)))
            .ok_or(Fault::HeadersDisagree("size"))?;
        // Written before they were known, sizes and checksum are zero here and true in the descriptor.
        let agrees = |here: u64, there: u64| here == there || here == 0 && record.has_descriptor();
        if !agrees(size, record.size_bytes) || !agrees(packed, record.packed_bytes) {
            return Err(Fault::HeadersDisagree("size"));
        }
        if !agrees(self.crc.into(), record.crc.into()) {
            return Err(Fault::HeadersDisagree("checksum"));
        }
        Ok(())
    }
}
