//! Runs organizations' WebAssembly components within limits.
//!
//! ```text
//!   component ─▶ compile (a child process) ─▶ catalog (ready modules by digest) ─▶ call: fresh instance, one hook, dropped
//!                                                                                     ▲
//!                              chain: a policy's entries in order, what they say made one decision
//! ```
//!
//! Knows nothing of the server: the client tests plugins and policies with the very same code.

pub mod chain;
pub mod config;
pub mod runtime;
pub mod schema;

/// Whether what plugins print goes to the log of this process: then whoever has them called sees to what must not stand there.
/// It is logged by the task that made the call.
pub fn is_output_logged() -> bool {
    runtime::is_output_logged()
}

pub use chain::{Chain, Decision};
pub use runtime::{
    AdmitError, Admitted, CallError, ComponentSource, HookMetrics, LATENCY_MICROS_BOUNDS, Plugin, Runtime,
    RuntimeError, RuntimeOptions,
};
