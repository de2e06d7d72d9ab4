//! What each plugin costs and how it fails, counted per hook.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ignite_core::{hook::Hook, ids::PluginDigest};

use super::CallError;

/// Upper bounds of the histogram's buckets, in microseconds; the last bucket has none.
pub const LATENCY_MICROS_BOUNDS: [u64; 13] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000,
];
const BUCKETS: usize = LATENCY_MICROS_BOUNDS.len() + 1;

/// Counters of one plugin and hook since the plugin was last loaded anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookMetrics {
    pub digest: PluginDigest,
    pub hook: Hook,
    pub calls: u64,
    /// All kinds of failures, those below included.
    pub failures: u64,
    pub traps: u64,
    pub timeouts: u64,
    /// Verdicts that denied.
    pub denials: u64,
    /// Not cumulative; bounds are [`LATENCY_MICROS_BOUNDS`].
    pub latency_buckets: [u64; BUCKETS],
    pub latency_micros_sum: u64,
    pub memory_bytes_peak: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: AtomicU64,
    failures: AtomicU64,
    traps: AtomicU64,
    timeouts: AtomicU64,
    denials: AtomicU64,
    latency_buckets: [AtomicU64; BUCKETS],
    latency_micros_sum: AtomicU64,
    memory_bytes_peak: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<BTreeMap<(PluginDigest, Hook), Arc<Counters>>>);

// === impl Metrics ===

impl Metrics {
    pub(crate) fn counters(&self, digest: PluginDigest, hook: Hook) -> Arc<Counters> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry((digest, hook)).or_default())
    }

    pub(crate) fn forget(&self, digest: &PluginDigest) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(kept, _), _| kept != digest);
    }

    pub(crate) fn snapshot(&self) -> Vec<HookMetrics> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|((digest, hook), counters)| counters.read(*digest, *hook))
            .collect()
    }
}

// === impl Counters ===

impl Counters {
    pub(crate) fn count(&self, took: Duration, memory_bytes: u64, failure: Option<&CallError>) {
        self.calls.fetch_add(1, Relaxed);
        match failure {
            None => {}
            Some(CallError::Trapped(_) | CallError::Memory(_)) => {
                self.traps.fetch_add(1, Relaxed);
            }
            Some(CallError::Timeout(_)) => {
                self.timeouts.fetch_add(1, Relaxed);
            }
            Some(
                CallError::Failed(_)
                | CallError::Answer(_)
                | CallError::NotExported(_)
                | CallError::Busy
                | CallError::Unavailable(_),
            ) => {}
        }
        if failure.is_some() {
            self.failures.fetch_add(1, Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_MICROS_BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.latency_buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        self.latency_micros_sum.fetch_add(micros, Relaxed);
        self.memory_bytes_peak.fetch_max(memory_bytes, Relaxed);
    }

    pub(crate) fn denied(&self) {
        self.denials.fetch_add(1, Relaxed);
    }

    fn read(&self, digest: PluginDigest, hook: Hook) -> HookMetrics {
        HookMetrics {
            digest,
            hook,
            calls: self.calls.load(Relaxed),
            failures: self.failures.load(Relaxed),
            traps: self.traps.load(Relaxed),
            timeouts: self.timeouts.load(Relaxed),
            denials: self.denials.load(Relaxed),
            latency_buckets: self.latency_buckets.each_ref().map(|bucket| bucket.load(Relaxed)),
            latency_micros_sum: self.latency_micros_sum.load(Relaxed),
            memory_bytes_peak: self.memory_bytes_peak.load(Relaxed),
        }
    }
}
