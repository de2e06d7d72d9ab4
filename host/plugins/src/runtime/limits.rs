//! What one call may take, however much a policy would let it: the bounds that keep the machine.

use std::time::Duration;

use ignite_core::policy::CallLimits;
use wasmtime::ResourceLimiter;

/// Above any policy's limits.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(60);
pub(crate) const MEMORY_BYTES_MAX: u64 = 512 << 20;

/// What a guest may hand over in one host call or answer, in bytes: 256 redaction rules of 64 KiB and what is around them.
pub(crate) const HOSTCALL_BYTES_MAX: usize = 20 << 20;
/// Handles that a guest may hold: streams, timers, requests.
pub(crate) const RESOURCES_MAX: usize = 1_000;
/// Random bytes in one go.
pub(crate) const RANDOM_BYTES_MAX: u64 = 1 << 20;
/// What is kept of what a call writes to its standard streams; the rest is dropped.
pub(crate) const OUTPUT_BYTES_MAX: usize = 16 << 10;

/// Memories and tables of one component; real ones have one or two.
pub(crate) const MEMORIES_MAX: u32 = 4;
pub(crate) const TABLES_MAX: u32 = 16;
pub(crate) const CORE_INSTANCES_MAX: u32 = 64;
pub(crate) const TABLE_ELEMENTS_MAX: usize = 64 << 10;
/// Of one entry of a table.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// The policy's limits, or the hard ones where it asks for more.
pub(crate) fn effective(limits: CallLimits) -> CallLimits {
    CallLimits {
        timeout: limits.timeout.min(TIMEOUT_MAX),
        memory_bytes: limits.memory_bytes.min(MEMORY_BYTES_MAX),
    }
}

/// Counts all memories and tables of a call together: a limit for each would be no limit for many.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    bytes_max: u64,
    /// Only grows: neither memories nor tables give back.
    bytes: u64,
    /// Something was refused: what fails from then on fails for want of memory.
    pub(crate) refused: bool,
}

// === impl MemoryLimit ===

impl MemoryLimit {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            refused: false,
        }
    }

    /// The most that was in use.
    pub(crate) fn bytes_peak(&self) -> u64 {
        self.bytes
    }

    fn grow(&mut self, bytes: u64) -> bool {
        let wanted = self.bytes.saturating_add(bytes);
        if wanted > self.bytes_max {
            self.refused = true;
            return false;
        }
        self.bytes = wanted;
        true
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = desired.saturating_sub(current) as u64;
        Ok(self.grow(elements.saturating_mul(TABLE_ELEMENT_BYTES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_are_counted_together() {
        let mut limit = MemoryLimit::new(100_000);
        assert!(limit.memory_growing(0, 65_536, None).unwrap());
        assert!(!limit.memory_growing(0, 65_536, None).unwrap());
        assert!(limit.refused);
        assert!(limit.table_growing(0, 1_000, None).unwrap());
        assert!(!limit.table_growing(1_000, 10_000, None).unwrap());
        assert_eq!(limit.bytes_peak(), 73_536);
    }

    #[test]
    fn a_policy_cannot_ask_for_more_than_the_machine_gives() {
        let limits = effective(CallLimits {
            timeout: Duration::MAX,
            memory_bytes: 1,
        });
        assert_eq!(limits.timeout, TIMEOUT_MAX);
        assert_eq!(limits.memory_bytes, 1);
    }
}
