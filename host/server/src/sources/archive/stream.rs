//! The bytes of an archive: read at positions of their own, so that no two readers share a cursor, and out of compression.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

use flate2::bufread::GzDecoder;

use super::error::ArchiveError;

/// Reads a file from a position that only this reader moves.
#[derive(Debug)]
pub(super) struct At<'a> {
    file: &'a File,
    position: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Gzip members one after the other, then nothing but zeros: what GNU gzip reads.
struct GzipMembers<R> {
    /// None once the last member has ended.
    member: Option<GzDecoder<R>>,
}

pub(super) const BUFFER_BYTES: usize = 128 << 10;

/// RFC 8878 asks decoders for 8 MB; what needs more is refused, since each upload under way would take that much memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

pub(super) fn open(archive: &File, compression: Compression) -> Result<Box<dyn Read + '_>, ArchiveError> {
    let raw = BufReader::with_capacity(BUFFER_BYTES, At::new(archive, 0));
    match compression {
        Compression::None => Ok(Box::new(raw)),
        Compression::Gzip => Ok(Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            GzipMembers {
                member: Some(GzDecoder::new(raw)),
            },
        ))),
        Compression::Zstd => {
            let starting = |source| ArchiveError::io("starting to decompress", source);
            let mut decoder = zstd::stream::read::Decoder::with_buffer(raw).map_err(starting)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(starting)?;
            Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)))
        }
    }
}

// === impl At ===

impl<'a> At<'a> {
    pub(super) fn new(file: &'a File, position: u64) -> Self {
        Self { file, position }
    }
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// Only forth and back from here: all that [`BufReader::seek_relative`] needs.
impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(_) => None,
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

// === impl GzipMembers ===

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = self.member.as_mut() {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.member = self.member.take().map(next_member).transpose()?.flatten();
        }
        Ok(0)
    }
}

fn next_member<R: BufRead>(ended: GzDecoder<R>) -> io::Result<Option<GzDecoder<R>>> {
    let mut rest = ended.into_inner();
    if rest.fill_buf()?.first() == Some(&0x1f) {
        return Ok(Some(GzDecoder::new(rest)));
    }
    loop {
        let bytes = rest.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "data behind the end of the compression",
            ));
        }
        let zeros = bytes.len();
        rest.consume(zeros);
    }
}
