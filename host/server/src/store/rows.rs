//! Values as rows that sled can hold well.
//!
//! sled rewrites a leaf of up to 20 items as one message, and a message above 128 KiB becomes a file of its own in `blobs/` that is
//! never synced. So no row may be much above 4 KiB, whatever its table: a larger value is one head row and as many parts as it needs
//! in [`PARTS`]. The head says how many and carries a checksum of the whole, so that a reader that met parts of two versions notices.
//!
//! ```text
//! head: 0 ‖ payload                                                   small
//!       1 ‖ parts u16 BE ‖ checksum 8 bytes ‖ payload's first bytes    split
//! part: payload's next bytes, under  table ‖ 0x00 ‖ key ‖ index u16 BE
//! ```

use sha2::{Digest, Sha256};

/// Name of the tree that holds the parts of every table's split values.
pub(super) const PARTS: &str = "parts";

/// The largest payload of one row: a log frame with its timestamp fits.
pub const ROW_PAYLOAD_BYTES_MAX: usize = 4096 + 64;

/// The largest value of a table that splits.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

const SMALL: u8 = 0;
const SPLIT: u8 = 1;
const PART_BYTES: usize = 4096;
const CHECKSUM_BYTES: usize = 8;

/// A payload as rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) head: Vec<u8>,
    pub(super) parts: Vec<Vec<u8>>,
}

/// A head row, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    Small(&'a [u8]),
    Split {
        parts: u16,
        checksum: [u8; CHECKSUM_BYTES],
        first: &'a [u8],
    },
}

/// Splits `payload`, of at most [`RECORD_BYTES_MAX`] bytes.
pub(super) fn split(payload: &[u8]) -> Rows {
    if payload.len() <= ROW_PAYLOAD_BYTES_MAX {
        let mut head = Vec::with_capacity(payload.len() + 1);
        head.push(SMALL);
        head.extend_from_slice(payload);
        return Rows {
            head,
            parts: Vec::new(),
        };
    }
    let mut pieces = payload.chunks(PART_BYTES);
    let first = pieces.next().unwrap_or_default();
    let parts: Vec<Vec<u8>> = pieces.map(<[u8]>::to_vec).collect();
    let mut head = vec![SPLIT];
    head.extend_from_slice(&u16::try_from(parts.len()).unwrap_or(u16::MAX).to_be_bytes());
    head.extend_from_slice(&checksum(payload));
    head.extend_from_slice(first);
    Rows { head, parts }
}

/// None if this is no head row.
pub(super) fn read_head(row: &[u8]) -> Option<Head<'_>> {
    let (kind, rest) = row.split_first()?;
    match *kind {
        SMALL => Some(Head::Small(rest)),
        SPLIT => {
            let (parts, rest) = rest.split_first_chunk()?;
            let (checksum, first) = rest.split_first_chunk()?;
            Some(Head::Split {
                parts: u16::from_be_bytes(*parts),
                checksum: *checksum,
                first,
            })
        }
        _ => None,
    }
}

/// How many parts a head row says it has.
pub(super) fn part_count(row: &[u8]) -> u16 {
    match read_head(row) {
        Some(Head::Split { parts, .. }) => parts,
        Some(Head::Small(_)) | None => 0,
    }
}

pub(super) fn part_key(table: &str, key: &[u8], index: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(table.len() + key.len() + 3);
    bytes.extend_from_slice(table.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&index.to_be_bytes());
    bytes
}

pub(super) fn checksum(payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest: [u8; 32] = Sha256::digest(payload).into();
    let mut short = [0; CHECKSUM_BYTES];
    short.copy_from_slice(digest.split_at(CHECKSUM_BYTES).0);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_split_comes_together_again_at_every_edge() {
        for len in [0, 1, 4096, 4160, 4161, 8192, 8193, 300 << 10, RECORD_BYTES_MAX] {
            let payload: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let rows = split(&payload);
            assert!(rows.head.len() <= ROW_PAYLOAD_BYTES_MAX + 1);
            assert!(rows.parts.iter().all(|part| part.len() <= PART_BYTES));
            assert_eq!(usize::from(part_count(&rows.head)), rows.parts.len());
            let joined = match read_head(&rows.head).unwrap() {
                Head::Small(all) => all.to_vec(),
                Head::Split {
                    first, checksum: sum, ..
                } => {
                    let all = [first, &rows.parts.concat()].concat();
                    assert_eq!(checksum(&all), sum);
                    all
                }
            };
            assert_eq!(joined, payload);
        }
    }
}
