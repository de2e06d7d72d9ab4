//! Typed tables and typed ranges of their keys.

use std::{fmt, marker::PhantomData, ops::Bound};

use super::codec::{Key, Value};

/// What a database knows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableInfo {
    pub name: &'static str,
    /// Whether values above one row's limit are split over several. Costs a read with each write.
    pub splits: bool,
}

/// A table with keys `K` and values `V`.
pub struct Table<K, V> {
    pub info: TableInfo,
    types: PhantomData<fn() -> (K, V)>,
}

/// A half-open range of keys in byte order.
#[derive(Debug, Clone)]
pub struct KeyRange<K> {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
    keys: PhantomData<fn() -> K>,
}

/// A range of encoded keys.
pub(super) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

// === impl Table ===

impl<K: Key, V: Value> Table<K, V> {
    /// Values of at most [`super::rows::ROW_PAYLOAD_BYTES_MAX`] bytes.
    pub const fn small(name: &'static str) -> Self {
        Self {
            info: TableInfo { name, splits: false },
            types: PhantomData,
        }
    }

    /// Values of at most [`super::rows::RECORD_BYTES_MAX`] bytes.
    pub const fn large(name: &'static str) -> Self {
        Self {
            info: TableInfo { name, splits: true },
            types: PhantomData,
        }
    }
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info.fmt(f)
    }
}

// === impl KeyRange ===

impl<K: Key> KeyRange<K> {
    pub fn all() -> Self {
        Self::of_prefix(Vec::new())
    }

    /// For key types, which know what their prefixes mean.
    pub(super) fn of_prefix(prefix: Vec<u8>) -> Self {
        let mut end = prefix.clone();
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Self {
            start: prefix,
            end: (!end.is_empty()).then_some(end),
            keys: PhantomData,
        }
    }

    /// All keys that begin here or behind.
    pub(super) fn from_bytes(start: Vec<u8>) -> Self {
        Self {
            start,
            end: None,
            keys: PhantomData,
        }
    }

    pub fn starting_at(mut self, key: &K) -> Self {
        self.start = key.encode().max(self.start);
        self
    }

    pub fn ending_before(self, key: &K) -> Self {
        self.ending_before_bytes(key.encode())
    }

    pub fn ending_at(self, key: &K) -> Self {
        let mut next = key.encode();
        next.push(0);
        self.ending_before_bytes(next)
    }

    fn ending_before_bytes(mut self, bytes: Vec<u8>) -> Self {
        self.end = Some(match self.end.take() {
            Some(end) => end.min(bytes),
            None => bytes,
        });
        self
    }

    /// None if no key can be in it; sled would see it as a mistake.
    pub(super) fn bounds(self) -> Option<Bounds> {
        match self.end {
            Some(end) if end <= self.start => None,
            Some(end) => Some((Bound::Included(self.start), Bound::Excluded(end))),
            None => Some((Bound::Included(self.start), Bound::Unbounded)),
        }
    }
}
