//! The table of settings.

/// One setting: a flag `--like-this`, a variable `IGNITED_LIKE_THIS`, a key `like_this` of the file.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    /// None: unset, or derived from another setting as the help says.
    pub default: Option<&'static str>,
    pub help: &'static str,
}

const fn setting(name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting {
        name,
        default: Some(default),
        help,
    }
}

const fn unset(name: &'static str, help: &'static str) -> Setting {
    Setting {
        name,
        default: None,
        help,
    }
}

pub const SETTINGS: &[Setting] = &[
    setting(
        "listen",
        "127.0.0.1:8080",
        "Address for gRPC and HTTP; port 0 takes a free one",
    ),
    unset(
        "metrics_listen",
        "Address that Prometheus reads /metrics from, by plain http and without a token; without it there is none",
    ),
    unset(
        "tls_cert",
        "PEM file of the certificate chain; without it the listener speaks plain text",
    ),
    unset("tls_key", "PEM file of the certificate's key"),
    setting(
        "data_dir",
        "ignite-data",
        "Where state, logs, contexts and runs are kept",
    ),
    unset(
        "standby_lease",
        "Of several gateways over one data directory only the one that holds this Lease of Kubernetes works: name, or namespace/name",
    ),
    unset(
        "tokens_file",
        "Bearer tokens, hashed [default: tokens.toml in data_dir]",
    ),
    unset(
        "master_key_file",
        "Key for what is sealed at rest; made at the first start [default: master.key in data_dir]. The variable IGNITED_MASTER_KEY may hold the key itself instead",
    ),
    setting("registry", "127.0.0.1:5000", "Where images go: host[:port]"),
    setting("registry_insecure", "false", "Speak plain http to the registry"),
    unset(
        "registry_mirrors",
        "Tried before Docker Hub for base images, separated by commas",
    ),
    unset(
        "registry_docker_config",
        "Docker config.json with the logins for pull and push; steps of a build can read it",
    ),
    unset(
        "registry_ca_file",
        "PEM file of authorities that registries' certificates may be of, beside the system's",
    ),
    setting(
        "executor",
        "local",
        "Where builds run: local, in sandboxes on this machine, or kubernetes, as pods",
    ),
    unset(
        "kubernetes_kubeconfig",
        "How to reach the cluster [default: as a pod of it, else KUBECONFIG, else ~/.kube/config]",
    ),
    unset(
        "kubernetes_context",
        "Context of the kubeconfig [default: its current one]",
    ),
    setting(
        "kubernetes_namespace",
        "ignite-builds",
        "Namespace of build pods. No other gateway may have the same one: it is how a gateway knows its pods",
    ),
    setting(
        "kubernetes_namespace_per_org",
        "false",
        "Give each organization a namespace of its own, <kubernetes_namespace>-<organization>, with quota, limits and network policy",
    ),
    unset(
        "kubernetes_egress_allowed",
        "Private address ranges that builds in such namespaces may reach beside registry and gateway, such as 10.1.2.0/24, separated by commas",
    ),
    unset(
        "kubernetes_fetch_image",
        "Image with ignited, git and ssh, in which sources are fetched; required for kubernetes",
    ),
    unset(
        "kubernetes_kaniko_image",
        "Image with Kaniko at /kaniko/executor; required for kubernetes",
    ),
    unset(
        "kubernetes_gateway_url",
        "How build pods reach this gateway, to fetch uploaded contexts, such as http://ignite.ignite.svc:8080; required for kubernetes",
    ),
    unset(
        "kubernetes_pod_template",
        "YAML file with part of a PodSpec for build pods: nodeSelector, tolerations, affinity, env for proxies and the like",
    ),
    unset(
        "kubernetes_resource_classes",
        "TOML file of resource classes [default: small, medium and large: a quarter, half and all of build_*_max]",
    ),
    unset(
        "kaniko",
        "Kaniko's executor [default: kaniko-executor in PATH, then /kaniko/executor]",
    ),
    unset(
        "runtime",
        "OCI runtime [default: crun or runc in PATH, the first that works here]",
    ),
    setting(
        "user_namespace",
        "true",
        "Map a build's root to an unprivileged user of this machine",
    ),
    setting(
        "uid_base",
        "200000",
        "First of the 65536 user ids that builds are mapped to",
    ),
    setting("build_memory_bytes_max", "4GiB", "Memory of one build"),
    setting(
        "build_cpu_millis_max",
        "2000",
        "Thousandths of a core that one build may use",
    ),
    setting(
        "build_disk_bytes_max",
        "20GiB",
        "Disk of one build: context, root tree and log",
    ),
    setting("build_pids_max", "4096", "Processes and threads of one build"),
    setting("build_timeout_default", "30m", "Of a build that asks for none"),
    setting("build_timeout_max", "2h", "The longest that a build may ask for"),
    setting("builds_running_max", "4", "Builds at once"),
    setting(
        "builds_running_per_org_max",
        "4",
        "Builds of one organization at once",
    ),
    setting("queue_per_org_max", "1000", "Pending builds of one organization"),
    setting(
        "hold_timeout",
        "7d",
        "How long a build that a policy holds waits to be approved, before it fails",
    ),
    setting(
        "attempts_max",
        "3",
        "Starts of a build that fails for reasons of ours",
    ),
    setting(
        "retry_backoff",
        "5s",
        "Before the second attempt; doubles with each",
    ),
    setting("retry_backoff_max", "5m", "The longest wait between attempts"),
    setting(
        "log_bytes_max",
        "64MiB",
        "Log of one build; past it, head and tail are kept",
    ),
    setting("log_retention_days", "30", "Days that a build's log is kept"),
    setting(
        "context_bytes_max",
        "8GiB",
        "Size of an uploaded context, and four times that unpacked",
    ),
    setting(
        "context_ttl",
        "24h",
        "How long an uploaded context is kept after its last use",
    ),
    setting(
        "idempotency_ttl",
        "24h",
        "How long an idempotency key is remembered after its first use",
    ),
    setting(
        "notification_ttl",
        "30d",
        "How long an announcement that was given up is kept, to be replayed",
    ),
    setting("git_http_allowed", "false", "Allow git sources over plain http"),
    setting(
        "git_private_addresses_allowed",
        "false",
        "Allow git sources at loopback, private and link-local addresses",
    ),
    unset(
        "git_ca_file",
        "PEM file of authorities that git servers' certificates may be of, beside the system's",
    ),
    setting(
        "plugin_component_bytes_max",
        "64MiB",
        "Size of one plugin's component",
    ),
    setting("plugin_calls_max", "64", "Calls of plugins at once"),
    setting(
        "plugin_compile_timeout",
        "60s",
        "How long compiling one plugin may take",
    ),
    setting(
        "plugin_compile_memory_bytes_max",
        "2GiB",
        "Memory for compiling one plugin",
    ),
    setting(
        "plugin_private_addresses_allowed",
        "false",
        "Let notify plugins, and imports from registries, reach loopback, private and link-local addresses",
    ),
    unset(
        "policy_dir",
        "Directory of policies, <organization>.toml; they win over those put by PutPolicy",
    ),
    setting(
        "shutdown_deadline",
        "30s",
        "How long calls may take to finish when the daemon is asked to end",
    ),
    setting("store_cache_bytes", "64MiB", "Page cache of the state database"),
    setting("log_format", "text", "The daemon's own log: text or json"),
    setting(
        "log_level",
        "info",
        "error, warn, info, debug, trace, or tracing directives such as ignite_server=debug",
    ),
];

// === impl Setting ===

impl Setting {
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    pub fn variable(&self) -> String {
        format!("IGNITED_{}", self.name.to_ascii_uppercase())
    }
}

/// The known name that looks most like `name`, if one does.
pub(super) fn like(name: &str) -> Option<&'static str> {
    const SIMILAR: f64 = 0.8;
    SETTINGS
        .iter()
        .map(|setting| (strsim::jaro_winkler(name, setting.name), setting.name))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}
