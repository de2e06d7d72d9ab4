//! One call: a fresh instance, one function, dropped.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use ignite_core::{ids::PluginDigest, policy::CallLimits};
use tokio::time::timeout;
use wasmtime::{
    Store, Trap, WasmBacktrace,
    component::{Instance, InstancePre},
};
use wasmtime_wasi::I32Exit;

use super::{
    CallError,
    engine::{Clock, DeadlinePassed, Overrun},
    gate::Permit,
    lanes::Lanes,
    limits,
    outbound::Outbound,
    output::Output,
    state::State,
};

/// Of the events with what plugins print.
const OUTPUT_TARGET: &str = "ignite_plugins::output";
/// Of a backtrace.
const FRAMES_SHOWN: usize = 3;
const TRAP_CHARS_MAX: usize = 600;

/// The call itself, on an instance made for it.
pub(crate) type Work<R> = Box<dyn for<'a> FnOnce(&'a mut Store<State>, &'a Instance) -> Doing<'a, R> + Send>;
type Doing<'a, R> = Pin<Box<dyn Future<Output = wasmtime::Result<R>> + Send + 'a>>;

/// How it ended and what it took.
pub(crate) struct Ended<R> {
    pub(crate) result: Result<R, CallError>,
    pub(crate) took: Duration,
    pub(crate) memory_bytes_peak: u64,
}

/// Only to tell the compiler a closure's type.
pub(crate) fn work<R, F>(work: F) -> Work<R>
where
    F: for<'a> FnOnce(&'a mut Store<State>, &'a Instance) -> Doing<'a, R> + Send + 'static,
{
    Box::new(work)
}

/// Runs `work` on a fresh instance of `component` within `limits`. The permit is held until the instance is gone, even if
/// nobody waits for the result any more.
pub(crate) async fn run<R: Send + 'static>(
    (clock, lanes): (&Arc<Clock>, &Lanes),
    digest: PluginDigest,
    component: InstancePre<State>,
    limits: CallLimits,
    outbound: Outbound,
    permit: Permit,
    work: Work<R>,
) -> Ended<R> {
    let limits = limits::effective(limits);
    let overrun = Overrun::default();
    let clock = Arc::clone(clock);
    let began = Instant::now();
    let call = Box::pin({
        let overrun = overrun.clone();
        async move {
            let _permit = permit;
            let output = Output::default();
            let state = State::new(limits.memory_bytes, &output, outbound);
            let mut store = Store::new(component.engine(), state);
            store.limiter(|state| &mut state.memory);
            store.set_hostcall_fuel(limits::HOSTCALL_BYTES_MAX);
            let _running = clock.arm(&mut store, limits.timeout, &overrun);
            let called = async {
                let instance = component.instantiate_async(&mut store).await?;
                work(&mut store, &instance).await
            };
            let result = timeout(limits.timeout, called).await;
            let memory = &store.data().memory;
            let result = match result {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(failure(&error, memory.refused, limits, &output)),
                Err(_) => Err(CallError::Timeout(limits.timeout)),
            };
            (result, memory.bytes_peak(), output)
        }
    });
    let (result, memory_bytes_peak, output) = lanes.run(call, &overrun).await.unwrap_or_else(|| {
        let ending = CallError::Unavailable("the gateway is ending".to_owned());
        (Err(ending), 0, Output::default())
    });
    // Not on the thread that the call may have been moved to: the caller knows what must not be in the log.
    if is_output_logged() {
        let text = output.text();
        if !text.is_empty() {
            tracing::debug!(target: OUTPUT_TARGET, plugin = %digest, output = text, "plugin.output");
        }
    }
    Ended {
        result,
        took: began.elapsed(),
        memory_bytes_peak,
    }
}

/// See [`crate::is_output_logged`].
pub(crate) fn is_output_logged() -> bool {
    tracing::enabled!(target: OUTPUT_TARGET, tracing::Level::DEBUG)
}

fn failure(error: &wasmtime::Error, memory_refused: bool, limits: CallLimits, output: &Output) -> CallError {
    if error.downcast_ref::<DeadlinePassed>().is_some() {
        return CallError::Timeout(limits.timeout);
    }
    if memory_refused {
        return CallError::Memory(limits.memory_bytes);
    }
    if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
        return CallError::Trapped(format!("it ended itself with exit status {code}"));
    }
    CallError::Trapped(trap_text(error, output))
}

/// What went wrong, what the plugin said last, and where it was; for its author.
fn trap_text(error: &wasmtime::Error, output: &Output) -> String {
    let cause = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        // Not the outermost: that is the backtrace.
        None => error.root_cause().to_string(),
    };
    let mut text = cause.trim_start_matches("wasm trap: ").to_owned();
    if let Some(line) = output.last_line() {
        text.push_str("; it said: ");
        text.push_str(&line);
    }
    let frames = error
        .downcast_ref::<WasmBacktrace>()
        .map(frames)
        .unwrap_or_default();
    if !frames.is_empty() {
        text.push_str("; in ");
        text.push_str(&frames.join(", called by "));
    }
    text.chars().take(TRAP_CHARS_MAX).collect()
}

/// The innermost functions. Only its whole text has demangled names, each behind its module and a `!`.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let text = backtrace.to_string();
    let names = text
        .lines()
        .filter_map(|line| line.split_once('!'))
        .map(|(_, name)| name);
    names.take(FRAMES_SHOWN).map(without_hash).collect()
}

/// Rust's hash at the end of a name tells nobody anything.
fn without_hash(name: &str) -> String {
    name.rsplit_once("::h")
        .filter(|(_, hash)| hash.len() == 16)
        .map_or(name, |(path, _)| path)
        .to_owned()
}
