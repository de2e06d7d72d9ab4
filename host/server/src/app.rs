//! Puts the parts together, serves, and ends well.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ignite_core::{notification::NotificationId, queue::FairQueue, request::Rules, secrets::SecretText};
use ignite_plugins::{ComponentSource, Runtime, RuntimeError, RuntimeOptions, schema};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::{
        self,
        auth::Authenticator,
        listener::{self, Drained},
        tokens::TokenFileError,
    },
    clock,
    config::{Config, KubernetesSettings},
    driver::{Driver, Parts, Settings},
    error::Error,
    executor::{
        Executor, ExecutorError,
        classes::{ClassesError, ResourceClasses},
        kubernetes::{self, KubernetesConfig, KubernetesExecutor, PodTemplate, TemplateError},
        local::{LocalConfig, LocalExecutor},
    },
    hooks::Gates,
    maintenance::Maintenance,
    metrics,
    outbox::{self, Outbox, OutboxSettings},
    plugins::PluginStore,
    policies::{Policies, PolicyDirError},
    registry::{
        Registry, RegistryError,
        import::{ImportRules, Importer},
    },
    secrets::Secrets,
    service::Service,
    sources::{
        archive::ArchiveLimits,
        contexts::{ContextError, ContextStore, UploadLimits, grants::ContextGrants},
        git::GitRules,
    },
    store::{
        DataDir, OpenError, Store, StoreError, StoreOptions, Tenure,
        committer::CommitError,
        logs::{LogOptions, LogStore},
    },
    unsaid::Unsaid,
    vault::{Vault, VaultError},
};

pub mod announcements;
pub mod keys;
pub mod logging;
mod turn;

/// An archive may unpack to this many times what may be uploaded.
const UNPACKED_TIMES_MAX: u64 = 4;
/// Where Kaniko's own images have it.
const KANIKO_IN_IMAGE: &str = "/kaniko/executor";
const KANIKO_IN_PATH: &str = "kaniko-executor";
/// The hidden subcommand in which a plugin is compiled.
pub const COMPILE_PLUGIN: &str = "compile-plugin";
/// Between looks whether the databases still take writes.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("the vault could not be opened")]
    Vault(#[from] VaultError),
    #[error("the contexts could not be opened")]
    Contexts(#[from] ContextError),
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    #[error("the setting kubernetes_pod_template")]
    PodTemplate(#[from] TemplateError),
    #[error("the setting kubernetes_resource_classes")]
    ResourceClasses(#[from] ClassesError),
    #[error("the registry's configuration cannot be used")]
    Registry(#[from] RegistryError),
    #[error("plugins cannot be run")]
    Plugins(#[source] RuntimeError),
    #[error("policies cannot be read")]
    Policies(#[from] PolicyDirError),
    #[error("the tokens cannot be used")]
    Tokens(#[from] TokenFileError),
    #[error("{doing}")]
    Io {
        doing: String,
        #[source]
        source: io::Error,
    },
    #[error("TLS cannot be set up")]
    Tls(#[from] listener::tls::TlsError),
    #[error("the stored builds could not be taken up")]
    Recovery(#[source] Error),
    #[error(transparent)]
    Unread(#[from] StoreError),
    #[error("no announcement {0} waits, and none of that name was given up")]
    NoAnnouncement(NotificationId),
    #[error("the daemon ended because it can store nothing any more; start it again when the disk is well")]
    Disk(#[source] CommitError),
}

/// How a gateway is opened that is not one of its own.
#[derive(Debug, Default)]
pub struct Opening {
    /// They judge builds in place of the organizations' policies.
    pub gates: Option<Arc<dyn Gates>>,
    /// Until when this process may write.
    pub tenure: Tenure,
}

/// The gateway without its listener.
#[derive(Debug)]
pub struct App {
    pub service: Arc<Service>,
    pub driver: Arc<Driver>,
    pub store: Arc<Store>,
    pub logs: Arc<LogStore>,
    pub policies: Arc<Policies>,
    pub outbox: Arc<Outbox>,
    /// What lets runs elsewhere read their contexts.
    pub grants: Arc<ContextGrants>,
    maintenance: Maintenance,
    /// Nobody else may open the directory while this lives.
    _data: DataDir,
}

// === impl App ===

impl App {
    /// Opens everything; no build is taken up yet.
    pub async fn open(config: &Config, executor: Arc<dyn Executor>) -> Result<Self, AppError> {
        Self::open_with(config, executor, Opening::default()).await
    }

    pub async fn open_with(
        config: &Config,
        executor: Arc<dyn Executor>,
        opening: Opening,
    ) -> Result<Self, AppError> {
        // One provider for everything in the process that speaks TLS; a second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let data = DataDir::open_for(&config.data_dir, opening.tenure).map_err(OpenError::from)?;
        let options = StoreOptions {
            cache_bytes: config.store_cache_bytes,
            ..StoreOptions::default()
        };
        let store = Arc::new(Store::open(&data, options)?);
        let logs = Arc::new(LogStore::open(&data, LogOptions::default())?);
        let vault = Arc::new(Vault::open(&config.master_key, &store).await?);
        let secrets = Arc::new(Secrets::new(Arc::clone(&store), Arc::clone(&vault)));
        let contexts = Arc::new(ContextStore::local(&config.data_dir.join("contexts"))?);
        let grants = Arc::new(ContextGrants::new(&vault));
        let plugins = Arc::new(plugins(config, &store)?);
        let runtime = runtime(config, &vault, Arc::clone(&plugins) as _)?;
        let policies = Arc::new(Policies::new(
            runtime,
            Arc::clone(&store),
            Arc::clone(&plugins),
            child(config, schema::CHILD_COMMAND),
            config.policy_dir.clone(),
        ));
        policies.reload_files().await?;
        let gates = opening.gates.unwrap_or_else(|| Arc::clone(&policies) as _);
        let unsaid = Unsaid {
            store: Arc::clone(&store),
            vault: Arc::clone(&vault),
            secrets: Arc::clone(&secrets),
        };
        let announcer = Arc::new(outbox::Plugins::new(Arc::clone(&policies), unsaid.clone()));
        let outbox = Arc::new(Outbox::new(
            OutboxSettings::default(),
            Arc::clone(&store),
            announcer,
        ));
        let registry = Registry::new(
            config.registry.insecure.clone(),
            config.registry_docker_config.as_deref(),
            config.registry_ca_file.as_deref(),
        )?;
        let parts = Parts {
            store: Arc::clone(&store),
            logs: Arc::clone(&logs),
            vault: Arc::clone(&vault),
            secrets: Arc::clone(&secrets),
            contexts: Arc::clone(&contexts),
            grants: Arc::clone(&grants),
            executor,
            registry,
            gates: Arc::clone(&gates),
            outbox: Arc::clone(&outbox),
        };
        let classes = Arc::new(classes(config)?);
        let settings = Settings {
            retry: config.retry,
            log_bytes_max: config.log_bytes_max,
            registry: config.registry.clone(),
            classes: Arc::clone(&classes),
            queue_per_org_max: config.queue_per_org_max,
            hold_timeout_ms: i64::try_from(config.hold_timeout.as_millis()).unwrap_or(i64::MAX),
        };
        let driver = Driver::new(settings, parts, FairQueue::new(config.queue));
        let service = Arc::new(Service {
            rules: rules(config, &classes),
            upload_limits: upload_limits(config),
            store: Arc::clone(&store),
            logs: Arc::clone(&logs),
            vault,
            secrets,
            contexts: Arc::clone(&contexts),
            grants: Arc::clone(&grants),
            driver: Arc::clone(&driver),
            policies: Arc::clone(&policies),
            gates,
            plugins: Arc::clone(&plugins),
            importer: importer(config)?,
            outbox: Arc::clone(&outbox),
            unsaid,
            last_id: std::sync::Mutex::default(),
        });
        let maintenance = Maintenance {
            retention: config.retention,
            store: Arc::clone(&store),
            logs: Arc::clone(&logs),
            contexts,
            plugins,
            runtime: Arc::clone(policies.runtime()),
        };
        Ok(Self {
            service,
            driver,
            store,
            logs,
            policies,
            outbox,
            grants,
            maintenance,
            _data: data,
        })
    }
}

fn plugins(config: &Config, store: &Arc<Store>) -> Result<PluginStore, AppError> {
    let directory = config.data_dir.join("plugins");
    PluginStore::local(&directory, Arc::clone(store), config.plugins.component_bytes_max).map_err(|source| {
        AppError::Io {
            doing: format!("opening {}", directory.display()),
            source,
        }
    })
}

fn runtime(
    config: &Config,
    vault: &Vault,
    components: Arc<dyn ComponentSource>,
) -> Result<Arc<Runtime>, AppError> {
    let plugins = &config.plugins;
    let options = RuntimeOptions {
        cache_dir: config.data_dir.join("plugins/compiled"),
        cache_key: vault.fingerprint("compiled plugins", b""),
        compiler: child(config, COMPILE_PLUGIN),
        calls_max: plugins.calls_max,
        component_bytes_max: plugins.component_bytes_max,
        compile_timeout: plugins.compile_timeout,
        compile_memory_bytes: plugins.compile_memory_bytes,
        private_addresses_allowed: plugins.private_addresses_allowed,
    };
    Runtime::new(options, components).map_err(AppError::Plugins)
}

fn importer(config: &Config) -> Result<Importer, AppError> {
    let registry = &config.registry;
    let rules = ImportRules {
        insecure: registry.insecure.clone(),
        own: std::iter::once(&registry.host)
            .chain(&registry.mirrors)
            .cloned()
            .collect(),
        private_addresses_allowed: config.plugins.private_addresses_allowed,
        component_bytes_max: config.plugins.component_bytes_max,
    };
    Ok(Importer::new(
        rules,
        config.registry_docker_config.as_deref(),
        config.registry_ca_file.as_deref(),
    )?)
}

/// A hidden subcommand of this program, as a child of its own.
fn child(config: &Config, command: &str) -> Vec<String> {
    vec![config.plugins.program.display().to_string(), command.to_owned()]
}

fn rules(config: &Config, classes: &ResourceClasses) -> Rules {
    Rules {
        timeout_default: config.build_timeout_default,
        timeout_max: config.build_timeout_max,
        registry: config.registry.host.clone(),
        git_http_allowed: config.git_http_allowed,
        private_addresses_allowed: config.git_private_addresses_allowed,
        resource_classes: classes.names().map(str::to_owned).collect(),
    }
}

fn upload_limits(config: &Config) -> UploadLimits {
    let unpacked_bytes_max = config.context_bytes_max.saturating_mul(UNPACKED_TIMES_MAX);
    UploadLimits {
        upload_bytes_max: config.context_bytes_max,
        archive: ArchiveLimits {
            unpacked_bytes_max,
            ..ArchiveLimits::default()
        },
    }
}

/// Runs the daemon until a signal asks it to end.
pub async fn serve(config: Config) -> Result<(), AppError> {
    let authenticator = Arc::new(Authenticator::load(&config.tokens_file)?);
    if authenticator.token_count() == 0 {
        tracing::warn!(file = %config.tokens_file.display(), "no tokens: make one with `ignited token create`");
    }
    let tls = match &config.tls {
        Some(files) => Some(listener::tls::acceptor(&files.certificate, &files.key)?),
        None => None,
    };
    let listening = |source| AppError::Io {
        doing: format!("listening on {}", config.listen),
        source,
    };
    let socket = listener::bind(config.listen).await.map_err(listening)?;
    let addr = socket.local_addr().map_err(listening)?;
    let closing = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(wait_for_end(closing.clone()));

    let Some(turn) = turn::turn(&config, &socket, tls.clone(), &closing).await? else {
        return Ok(());
    };
    let executor: Arc<dyn Executor> = match &config.kubernetes {
        None => Arc::new(local_executor(&config).await?),
        Some(settings) => Arc::new(kubernetes_executor(&config, settings).await?),
    };
    let Some(app) = turn.open(&config, executor, &closing).await? else {
        return Ok(());
    };
    app.driver.start().await.map_err(AppError::Recovery)?;
    if let Some(address) = config.metrics_listen {
        metrics::serve(address, metrics::registry(&app), closing.clone())
            .await
            .map_err(|source| AppError::Io {
                doing: format!("listening on {address} for metrics"),
                source,
            })?;
    }
    tasks.spawn(app.maintenance.run(closing.clone()));
    let announcing = tasks.spawn(Arc::clone(&app.outbox).run(closing.clone()));
    tasks.spawn(Arc::clone(&authenticator).watch(closing.clone()));
    tasks.spawn(Arc::clone(&app.policies).watch_files(closing.clone()));
    let failing = tasks.spawn(close_when_failed(
        Arc::clone(&app.store),
        Arc::clone(&app.logs),
        closing.clone(),
    ));

    let router = api::router(&app.service, &authenticator, &closing);
    if tls.is_none() && !addr.ip().is_loopback() {
        tracing::warn!(%addr, "tokens cross the network in clear: set tls_cert and tls_key");
    }
    tracing::info!(%addr, tls = tls.is_some(), "listening");
    notify(NotifyState::Ready);
    let drained = listener::serve(socket, router, tls, closing, config.shutdown_deadline).await;
    notify(NotifyState::Stopping);
    // Runs go on by themselves; the next start takes them up.
    app.driver.stop().await;
    // It may finish what is under way, and writes down what came of it.
    let _ended = announcing.await;
    tasks.close();
    app.logs.shutdown().await;
    app.store.shutdown().await;
    turn.end().await;
    match drained {
        Drained::Completely => tracing::info!("shutdown.complete"),
        Drained::Dropped { connections } => tracing::warn!(connections, "shutdown.deadline_passed"),
    }
    match failing.await {
        Ok(Some(failure)) => Err(AppError::Disk(failure)),
        Ok(None) | Err(_) => Ok(()),
    }
}

/// Cancels `closing` once a database takes no more writes, as after a full disk: what is in memory is then ahead of what is on
/// disk for good, and only a new start helps. Runs go on meanwhile. None if `closing` came first.
async fn close_when_failed(
    store: Arc<Store>,
    logs: Arc<LogStore>,
    closing: CancellationToken,
) -> Option<CommitError> {
    loop {
        if let Err(failure) = store.health().and_then(|()| logs.health()) {
            tracing::error!(error = %clock::chain(&failure), "shutdown.store_failed");
            closing.cancel();
            return Some(failure);
        }
        tokio::select! {
            () = closing.cancelled() => return None,
            () = tokio::time::sleep(HEALTH_EVERY) => {}
        }
    }
}

async fn local_executor(config: &Config) -> Result<LocalExecutor, AppError> {
    let io = |doing: &str| {
        let doing = doing.to_owned();
        move |source| AppError::Io { doing, source }
    };
    let data_dir = std::path::absolute(&config.data_dir).map_err(io("finding the data directory"))?;
    let kaniko = match &config.kaniko {
        Some(path) => std::path::absolute(path).map_err(io("finding Kaniko"))?,
        None => find_kaniko(),
    };
    let registry_ca_file = config.registry_ca_file.as_ref().map(std::path::absolute);
    let git_ca_file = config.git_ca_file.as_ref().map(std::path::absolute);
    let local = LocalConfig {
        runtime: config.runtime.clone(),
        user_namespace: config.user_namespace,
        limits: config.limits,
        archive: upload_limits(config).archive,
        git: GitRules {
            http_allowed: config.git_http_allowed,
            private_addresses_allowed: config.git_private_addresses_allowed,
            ca_file: git_ca_file
                .transpose()
                .map_err(io("finding the git servers' authorities"))?,
            ..GitRules::default()
        },
        docker_config: config.registry_docker_config.clone(),
        registry_ca_file: registry_ca_file
            .transpose()
            .map_err(io("finding the registry's authorities"))?,
        ..LocalConfig::new(data_dir, kaniko).map_err(io("finding this program"))?
    };
    Ok(LocalExecutor::new(local)?)
}

async fn kubernetes_executor(
    config: &Config,
    settings: &KubernetesSettings,
) -> Result<KubernetesExecutor, AppError> {
    let read = |setting: &str, path: &Option<PathBuf>| {
        path.as_ref()
            .map(|path| kubernetes::read_setting(setting, path))
            .transpose()
    };
    let template = match &settings.pod_template {
        Some(path) => PodTemplate::load(path)?,
        None => PodTemplate::default(),
    };
    let registry = &config.registry;
    let kubernetes = KubernetesConfig {
        kubeconfig: settings.kubeconfig.clone(),
        context: settings.context.clone(),
        namespace: settings.namespace.clone(),
        namespace_per_org: settings.namespace_per_org,
        egress_allowed: settings.egress_allowed.clone(),
        registries: std::iter::once(&registry.host)
            .chain(&registry.mirrors)
            .cloned()
            .collect(),
        running_per_org_max: u32::try_from(config.queue.running_per_org_max).unwrap_or(u32::MAX),
        fetch_image: settings.fetch_image.clone(),
        kaniko_image: settings.kaniko_image.clone(),
        gateway_url: settings.gateway_url.clone(),
        template,
        classes: Arc::new(classes(config)?),
        archive: upload_limits(config).archive,
        git: GitRules {
            http_allowed: config.git_http_allowed,
            private_addresses_allowed: config.git_private_addresses_allowed,
            ..GitRules::default()
        },
        git_ca: read("git_ca_file", &config.git_ca_file)?,
        docker_config: read("registry_docker_config", &config.registry_docker_config)?.map(SecretText::new),
        registry_ca: read("registry_ca_file", &config.registry_ca_file)?,
    };
    Ok(KubernetesExecutor::new(kubernetes).await?)
}

/// On this machine every build may use the same.
fn classes(config: &Config) -> Result<ResourceClasses, AppError> {
    let Some(settings) = &config.kubernetes else {
        return Ok(ResourceClasses::only(config.limits));
    };
    match &settings.resource_classes {
        Some(path) => Ok(ResourceClasses::load(path, config.limits)?),
        None => Ok(ResourceClasses::within(config.limits)),
    }
}

fn find_kaniko() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(KANIKO_IN_PATH))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| Path::new(KANIKO_IN_IMAGE).to_owned())
}

/// Cancels `closing` at the first SIGTERM or SIGINT; the second ends the process at once.
async fn wait_for_end(closing: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    for again in [false, true] {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        if again {
            tracing::warn!(signal = name, "shutdown.at_once");
            std::process::exit(1);
        }
        tracing::info!(signal = name, "shutdown.draining");
        closing.cancel();
    }
    Ok(())
}

/// Tells the service manager, if there is one.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "service_manager.not_told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_takes_no_more_writes_ends_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let store = Arc::new(Store::open(&data, StoreOptions::default()).unwrap());
        let logs = Arc::new(LogStore::open(&data, LogOptions::default()).unwrap());
        let closing = CancellationToken::new();
        let failing = tokio::spawn(close_when_failed(Arc::clone(&store), logs, closing.clone()));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!closing.is_cancelled());
        store.shutdown().await;
        closing.cancelled().await;
        assert!(failing.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn an_ordinary_end_is_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let store = Arc::new(Store::open(&data, StoreOptions::default()).unwrap());
        let logs = Arc::new(LogStore::open(&data, LogOptions::default()).unwrap());
        let closing = CancellationToken::new();
        closing.cancel();
        assert!(close_when_failed(store, logs, closing).await.is_none());
    }
}
