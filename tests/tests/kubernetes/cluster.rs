//! The node, as `kubectl` sees it.

use std::time::Duration;

use ignite_tests::{
    cluster::{Cluster, Component},
    wait::eventually_blocking,
};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(60);

/// Kaniko as the executor runs it, with its context written by an init container of the fetch image.
fn kaniko_pod(cluster: &Cluster, destination: &str) -> serde_json::Value {
    let registry = cluster.registry();
    let context = format!(
        "printf 'FROM {}\\nCOPY greeting /\\nRUN cat /greeting > /copied\\n' > /work/Dockerfile; echo hello > /work/greeting",
        registry.busybox()
    );
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "build"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "initContainers": [{
                "name": "fetch",
                "image": cluster.fetch_image(),
                "command": ["sh", "-c", context],
                "volumeMounts": [{"name": "work", "mountPath": "/work"}],
            }],
            "containers": [{
                "name": "build",
                "image": cluster.kaniko_image(),
                "args": [
                    "--context=dir:///kaniko/context",
                    format!("--destination={destination}"),
                    "--insecure",
                    "--insecure-pull",
                    "--digest-file=/kaniko/digest",
                ],
                "terminationMessagePath": "/kaniko/digest",
                "volumeMounts": [{"name": "work", "mountPath": "/kaniko/context"}],
            }],
            "volumes": [{"name": "work", "emptyDir": {}}],
        },
    })
}

fn wait_for_phase(cluster: &Cluster, namespace: &str, pod: &str, phase: &str) {
    eventually_blocking(&format!("pod {pod} to be {phase}"), DEADLINE, || {
        let pod = cluster.get(&["pod", pod, "--namespace", namespace]);
        (pod["status"]["phase"] == phase).then_some(())
    });
}

#[test]
fn a_kaniko_pod_builds_and_pushes() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("kaniko");
    let destination = format!("{}/{}:latest", cluster.registry().address(), namespace.name());
    cluster.apply(namespace.name(), &kaniko_pod(&cluster, &destination).to_string());
    wait_for_phase(&cluster, namespace.name(), "build", "Succeeded");

    let pod = cluster.get(&["pod", "build", "--namespace", namespace.name()]);
    let message = &pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"];
    assert_eq!(*message, cluster.registry().digest(&destination));
    let log = cluster.kubectl(&["logs", "--namespace", namespace.name(), "build"]);
    assert!(log.contains("RUN cat /greeting"), "{log}");
}

#[test]
fn the_node_pulls_from_a_tests_registry_and_pods_reach_services() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("services");
    let image = cluster.registry().busybox();
    let server = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "server", "labels": {"app": "server"}},
        "spec": {"containers": [{
            "name": "httpd",
            "image": image,
            "command": ["sh", "-c", "mkdir /www && echo hello > /www/index.html && exec busybox httpd -f -p 8080 -h /www"],
        }]},
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    cluster.apply(namespace.name(), &server.to_string());
    cluster.apply(namespace.name(), &service.to_string());
    wait_for_phase(&cluster, namespace.name(), "server", "Running");
    let address =
        cluster.get(&["service", "server", "--namespace", namespace.name()])["spec"]["clusterIP"].clone();
    // A service is known to the node a moment after it was made.
    let ask = "until printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 1 $0 80 | grep hello; do sleep 0.2; done";
    let client = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client"},
        "spec": {"restartPolicy": "Never", "containers": [{
            "name": "ask",
            "image": image,
            "command": ["sh", "-c", ask, address],
        }]},
    });
    cluster.apply(namespace.name(), &client.to_string());
    wait_for_phase(&cluster, namespace.name(), "client", "Succeeded");
    assert_eq!(
        cluster
            .kubectl(&["logs", "--namespace", namespace.name(), "client"])
            .trim(),
        "hello"
    );
}

#[test]
fn the_node_comes_back_from_the_loss_of_any_part() {
    let cluster = Cluster::alone();
    let answers = || {
        eventually_blocking("the node to be well", DEADLINE, || {
            let nodes = cluster.try_kubectl(&["get", "nodes", "--request-timeout=2s"])?;
            nodes.contains(" Ready ").then_some(())
        });
    };
    for component in [
        Component::Kubelet,
        Component::Containerd,
        Component::ApiServer,
        Component::Etcd,
        Component::Scheduler,
        Component::ControllerManager,
    ] {
        let before = cluster.pid(component);
        cluster.kill(component);
        cluster.start(component);
        assert_ne!(cluster.pid(component), before, "{component:?}");
        answers();
    }
    cluster.pause(Component::ApiServer);
    assert!(
        cluster
            .try_kubectl(&["get", "nodes", "--request-timeout=1s"])
            .is_none()
    );
    cluster.resume(Component::ApiServer);
    answers();
    let cut = cluster.cut_off();
    assert!(
        cluster
            .try_kubectl(&["get", "nodes", "--request-timeout=1s"])
            .is_none()
    );
    drop(cut);
    answers();
}

#[test]
fn the_kubelet_takes_settings_for_a_while() {
    let cluster = Cluster::alone();
    let size = || {
        eventually_blocking("the kubelet to tell its settings", DEADLINE, || {
            let text = cluster.try_kubectl(&["get", "--raw", "/api/v1/nodes/ignite-node/proxy/configz"])?;
            let settings: serde_json::Value = serde_json::from_str(&text).ok()?;
            Some(
                settings["kubeletconfig"]["containerLogMaxSize"]
                    .as_str()?
                    .to_owned(),
            )
        })
    };
    let settings = cluster.kubelet_settings("containerLogMaxSize: 64Ki");
    assert_eq!(size(), "64Ki");
    drop(settings);
    assert_eq!(size(), "10Mi");
}
