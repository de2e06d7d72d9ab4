//! The export's format, version 1.
//!
//! ```text
//! file:    "IGNITEBK" ‖ version u32 BE ‖ zstd( record* ‖ end )
//! record:  length u32 BE ‖ that many bytes of MessagePack: one of
//!          {"Start": {"store_version": u32}}                           first, once
//!          {"Database": {"name": "state" | "logs/2026-11-22"}}         what follows belongs to it
//!          {"Row": {"table": str, "key": bin, "value": bin}}
//! end:     0 u32 ‖ number of records u64 BE ‖ SHA-256 of every record, lengths included ‖ end of file
//! ```

use std::io::{self, BufWriter, Read, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zstd::stream::{read::Decoder, write::Encoder};

use crate::store::rows::RECORD_BYTES_MAX;

const MAGIC: &[u8; 8] = b"IGNITEBK";
const VERSION: u32 = 1;
const ZSTD_LEVEL: i32 = 3;
/// A row's value, and room for its key and names.
const RECORD_LEN_MAX: usize = RECORD_BYTES_MAX + (16 << 10);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    Start {
        /// See [`crate::store::data_dir::STORE_VERSION`].
        store_version: u32,
    },
    Database {
        name: String,
    },
    Row {
        table: String,
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
        /// Format byte and all, as the table's codec made it.
        #[serde(with = "serde_bytes")]
        value: Vec<u8>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("this is not an export of ignited")]
    NotAnExport,
    #[error("the export has format {0}, which this version does not know")]
    Version(u32),
    #[error("the export is damaged: {0}")]
    Damaged(&'static str),
    #[error("the export ends too early or is damaged")]
    Read(#[source] io::Error),
    #[error("the export could not be written")]
    Write(#[source] io::Error),
    #[error("a record could not be encoded")]
    Encode(#[source] rmp_serde::encode::Error),
}

pub struct RecordWriter<W: Write> {
    out: Encoder<'static, BufWriter<W>>,
    records: u64,
    hash: Sha256,
}

pub struct RecordReader<R: Read> {
    input: Decoder<'static, io::BufReader<R>>,
    records: u64,
    hash: Sha256,
}

// === impl RecordWriter ===

impl<W: Write> RecordWriter<W> {
    pub fn start(out: W) -> Result<Self, FormatError> {
        let mut out = BufWriter::new(out);
        let start = || {
            out.write_all(MAGIC)?;
            out.write_all(&VERSION.to_be_bytes())?;
            let mut out = Encoder::new(out, ZSTD_LEVEL)?;
            out.include_checksum(true)?;
            Ok(out)
        };
        Ok(Self {
            out: start().map_err(FormatError::Write)?,
            records: 0,
            hash: Sha256::new(),
        })
    }

    pub fn write(&mut self, record: &Record) -> Result<(), FormatError> {
        let bytes = rmp_serde::to_vec_named(record).map_err(FormatError::Encode)?;
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        for piece in [len.as_slice(), &bytes] {
            self.hash.update(piece);
            self.out.write_all(piece).map_err(FormatError::Write)?;
        }
        self.records += 1;
        Ok(())
    }

    /// Without it the export is a truncated one.
    pub fn finish(mut self) -> Result<(), FormatError> {
        let finish = || {
            self.out.write_all(&0_u32.to_be_bytes())?;
            self.out.write_all(&self.records.to_be_bytes())?;
            self.out.write_all(&self.hash.finalize())?;
            self.out.finish()?.flush()
        };
        finish().map_err(FormatError::Write)
    }
}

impl<W: Write> std::fmt::Debug for RecordWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordWriter")
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

// === impl RecordReader ===

impl<R: Read> RecordReader<R> {
    pub fn start(mut input: R) -> Result<Self, FormatError> {
        let mut magic = [0; 8];
        let mut version = [0; 4];
        input
            .read_exact(&mut magic)
            .map_err(|_| FormatError::NotAnExport)?;
        if magic != *MAGIC {
            return Err(FormatError::NotAnExport);
        }
        input.read_exact(&mut version).map_err(FormatError::Read)?;
        match u32::from_be_bytes(version) {
            VERSION => {}
            other => return Err(FormatError::Version(other)),
        }
        Ok(Self {
            input: Decoder::new(input).map_err(FormatError::Read)?,
            records: 0,
            hash: Sha256::new(),
        })
    }

    /// None once, after everything was checked to be whole. To be believed only then.
    pub fn read(&mut self) -> Result<Option<Record>, FormatError> {
        let len: [u8; 4] = self.take()?;
        let size = match u32::from_be_bytes(len).try_into() {
            Ok(0) => return self.check_end().map(|()| None),
            Ok(size) if size <= RECORD_LEN_MAX => size,
            Ok(_) | Err(_) => return Err(FormatError::Damaged("a record is too long")),
        };
        let mut bytes = vec![0; size];
        self.input.read_exact(&mut bytes).map_err(FormatError::Read)?;
        self.hash.update(len);
        self.hash.update(&bytes);
        self.records += 1;
        let record = rmp_serde::from_slice(&bytes);
        record
            .map(Some)
            .map_err(|_| FormatError::Damaged("a record does not decode"))
    }

    fn check_end(&mut self) -> Result<(), FormatError> {
        let records = u64::from_be_bytes(self.take()?);
        let hash: [u8; 32] = self.take()?;
        if records != self.records || hash != <[u8; 32]>::from(self.hash.finalize_reset()) {
            return Err(FormatError::Damaged("its checksum does not match"));
        }
        match self.input.read(&mut [0]).map_err(FormatError::Read)? {
            0 => Ok(()),
            _ => Err(FormatError::Damaged("something follows its end")),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(FormatError::Read)?;
        Ok(bytes)
    }
}

impl<R: Read> std::fmt::Debug for RecordReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordReader")
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}
