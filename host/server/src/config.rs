//! The daemon's configuration: defaults, then a TOML file, then `IGNITED_*`, then flags; the last one wins.
//!
//! Every setting is one row of [`settings::SETTINGS`]; from it come the flags, the variables, the file's keys and the help.
//! Values are text until all of them are known; then all are parsed, and all that is wrong is reported together.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ignite_core::{build::RetryPolicy, queue};
use secrecy::ExposeSecret as _;

use self::sources::Values;
use crate::{
    driver::RegistrySettings,
    executor::{Limits, local::UserNamespace},
    maintenance::Retention,
    vault::MasterKeySource,
};

/// Also where its file was replaced since it started.
const THIS_PROGRAM: &str = "/proc/self/exe";

mod kubernetes;
mod parse;
pub mod settings;
mod sources;
#[cfg(test)]
mod tests;

pub use kubernetes::KubernetesSettings;
pub use sources::{Origin, Sources};

/// Everything that an operator can set, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub metrics_listen: Option<SocketAddr>,
    pub tls: Option<TlsFiles>,
    pub data_dir: PathBuf,
    /// `name` or `namespace/name`.
    pub standby_lease: Option<String>,
    pub tokens_file: PathBuf,
    pub master_key: MasterKeySource,
    pub registry: RegistrySettings,
    pub registry_docker_config: Option<PathBuf>,
    pub registry_ca_file: Option<PathBuf>,
    /// None: builds run on this machine.
    pub kubernetes: Option<KubernetesSettings>,
    pub kaniko: Option<PathBuf>,
    pub runtime: Option<PathBuf>,
    pub user_namespace: Option<UserNamespace>,
    pub limits: Limits,
    pub queue: queue::Limits,
    pub queue_per_org_max: usize,
    pub hold_timeout: Duration,
    pub build_timeout_default: Duration,
    pub build_timeout_max: Duration,
    pub retry: RetryPolicy,
    pub log_bytes_max: u64,
    pub retention: Retention,
    pub context_bytes_max: u64,
    pub git_http_allowed: bool,
    pub git_private_addresses_allowed: bool,
    pub git_ca_file: Option<PathBuf>,
    pub plugins: PluginSettings,
    pub policy_dir: Option<PathBuf>,
    pub shutdown_deadline: Duration,
    pub store_cache_bytes: u64,
    pub log_format: LogFormat,
    pub log_level: String,
}

/// How plugins are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSettings {
    pub component_bytes_max: usize,
    /// Calls at once.
    pub calls_max: usize,
    pub compile_timeout: Duration,
    pub compile_memory_bytes: u64,
    /// Also for the registries that plugins are imported from.
    pub private_addresses_allowed: bool,
    /// Where children of this program's own come from: it, unless this process is another program.
    pub program: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutorKind {
    Local,
    Kubernetes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} (from {origin}): {problem}")]
pub struct ConfigError {
    pub setting: String,
    pub origin: Origin,
    /// What is wrong, and what would be right.
    pub problem: String,
}

// === impl Config ===

impl Config {
    /// Reads the file that the sources name, if they name one, and checks everything.
    ///
    /// # Errors
    /// All that is wrong, in the order of the settings.
    pub fn load(sources: Sources) -> Result<Self, Vec<ConfigError>> {
        let mut values = Values::gather(sources);
        let config = Self::read(&mut values);
        match config {
            Some(config) if values.errors.is_empty() => Ok(config),
            Some(_) | None => Err(values.errors),
        }
    }

    fn read(values: &mut Values) -> Option<Self> {
        let data_dir = values.get("data_dir", parse::path);
        let below =
            |given: Option<PathBuf>, name: &str| given.or_else(|| Some(data_dir.as_ref()?.join(name)));
        let tokens_file = values.optional("tokens_file", parse::path);
        let master_key_file = values.optional("master_key_file", parse::path);
        let master_key = Self::read_master_key(values, master_key_file);
        let certificate = values.optional("tls_cert", parse::path);
        let key = values.optional("tls_key", parse::path);
        if certificate.is_some() != key.is_some() {
            values.wrong("tls_cert", "goes with tls_key: set both or none");
        }
        let registry_host = values.get("registry", parse::registry);
        let insecure = values.get("registry_insecure", parse::boolean);
        let mirrors = values.list("registry_mirrors", parse::registry);
        let registry = match (registry_host, insecure) {
            (Some(host), Some(insecure)) => Some(RegistrySettings {
                insecure: if insecure { vec![host.clone()] } else { Vec::new() },
                host,
                mirrors,
            }),
            (None | Some(_), _) => None,
        };
        let user_namespace = values.get("user_namespace", parse::boolean);
        let uid_base = values.get("uid_base", parse::number::<u32>);
        let limits = Self::read_limits(values);
        let retry = Self::read_retry(values);
        let timeout_default = values.get("build_timeout_default", parse::period);
        let timeout_max = values.get("build_timeout_max", parse::period);
        if let (Some(default), Some(max)) = (timeout_default, timeout_max)
            && default > max
        {
            values.wrong("build_timeout_default", "must not be above build_timeout_max");
        }
        let queue = (
            values.get("builds_running_max", parse::count),
            values.get("builds_running_per_org_max", parse::count),
        );
        let retention = (
            values.get("context_ttl", parse::duration),
            values.get("log_retention_days", parse::number),
            values.get("idempotency_ttl", parse::duration),
            values.get("notification_ttl", parse::duration),
        );
        // All are read before the first `?`, so that one that is wrong hides none of the others.
        let listen = values.get("listen", parse::address);
        let metrics_listen = values.optional("metrics_listen", parse::address);
        let registry_docker_config = values.optional("registry_docker_config", parse::path);
        let registry_ca_file = values.optional("registry_ca_file", parse::path);
        let standby_lease = values.optional("standby_lease", parse::lease);
        let kaniko = values.optional("kaniko", parse::path);
        let runtime = values.optional("runtime", parse::path);
        let queue_per_org_max = values.get("queue_per_org_max", parse::count);
        let hold_timeout = values.get("hold_timeout", parse::duration);
        let log_bytes_max = values.get("log_bytes_max", parse::log_size);
        let context_bytes_max = values.get("context_bytes_max", parse::size);
        let git_http_allowed = values.get("git_http_allowed", parse::boolean);
        let git_private_addresses_allowed = values.get("git_private_addresses_allowed", parse::boolean);
        let git_ca_file = values.optional("git_ca_file", parse::path);
        let plugins = Self::read_plugins(values);
        let kubernetes = KubernetesSettings::read(values);
        let policy_dir = values.optional("policy_dir", parse::path);
        let shutdown_deadline = values.get("shutdown_deadline", parse::duration);
        let store_cache_bytes = values.get("store_cache_bytes", parse::size);
        let log_format = values.get("log_format", parse::log_format);
        let log_level = values.get("log_level", parse::log_level);
        Some(Self {
            listen: listen?,
            metrics_listen,
            standby_lease,
            tls: certificate
                .zip(key)
                .map(|(certificate, key)| TlsFiles { certificate, key }),
            tokens_file: below(tokens_file, "tokens.toml")?,
            master_key: match master_key? {
                Some(given) => given,
                None => MasterKeySource::File(below(None, "master.key")?),
            },
            registry_docker_config,
            registry_ca_file,
            kubernetes: kubernetes?,
            kaniko,
            runtime,
            queue_per_org_max: queue_per_org_max?,
            hold_timeout: hold_timeout?,
            log_bytes_max: log_bytes_max?,
            context_bytes_max: context_bytes_max?,
            git_http_allowed: git_http_allowed?,
            git_private_addresses_allowed: git_private_addresses_allowed?,
            git_ca_file,
            plugins: plugins?,
            policy_dir,
            shutdown_deadline: shutdown_deadline?,
            store_cache_bytes: store_cache_bytes?,
            log_format: log_format?,
            log_level: log_level?,
            data_dir: data_dir?,
            registry: registry?,
            user_namespace: user_namespace?
                .then_some(uid_base?)
                .map(|uid_base| UserNamespace {
                    uid_base,
                    ..UserNamespace::default()
                }),
            limits: limits?,
            queue: queue::Limits {
                running_max: queue.0?,
                running_per_org_max: queue.1?,
            },
            build_timeout_default: timeout_default?,
            build_timeout_max: timeout_max?,
            retry: retry?,
            retention: Retention {
                context_ttl: retention.0?,
                log_days: retention.1?,
                idempotency_ttl: retention.2?,
                notification_ttl: retention.3?,
            },
        })
    }

    /// From one place only: with two that differ, an operator would learn late which of them counts. Some(None): from the default
    /// file; None: an error says what is wrong.
    fn read_master_key(values: &mut Values, file: Option<PathBuf>) -> Option<Option<MasterKeySource>> {
        match (values.master_key.take(), file) {
            (None, file) => Some(file.map(MasterKeySource::File)),
            (Some(key), _) if key.expose_secret().is_empty() => {
                values.wrong_key("is empty: set a key, or leave it unset");
                None
            }
            (Some(_), Some(_)) => {
                values.wrong_key("is there beside master_key_file: set one of them");
                None
            }
            (Some(key), None) => Some(Some(MasterKeySource::Variable(key))),
        }
    }

    fn read_limits(values: &mut Values) -> Option<Limits> {
        let memory_bytes = values.get("build_memory_bytes_max", parse::size);
        let cpu_millis = values.get("build_cpu_millis_max", parse::count);
        let disk_bytes = values.get("build_disk_bytes_max", parse::size);
        let pids = values.get("build_pids_max", parse::count);
        Some(Limits {
            memory_bytes: memory_bytes?,
            cpu_millis: cpu_millis?,
            disk_bytes: disk_bytes?,
            pids: pids?,
        })
    }

    fn read_plugins(values: &mut Values) -> Option<PluginSettings> {
        let component_bytes_max = values.get("plugin_component_bytes_max", parse::size);
        let calls_max = values.get("plugin_calls_max", parse::count::<u16>);
        let compile_timeout = values.get("plugin_compile_timeout", parse::period);
        let compile_memory_bytes = values.get("plugin_compile_memory_bytes_max", parse::size);
        let private_addresses_allowed = values.get("plugin_private_addresses_allowed", parse::boolean);
        Some(PluginSettings {
            component_bytes_max: usize::try_from(component_bytes_max?).unwrap_or(usize::MAX),
            calls_max: usize::from(calls_max?),
            compile_timeout: compile_timeout?,
            compile_memory_bytes: compile_memory_bytes?,
            private_addresses_allowed: private_addresses_allowed?,
            program: PathBuf::from(THIS_PROGRAM),
        })
    }

    fn read_retry(values: &mut Values) -> Option<RetryPolicy> {
        let attempts_max = values.get("attempts_max", parse::count);
        let backoff = values.get("retry_backoff", parse::duration);
        let backoff_max = values.get("retry_backoff_max", parse::duration);
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Some(RetryPolicy {
            attempts_max: attempts_max?,
            backoff_ms: millis(backoff?),
            backoff_ms_max: millis(backoff_max?),
        })
    }
}
