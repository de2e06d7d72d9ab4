//! How keys and values become bytes.
//!
//! Records are MessagePack maps with field names behind one format byte: a new optional field needs `#[serde(default)]` and
//! nothing else, a change of meaning needs a new format byte and a reader for the old one.

use std::io::{self, Write};

use serde::{Serialize, de::DeserializeOwned};

/// A key of a table. Byte order is the table's order.
pub trait Key: Sized {
    fn encode(&self) -> Vec<u8>;
    /// None if these bytes are not a key of this kind.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// A value of a table.
pub trait Value: Sized {
    fn encode(&self) -> Result<Vec<u8>, CodecError>;
    fn decode(bytes: &[u8]) -> Result<Self, CodecError>;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("the value is empty")]
    Empty,
    #[error("the value has format {0}, which this version does not know")]
    UnknownFormat(u8),
    #[error("the value does not decode: {0}")]
    Decode(String),
    #[error("the value does not encode: {0}")]
    Encode(String),
}

/// The first format of every record.
pub const FORMAT_1: u8 = 1;

/// `format` ‖ MessagePack with field names.
pub fn encode_record<T: Serialize>(format: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    write_record(&mut bytes, format, value)?;
    Ok(bytes)
}

/// As [`encode_record`], to a buffer of the caller's own.
pub fn write_record<T: Serialize>(to: &mut impl Write, format: u8, value: &T) -> Result<(), CodecError> {
    let failed = |e: &dyn std::error::Error| CodecError::Encode(e.to_string());
    to.write_all(&[format]).map_err(|e| failed(&e))?;
    rmp_serde::encode::write_named(to, value).map_err(|e| failed(&e))
}

/// How many bytes [`write_record`] will write.
pub fn record_size_bytes<T: Serialize>(format: u8, value: &T) -> Result<usize, CodecError> {
    let mut counter = Counter(0);
    write_record(&mut counter, format, value)?;
    Ok(counter.0)
}

/// Keeps nothing of what is written to it but its length.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn decode_record<T: DeserializeOwned>(format: u8, bytes: &[u8]) -> Result<T, CodecError> {
    rmp_serde::from_slice(body(format, bytes)?).map_err(|e| CodecError::Decode(e.to_string()))
}

/// What follows the format byte, if that is `format`.
pub fn body(format: u8, bytes: &[u8]) -> Result<&[u8], CodecError> {
    match bytes.split_first() {
        None => Err(CodecError::Empty),
        Some((found, body)) if *found == format => Ok(body),
        Some((found, _)) => Err(CodecError::UnknownFormat(*found)),
    }
}

/// [`Value`] for serde types, as records of [`FORMAT_1`].
macro_rules! record_values {
    ($($value:ty),* $(,)?) => {$(
        impl $crate::store::codec::Value for $value {
            fn encode(&self) -> Result<Vec<u8>, $crate::store::codec::CodecError> {
                $crate::store::codec::encode_record($crate::store::codec::FORMAT_1, self)
            }
            fn decode(bytes: &[u8]) -> Result<Self, $crate::store::codec::CodecError> {
                $crate::store::codec::decode_record($crate::store::codec::FORMAT_1, bytes)
            }
        }
    )*};
}
pub(crate) use record_values;

/// An index row: all it says is in its key.
impl Value for () {
    fn encode(&self) -> Result<Vec<u8>, CodecError> {
        Ok(vec![FORMAT_1])
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        body(FORMAT_1, bytes).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        name: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        #[serde(default)]
        size_bytes: u64,
        name: String,
    }

    #[test]
    fn a_record_may_gain_and_lose_fields() {
        let old = encode_record(FORMAT_1, &Old { name: "a".into() }).unwrap();
        let new: New = decode_record(FORMAT_1, &old).unwrap();
        assert_eq!(new.size_bytes, 0);
        let back: Old = decode_record(FORMAT_1, &encode_record(FORMAT_1, &new).unwrap()).unwrap();
        assert_eq!(back.name, "a");
    }

    #[test]
    fn a_records_size_is_known_before_it_is_written() {
        let old = Old {
            name: "n".repeat(300),
        };
        let written = encode_record(FORMAT_1, &old).unwrap();
        assert_eq!(record_size_bytes(FORMAT_1, &old).unwrap(), written.len());
    }

    #[test]
    fn other_formats_and_damage_are_told_apart() {
        assert_eq!(decode_record::<Old>(FORMAT_1, &[]), Err(CodecError::Empty));
        assert_eq!(
            decode_record::<Old>(FORMAT_1, &[9, 1]),
            Err(CodecError::UnknownFormat(9))
        );
        assert!(matches!(
            decode_record::<Old>(FORMAT_1, &[FORMAT_1, 0xc1]),
            Err(CodecError::Decode(_))
        ));
    }
}
