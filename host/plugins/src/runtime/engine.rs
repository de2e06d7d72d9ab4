//! The engine and its clock.
//!
//! A call begins on the thread of its caller. The clock ticks; a call that is still computing after [`FIRST_TICKS`] has
//! overrun: it moves to the slow lane (see [`super::lanes`]) and from then on yields at every tick, until its deadline.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, UpdateDeadline,
};

use super::{RuntimeError, limits, state::State};

pub(crate) const TICK: Duration = Duration::from_millis(2);
/// The first tick may come at once, so at least one whole one is allowed for.
const FIRST_TICKS: u64 = 2;
/// The clock stops after so many ticks without a call.
const IDLE_TICKS: u32 = 50;

/// Of a memory that is kept between two calls instead of being given back to the system.
const MEMORY_KEPT_BYTES: usize = 1 << 20;
const TABLE_KEPT_BYTES: usize = 64 << 10;
const STACK_KEPT_BYTES: usize = 64 << 10;
/// More calls at once would not fit into the address space.
pub(crate) const SLOTS_MAX: u32 = 1_024;

/// All that compiled code depends on: the compiling child and we must agree.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_memory64(false)
        .epoch_interruption(true)
        .concurrency_support(false);
    config
}

/// An engine that runs up to `slots` instances at once.
pub(crate) fn engine(slots: u32) -> Result<Engine, RuntimeError> {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(slots)
        .total_stacks(slots)
        .total_core_instances(slots.saturating_mul(limits::CORE_INSTANCES_MAX))
        .max_core_instances_per_component(limits::CORE_INSTANCES_MAX)
        .total_memories(slots.saturating_mul(limits::MEMORIES_MAX))
        .max_memories_per_component(limits::MEMORIES_MAX)
        .max_memories_per_module(limits::MEMORIES_MAX)
        .max_memory_size(usize::try_from(limits::MEMORY_BYTES_MAX).unwrap_or(usize::MAX))
        .total_tables(slots.saturating_mul(limits::TABLES_MAX))
        .max_tables_per_component(limits::TABLES_MAX)
        .max_tables_per_module(limits::TABLES_MAX)
        .table_elements(limits::TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(MEMORY_KEPT_BYTES)
        .table_keep_resident(TABLE_KEPT_BYTES)
        .async_stack_keep_resident(STACK_KEPT_BYTES)
        // Where the kernel can tell which pages a call touched, only those are cleared.
        .pagemap_scan(Enabled::Auto);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).map_err(|error| RuntimeError::Engine(format!("{error:#}")))
}

/// Raised in a guest whose time is over.
#[derive(Debug, thiserror::Error)]
#[error("the call's time is over")]
pub(crate) struct DeadlinePassed;

/// Set once a call has computed for longer than it may on its caller's thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrun(Arc<AtomicBool>);

/// Ticks while calls run. Deadlines without it would never come, so only it sets them.
#[derive(Debug)]
pub(crate) struct Clock {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    calls: AtomicUsize,
    asleep: AtomicBool,
    ended: AtomicBool,
}

/// Keeps the clock ticking.
#[derive(Debug)]
pub(crate) struct Running(Arc<Shared>);

// === impl Overrun ===

impl Overrun {
    pub(crate) fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Clock ===

impl Clock {
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("plugin-clock".to_owned()).spawn({
            let (engine, shared) = (engine.clone(), Arc::clone(&shared));
            move || tick(&engine, &shared)
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Gives the guest in `store` until `timeout` from now, whatever it computes. What waits inside the host is not
    /// interrupted: that needs a timeout around the call.
    pub(crate) fn arm(&self, store: &mut Store<State>, timeout: Duration, overrun: &Overrun) -> Running {
        let running = self.run();
        let began = Instant::now();
        let overrun = Arc::clone(&overrun.0);
        store.set_epoch_deadline(FIRST_TICKS);
        store.epoch_deadline_callback(move |_| {
            if began.elapsed() >= timeout {
                return Err(DeadlinePassed.into());
            }
            overrun.store(true, Ordering::Relaxed);
            Ok(UpdateDeadline::Yield(1))
        });
        running
    }

    fn run(&self) -> Running {
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
        Running(Arc::clone(&self.shared))
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It holds nothing but the engine; a tick later it is gone.
            let _panicked = thread.join();
        }
    }
}

fn tick(engine: &Engine, shared: &Shared) {
    let mut idle_ticks = 0;
    while !shared.ended.load(Ordering::SeqCst) {
        if shared.calls.load(Ordering::SeqCst) > 0 {
            idle_ticks = 0;
        } else {
            idle_ticks += 1;
        }
        if idle_ticks > IDLE_TICKS {
            shared.asleep.store(true, Ordering::SeqCst);
            // Looked at again: a call that began before `asleep` was set wakes nobody.
            if shared.calls.load(Ordering::SeqCst) == 0 && !shared.ended.load(Ordering::SeqCst) {
                thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
            idle_ticks = 0;
        } else {
            #[allow(
                clippy::disallowed_methods,
                reason = "a thread of its own, which does nothing else"
            )]
            thread::sleep(TICK);
        }
        engine.increment_epoch();
    }
}

// === impl Running ===

impl Drop for Running {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}
