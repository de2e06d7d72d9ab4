//! A set of writes that happen together or not at all, and the conditions under which they may.

use super::{
    codec::{CodecError, Key, Value},
    table::{Table, TableInfo},
};

type Test = Box<dyn FnOnce(Option<&[u8]>) -> Result<bool, CodecError> + Send>;

/// Puts, deletes and conditions over the tables of one database. Later writes to a key replace earlier ones.
#[derive(Default)]
pub struct Batch {
    pub(super) checks: Vec<Check>,
    pub(super) writes: Vec<Write>,
    pub(super) committed: Option<Box<dyn FnOnce() + Send>>,
}

pub(super) struct Check {
    pub(super) table: TableInfo,
    pub(super) key: Vec<u8>,
    pub(super) expected: &'static str,
    pub(super) test: Test,
}

pub(super) struct Write {
    pub(super) table: TableInfo,
    pub(super) key: Vec<u8>,
    /// None deletes.
    pub(super) payload: Option<Vec<u8>>,
}

// === impl Batch ===

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn put<K: Key, V: Value>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        value: &V,
    ) -> Result<&mut Self, CodecError> {
        let payload = value.encode()?;
        Ok(self.put_raw(table.info, key.encode(), payload))
    }

    pub fn delete<K: Key, V>(&mut self, table: &Table<K, V>, key: &K) -> &mut Self {
        self.writes.push(Write {
            table: table.info,
            key: key.encode(),
            payload: None,
        });
        self
    }

    /// The whole batch is rejected if the key has a value.
    pub fn require_absent<K: Key, V>(&mut self, table: &Table<K, V>, key: &K) -> &mut Self {
        self.check(
            table.info,
            key.encode(),
            "absent",
            Box::new(|found| Ok(found.is_none())),
        )
    }

    /// The whole batch is rejected if the key has another value or none.
    pub fn require_equals<K: Key, V: Value>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        value: &V,
    ) -> Result<&mut Self, CodecError> {
        let payload = value.encode()?;
        let test = move |found: Option<&[u8]>| Ok(found == Some(payload.as_slice()));
        Ok(self.check(table.info, key.encode(), "unchanged", Box::new(test)))
    }

    /// The whole batch is rejected unless `test` holds of the stored value. Runs on the writing thread: keep it short.
    pub fn require<K: Key, V: Value>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        expected: &'static str,
        test: impl FnOnce(Option<V>) -> bool + Send + 'static,
    ) -> &mut Self {
        let test = move |found: Option<&[u8]>| Ok(test(found.map(V::decode).transpose()?));
        self.check(table.info, key.encode(), expected, Box::new(test))
    }

    /// Runs `then` on the writing thread once the batch is on disk, in the order of commits, whether or not anyone still waits for
    /// the answer.
    pub fn when_committed(&mut self, then: impl FnOnce() + Send + 'static) -> &mut Self {
        self.committed = Some(Box::new(then));
        self
    }

    pub(super) fn put_raw(&mut self, table: TableInfo, key: Vec<u8>, payload: Vec<u8>) -> &mut Self {
        self.writes.push(Write {
            table,
            key,
            payload: Some(payload),
        });
        self
    }

    /// Roughly what it adds to the database's file.
    pub(super) fn size_bytes(&self) -> usize {
        let size = |write: &Write| write.key.len() + write.payload.as_ref().map_or(0, Vec::len);
        self.writes.iter().map(size).sum()
    }

    fn check(&mut self, table: TableInfo, key: Vec<u8>, expected: &'static str, test: Test) -> &mut Self {
        self.checks.push(Check {
            table,
            key,
            expected,
            test,
        });
        self
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("checks", &self.checks.len())
            .field("writes", &self.writes.len())
            .finish()
    }
}
