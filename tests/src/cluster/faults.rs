//! Breaking parts of the node, one at a time.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
};

use nix::{fcntl::posix_fallocate, sys::statvfs::statvfs};

use super::{Cluster, STATE, script};
use crate::command;

/// A process that the node consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    ApiServer,
    Containerd,
    ControllerManager,
    Etcd,
    Kubelet,
    Scheduler,
}

/// Settings laid over the kubelet's own until this is dropped.
#[derive(Debug)]
pub struct KubeletSettings<'a> {
    cluster: &'a Cluster,
}

/// While this lives, the node is short of disk.
#[derive(Debug)]
pub struct DiskShortage {
    _file: File,
}

/// While this lives, no pod may be on the node.
#[derive(Debug)]
pub struct GivenUp<'a> {
    cluster: &'a Cluster,
}

/// While this lives, nothing goes through between this machine and the API server. The node itself reaches it.
#[derive(Debug)]
pub struct CutOff {
    rule: Vec<String>,
}

const NODE: &str = "ignite-node";
const GIVEN_UP: &str = "ignite.test/given-up";
/// Of a disk that is short: half of what the kubelet wants to have free (`nodefs.available`).
const LEFT_BYTES: u64 = 128 << 20;

// === impl Cluster ===

impl Cluster {
    /// Ends a part as a machine does that shuts down; containers live on without kubelet and containerd.
    pub fn stop(&self, component: Component) {
        self.say("stop", component);
    }

    /// Ends a part without a warning.
    pub fn kill(&self, component: Component) {
        self.say("kill", component);
    }

    /// Starts a part; returns when it runs, which is before it answers.
    pub fn start(&self, component: Component) {
        self.say("start", component);
    }

    pub fn restart(&self, component: Component) {
        self.stop(component);
        self.start(component);
    }

    /// Lets a part hang: connections stay open and nothing is answered.
    pub fn pause(&self, component: Component) {
        self.say("pause", component);
    }

    pub fn resume(&self, component: Component) {
        self.say("resume", component);
    }

    pub fn pid(&self, component: Component) -> u32 {
        self.say("pid", component).trim().parse().unwrap()
    }

    /// Restarts the kubelet with these fields of its `KubeletConfiguration` changed; YAML.
    pub fn kubelet_settings(&self, fields: &str) -> KubeletSettings<'_> {
        let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
        fs::write(settings_file(), format!("{head}{fields}\n")).unwrap();
        self.restart(Component::Kubelet);
        KubeletSettings { cluster: self }
    }

    /// Fills the kubelet's disk.
    pub fn short_of_disk(&self) -> DiskShortage {
        self.must_be_alone();
        let folder = self.node_folder().join("kubelet");
        let disk = statvfs(&folder).unwrap();
        assert_ne!(
            disk.filesystem_id(),
            statvfs(STATE).unwrap().filesystem_id(),
            "the kubelet has no disk of its own: this machine has no loop devices"
        );
        let free = disk.blocks_available() * disk.fragment_size();
        let file = tempfile::tempfile_in(folder).unwrap();
        posix_fallocate(&file, 0, i64::try_from(free - LEFT_BYTES).unwrap()).unwrap();
        DiskShortage { _file: file }
    }

    /// Gives the node up, as an operator does, or the control plane where other nodes are left: pods on it are deleted.
    pub fn give_up_node(&self) -> GivenUp<'_> {
        self.must_be_alone();
        self.kubectl(&["taint", "node", NODE, &format!("{GIVEN_UP}:NoExecute")]);
        GivenUp { cluster: self }
    }

    /// Drops every packet between this machine and the API server, open connections' too.
    pub fn cut_off(&self) -> CutOff {
        self.must_be_alone();
        let rule = ["INPUT", "--source", self.host_address(), "--protocol", "tcp"];
        let rule = rule.into_iter().chain(["--dport", "6443", "--jump", "DROP"]);
        let cut = CutOff {
            rule: rule.map(str::to_owned).collect(),
        };
        command::run(on_node().args(["iptables", "--wait", "--insert"]).args(&cut.rule));
        cut
    }

    fn say(&self, verb: &str, component: Component) -> String {
        self.must_be_alone();
        command::run(script("component.sh").args([verb, component.name()]))
    }

    fn must_be_alone(&self) {
        assert!(self.alone, "other tests use the node: take `Cluster::alone()`");
    }
}

// === impl Component ===

impl Component {
    fn name(self) -> &'static str {
        match self {
            Self::ApiServer => "kube-apiserver",
            Self::Containerd => "containerd",
            Self::ControllerManager => "kube-controller-manager",
            Self::Etcd => "etcd",
            Self::Kubelet => "kubelet",
            Self::Scheduler => "kube-scheduler",
        }
    }
}

// === impl KubeletSettings ===

impl Drop for KubeletSettings<'_> {
    fn drop(&mut self) {
        fs::remove_file(settings_file()).unwrap();
        self.cluster.restart(Component::Kubelet);
    }
}

// === impl GivenUp ===

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        self.cluster
            .kubectl(&["taint", "node", NODE, &format!("{GIVEN_UP}:NoExecute-")]);
    }
}

// === impl CutOff ===

impl Drop for CutOff {
    fn drop(&mut self) {
        command::run(
            on_node()
                .args(["iptables", "--wait", "--delete"])
                .args(&self.rule),
        );
    }
}

fn settings_file() -> PathBuf {
    PathBuf::from(STATE).join("kubelet.d/test.conf")
}

/// A program on the node's network.
fn on_node() -> Command {
    let mut nsenter = Command::new("nsenter");
    nsenter.arg("--net=/run/netns/ignite-cluster");
    nsenter
}
