//! What the daemon shows to Prometheus: read when it is asked for, labelled by nothing that a request or a secret could be in.

use std::{fmt, net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use ignite_plugins::{HookMetrics, LATENCY_MICROS_BOUNDS, Runtime};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    metrics::{MetricType, exemplar::Exemplar},
    registry::{Registry, Unit},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    driver::Driver,
    store::{Store, logs::LogStore},
};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// No metric here has examples.
const NO_EXEMPLAR: Option<&Exemplar<[(&str, &str); 0], f64>> = None;

/// Where the numbers are from.
#[derive(Clone)]
struct Sources {
    driver: Arc<Driver>,
    runtime: Arc<Runtime>,
    store: Arc<Store>,
    logs: Arc<LogStore>,
}

/// All metrics of this gateway, in a registry that asks for them at each scrape.
pub fn registry(app: &App) -> Registry {
    let mut registry = Registry::with_prefix("ignite");
    registry.register_collector(Box::new(Sources {
        driver: Arc::clone(&app.driver),
        runtime: Arc::clone(app.policies.runtime()),
        store: Arc::clone(&app.store),
        logs: Arc::clone(&app.logs),
    }));
    registry
}

/// Serves `GET /metrics` as OpenMetrics text, to anyone who can connect, until `closing`.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    registry: Registry,
    closing: CancellationToken,
) -> std::io::Result<()> {
    let socket = TcpListener::bind(address).await?;
    tracing::info!(addr = %socket.local_addr()?, "metrics.served");
    let router = Router::new()
        .route("/metrics", get(scrape))
        .with_state(Arc::new(registry));
    tokio::spawn(async move {
        let ended = closing.cancelled_owned();
        if let Err(error) = axum::serve(socket, router).with_graceful_shutdown(ended).await {
            tracing::warn!(%error, "metrics.ended");
        }
    });
    Ok(())
}

async fn scrape(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    let mut shown = String::new();
    // Writing to a string fails only if a number cannot be written.
    match text::encode(&mut shown, &registry) {
        Ok(()) => Ok(([(header::CONTENT_TYPE, OPENMETRICS)], shown)),
        Err(fmt::Error) => Err(axum::http::StatusCode::INTERNAL_SERVER_ERROR),
    }
}

// === impl Sources ===

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (queued, running) = self.driver.load();
        let help = "Builds that wait in the queue, and builds that run";
        let mut builds = encoder.encode_descriptor("builds", help, None, MetricType::Gauge)?;
        for (state, count) in [("queued", queued), ("running", running)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            builds.encode_family(&[("state", state)])?.encode_gauge(&count)?;
        }
        let help = "1 while the database takes writes";
        let mut healthy = encoder.encode_descriptor("store_healthy", help, None, MetricType::Gauge)?;
        for (database, health) in [("state", self.store.health()), ("logs", self.logs.health())] {
            let healthy_now = i64::from(health.is_ok());
            healthy
                .encode_family(&[("database", database)])?
                .encode_gauge(&healthy_now)?;
        }
        plugins(&mut encoder, &self.runtime.metrics())
    }
}

fn plugins(encoder: &mut DescriptorEncoder<'_>, hooks: &[HookMetrics]) -> fmt::Result {
    type Count = fn(&HookMetrics) -> u64;
    let counters: [(&str, &str, Count); 5] = [
        ("plugin_calls", "Calls of plugins", |hook| hook.calls),
        ("plugin_failures", "Calls that failed, in whatever way", |hook| {
            hook.failures
        }),
        ("plugin_traps", "Calls that trapped", |hook| hook.traps),
        ("plugin_timeouts", "Calls that took too long", |hook| {
            hook.timeouts
        }),
        ("plugin_denials", "Verdicts that denied", |hook| hook.denials),
    ];
    for (name, help, count) in counters {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for hook in hooks {
            family
                .encode_family(&labels(hook))?
                .encode_counter(&count(hook), NO_EXEMPLAR)?;
        }
    }
    let help = "The most memory that a call had";
    let mut peak =
        encoder.encode_descriptor("plugin_memory_peak", help, Some(&Unit::Bytes), MetricType::Gauge)?;
    for hook in hooks {
        let bytes = i64::try_from(hook.memory_bytes_peak).unwrap_or(i64::MAX);
        peak.encode_family(&labels(hook))?.encode_gauge(&bytes)?;
    }
    let help = "Time that calls took, waiting for their turn not included";
    let mut latency = encoder.encode_descriptor(
        "plugin_call_duration",
        help,
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for hook in hooks {
        let bounds = LATENCY_MICROS_BOUNDS.iter().map(|micros| seconds(*micros));
        let buckets: Vec<(f64, u64)> = bounds
            .chain([f64::MAX])
            .zip(hook.latency_buckets.iter().copied())
            .collect();
        let count = hook.latency_buckets.iter().sum();
        latency
            .encode_family(&labels(hook))?
            .encode_histogram::<[(&str, &str); 0]>(seconds(hook.latency_micros_sum), count, &buckets, None)?;
    }
    Ok(())
}

/// A plugin's name is its uploader's word and may be another's too: the digest tells which it was.
fn labels(hook: &HookMetrics) -> [(&'static str, String); 2] {
    [
        ("digest", hook.digest.to_string()),
        ("hook", hook.hook.to_string()),
    ]
}

#[allow(
    clippy::cast_precision_loss,
    reason = "exact to the microsecond for 285 years"
)]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests;
