//! Components made ready and called.
//!
//! ```text
//!   Runtime ── admit, plugin ──▶ catalog ──▶ cache (files) ──▶ compile (child) ──▶ admission
//!                                   │
//!   Plugin ─── a hook ──▶ gate ──▶ call ──▶ lanes ──▶ answer, checked
//!                        permits   fresh    caller's thread,
//!                                  store    then the slow one
//! ```

mod admission;
mod answer;
mod bindings;
mod cache;
mod call;
mod catalog;
mod compile;
mod convert;
mod engine;
mod gate;
mod lanes;
mod limits;
mod metrics;
mod outbound;
mod output;
mod plugin;
mod shared;
mod state;

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use ignite_core::{
    hook::{Description, Hook},
    ids::PluginDigest,
};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

pub(crate) use call::is_output_logged;
pub use compile::compile_child;
pub use metrics::{HookMetrics, LATENCY_MICROS_BOUNDS};
pub use plugin::Plugin;

use cache::Cache;
use catalog::Catalog;
use compile::CompileError;
use shared::Shared;

/// Compiling children at once.
const COMPILES_MAX: usize = 2;

/// How plugins are run in this process.
#[derive(Clone)]
pub struct RuntimeOptions {
    /// Where compiled modules are kept; made if missing, only for us to read.
    pub cache_dir: PathBuf,
    /// Authenticates what lies in `cache_dir`: loading a compiled module that is not ours would run any machine code.
    pub cache_key: [u8; 32],
    /// Program and arguments of the compiling child: it reads a component from standard input and calls
    /// [`crate::runtime::compile_child`].
    pub compiler: Vec<String>,
    /// Calls at once, of all plugins.
    pub calls_max: usize,
    /// A component's bytes.
    pub component_bytes_max: usize,
    /// For compiling one component.
    pub compile_timeout: Duration,
    pub compile_memory_bytes: u64,
    /// `notify` may reach loopback, private and link-local addresses: for tests and closed networks.
    pub private_addresses_allowed: bool,
}

/// The engine and every component that is ready. Cheap to clone by `Arc`.
#[derive(Debug)]
pub struct Runtime {
    options: RuntimeOptions,
    source: Arc<dyn ComponentSource>,
    shared: Arc<Shared>,
    cache: Arc<Cache>,
    catalog: Catalog,
    compiles: Semaphore,
}

/// Where the bytes of a component come from when it is not ready: the store, a folder, nowhere.
#[async_trait::async_trait]
pub trait ComponentSource: Send + Sync + fmt::Debug {
    /// None if there is no such component. The bytes are checked against the digest.
    async fn component(&self, digest: &PluginDigest) -> std::io::Result<Option<Bytes>>;
}

/// A component that was looked at, compiled and asked to describe itself.
#[derive(Debug, Clone)]
pub struct Admitted {
    pub digest: PluginDigest,
    pub size_bytes: u64,
    pub hooks: BTreeSet<Hook>,
    /// Such as `wasi:clocks/wall-clock@0.2.12`.
    pub imports: Vec<String>,
    pub description: Description,
}

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("{doing}")]
    Io {
        doing: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the WebAssembly engine did not start: {0}")]
    Engine(String),
}

/// Why a component is not taken. Everything but `Runtime` is the uploader's to mend; the text says how.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    #[error("the component has {bytes} bytes; at most {bytes_max} are taken")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("{0}")]
    Refused(String),
    #[error("the plugin failed when it was asked to describe itself")]
    Describe(#[source] CallError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// How a call failed. The text is for the organization: it names no other's data and no path of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The plugin itself said that it could not.
    #[error("the plugin failed: {0}")]
    Failed(String),
    #[error("the call took longer than {0:?}")]
    Timeout(Duration),
    #[error("the plugin needed more than its {0} bytes of memory")]
    Memory(u64),
    #[error("the plugin trapped: {0}")]
    Trapped(String),
    /// What came back breaks the contract: too much, or not what it may be.
    #[error("the plugin's answer was refused: {0}")]
    Answer(String),
    #[error("the plugin does not export {0}")]
    NotExported(Hook),
    #[error("too many plugins run at once; try again")]
    Busy,
    #[error("the plugin cannot be loaded: {0}")]
    Unavailable(String),
}

/// Why a component could not be made ready.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("{0}")]
    Refused(String),
    #[error("there is no such plugin")]
    Missing,
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

// === impl Runtime ===

impl Runtime {
    /// Starts the engine and its clock. Wants a Tokio runtime around its calls, not around this.
    pub fn new(options: RuntimeOptions, source: Arc<dyn ComponentSource>) -> Result<Arc<Self>, RuntimeError> {
        let shared = Arc::new(Shared::new(&options)?);
        let cache = Arc::new(Cache::open(
            &options.cache_dir,
            options.cache_key,
            &shared.engine,
        )?);
        Ok(Arc::new(Self {
            options,
            source,
            shared,
            cache,
            catalog: Catalog::new()?,
            compiles: Semaphore::new(COMPILES_MAX),
        }))
    }

    /// Checks, compiles and describes a component, and keeps it ready. The same bytes again cost nothing.
    pub async fn admit(&self, component: Bytes) -> Result<Admitted, AdmitError> {
        let (bytes, bytes_max) = (component.len(), self.options.component_bytes_max);
        if bytes > bytes_max {
            return Err(AdmitError::TooLarge { bytes, bytes_max });
        }
        admission::check_header(&component).map_err(AdmitError::Refused)?;
        let digest = PluginDigest::from_sha256(Sha256::digest(&component).into());
        let load = self.load(digest, Some(component));
        let plugin = self
            .catalog
            .get_or(&digest, load)
            .await
            .map_err(|error| match error {
                LoadError::Refused(problem) => AdmitError::Refused(problem),
                LoadError::Missing => AdmitError::Refused(error.to_string()),
                LoadError::Runtime(error) => AdmitError::Runtime(error),
            })?;
        let description = plugin.description().await.map_err(AdmitError::Describe)?.clone();
        Ok(Admitted {
            digest,
            size_bytes: bytes as u64,
            hooks: plugin.hooks().clone(),
            imports: plugin.imports().to_vec(),
            description,
        })
    }

    /// The component of this digest, ready to be called: from memory, else from the compiled file, else compiled from its bytes.
    pub async fn plugin(&self, digest: &PluginDigest) -> Result<Arc<Plugin>, CallError> {
        let load = self.load(*digest, None);
        self.catalog.get_or(digest, load).await.map_err(|error| {
            if let LoadError::Runtime(error) = &error {
                tracing::error!(%digest, error = error as &dyn std::error::Error, "plugin.load_failed");
                return CallError::Unavailable("the gateway could not make it ready".to_owned());
            }
            CallError::Unavailable(error.to_string())
        })
    }

    /// Lets go of a component, its compiled file and its counters. Calls in progress end as they would.
    pub async fn evict(&self, digest: &PluginDigest) {
        self.catalog.remove(digest);
        self.shared.metrics.forget(digest);
        let (cache, digest) = (Arc::clone(&self.cache), *digest);
        let removed = blocking(move || cache.remove(&digest)).await;
        if let Err(error) = removed.and_then(|removed| removed.map_err(|source| io_error("removing", source)))
        {
            tracing::warn!(%digest, error = &error as &dyn std::error::Error, "plugin.evict_failed");
        }
    }

    /// What each plugin and hook cost so far.
    pub fn metrics(&self) -> Vec<HookMetrics> {
        self.shared.metrics.snapshot()
    }

    /// From the compiled file, else from `component` or the source.
    async fn load(&self, digest: PluginDigest, component: Option<Bytes>) -> Result<Arc<Plugin>, LoadError> {
        let (cache, shared) = (Arc::clone(&self.cache), Arc::clone(&self.shared));
        let kept = blocking(move || {
            let component = cache.load(&shared.engine, &digest)?;
            Some(Plugin::new(shared, digest, &component))
        })
        .await?;
        if let Some(plugin) = kept {
            return plugin.map(Arc::new).map_err(LoadError::Refused);
        }
        let component = match component {
            Some(component) => component,
            None => self.fetch(&digest).await?,
        };
        let module = self.compile(&component).await?;
        let (cache, shared) = (Arc::clone(&self.cache), Arc::clone(&self.shared));
        blocking(move || {
            let component = cache.keep(&shared.engine, &digest, &module)?;
            Plugin::new(shared, digest, &component).map(Arc::new)
        })
        .await?
        .map_err(LoadError::Refused)
    }

    async fn fetch(&self, digest: &PluginDigest) -> Result<Bytes, LoadError> {
        let component = self.source.component(digest).await;
        let component = component.map_err(|source| io_error("reading a component", source))?;
        let component = component.ok_or(LoadError::Missing)?;
        if Sha256::digest(&component).as_slice() != digest.sha256() {
            return Err(LoadError::Refused(format!(
                "what is stored as {digest} is something else"
            )));
        }
        Ok(component)
    }

    async fn compile(&self, component: &Bytes) -> Result<Vec<u8>, LoadError> {
        // Never closed, so there is always one to come.
        let _permit = self.compiles.acquire().await.ok();
        compile::compile(&self.options, component)
            .await
            .map_err(|error| match error {
                CompileError::Refused(problem) => LoadError::Refused(problem),
                CompileError::Runtime(error) => LoadError::Runtime(error),
            })
    }
}

/// Files and machine code, off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RuntimeError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| RuntimeError::Engine(error.to_string()))
}

fn io_error(doing: &str, source: std::io::Error) -> RuntimeError {
    RuntimeError::Io {
        doing: doing.to_owned(),
        source,
    }
}

impl fmt::Debug for RuntimeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the key.
        f.debug_struct("RuntimeOptions")
            .field("cache_dir", &self.cache_dir)
            .field("compiler", &self.compiler)
            .field("calls_max", &self.calls_max)
            .finish_non_exhaustive()
    }
}
