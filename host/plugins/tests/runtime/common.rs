//! What the tests of the runtime share: a runtime in a folder of its own, and something to judge.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    missing_debug_implementations,
    reason = "tests"
)]

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use ignite_core::{
    hook::Caller,
    ids::PluginDigest,
    policy::{CallLimits, Mode, OnFailure, Settings},
    request::{self, Submission, SubmittedSource},
    spec::BuildSpec,
};
use ignite_plugins::{ComponentSource, Plugin, Runtime, RuntimeOptions};
use tempfile::TempDir;

pub const VALIDATOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/validator-0.1.0.wasm");
/// Does what its configuration says; see `plugins/_hostile/puppet`.
pub const PUPPET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/puppet.wasm");

/// Compiling is slow on a busy machine: most tests need a component only once compiled.
pub const SHARED_CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled-plugins");

/// A source without components: what a test needs it admits.
#[derive(Debug)]
pub struct Nowhere;

#[async_trait::async_trait]
impl ComponentSource for Nowhere {
    async fn component(&self, _digest: &PluginDigest) -> io::Result<Option<Bytes>> {
        Ok(None)
    }
}

pub struct Scene {
    pub runtime: Arc<Runtime>,
    pub folder: TempDir,
}

pub fn options(cache_dir: &Path) -> RuntimeOptions {
    RuntimeOptions {
        cache_dir: cache_dir.to_owned(),
        cache_key: [7; 32],
        compiler: vec![env!("CARGO_BIN_EXE_ignite-compile-plugin").to_owned()],
        calls_max: 16,
        component_bytes_max: 32 << 20,
        compile_timeout: Duration::from_secs(300),
        compile_memory_bytes: 2 << 30,
        private_addresses_allowed: false,
    }
}

impl Scene {
    /// With the compiled modules of earlier tests.
    pub fn new() -> Self {
        Self::with(|options| options.cache_dir = SHARED_CACHE.into())
    }

    /// With nothing compiled yet.
    pub fn fresh() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut RuntimeOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options(&folder.path().join("cache"));
        change(&mut options);
        let runtime = Runtime::new(options, Arc::new(Nowhere)).unwrap();
        Self { runtime, folder }
    }

    pub async fn plugin(&self, file: &str) -> Arc<Plugin> {
        let admitted = self.runtime.admit(fs::read(file).unwrap().into()).await.unwrap();
        self.runtime.plugin(&admitted.digest).await.unwrap()
    }
}

pub fn settings(config: &str) -> Settings {
    Settings {
        mode: Mode::Enforce,
        on_failure: OnFailure::Reject,
        config: config.to_owned(),
        limits: CallLimits::default(),
        hosts: Vec::new(),
    }
}

pub fn caller(org: &str) -> Caller {
    Caller {
        org: org.parse().unwrap(),
        subject: "alice".to_owned(),
        submitted_at_ms: 1_748_390_400_000,
    }
}

/// With one secret and one plain argument.
pub fn spec() -> BuildSpec {
    let submission = Submission {
        name: "web".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        tags: vec!["latest".to_owned()],
        build_args: [("API_TOKEN", "hunter2-hunter2"), ("MODE", "release")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        no_cache: false,
        timeout_secs: 0,
        platform: String::new(),
        platforms: Vec::new(),
        source: Some(SubmittedSource::Git {
            url: "https://git.example.com/web.git".to_owned(),
            reference: "main".to_owned(),
            context_dir: String::new(),
        }),
        idempotency_key: String::new(),
        labels: [("team".to_owned(), "web".to_owned())].into(),
        priority: 0,
        webhook_url: String::new(),
    };
    let rules = request::Rules {
        timeout_default: Duration::from_secs(60),
        timeout_max: Duration::from_secs(600),
        registry: "registry.example.com".to_owned(),
        git_http_allowed: false,
        private_addresses_allowed: false,
        resource_classes: Vec::new(),
    };
    request::check(submission, &rules).unwrap()
}
