//! What all plugins of a runtime share: the engine's parts, the permits, the counters.

use std::{fmt, sync::Arc};

use ignite_core::hook::Hook;
use wasmtime::{Engine, component::Linker};

use super::{
    RuntimeError, RuntimeOptions,
    engine::{self, Clock},
    gate::Gate,
    lanes::Lanes,
    metrics::Metrics,
    outbound::{Dialer, Outbound},
    state::{self, State},
};

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) metrics: Metrics,
    clock: Arc<Clock>,
    lanes: Lanes,
    /// For hooks that compute.
    gate: Gate,
    /// For announcements, which wait.
    notify_gate: Gate,
    linker: Linker<State>,
    linker_with_http: Linker<State>,
    dialer: Arc<Dialer>,
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(options: &RuntimeOptions) -> Result<Self, RuntimeError> {
        let threads = |source| RuntimeError::Io {
            doing: "starting the threads of the plugin runtime".to_owned(),
            source,
        };
        let calls_max = options.calls_max.clamp(1, engine::SLOTS_MAX as usize / 2);
        // Half of them for announcements.
        let slots = u32::try_from(calls_max * 2).unwrap_or(engine::SLOTS_MAX);
        let engine = engine::engine(slots)?;
        let linker = |with_http| {
            state::linker(&engine, with_http).map_err(|error| RuntimeError::Engine(format!("{error:#}")))
        };
        Ok(Self {
            linker: linker(false)?,
            linker_with_http: linker(true)?,
            clock: Arc::new(Clock::start(&engine).map_err(threads)?),
            lanes: Lanes::start().map_err(threads)?,
            gate: Gate::new(calls_max),
            notify_gate: Gate::new(calls_max),
            metrics: Metrics::default(),
            dialer: Arc::new(Dialer::new(options.private_addresses_allowed)),
            engine,
        })
    }

    pub(crate) fn linker(&self, with_http: bool) -> &Linker<State> {
        if with_http {
            &self.linker_with_http
        } else {
            &self.linker
        }
    }

    pub(crate) fn gate(&self, hook: Option<Hook>) -> &Gate {
        match hook {
            Some(Hook::Notify) => &self.notify_gate,
            Some(Hook::Rewrite | Hook::Validate | Hook::Inspect | Hook::Redact | Hook::RedactScan) | None => {
                &self.gate
            }
        }
    }

    pub(crate) fn machinery(&self) -> (&Arc<Clock>, &Lanes) {
        (&self.clock, &self.lanes)
    }

    /// The way out to `hosts`.
    pub(crate) fn outbound(&self, hosts: &[String]) -> Outbound {
        Outbound::to(Arc::clone(&self.dialer), hosts)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}
