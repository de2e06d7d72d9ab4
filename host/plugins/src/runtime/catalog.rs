//! Components that are ready, by digest. The least used go when they take too much memory together; calls in progress keep
//! what they have.

use std::{fmt, future::Future, sync::Arc};

use ignite_core::ids::PluginDigest;
use quick_cache::{OptionsBuilder, Weighter, sync::DefaultLifecycle};

use super::{Plugin, RuntimeError};

/// Of machine code, in all.
const CODE_BYTES_MAX: u64 = 2 << 30;
/// As many as are expected to be ready at once; only a hint for the cache.
const PLUGINS: usize = 64;

#[derive(Debug, Clone)]
struct ByCode;

type Hasher = std::hash::RandomState;
type Plugins = quick_cache::sync::Cache<PluginDigest, Arc<Plugin>, ByCode, Hasher>;

pub(crate) struct Catalog {
    plugins: Plugins,
}

// === impl Catalog ===

impl Catalog {
    pub(crate) fn new() -> Result<Self, RuntimeError> {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(PLUGINS)
            .weight_capacity(CODE_BYTES_MAX)
            // One: with several, each holds only its part of the capacity.
            .shards(1)
            .build()
            .map_err(|error| RuntimeError::Engine(error.to_string()))?;
        Ok(Self {
            plugins: Plugins::with_options(options, ByCode, Hasher::new(), DefaultLifecycle::default()),
        })
    }

    /// The plugin of this digest. If it is not there, `load` makes it; who asks meanwhile waits for that one. If it fails,
    /// the next tries anew.
    pub(crate) async fn get_or<E>(
        &self,
        digest: &PluginDigest,
        load: impl Future<Output = Result<Arc<Plugin>, E>>,
    ) -> Result<Arc<Plugin>, E> {
        self.plugins.get_or_insert_async(digest, load).await
    }

    pub(crate) fn remove(&self, digest: &PluginDigest) {
        self.plugins.remove(digest);
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("plugins", &self.plugins.len())
            .finish()
    }
}

impl Weighter<PluginDigest, Arc<Plugin>> for ByCode {
    fn weight(&self, _digest: &PluginDigest, plugin: &Arc<Plugin>) -> u64 {
        plugin.code_bytes().max(1)
    }
}
