//! The gateway builds its own image, and from that image Helm installs it on the cluster, where it builds others.

use std::{fs, sync::OnceLock, time::Duration};

use ignite_proto::v1::BuildStatus;
use ignite_tests::{
    caller::{Caller, inline},
    cluster::Cluster,
    context::Context,
    gateway::Gateway,
    image::Image,
    paths,
    release::{CHART, Release, image_context},
    wait::eventually_blocking,
};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(120);

/// Builds deploy/image with a gateway and pushes it to where the cluster's node pulls from; returns its reference.
fn build_itself(cluster: &Cluster) -> String {
    let registry = cluster.registry();
    registry.import(
        &format!("{}:fetch-base", paths::made_by_setup("FETCH_BASE")),
        "library/with-git:base",
    );
    let folder = tempfile::tempdir().unwrap();
    image_context(folder.path());
    let gateway = Gateway::builder().registry(registry).start();
    let cli = gateway.cli();
    let base = format!("BASE={}/library/with-git:base", registry.address());
    let folder = folder.path().to_str().unwrap();
    let printed = cli.run(&[
        "build",
        "create",
        "gateway",
        "--context",
        folder,
        "--build-arg",
        &base,
        "--tag",
        "itself",
        "--follow",
    ]);
    assert!(printed.contains("ignited"), "{printed}");
    let listed = cli.json(&["build", "list"]);
    let id = listed["builds"][0]["id"].as_str().unwrap();
    gateway.caller().remember(id);
    let build = cli.json(&["build", "get", id]);
    build["build"]["imageRefs"][0].as_str().unwrap().to_owned()
}

/// [`build_itself`], once for all tests.
fn itself(cluster: &Cluster) -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| build_itself(cluster))
}

/// A Dockerfile on the cluster's busybox.
fn dockerfile(cluster: &Cluster, lines: &str) -> Context {
    Context::new(&format!("FROM {}\n{lines}", cluster.registry().busybox()))
}

/// Through `helm upgrade`, which ends the gateway's pod, goes a build that runs.
async fn upgrade(cluster: &Cluster, release: &Release<'_>, caller: &Caller) {
    let slow = dockerfile(cluster, "RUN echo begun; sleep 15; echo done > /done\n");
    let id = caller.create(inline("through-an-upgrade", &slow)).await;
    caller.wait_logged(&id, "begun").await;
    let changed = json!({"podAnnotations": {"changed": "yes"}});
    release.helm(
        &[
            "upgrade",
            "ignite",
            CHART,
            "--reuse-values",
            "--wait",
            "--timeout=2m",
        ],
        &[&changed],
    );
    let pod = cluster.get(&["pod", "ignite-0", "--namespace", release.namespace()]);
    assert_eq!(pod["metadata"]["annotations"]["changed"], "yes");
    let build = release.reconnected(caller).wait_terminal(&id).await;
    assert_eq!(
        (build.status(), build.attempts),
        (BuildStatus::Succeeded, 1),
        "{build:?}"
    );
}

/// As docs/operators.md has it: an export, everything lost but tokens and the key, which is in a Secret, an import.
fn backup_and_restore(cluster: &Cluster, release: &Release<'_>, image: &str) {
    let whose = ["--namespace", release.namespace()];
    let kubectl = |arguments: &[&str]| cluster.kubectl(&[arguments, &whose].concat());
    let manifest = paths::repository().join("deploy/manifests/maintenance.yaml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let manifest = manifest.replace("registry.example.com/ignite/gateway:0.1.0", image);

    kubectl(&["scale", "statefulset", "ignite", "--replicas=0"]);
    kubectl(&["wait", "pod", "ignite-0", "--for=delete", "--timeout=90s"]);
    cluster.apply(release.namespace(), &manifest);
    kubectl(&[
        "wait",
        "pod",
        "maintenance",
        "--for=condition=Ready",
        "--timeout=60s",
    ]);
    let inside = |script: &str| {
        let shell = ["--", "sh", "-ec", script];
        cluster.kubectl(&[&["exec", "maintenance"], &whose[..], &shell].concat())
    };
    let config = "--config /etc/ignite/config/ignited.toml";
    inside(&format!("ignited export {config} --to /tmp/state.export"));
    inside("cd /var/lib/ignite && cp tokens.toml /tmp && rm -rf ./* && cp /tmp/tokens.toml .");
    inside(&format!("ignited import {config} --from /tmp/state.export"));
    kubectl(&["delete", "pod", "maintenance", "--now"]);
    kubectl(&["scale", "statefulset", "ignite", "--replicas=1"]);
    kubectl(&["rollout", "status", "statefulset/ignite", "--timeout=90s"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_in_the_cluster_builds_in_the_cluster() {
    let cluster = Cluster::shared();
    let image = itself(&cluster);
    let release = Release::install(&cluster, image, &json!({}));
    let caller = release.caller();

    let lines = "COPY greeting /\nRUN cat /greeting > /copied\nCMD [\"cat\", \"/copied\"]\n";
    let context = dockerfile(&cluster, lines).file("greeting", "from the cluster\n");
    let build = caller.succeed(inline("inside", &context)).await;
    let pulled = Image::pull(cluster.registry(), &build.image_refs[0]);
    assert_eq!(pulled.run(), "from the cluster");
    let log = caller.log(&build.id).await;
    assert!(log.contains("RUN cat /greeting"), "{log}");

    upgrade(&cluster, &release, &caller).await;
    backup_and_restore(&cluster, &release, image);
    let caller = release.reconnected(&caller);
    assert_eq!(caller.get(&build.id).await, build);
    assert_eq!(caller.log(&build.id).await, log);
    caller.succeed(inline("after-all", &context)).await;

    eventually_blocking("the builds' pods and secrets to go", DEADLINE, || {
        let left = cluster.get(&["pods,secrets", "--namespace", release.builds_namespace()]);
        left["items"].as_array().unwrap().is_empty().then_some(())
    });
    release.helm(&["uninstall", "ignite", "--wait"], &[]);
    let kinds = "all,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets,networkpolicies";
    let ours = [
        "--namespace",
        release.namespace(),
        "--selector",
        "app.kubernetes.io/name=ignite",
    ];
    let left = cluster.get(&[&[kinds], &ours[..]].concat());
    assert_eq!(left["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_in_the_cluster() {
    let cluster = Cluster::shared();
    let values = json!({"standby": {"enabled": true}, "persistence": {"existingClaim": "data-ignite-0"}});
    let release = Release::install(&cluster, itself(&cluster), &values);
    let caller = release.caller();
    let context = dockerfile(&cluster, "RUN echo begun; sleep 20; echo done > /done\n");
    let id = caller.create(inline("through-a-loss", &context)).await;
    caller.wait_logged(&id, "begun").await;

    let first = release.active();
    assert_eq!(first.len(), 1, "{first:?}");
    cluster.kubectl(&[
        "delete",
        "pod",
        &first[0].0,
        "--namespace",
        release.namespace(),
        "--force",
        "--grace-period=0",
    ]);
    eventually_blocking("the other one to take over", DEADLINE, || {
        let active = release.active();
        (active.len() == 1 && active != first).then_some(())
    });
    let build = release.reconnected(&caller).wait_terminal(&id).await;
    assert_eq!(
        (build.status(), build.attempts),
        (BuildStatus::Succeeded, 1),
        "{build:?}"
    );
}
