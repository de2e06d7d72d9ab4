//! `ignite plugin bench`: how long a hook takes in the gateway's runtime, one call after the other, and how much memory.

use std::time::{Duration, Instant};

use ignite_core::{
    hook::Hook,
    policy::{MEMORY_BYTES_MAX, MEMORY_BYTES_MIN},
};
use ignite_plugins::{CallError, Plugin};

use crate::{
    args::plugin::BenchArgs,
    case::Case,
    error::{Error, Result},
    offline::Offline,
    output::{self, table::record, text::bytes},
    settings::Settings,
};

/// Before the clock starts: the first calls fill caches.
const WARM_UP_CALLS: usize = 10;
/// How exactly the need for memory is found: a page of WebAssembly.
const MEMORY_STEP_BYTES: u64 = 64 * 1024;

#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    hook: Hook,
    calls: usize,
    calls_per_second: f64,
    p50_micros: u128,
    p99_micros: u128,
    /// The least limit under which the call succeeds, to 64 KiB.
    memory_peak_bytes: u64,
}

pub(super) async fn run(args: BenchArgs, settings: &Settings) -> Result<()> {
    let mut case = Case::load(&args.case)?;
    let hook = case.hook.ok_or_else(|| {
        let what = "hook: must say which of the plugin's hooks is measured";
        Error::input(format!("{}:1: {what}", args.case.display()))
    })?;
    let offline = Offline::new()?;
    let admitted = offline.load(&args.file).await?;
    let plugin = offline.plugin(&admitted.digest).await?;
    for _ in 0..WARM_UP_CALLS {
        call(&case, &plugin, hook).await.map_err(|error| failed(&error))?;
    }
    let mut micros = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < args.duration {
        let at = Instant::now();
        call(&case, &plugin, hook).await.map_err(|error| failed(&error))?;
        micros.push(at.elapsed().as_micros());
    }
    let elapsed = begun.elapsed();
    micros.sort_unstable();
    let measured = Measured {
        hook,
        calls: micros.len(),
        calls_per_second: rate(micros.len(), elapsed),
        p50_micros: percentile(&micros, 50),
        p99_micros: percentile(&micros, 99),
        memory_peak_bytes: memory_peak(&mut case, &plugin, hook).await?,
    };
    output::response(settings.output, &measured, |_| {
        record(&[
            ("Hook", measured.hook.to_string()),
            ("Calls", measured.calls.to_string()),
            ("Rate", format!("{:.0} calls/s", measured.calls_per_second)),
            ("p50", format!("{} µs", measured.p50_micros)),
            ("p99", format!("{} µs", measured.p99_micros)),
            ("Memory", bytes(measured.memory_peak_bytes)),
        ])
    })
}

async fn call(case: &Case, plugin: &Plugin, hook: Hook) -> Result<(), CallError> {
    case.call(plugin, hook).await.map(drop)
}

fn failed(error: &CallError) -> Error {
    Error::input(format!("the call fails: {error}"))
}

/// Found by halving: the limit is obeyed exactly, and a plugin's memory is the same in every call.
async fn memory_peak(case: &mut Case, plugin: &Plugin, hook: Hook) -> Result<u64> {
    let (mut fails, mut succeeds) = (MEMORY_BYTES_MIN - MEMORY_STEP_BYTES, MEMORY_BYTES_MAX);
    while succeeds - fails > MEMORY_STEP_BYTES {
        let middle = (fails + (succeeds - fails) / 2).next_multiple_of(MEMORY_STEP_BYTES);
        let middle = if middle == succeeds {
            succeeds - MEMORY_STEP_BYTES
        } else {
            middle
        };
        case.settings.limits.memory_bytes = middle;
        match call(case, plugin, hook).await {
            Ok(()) => succeeds = middle,
            // Languages tell a lack of memory each in their own way; with more of it the call succeeded.
            Err(CallError::Memory(_) | CallError::Trapped(_) | CallError::Failed(_)) => fails = middle,
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(succeeds)
}

#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
fn rate(calls: usize, elapsed: Duration) -> f64 {
    calls as f64 / elapsed.as_secs_f64()
}

/// Of sorted values; the least that `percent` of them do not exceed.
fn percentile(sorted: &[u128], percent: usize) -> u128 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let hundred: Vec<u128> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50), 50);
        assert_eq!(percentile(&hundred, 99), 99);
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[], 50), 0);
    }
}
