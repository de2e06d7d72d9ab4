//! Builds while parts of the cluster fail.
//!
//! Each build prints numbered lines and is counted where it begins and where it pushes: so a test sees whether it ran once, pushed once,
//! and lost nothing of its log.

use std::{
    fs,
    time::{Duration, Instant},
};

use ignite_proto::v1::{self, BuildStatus};
use ignite_tests::{
    caller::{Caller, inline},
    cluster::{Cluster, Component, Namespace},
    counter::Counter,
    gateway::{Builder, Gateway},
    paths,
    wait::eventually,
};
use serde_json::json;

use super::builds::{dockerfile, on_cluster, pods, tidied};

const SOON: Duration = Duration::from_secs(60);
/// The kubelet looks every ten seconds whether it is short of something, and refuses pods that come before it has.
const NODE_RECOVERS: &str = "15s";
/// A minute until the gateway believes that nothing will be heard of a pod that was deleted, another for its log, and a slow machine.
const LOST_WITHIN: Duration = Duration::from_secs(240);
/// What stands in a log where a part of it is gone.
const GAP: &str = "[ignite] lost ";

/// A gateway on a cluster that is this test's alone.
struct Scene<'a> {
    cluster: &'a Cluster,
    namespace: Namespace<'a>,
    gateway: Gateway,
    caller: Caller,
    counter: Counter,
}

/// A build that prints a numbered line every tenth of a second.
struct Lines {
    name: String,
    id: String,
    count: usize,
}

// === impl Scene ===

impl<'a> Scene<'a> {
    async fn start(cluster: &'a Cluster) -> Self {
        Self::start_with(cluster, |gateway| gateway).await
    }

    async fn start_with(cluster: &'a Cluster, settings: impl FnOnce(Builder) -> Builder) -> Self {
        let namespace = cluster.namespace("faults");
        let gateway = settings(on_cluster(cluster, namespace.name())).start();
        Self {
            cluster,
            caller: gateway.caller(),
            gateway,
            counter: Counter::start_on(cluster.host_address()).await,
            namespace,
        }
    }

    /// Begins a build, and waits for the first of its lines.
    async fn lines(&self, name: &str, count: usize) -> Lines {
        let name = format!("{name}-{}", self.namespace.name());
        let step = format!(
            "wget -q -O /dev/null {}; i=0; while [ $i -lt {count} ]; do echo line-$i-; i=$((i+1)); sleep 0.1; done",
            self.counter.url(&name)
        );
        let request = v1::CreateBuildRequest {
            no_cache: true,
            ..inline(&name, &dockerfile(self.cluster, &format!("RUN {step}\n")))
        };
        let id = self.caller.create(request).await;
        self.caller.wait_logged(&id, "\nline-0-\n").await;
        Lines { name, id, count }
    }

    /// Takes a part away: a build that ends meanwhile, and one that ends once it is back.
    async fn lose(&self, component: Component, away_s: u64) -> (Lines, Lines) {
        let short = self.lines("short", 30).await;
        let long = self
            .lines("long", 150 + usize::try_from(away_s).unwrap() * 10)
            .await;
        self.cluster.kill(component);
        seconds(away_s).await;
        self.cluster.start(component);
        (short, long)
    }

    /// It succeeded with its first attempt, ran once, pushed once, and its log is whole.
    async fn is_whole(&self, lines: &Lines) {
        let build = self.caller.wait_terminal(&lines.id).await;
        let log = self.caller.log(&lines.id).await;
        assert_eq!(
            (build.status(), build.attempts),
            (BuildStatus::Succeeded, 1),
            "{build:?}\n{log}"
        );
        assert_eq!(numbers(&log), (0..lines.count).collect::<Vec<_>>(), "{log}");
        assert!(!log.contains(GAP), "{log}");
        self.ran(lines, 1).await;
    }

    /// Another attempt made it, after one that ended like this.
    async fn took_two(&self, lines: &Lines, why: &str) {
        let build = self.caller.wait_terminal(&lines.id).await;
        let log = self.caller.log(&lines.id).await;
        assert_eq!(
            (build.status(), build.attempts),
            (BuildStatus::Succeeded, 2),
            "{build:?}\n{log}"
        );
        let (first, second) = log.split_once("[ignite] attempt 1 failed: ").expect(&log);
        assert!(
            second.lines().next().is_some_and(|reason| reason.contains(why)),
            "{log}"
        );
        assert_eq!(numbers(second), (0..lines.count).collect::<Vec<_>>(), "{log}");
        // The kubelet may have thrown away what of the first was not read yet, but not turned it over.
        let first = numbers(first);
        assert!(first.is_sorted() && first.first() == Some(&0), "{log}");
        self.ran(lines, 2).await;
    }

    /// How often it began; it pushed once, whatever happened.
    async fn ran(&self, lines: &Lines, times: u32) {
        assert_eq!(self.counter.visits(&lines.name), times);
        let log = self.cluster.registry().log();
        let manifest = format!("/{}/manifests/", lines.name);
        let is_push = |line: &&str| {
            line.contains("response completed") && line.contains("method=PUT") && line.contains(&manifest)
        };
        assert_eq!(log.lines().filter(is_push).count(), 1, "{log}");
    }

    async fn leaves_nothing(&self) {
        tidied(self.cluster, self.namespace.name()).await;
    }

    fn pod(&self) -> String {
        let pods = pods(self.cluster, self.namespace.name());
        pods[0]["metadata"]["name"].as_str().unwrap().to_owned()
    }

    async fn wait_for_attempt(&self, lines: &Lines, attempt: u32, within: Duration) {
        eventually(&format!("attempt {attempt}"), within, async || {
            (self.caller.get(&lines.id).await.attempts >= attempt).then_some(())
        })
        .await;
    }
}

/// Of its lines, those that a build printed, in order.
fn numbers(log: &str) -> Vec<usize> {
    let number = |line: &str| line.strip_prefix("line-")?.strip_suffix('-')?.parse().ok();
    log.lines().filter_map(number).collect()
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

async fn is_missed_by_nobody(component: Component, away_s: u64) {
    let cluster = Cluster::alone();
    let scene = Scene::start(&cluster).await;
    let (short, long) = scene.lose(component, away_s).await;
    scene.is_whole(&short).await;
    scene.is_whole(&long).await;
    scene.leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_go_on_without_the_kubelet() {
    is_missed_by_nobody(Component::Kubelet, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_go_on_without_the_api_server_for_a_minute() {
    is_missed_by_nobody(Component::ApiServer, 60).await;
}

/// What a container prints last, and nobody takes from it before it is gone, is lost: so says the log.
#[tokio::test(flavor = "multi_thread")]
async fn builds_go_on_while_containerd_is_restarted() {
    let cluster = Cluster::alone();
    let scene = Scene::start(&cluster).await;
    let (short, long) = scene.lose(Component::Containerd, 3).await;
    scene.is_whole(&long).await;
    let build = scene.caller.wait_terminal(&short.id).await;
    let log = scene.caller.log(&short.id).await;
    assert_eq!(
        (build.status(), build.attempts),
        (BuildStatus::Succeeded, 1),
        "{build:?}\n{log}"
    );
    let came = numbers(&log);
    assert_eq!(came, (0..came.len()).collect::<Vec<_>>(), "{log}");
    assert!(came.len() == short.count || log.contains(GAP), "{log}");
    scene.ran(&short, 1).await;
    scene.leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_go_on_while_the_gateway_is_cut_off_from_the_api_server() {
    let cluster = Cluster::alone();
    let scene = Scene::start(&cluster).await;
    let short = scene.lines("short", 30).await;
    let long = scene.lines("long", 400).await;
    let cut = cluster.cut_off();
    seconds(25).await;
    drop(cut);
    scene.is_whole(&short).await;
    scene.is_whole(&long).await;
    scene.leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_outlives_the_gateway_and_the_api_server_together() {
    let cluster = Cluster::alone();
    let mut scene = Scene::start(&cluster).await;
    let long = scene.lines("long", 200).await;
    cluster.kill(Component::ApiServer);
    scene.gateway.kill9();
    seconds(3).await;
    // As other controllers do, it ends where it cannot do its work, for its supervisor to start it again.
    let why = scene.gateway.try_restart().unwrap_err();
    assert!(why.contains("the API server cannot be asked"), "{why}");
    cluster.start(Component::ApiServer);
    scene.gateway.restart();
    scene.caller = scene.gateway.caller();
    scene.is_whole(&long).await;
    scene.leaves_nothing().await;
}

/// The kubelet keeps a file and the one before, and looks every three seconds: what it has not sent by then is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_fast_log_that_is_rotated_all_the_time_comes_whole_or_says_what_is_missing() {
    const BURSTS: usize = 20;
    const BURST_LINES: usize = 50_000;
    let cluster = Cluster::alone();
    let _settings = cluster.kubelet_settings(
        "containerLogMaxSize: 64Ki\ncontainerLogMaxFiles: 2\ncontainerLogMonitorInterval: 3s",
    );
    let scene = Scene::start(&cluster).await;
    let script = format!(
        "BEGIN {{ for (i = 0; i < {BURSTS}; i++) {{ for (j = 0; j < {BURST_LINES}; j++) \
         printf \"line-%d-\\n\", i * {BURST_LINES} + j; system(\"sleep 0.5\") }} }}"
    );
    let request = v1::CreateBuildRequest {
        no_cache: true,
        ..inline("rotated", &dockerfile(&cluster, &format!("RUN awk '{script}'\n")))
    };
    let began = Instant::now();
    let build = scene.caller.succeed(request).await;
    let log = scene.caller.log(&build.id).await;
    let mut next = 0;
    let mut gaps = 0;
    // Told as lost, and not yet seen to be missing.
    let mut lost_bytes = 0;
    for line in log.lines() {
        if let Some(told) = line.strip_prefix(GAP) {
            let (bytes, _) = told.split_once(" bytes of the log here").expect(line);
            lost_bytes += bytes.parse::<usize>().unwrap();
            gaps += 1;
        } else if let Some(number) = numbers(line).first() {
            let missing: usize = (next..*number).map(|n| format!("line-{n}-\n").len()).sum();
            assert_eq!(missing, lost_bytes, "before line {number}");
            (next, lost_bytes) = (number + 1, 0);
        }
    }
    let missing: usize = (next..BURSTS * BURST_LINES)
        .map(|n| format!("line-{n}-\n").len())
        .sum();
    assert!(
        lost_bytes >= missing,
        "{lost_bytes} told and {missing} missing at the end"
    );
    println!(
        "{} MB in {:?}, with {gaps} gaps",
        log.len() / 1_000_000,
        began.elapsed()
    );
    scene.leaves_nothing().await;
}

/// The node evicts the build while `shortage` lasts; then the next attempt makes it.
async fn is_evicted<'a, T>(cluster: &'a Cluster, shortage: impl FnOnce(&'a Cluster) -> T, why: &str) {
    let scene = Scene::start_with(cluster, |it| it.setting("retry_backoff", NODE_RECOVERS)).await;
    let lines = scene.lines("evicted", 300).await;
    let shortage = shortage(cluster);
    scene
        .caller
        .wait_logged(&lines.id, "[ignite] attempt 1 failed: ")
        .await;
    drop(shortage);
    scene
        .took_two(&lines, &format!("evicted from its node: {why}"))
        .await;
    scene.leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_short_of_memory_costs_an_attempt() {
    let cluster = Cluster::alone();
    let shortage = |cluster| Cluster::kubelet_settings(cluster, "evictionHard: {memory.available: 99%}");
    is_evicted(&cluster, shortage, "The node was low on resource: memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_short_of_disk_costs_an_attempt() {
    let cluster = Cluster::alone();
    let why = "The node was low on resource: ephemeral-storage";
    is_evicted(&cluster, Cluster::short_of_disk, why).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eviction_by_the_api_costs_an_attempt() {
    let cluster = Cluster::alone();
    let scene = Scene::start(&cluster).await;
    let lines = scene.lines("drained", 80).await;
    let (namespace, pod) = (scene.namespace.name(), scene.pod());
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), eviction.to_string()).unwrap();
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
    let file = file.path().to_str().unwrap();
    cluster.kubectl(&["create", "--raw", &path, "--filename", file]);
    scene.took_two(&lines, "evicted: its node is being drained").await;
    scene.leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_a_higher_priority_costs_an_attempt() {
    let cluster = Cluster::alone();
    let scene = Scene::start(&cluster).await;
    let lines = scene.lines("preempted", 80).await;
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": scene.namespace.name()},
        "value": 1000,
    });
    cluster.apply(scene.namespace.name(), &class.to_string());
    let cores = std::thread::available_parallelism().unwrap().get();
    let other = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "important"},
        "spec": {
            "priorityClassName": scene.namespace.name(),
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "sleep",
                "image": cluster.registry().busybox(),
                "command": ["sleep", "600"],
                "resources": {"requests": {"cpu": format!("{}m", cores * 1000 - 50)}},
            }],
        },
    });
    cluster.apply(scene.namespace.name(), &other.to_string());
    scene.wait_for_attempt(&lines, 2, SOON).await;
    let build = eventually("the second to wait for room", SOON, async || {
        let build = scene.caller.get(&lines.id).await;
        build.error.contains("waiting for a node").then_some(build)
    })
    .await;
    assert!(build.error.contains("Insufficient cpu"), "{}", build.error);
    let namespace = scene.namespace.name();
    cluster.kubectl(&["delete", "pod", "important", "--namespace", namespace]);
    scene
        .took_two(&lines, "make room for one of a higher priority")
        .await;
    cluster.kubectl(&["delete", "priorityclass", namespace]);
    scene.leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_costs_an_attempt() {
    let cluster = Cluster::alone();
    let scene = Scene::start(&cluster).await;
    let lines = scene.lines("lost", 100).await;
    cluster.kill(Component::Kubelet);
    let given_up = cluster.give_up_node();
    // What runs there runs on, and nobody can know of it.
    scene.wait_for_attempt(&lines, 2, LOST_WITHIN).await;
    cluster.start(Component::Kubelet);
    drop(given_up);
    let build = scene.caller.wait_terminal(&lines.id).await;
    let log = scene.caller.log(&lines.id).await;
    assert_eq!(build.status(), BuildStatus::Succeeded, "{build:?}\n{log}");
    assert!(
        log.contains("[ignite] attempt 1 failed: the build's node no longer answers"),
        "{log}"
    );
    scene.leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_ours_that_is_not_there_is_waited_for() {
    let cluster = Cluster::shared();
    let registry = cluster.open_registry();
    registry.import_base_images();
    let image = format!("{}/kaniko:late", registry.address());
    let namespace = cluster.namespace("faults");
    let gateway = on_cluster(&cluster, namespace.name())
        .setting("kubernetes_kaniko_image", &image)
        .start();
    let caller = gateway.caller();
    let id = caller
        .create(inline("late", &dockerfile(&cluster, "RUN true\n")))
        .await;
    let build = eventually("the build to say what it waits for", SOON, async || {
        let build = caller.get(&id).await;
        build.error.contains("BackOff").then_some(build)
    })
    .await;
    assert!(
        build
            .error
            .starts_with(&format!("the gateway's image {image} cannot be pulled")),
        "{}",
        build.error
    );
    registry.import(&paths::made_by_setup("KANIKO_IMAGE"), "kaniko:late");
    let build = caller.wait_terminal(&id).await;
    assert_eq!(
        (build.status(), build.attempts),
        (BuildStatus::Succeeded, 1),
        "{build:?}"
    );
    assert_eq!(build.error, "");
    tidied(&cluster, namespace.name()).await;
}
