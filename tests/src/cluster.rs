//! One node of Kubernetes, which all tests of a machine share.
//!
//! The first test that asks brings it up (`tests/env/cluster/up.sh`), and it stays up until `make cluster-down`, so that tests of
//! several work trees need not wait for each other's. What a test makes there belongs into a [`Namespace`] of its own; a test
//! that breaks parts of the node has it for itself: [`Cluster::alone`].
//!
//! With `IGNITE_TEST_KUBECONFIG` another cluster takes its place. Then `IGNITE_TEST_HOST_ADDRESS` says where its pods find this
//! machine, and `IGNITE_TEST_KANIKO_IMAGE` and `IGNITE_TEST_FETCH_IMAGE` name images that it can pull. Tests that break its parts, or
//! install the chart there, then fail: they need to know it better.

mod faults;
mod watch;

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

pub use self::{
    faults::{Component, CutOff, DiskShortage, GivenUp, KubeletSettings},
    watch::{PodChange, PodWatch},
};
use crate::{command, paths, registry::Registry};

/// The right to use the cluster, with others or alone, until dropped.
#[derive(Debug)]
pub struct Cluster {
    alone: bool,
    // Locks nothing but this file; released with the file handle, however the process ends.
    _turn: File,
}

/// A namespace that goes, with all that is in it, when this is dropped.
#[derive(Debug)]
pub struct Namespace<'a> {
    name: String,
    _cluster: &'a Cluster,
}

/// What is known of the cluster that this process uses.
#[derive(Debug)]
struct Facts {
    kubeconfig: PathBuf,
    host_address: String,
    kaniko_image: String,
    /// Not one of `tests/env/cluster`.
    foreign: bool,
}

/// Where `tests/env/cluster` keeps everything; the same for all work trees.
const STATE: &str = "/var/lib/ignite-cluster";

static FACTS: LazyLock<Facts> = LazyLock::new(Facts::find);
static FETCH_IMAGE: LazyLock<String> = LazyLock::new(|| {
    env::var("IGNITE_TEST_FETCH_IMAGE").unwrap_or_else(|_| {
        let binaries = paths::binary("ignited");
        let printed = command::run(script("image.sh").arg(binaries.parent().unwrap()));
        printed.trim().to_owned()
    })
});
static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let registry = open_registry();
    registry.import_base_images();
    registry
});

// === impl Cluster ===

impl Cluster {
    /// Together with other tests.
    pub fn shared() -> Self {
        let turn = turns();
        turn.lock_shared().unwrap();
        LazyLock::force(&FACTS);
        Self {
            alone: false,
            _turn: turn,
        }
    }

    /// Alone, for faults. What is broken when this is dropped is put right.
    pub fn alone() -> Self {
        let turn = turns();
        turn.lock().unwrap();
        let cluster = Self {
            alone: true,
            _turn: turn,
        };
        cluster.must_be_ours("to break parts of it");
        cluster
    }

    pub(crate) fn must_be_ours(&self, why: &str) {
        assert!(
            !FACTS.foreign,
            "this takes the cluster of tests/env/cluster: {why}"
        );
    }

    /// Where the node keeps its files: the daemons' logs below `logs`, those of containers below `pod-logs`, pods' volumes below
    /// `kubelet`.
    pub fn node_folder(&self) -> &'static Path {
        self.must_be_ours("to look at the node's files");
        Path::new(STATE)
    }

    /// Of an administrator.
    pub fn kubeconfig(&self) -> &'static Path {
        &FACTS.kubeconfig
    }

    /// The address of this machine for pods: a gateway, a registry or a git server that listens on it is reached by them.
    pub fn host_address(&self) -> &'static str {
        &FACTS.host_address
    }

    /// Kaniko, there already.
    pub fn kaniko_image(&self) -> &'static str {
        &FACTS.kaniko_image
    }

    /// `ignited` as it was built for this run of the tests, with git, ssh, certificates and the shim; there already.
    pub fn fetch_image(&self) -> &'static str {
        &FETCH_IMAGE
    }

    /// The registry that most tests share: on [`Cluster::host_address`], http, open to all, with the base images.
    pub fn registry(&self) -> &'static Registry {
        &REGISTRY
    }

    /// An empty registry that pods can push to and the node can pull from.
    pub fn open_registry(&self) -> Registry {
        open_registry()
    }

    pub fn namespace(&self, prefix: &str) -> Namespace<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{}-{count}", std::process::id());
        self.kubectl(&["create", "namespace", &name]);
        Namespace { name, _cluster: self }
    }

    /// `kubectl` as an administrator, not yet started.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut kubectl = kubectl();
        kubectl.args(arguments);
        kubectl
    }

    /// Runs `kubectl` as an administrator and returns what it prints; panics if it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        command::run(kubectl().args(arguments))
    }

    /// [`Cluster::kubectl`] while the cluster may not answer.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Option<String> {
        let output = command::output(kubectl().args(arguments));
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What `kubectl get` shows, as JSON.
    pub fn get(&self, arguments: &[&str]) -> serde_json::Value {
        let text = command::run(kubectl().arg("get").args(arguments).args(["-o", "json"]));
        serde_json::from_str(&text).unwrap()
    }

    /// Creates or changes what a manifest describes, YAML or JSON.
    pub fn apply(&self, namespace: &str, manifest: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), manifest).unwrap();
        command::run(
            kubectl()
                .args(["apply", "--namespace", namespace, "--filename"])
                .arg(file.path()),
        );
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.alone {
            // Starts what does not run, and waits until the node is well.
            command::run(&mut script("up.sh"));
        }
    }
}

// === impl Namespace ===

impl Namespace<'_> {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a gateway that did not end well has kept would stay, and keep the namespace.
    fn let_pods_go(&self) {
        let whose = ["--namespace", &self.name];
        let listed = command::output(kubectl().args(["get", "pods", "--output=name"]).args(whose));
        for pod in String::from_utf8_lossy(&listed.stdout).lines() {
            let free = [
                "patch",
                pod,
                "--type=merge",
                r#"--patch={"metadata":{"finalizers":null}}"#,
            ];
            let _may_be_gone = command::output(kubectl().args(free).args(whose));
        }
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.let_pods_go();
        }
        // Pods take their time to end, which nobody needs to wait for.
        let _ended = command::output(kubectl().args(["delete", "namespace", "--wait=false", &self.name]));
    }
}

// === impl Facts ===

impl Facts {
    fn find() -> Self {
        let Ok(kubeconfig) = env::var("IGNITE_TEST_KUBECONFIG") else {
            return Self::bring_up();
        };
        let given = |name: &str| {
            env::var(name).unwrap_or_else(|_| panic!("{name} must be set beside IGNITE_TEST_KUBECONFIG"))
        };
        Self {
            kubeconfig: kubeconfig.into(),
            host_address: given("IGNITE_TEST_HOST_ADDRESS"),
            kaniko_image: given("IGNITE_TEST_KANIKO_IMAGE"),
            foreign: true,
        }
    }

    fn bring_up() -> Self {
        let printed = command::run(&mut script("up.sh"));
        let facts: BTreeMap<_, _> = printed.lines().filter_map(|line| line.split_once('=')).collect();
        Self {
            kubeconfig: facts["KUBECONFIG"].into(),
            host_address: facts["HOST_ADDRESS"].to_owned(),
            kaniko_image: facts["KANIKO_IMAGE"].to_owned(),
            foreign: false,
        }
    }
}

/// Pods and Secrets of runs of the gateway with this `kubernetes_namespace`, in words.
pub(crate) fn runs_of(instance: &str) -> Vec<String> {
    let labels = format!("app.kubernetes.io/instance={instance},ignite.dodil.io/run");
    let get = [
        "get",
        "pods,secrets",
        "--all-namespaces",
        "--output=name",
        "--selector",
        &labels,
    ];
    let names = command::run(kubectl().args(get));
    names.lines().map(str::to_owned).collect()
}

/// The file whose lock says whose turn it is, across all test processes of the machine.
fn turns() -> File {
    File::options()
        .create(true)
        .append(true)
        .open("/var/lock/ignite-cluster-tests")
        .unwrap()
}

fn kubectl() -> Command {
    let mut kubectl = Command::new(format!("{}/kubectl", paths::made_by_setup("KUBERNETES")));
    kubectl.arg("--kubeconfig").arg(&FACTS.kubeconfig);
    // Not in the home folder, where it would stay.
    kubectl
        .arg("--cache-dir")
        .arg(env::temp_dir().join("ignite-kubectl"));
    kubectl
}

fn script(name: &str) -> Command {
    Command::new(paths::repository().join("tests/env/cluster").join(name))
}

fn open_registry() -> Registry {
    let registry = Registry::open_on(&FACTS.host_address);
    if !FACTS.foreign {
        // Without this the node's containerd would try https.
        let folder = Path::new(STATE).join("registries").join(registry.address());
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join("hosts.toml"),
            format!(
                "[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
                registry.address()
            ),
        )
        .unwrap();
    }
    registry
}
