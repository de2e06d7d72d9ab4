//! How long until a build says its first word? The same pod, by turns through the gateway and by `kubectl create`.
//!
//! By hand means: the pod and the Secret that the gateway made for such a build, taken from a run of the gateway and created anew
//! under another name, the Secret first. The clock of the one runs from before CreateBuild until a follower has Kaniko's first line;
//! that of the other from before `kubectl create` until `kubectl logs --follow`, begun once `kubectl wait` says that the container
//! has started, prints it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_debug_implementations,
    reason = "a benchmark that cannot run should stop"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use ignite_proto::v1::{self, BuildStatus};
use ignite_tests::{
    caller::{Caller, git},
    cluster::{Cluster, Namespace},
    context::Context,
    gateway::Gateway,
    git_server::GitServer,
    times::Times,
    wait::eventually,
};
use serde_json::{Value, json};

const ROUNDS: usize = 15;
const RATIO_MAX: f64 = 1.2;
const ADDED_MS_MAX: f64 = 300.0;
const SOON: Duration = Duration::from_secs(60);
/// How Kaniko's lines begin.
const KANIKO: &str = "level=";

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    match runtime.block_on(compare()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Whether the target is met.
async fn compare() -> bool {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("first-line");
    let server = GitServer::start_on(cluster.host_address());
    let repository = server.repository("app.git");
    let dockerfile = format!("FROM {}\nRUN sleep 1\n", cluster.registry().busybox());
    repository.commit(&Context::new(&dockerfile));
    let gateway = Gateway::builder()
        .on_cluster(&cluster, namespace.name())
        .setting("build_memory_bytes_max", "512MiB")
        .setting("build_cpu_millis_max", 1000)
        .start();
    let caller = gateway.caller();
    // By its commit, so that both fetch the same without asking the server which that is.
    let request = v1::CreateBuildRequest {
        no_cache: true,
        ..git("first-line", repository.url(), "main", "")
    };
    let by_hand = ByHand::capture(&cluster, &namespace, &caller, &request).await;

    // Once for the caches of the machine.
    build(&cluster, &namespace, &caller, &request).await;
    by_hand.run(0);
    let (mut through, mut hand) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        if round.is_multiple_of(2) {
            through.push(build(&cluster, &namespace, &caller, &request).await);
            hand.push(by_hand.run(round));
        } else {
            hand.push(by_hand.run(round));
            through.push(build(&cluster, &namespace, &caller, &request).await);
        }
    }
    let (through, hand) = (Times::of(&through), Times::of(&hand));
    let above_ms = through.median_ms - RATIO_MAX * hand.median_ms;
    let met = above_ms <= ADDED_MS_MAX;
    println!(
        "first line of a build in a pod: gateway {through}, by kubectl {hand}: ratio {:.3}, gateway - {RATIO_MAX} x by kubectl = \
         {above_ms:.0} ms (median of {ROUNDS} pairs; at most {ADDED_MS_MAX:.0} ms wanted: {})",
        through.median_ms / hand.median_ms,
        if met { "met" } else { "MISSED" },
    );
    met
}

/// From the request to Kaniko's first line at a follower.
async fn build(
    cluster: &Cluster,
    namespace: &Namespace<'_>,
    caller: &Caller,
    request: &v1::CreateBuildRequest,
) -> Duration {
    let start = Instant::now();
    let id = caller.create(request.clone()).await;
    let mut chunks = caller.follow(&id, true, 0).await;
    let mut log = Vec::new();
    let took = loop {
        let chunk = chunks.message().await.unwrap();
        let chunk = chunk.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&log)));
        log.extend_from_slice(&chunk.data);
        if String::from_utf8_lossy(&log).contains(KANIKO) {
            break start.elapsed();
        }
    };
    let build = caller.wait_terminal(&id).await;
    assert_eq!(build.status(), BuildStatus::Succeeded, "{build:#?}");
    // What the gateway does after a build must not slow down the other side.
    eventually("the pod to be gone", SOON, async || {
        pods(cluster, namespace).is_empty().then_some(())
    })
    .await;
    took
}

fn pods(cluster: &Cluster, namespace: &Namespace<'_>) -> Vec<Value> {
    let pods = cluster.get(&["pods", "--namespace", namespace.name()]);
    pods["items"].as_array().unwrap().clone()
}

/// A run's pod and Secret, as they were created.
struct ByHand<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    run: String,
    objects: Value,
}

// === impl ByHand ===

impl<'a> ByHand<'a> {
    async fn capture(
        cluster: &'a Cluster,
        namespace: &'a Namespace<'_>,
        caller: &Caller,
        request: &v1::CreateBuildRequest,
    ) -> Self {
        let id = caller.create(request.clone()).await;
        let (pod, secret) = eventually("the run's pod and Secret", SOON, async || {
            let pod = pods(cluster, namespace).pop()?;
            let name = pod["metadata"]["name"].as_str()?;
            let whose = ["secret", name, "--namespace", namespace.name(), "--output=json"];
            let secret = cluster.try_kubectl(&[&["get"][..], &whose].concat())?;
            Some((pod, serde_json::from_str::<Value>(&secret).unwrap()))
        })
        .await;
        caller.wait_terminal(&id).await;
        let run = pod["metadata"]["name"].as_str().unwrap().to_owned();
        let mut spec = pod["spec"].clone();
        // The scheduler's to say.
        spec.as_object_mut().unwrap().remove("nodeName");
        let metadata = json!({"name": run});
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "immutable": true, "data": secret["data"]},
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        ]});
        eventually("the pod to be gone", SOON, async || {
            pods(cluster, namespace).is_empty().then_some(())
        })
        .await;
        Self {
            cluster,
            namespace: namespace.name(),
            run,
            objects,
        }
    }

    /// From `kubectl create` to the first line of `kubectl logs --follow`.
    fn run(&self, round: usize) -> Duration {
        let name = format!("by-hand-{round}");
        let manifest = tempfile::NamedTempFile::new().unwrap();
        fs::write(
            manifest.path(),
            self.objects.to_string().replace(&self.run, &name),
        )
        .unwrap();
        let whose = ["--namespace", self.namespace];

        let start = Instant::now();
        let create = ["create", "--filename", manifest.path().to_str().unwrap()];
        self.cluster.kubectl(&[&create[..], &whose].concat());
        // Any sooner, it would be refused.
        let started = "jsonpath={.status.containerStatuses[*].started}=true";
        let wait = ["wait", "--timeout=60s", "--for", started, &format!("pod/{name}")];
        self.cluster.kubectl(&[&wait[..], &whose].concat());
        let follow = ["logs", "--follow", "--container=build", &name];
        let mut logs = self.cluster.kubectl_command(&[&follow[..], &whose].concat());
        let mut logs = logs.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(logs.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let took = start.elapsed();
        let _gone_already = logs.kill();
        logs.wait().unwrap();
        assert!(line.contains(KANIKO), "{line}");
        let phase = "jsonpath={.status.phase}=Succeeded";
        let wait = ["wait", "--timeout=60s", "--for", phase, &format!("pod/{name}")];
        self.cluster.kubectl(&[&wait[..], &whose].concat());
        let delete = [
            "delete",
            "--now",
            &format!("pod/{name}"),
            &format!("secret/{name}"),
        ];
        self.cluster.kubectl(&[&delete[..], &whose].concat());
        took
    }
}
