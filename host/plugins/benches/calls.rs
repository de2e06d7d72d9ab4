//! What does a call of a plugin cost? The runtime's whole path (permits, limits, fresh instance, answer checked) against
//! bare wasmtime doing the least: instantiate, call, drop; the same component, the same process, rounds in turn, the median
//! round counts. Then one caller against two at once.
//!
//! The samples in JavaScript and Python come after it: an interpreter in the guest, so the same ratios of larger numbers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_debug_implementations,
    reason = "a benchmark that cannot run should stop"
)]

use std::{
    fs,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use ignite_core::spec::BuildSpec;
use ignite_plugins::Plugin;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

#[path = "../tests/runtime/common.rs"]
mod common;

mod bare {
    wasmtime::component::bindgen!({
        inline: "package ignite:bench; world judge { export ignite:plugin/validate@0.1.0; }",
        path: "../../wit",
    });
}

use bare::exports::ignite::plugin::validate::{BuildRequest, Caller as BareCaller, GuestIndices};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1_500);
const RATIO_MAX: f64 = 1.5;
const SCALE_MIN: f64 = 1.8;

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

fn main() -> ExitCode {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let samples = std::env::var("IGNITE_TEST_PLUGINS")
        .expect("IGNITE_TEST_PLUGINS must be the folder of built plugins: run `make bench`");
    let mut met = true;
    for (file, config) in [
        (common::VALIDATOR.to_owned(), "{}"),
        (
            format!("{samples}/naming-js.wasm"),
            r#"{"teams": ["web"], "forbidden_words": ["tmp"]}"#,
        ),
        (format!("{samples}/freeze-window-py.wasm"), "{}"),
    ] {
        // On a worker: the thread that blocks here is no part of the pool.
        met &= tokio.block_on(async { tokio::spawn(measure(file, config)).await.unwrap() });
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(file: String, config: &'static str) -> bool {
    let scene = common::Scene::new();
    let plugin = scene.plugin(&file).await;
    let bare = Bare::new(&fs::read(&file).unwrap());
    let (mut ours, mut least, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        least = bare.round(config);
        ours = round(&plugin, config).await;
        ratios.push(percentile(&ours, 50) / percentile(&least, 50));
    }
    let one = rate(&plugin, config, 1).await;
    let two = rate(&plugin, config, 2).await;
    ratios.sort_by(f64::total_cmp);
    let (ratio, scale) = (ratios[ROUNDS / 2], two / one);
    let name = file.rsplit('/').next().unwrap_or_default();
    for (what, times) in [("bare", &least), ("runtime", &ours)] {
        let (p50, p99) = (percentile(times, 50), percentile(times, 99));
        println!("{name} {what}: p50 {p50:.1} us, p99 {p99:.1} us");
    }
    println!(
        "{name}: {ratio:.2} x bare (at most {RATIO_MAX}); two at once {scale:.2} x one (at least {SCALE_MIN})"
    );
    ratio <= RATIO_MAX && scale >= SCALE_MIN
}

/// Microseconds of each call.
async fn round(plugin: &Plugin, config: &str) -> Vec<f64> {
    let (settings, caller, spec) = (common::settings(config), common::caller("acme"), common::spec());
    let mut times = Vec::new();
    let began = Instant::now();
    while began.elapsed() < ROUND {
        let call = Instant::now();
        plugin.validate(&settings, &caller, &spec).await.unwrap();
        times.push(call.elapsed().as_secs_f64() * 1e6);
        // As a server's task would: other tasks get their turn.
        tokio::task::coop::consume_budget().await;
    }
    times
}

/// Calls in a second, of `callers` tasks.
async fn rate(plugin: &Arc<Plugin>, config: &'static str, callers: usize) -> f64 {
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let plugin = Arc::clone(plugin);
            tokio::spawn(async move { round(&plugin, config).await.len() })
        })
        .collect();
    let mut calls = 0;
    for task in tasks {
        calls += task.await.unwrap();
    }
    calls as f64 / ROUND.as_secs_f64()
}

fn percentile(times: &[f64], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() * percent / 100]
}

struct Bare {
    engine: Engine,
    component: wasmtime::component::InstancePre<State>,
}

impl Bare {
    fn new(bytes: &[u8]) -> Self {
        let mut pool = PoolingAllocationConfig::default();
        pool.linear_memory_keep_resident(1 << 20)
            .table_keep_resident(64 << 10)
            .table_elements(64 << 10)
            .pagemap_scan(Enabled::Auto);
        let mut config = Config::new();
        config
            .concurrency_support(false)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
        let component = Component::new(&engine, bytes).unwrap();
        let component = linker.instantiate_pre(&component).unwrap();
        Self { engine, component }
    }

    fn round(&self, config: &str) -> Vec<f64> {
        let indices = GuestIndices::new(&self.component).unwrap();
        let spec = common::spec();
        let mut times = Vec::new();
        let began = Instant::now();
        while began.elapsed() < ROUND {
            let call = Instant::now();
            self.call(&indices, config, &spec);
            times.push(call.elapsed().as_secs_f64() * 1e6);
        }
        times
    }

    fn call(&self, indices: &GuestIndices, config: &str, spec: &BuildSpec) {
        let state = State {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
        };
        let mut store = Store::new(&self.engine, state);
        let instance = self.component.instantiate(&mut store).unwrap();
        let guest = indices.load(&mut store, &instance).unwrap();
        let (caller, request) = shown(spec);
        guest
            .call_validate(&mut store, config, &caller, &request)
            .unwrap()
            .unwrap();
    }
}

/// The same request as the runtime shows.
fn shown(spec: &BuildSpec) -> (BareCaller, BuildRequest) {
    use bare::ignite::plugin::types::{ArgValue, BuildArg, GitSource, Label, Source};

    let caller = BareCaller {
        organization: "acme".to_owned(),
        subject: "alice".to_owned(),
        submitted_at_ms: 1_748_390_400_000,
    };
    let args = spec.build_args().iter().map(|(name, value)| BuildArg {
        name: name.clone(),
        value: ArgValue::Plain(value.shown().to_owned()),
    });
    let labels = spec.labels().iter().map(|(key, value)| Label {
        key: key.clone(),
        value: value.clone(),
    });
    let request = BuildRequest {
        name: spec.name().to_owned(),
        source: Source::Git(GitSource {
            url: "https://git.example.com/web.git".to_owned(),
            reference: "main".to_owned(),
            context_dir: String::new(),
        }),
        dockerfile: spec.dockerfile().to_owned(),
        tags: spec.tags().to_vec(),
        build_args: args.collect(),
        labels: labels.collect(),
        platform: None,
        no_cache: false,
        timeout_seconds: 60,
        priority: 0,
    };
    (caller, request)
}
