use ignite_core::{hook::Hook, ids::PluginDigest};

use super::*;

#[derive(Debug)]
struct Plugins(Vec<HookMetrics>);

impl Collector for Plugins {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        plugins(&mut encoder, &self.0)
    }
}

#[test]
fn calls_are_counted_by_plugin_and_hook() {
    let mut latency_buckets = [0; LATENCY_MICROS_BOUNDS.len() + 1];
    (latency_buckets[1], latency_buckets[3], latency_buckets[13]) = (2, 1, 1);
    let digest = format!("sha256:{}", "ab".repeat(32));
    let hook = HookMetrics {
        digest: digest.parse::<PluginDigest>().unwrap(),
        hook: Hook::Validate,
        calls: 4,
        failures: 1,
        traps: 1,
        timeouts: 0,
        denials: 2,
        latency_buckets,
        latency_micros_sum: 6_000_300,
        memory_bytes_peak: 1_114_112,
    };
    let mut registry = Registry::with_prefix("ignite");
    registry.register_collector(Box::new(Plugins(vec![hook])));
    let mut shown = String::new();
    text::encode(&mut shown, &registry).unwrap();
    let labels = format!("digest=\"{digest}\",hook=\"validate\"");
    for line in [
        format!("ignite_plugin_calls_total{{{labels}}} 4"),
        format!("ignite_plugin_traps_total{{{labels}}} 1"),
        format!("ignite_plugin_denials_total{{{labels}}} 2"),
        format!("ignite_plugin_memory_peak_bytes{{{labels}}} 1114112"),
        format!("ignite_plugin_call_duration_seconds_sum{{{labels}}} 6.0003"),
        format!("ignite_plugin_call_duration_seconds_count{{{labels}}} 4"),
        format!("ignite_plugin_call_duration_seconds_bucket{{le=\"0.00005\",{labels}}} 2"),
        format!("ignite_plugin_call_duration_seconds_bucket{{le=\"5.0\",{labels}}} 3"),
        format!("ignite_plugin_call_duration_seconds_bucket{{le=\"+Inf\",{labels}}} 4"),
        "# EOF".to_owned(),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}:\n{shown}");
    }
}
