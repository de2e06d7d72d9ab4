//! A gateway that Helm has installed on the test cluster.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    caller::Caller,
    cli::Cli,
    cluster::{Cluster, Namespace},
    command,
    gateway::{wait_until_known, wait_until_ready},
    paths,
    wait::eventually_blocking,
};

/// The release `ignite` in a namespace of its own, with builds in another. Both go when this is dropped.
#[derive(Debug)]
pub struct Release<'a> {
    cluster: &'a Cluster,
    namespace: Namespace<'a>,
    builds: String,
    /// `host:port`, reached from this machine as well as by pods.
    address: String,
    volume: PathBuf,
}

pub const CHART: &str = "deploy/helm/ignite";
/// The least strict of what an operator may set for the gateway's own namespace is not enough here.
const LEVEL: &str = "pod-security.kubernetes.io/enforce=restricted";

const START_DEADLINE: Duration = Duration::from_secs(120);

/// `helm`, without anything of this machine's user, in the repository's root.
pub fn helm(home: &Path) -> Command {
    let mut helm = Command::new(paths::made_by_setup("HELM"));
    helm.current_dir(paths::repository())
        .env("HELM_CACHE_HOME", home)
        .env("HELM_CONFIG_HOME", home)
        .env("HELM_DATA_HOME", home);
    helm
}

/// Fills a folder with what the gateway's image is built from: the binaries of this run of the tests.
pub fn image_context(folder: &Path) {
    let ignited = paths::binary("ignited");
    command::run(
        Command::new(paths::repository().join("deploy/image/context.sh"))
            .arg(folder)
            .arg(ignited.parent().unwrap()),
    );
}

static INSTALLED: AtomicU32 = AtomicU32::new(0);

// === impl Release ===

impl<'a> Release<'a> {
    /// Installs the chart with `image` and waits until a gateway is ready. `values` come last.
    pub fn install(cluster: &'a Cluster, image: &str, values: &Value) -> Self {
        cluster.must_be_ours("its services are reached from this machine, and volumes are folders here");
        let namespace = cluster.namespace("ignite");
        cluster.kubectl(&["label", "namespace", namespace.name(), LEVEL]);
        let builds = format!("{}-builds", namespace.name());
        // From the part of the range that nothing is given by chance; two tests of one process may be at it at once.
        let count = INSTALLED.fetch_add(1, Ordering::Relaxed);
        let address = format!("10.214.128.{}", 100 + (2 * std::process::id() + count) % 100);
        let volume = cluster.make_volume(namespace.name());
        let key = format!("--from-literal=master.key={}", "5e".repeat(32));
        let secret = ["create", "secret", "generic", "master-key", &key];
        cluster.kubectl(&[&secret[..], &["--namespace", namespace.name()]].concat());
        let release = Self {
            cluster,
            namespace,
            builds,
            address: format!("{address}:8080"),
            volume,
        };
        if let Some(claim) = values["persistence"]["existingClaim"].as_str() {
            let claim = json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": claim},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            });
            cluster.apply(release.namespace.name(), &claim.to_string());
        }
        let (repository, tag) = image.rsplit_once(':').unwrap();
        let ours = json!({
            "image": {"repository": repository, "tag": tag},
            "kanikoImage": cluster.kaniko_image(),
            "masterKeySecret": "master-key",
            "config": {
                "registry": cluster.registry().address(),
                "registry_insecure": true,
                "git_http_allowed": true,
                "git_private_addresses_allowed": true,
            },
            // There are no names in the test cluster.
            "builds": {"namespace": release.builds, "gatewayUrl": format!("http://{}", release.address)},
            "service": {"clusterIP": address},
            "persistence": {"size": "1Gi"},
        });
        release.helm(&["install", "ignite", CHART], &[&ours, values]);
        // `--wait` would wait for standbys, too.
        eventually_blocking("a gateway to be ready", START_DEADLINE, || {
            release.active().first().map(|_| ())
        });
        release
    }

    /// Runs `helm` on this namespace.
    pub fn helm(&self, arguments: &[&str], values: &[&Value]) -> String {
        let home = tempfile::tempdir().unwrap();
        let mut helm = helm(home.path());
        helm.args(arguments)
            .args(["--namespace", self.namespace.name(), "--kubeconfig"])
            .arg(self.cluster.kubeconfig());
        for (position, values) in values.iter().enumerate() {
            let file = home.path().join(format!("values-{position}.json"));
            fs::write(&file, values.to_string()).unwrap();
            helm.arg("--values").arg(file);
        }
        command::run(&mut helm)
    }

    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// The pods of gateways that are ready: their names and uids. One that takes another's place may have its name.
    pub fn active(&self) -> Vec<(String, String)> {
        let ours = [
            "--namespace",
            self.namespace.name(),
            "--selector",
            "app.kubernetes.io/name=ignite",
        ];
        let pods = self.cluster.get(&[&["pods"], &ours[..]].concat());
        let pods = pods["items"].as_array().unwrap().iter();
        let ready = pods.filter(|pod| pod["status"]["containerStatuses"][0]["ready"] == true);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        ready
            .map(|pod| (text(&pod["metadata"]["name"]), text(&pod["metadata"]["uid"])))
            .collect()
    }

    /// Where its builds run.
    pub fn builds_namespace(&self) -> &str {
        &self.builds
    }

    /// A client with a token made in the pod, as the chart's notes tell.
    pub fn caller(&self) -> Caller {
        Caller::new(&self.address, &self.create_token(), Arc::default())
    }

    /// The same client on a new connection, once there is a gateway at work again: the Service learns of it a moment after the pod is
    /// ready.
    pub fn reconnected(&self, caller: &Caller) -> Caller {
        wait_until_ready(&self.address);
        caller.reconnected()
    }

    pub fn cli(&self) -> Cli {
        Cli::new(&self.address, &self.create_token())
    }

    fn create_token(&self) -> String {
        let create = [
            "ignited",
            "token",
            "create",
            "--config",
            "/etc/ignite/config/ignited.toml",
        ];
        let whose = ["--organization", "acme", "--subject", "tester"];
        let pod = ["exec", "--namespace", self.namespace.name(), "ignite-0", "--"];
        let arguments: Vec<&str> = pod.into_iter().chain(create).chain(whose).collect();
        let token = self.cluster.kubectl(&arguments).trim().to_owned();
        wait_until_known(&self.address, &token);
        token
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let namespace = self.namespace.name();
            for arguments in [
                &["describe", "pods", "--namespace", namespace][..],
                &["logs", "--namespace", namespace, "ignite-0"],
                &["describe", "pods", "--namespace", &self.builds],
            ] {
                let said = self.cluster.try_kubectl(arguments).unwrap_or_default();
                eprintln!("--- kubectl {} ---\n{said}", arguments.join(" "));
            }
        }
        let _gone = self
            .cluster
            .try_kubectl(&["delete", "namespace", "--wait=false", &self.builds]);
        let _gone = self.cluster.try_kubectl(&[
            "delete",
            "persistentvolume",
            "--wait=false",
            self.namespace.name(),
        ]);
        let _gone = fs::remove_dir_all(&self.volume);
    }
}

// === impl Cluster ===

impl Cluster {
    /// A volume for the chart's own claim; its folder.
    fn make_volume(&self, name: &str) -> PathBuf {
        let folder = Path::new("/var/lib/ignite-cluster/volumes").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
        let volume = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                // Of this test's claim alone.
                "claimRef": {"namespace": name, "name": "data-ignite-0"},
                "local": {"path": folder},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "Exists"},
                ]}]}},
            },
        });
        self.apply("default", &volume.to_string());
        folder
    }
}
