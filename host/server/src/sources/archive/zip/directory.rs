//! The central directory: where it is, and its records.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
};

use super::{
    super::{
        error::{ArchiveError, Fault},
        sink::Moment,
    },
    fields::{Fields, IN_ZIP64, UNICODE_NAME, UNIX_TIMES, ZIP64, extra},
};

#[derive(Debug, Clone, Copy)]
pub(super) struct Directory {
    pub(super) entries: u64,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// What the directory says of one entry.
#[derive(Debug, Default)]
pub(super) struct Record {
    made_by: u8,
    pub(super) flags: u16,
    pub(super) method: u16,
    dos_time: u16,
    dos_date: u16,
    pub(super) crc: u32,
    pub(super) packed_bytes: u64,
    pub(super) size_bytes: u64,
    disk: u16,
    attributes: u32,
    pub(super) offset: u64,
    pub(super) name: Vec<u8>,
    extras: Vec<u8>,
}

pub(super) enum Unpacked {
    Directory,
    File,
    Symlink,
}

const END_BYTES: usize = 22;
const END_SIGNATURE: [u8; 4] = *b"PK\x05\x06";
const LOCATOR_BYTES: u64 = 20;
const LOCATOR_SIGNATURE: u32 = 0x0706_4b50;
const END64_BYTES: usize = 56;
const END64_SIGNATURE: u32 = 0x0606_4b50;
const RECORD_BYTES: usize = 46;
const RECORD_SIGNATURE: u32 = 0x0201_4b50;

const FLAG_ENCRYPTED: u16 = 1 << 0;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_PATCH: u16 = 1 << 5;
const FLAG_STRONG_ENCRYPTION: u16 = 1 << 6;
const FLAG_MASKED: u16 = 1 << 13;

const MADE_ON_UNIX: u8 = 3;
const MADE_ON_MACOS: u8 = 19;

pub(super) fn find(archive: &File, length_bytes: u64) -> Result<Directory, ArchiveError> {
    let tail_bytes = length_bytes.min((END_BYTES + usize::from(u16::MAX)) as u64);
    let tail_start = length_bytes - tail_bytes;
    let mut tail = vec![0; usize::try_from(tail_bytes).unwrap_or_default()];
    read_at(archive, &mut tail, tail_start)?;
    let at = tail
        .windows(END_SIGNATURE.len())
        .rposition(|window| window == END_SIGNATURE)
        .ok_or(ArchiveError::Whole(Fault::Truncated))?;
    let end = tail.get(at..).unwrap_or_default();
    let end_at = tail_start + at as u64;
    let damaged = |why| ArchiveError::Whole(Fault::ZipDirectory(why));
    let mut fields = Fields(end.get(END_SIGNATURE.len()..).unwrap_or_default());
    let parsed = fields
        .u32()
        .zip(fields.u16().zip(fields.u16()))
        .zip(fields.u32().zip(fields.u32()))
        .zip(fields.u16());
    let Some((((disks, (entries_here, entries)), (size, start)), comment_bytes)) = parsed else {
        return Err(ArchiveError::Whole(Fault::Truncated));
    };
    // The comment is the last thing in the file; what does not add up here is appended, cut, or a second directory.
    match fields.0.len().cmp(&usize::from(comment_bytes)) {
        std::cmp::Ordering::Less => return Err(ArchiveError::Whole(Fault::Truncated)),
        std::cmp::Ordering::Equal => {}
        std::cmp::Ordering::Greater => return Err(ArchiveError::Whole(Fault::TrailingData)),
    }
    if disks != 0 || entries_here != entries {
        return Err(damaged("it spans several disks"));
    }
    let narrow = [u64::from(entries), size.into(), start.into()];
    let (directory, behind) = match find_wide(archive, end_at)? {
        Some((wide, wide_at)) => {
            let limits = [u64::from(u16::MAX), IN_ZIP64.into(), IN_ZIP64.into()];
            let agree = narrow
                .iter()
                .zip(limits)
                .zip(wide)
                .all(|((narrow, limit), wide)| *narrow == limit || *narrow == wide);
            if !agree {
                return Err(damaged("its two ends disagree"));
            }
            (wide, wide_at)
        }
        None => (narrow, end_at),
    };
    let [entries, size, start] = directory;
    match start.checked_add(size) {
        Some(end) if end == behind => Ok(Directory { entries, start, end }),
        Some(_) | None => Err(damaged("it is not where its end says")),
    }
}

/// The ZIP64 end, if there is one: entries, size and start of the directory, and where this end begins.
fn find_wide(archive: &File, end_at: u64) -> Result<Option<([u64; 3], u64)>, ArchiveError> {
    let damaged = || ArchiveError::Whole(Fault::ZipDirectory("its ZIP64 end is malformed"));
    let Some(locator_at) = end_at.checked_sub(LOCATOR_BYTES) else {
        return Ok(None);
    };
    let mut locator = [0; 20];
    read_at(archive, &mut locator, locator_at)?;
    let mut fields = Fields(&locator);
    if fields.u32() != Some(LOCATOR_SIGNATURE) {
        return Ok(None);
    }
    let (disk, at) = fields.u32().zip(fields.u64()).ok_or_else(damaged)?;
    if disk != 0
        || at
            .checked_add(END64_BYTES as u64)
            .is_none_or(|end| end > locator_at)
    {
        return Err(damaged());
    }
    let mut end = [0; END64_BYTES];
    read_at(archive, &mut end, at)?;
    let mut fields = Fields(&end);
    let parse = |fields: &mut Fields<'_>| {
        let signature = fields.u32()?;
        let length = fields.u64()?;
        let _versions = fields.u32()?;
        let disks = fields.u64()?;
        let (here, entries) = (fields.u64()?, fields.u64()?);
        let ends_well = at.checked_add(length)?.checked_add(12)? == locator_at;
        let sound = signature == END64_SIGNATURE && disks == 0 && here == entries && ends_well;
        sound.then_some([entries, fields.u64()?, fields.u64()?])
    };
    let wide = parse(&mut fields).ok_or_else(damaged)?;
    Ok(Some((wide, at)))
}

fn read_at(archive: &File, buffer: &mut [u8], at: u64) -> Result<(), ArchiveError> {
    archive
        .read_exact_at(buffer, at)
        .map_err(|source| ArchiveError::reading(None, source))
}

// === impl Record ===

impl Record {
    pub(super) fn read(records: &mut impl Read) -> Result<Self, ArchiveError> {
        let damaged = |why| ArchiveError::Whole(Fault::ZipDirectory(why));
        let cut = |source: io::Error| match source.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it is shorter than its entries"),
            _ => ArchiveError::reading(None, source),
        };
        let mut fixed = [0; RECORD_BYTES];
        records.read_exact(&mut fixed).map_err(cut)?;
        let (mut record, narrow, lengths) =
            Self::parse(&fixed).ok_or_else(|| damaged("it has something else among its entries"))?;
        let [name_bytes, extra_bytes, comment_bytes] = lengths.map(usize::from);
        record.name = vec![0; name_bytes];
        records.read_exact(&mut record.name).map_err(cut)?;
        record.extras = vec![0; extra_bytes];
        records.read_exact(&mut record.extras).map_err(cut)?;
        let mut comment = vec![0; comment_bytes];
        records.read_exact(&mut comment).map_err(cut)?;
        record.widen(narrow).ok_or_else(|| {
            ArchiveError::entry(&record.name, Fault::Header("its ZIP64 field is malformed"))
        })?;
        Ok(record)
    }

    /// The record without what has variable length; size, packed size and offset as they stand; the three lengths.
    fn parse(fixed: &[u8]) -> Option<(Self, [u32; 3], [u16; 3])> {
        let mut fields = Fields(fixed);
        if fields.u32()? != RECORD_SIGNATURE {
            return None;
        }
        let (_version, made_by, _version_needed) = (fields.u8()?, fields.u8()?, fields.u16()?);
        let mut record = Self {
            made_by,
            flags: fields.u16()?,
            method: fields.u16()?,
            dos_time: fields.u16()?,
            dos_date: fields.u16()?,
            crc: fields.u32()?,
            ..Self::default()
        };
        let (packed, size) = (fields.u32()?, fields.u32()?);
        let lengths = [fields.u16()?, fields.u16()?, fields.u16()?];
        record.disk = fields.u16()?;
        let _internal_attributes = fields.u16()?;
        record.attributes = fields.u32()?;
        Some((record, [size, packed, fields.u32()?], lengths))
    }

    fn widen(&mut self, narrow: [u32; 3]) -> Option<()> {
        let [size, packed, offset] = narrow;
        let mut wide = extra(Fields(&self.extras), ZIP64).ok()?.unwrap_or(Fields(&[]));
        let wide = (wide.widen(size)?, wide.widen(packed)?, wide.widen(offset)?);
        (self.size_bytes, self.packed_bytes, self.offset) = wide;
        Some(())
    }

    pub(super) fn has_descriptor(&self) -> bool {
        self.flags & FLAG_DESCRIPTOR != 0
    }

    /// What needs no look at the entry itself.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.flags & (FLAG_ENCRYPTED | FLAG_STRONG_ENCRYPTION | FLAG_MASKED) != 0 {
            return Err(Fault::Encrypted);
        }
        if !matches!(self.method, super::STORE | super::DEFLATE) {
            return Err(Fault::Method(self.method));
        }
        if self.flags & FLAG_PATCH != 0 || self.disk != 0 {
            return Err(Fault::Header("it is not complete in this archive"));
        }
        let unicode = extra(Fields(&self.extras), UNICODE_NAME).map_err(|()| Fault::NameAmbiguous)?;
        if let Some(mut unicode) = unicode {
            let _version_and_checksum = unicode.bytes(5);
            if unicode.0 != self.name {
                return Err(Fault::NameAmbiguous);
            }
        }
        Ok(())
    }

    pub(super) fn unpacked(&self) -> Result<Unpacked, Fault> {
        let named_directory = self.name.ends_with(b"/");
        match (self.unix_mode().unwrap_or_default() & 0o170_000, named_directory) {
            (0 | 0o040_000, true) if self.size_bytes == 0 => Ok(Unpacked::Directory),
            (0 | 0o040_000, true) => Err(Fault::UnexpectedContent),
            (0 | 0o100_000, false) => Ok(Unpacked::File),
            (0o120_000, false) => Ok(Unpacked::Symlink),
            (0o040_000 | 0o100_000 | 0o120_000, _) => Err(Fault::NotADirectory),
            (0o020_000, _) => Err(Fault::Special("character device")),
            (0o060_000, _) => Err(Fault::Special("block device")),
            (0o010_000, _) => Err(Fault::Special("named pipe")),
            (0o140_000, _) => Err(Fault::Special("socket")),
            _ => Err(Fault::Special("thing of unknown type")),
        }
    }

    pub(super) fn mode(&self) -> u32 {
        match self.unix_mode() {
            Some(mode) => mode & 0o7777,
            None if self.name.ends_with(b"/") => 0o755,
            None => 0o644,
        }
    }

    /// Type and permissions, where the archive was made by something that knows them.
    fn unix_mode(&self) -> Option<u32> {
        let mode = self.attributes >> 16;
        (matches!(self.made_by, MADE_ON_UNIX | MADE_ON_MACOS) && mode != 0).then_some(mode)
    }

    /// Seconds since the epoch where the archive has them; else local time of an unknown place, taken as UTC.
    pub(super) fn modified(&self) -> Option<Moment> {
        let exact = || {
            let mut times = extra(Fields(&self.extras), UNIX_TIMES).ok()??;
            let has_modified = times.u8()? & 1 != 0;
            let secs = times.u32()?.cast_signed();
            has_modified.then_some(i64::from(secs))
        };
        let secs = exact().or_else(|| dos_seconds(self.dos_date, self.dos_time))?;
        Some(Moment { secs, nanos: 0 })
    }
}

fn dos_seconds(date: u16, time: u16) -> Option<i64> {
    let (year, month, day) = (
        1980 + i64::from(date >> 9),
        i64::from(date >> 5 & 15),
        i64::from(date & 31),
    );
    if !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    // Days since the epoch, with years that begin in March so that the leap day comes last.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let year_day = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        shifted_year * 365 + shifted_year / 4 - shifted_year / 100 + shifted_year / 400 + year_day - 719_468;
    let (hours, minutes, seconds) = (
        i64::from(time >> 11),
        i64::from(time >> 5 & 63),
        i64::from(time & 31) * 2,
    );
    Some(days * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dos_times_are_taken_as_utc() {
        let date = |year: u16, month: u16, day: u16| (year - 1980) << 9 | month << 5 | day;
        assert_eq!(dos_seconds(date(1980, 1, 1), 0), Some(315_532_800));
        assert_eq!(
            dos_seconds(date(2024, 2, 29), 12 << 11 | 34 << 5 | 28),
            Some(1_709_210_096)
        );
        assert_eq!(dos_seconds(date(2107, 12, 31), 0), Some(4_354_732_800));
        assert_eq!(dos_seconds(0, 0), None);
    }
}
