//! Statuses as kubelet, scheduler and controllers of Kubernetes 1.36 write them.

use serde_json::{Value, json};

use super::*;

/// 2026-11-22T21:00:00Z.
const NOON_MS: i64 = 1_795_381_200_000;

/// A pod on a node, with this status and these of its containers.
#[allow(clippy::needless_pass_by_value, reason = "reads better with json! in place")]
fn pod(metadata: Value, status: Value) -> Pod {
    let mut all = json!({
        "metadata": {
            "name": "bld-01hzx9abcdefghjkmnpqrstvwx-p0-a1",
            "creationTimestamp": "2026-11-22T20:59:00Z",
        },
        "spec": { "nodeName": "node-1", "containers": [], "activeDeadlineSeconds": 600 },
        "status": status,
    });
    if let (Value::Object(own), Value::Object(more)) = (&mut all["metadata"], metadata) {
        own.extend(more);
    }
    serde_json::from_value(all).unwrap()
}

fn terminated(name: &str, code: i32, reason: &str, message: &str) -> Value {
    json!({
        "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": {
            "containerID": "containerd://1", "exitCode": code, "reason": reason, "message": message,
            "startedAt": "2026-11-22T20:59:30Z", "finishedAt": "2026-11-22T21:00:00Z",
        } },
    })
}

fn fetched() -> Value {
    terminated("fetch", 0, "Completed", "")
}

/// Failed after a successful fetch.
fn build(code: i32, reason: &str) -> Value {
    json!({
        "phase": if code == 0 { "Succeeded" } else { "Failed" },
        "initContainerStatuses": [fetched()],
        "containerStatuses": [terminated("build", code, reason, "")],
    })
}

fn with(mut status: Value, more: Value) -> Value {
    if let (Value::Object(own), Value::Object(more)) = (&mut status, more) {
        own.extend(more);
    }
    status
}

fn disruption(reason: &str) -> Value {
    json!({ "conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": reason, "message": "so it is",
        "lastTransitionTime": "2026-11-22T20:59:50Z",
    }] })
}

fn evicted(message: &str) -> Value {
    with(
        build(137, "Error"),
        json!({ "reason": "Evicted", "message": message }),
    )
}

fn deleted_at(time: &str) -> Value {
    json!({ "deletionTimestamp": time, "deletionGracePeriodSeconds": 1 })
}

fn ended(cause: EndCause) -> Value {
    let verdict = Verdict {
        cause,
        at_ms: NOON_MS - 5000,
    };
    json!({ "annotations": { ENDED: serde_json::to_string(&verdict).unwrap() } })
}

/// What an end is, in short.
fn shown(cause: &EndCause) -> String {
    match cause {
        EndCause::Exited { code } => format!("exited {code}"),
        EndCause::FetchFailed { failure, message } => format!("fetch failed {failure:?}: {message}"),
        EndCause::Disrupted { how, message } => format!("{how:?}: {message}"),
        EndCause::Lost { message } => format!("lost: {message}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn each_end_of_a_pod_is_told_apart() {
    let none = || json!({});
    let failed_fetch = |code: i32, reason: &str, message: &str| json!({ "phase": "Failed", "initContainerStatuses": [terminated("fetch", code, reason, message)] });
    let frame = ".0 Cloning\nF8 {\"failure\":\"auth\",\"message\":\"the server wants a login\"}\n";
    let cases = [
        (none(), build(0, "Completed"), "exited 0"),
        (none(), build(42, "Error"), "exited 42"),
        (none(), build(137, "OOMKilled"), "OutOfMemory"),
        // Kaniko reports the child that the kernel killed, and ends by itself.
        (none(), build(1, "OOMKilled"), "OutOfMemory"),
        (none(), build(0, "OOMKilled"), "exited 0"),
        (
            none(),
            build(137, "ContainerStatusUnknown"),
            "lost: the build's container was lost",
        ),
        (
            none(),
            build(128, "StartError"),
            "NotStarted: the build's container could not be started",
        ),
        (
            none(),
            with(
                build(137, "Error"),
                json!({
                    "reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified deadline",
                }),
            ),
            "TimedOut",
        ),
        (
            none(),
            evicted("Pod ephemeral local storage usage exceeds the total limit of containers 256Mi. "),
            "OutOfDisk",
        ),
        (
            none(),
            evicted("Container build exceeded its local ephemeral storage limit \"256Mi\". "),
            "OutOfDisk",
        ),
        (
            none(),
            evicted("Usage of EmptyDir volume \"work\" exceeds the limit \"256Mi\". "),
            "OutOfDisk",
        ),
        (
            none(),
            evicted("The node was low on resource: ephemeral-storage. Threshold quantity: 1, available: 0. "),
            "Evicted: the build's pod was evicted from its node: The node was low on resource: ephemeral-storage",
        ),
        (
            none(),
            evicted("The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. "),
            "Evicted: the build's pod was evicted from its node: The node was low on resource: memory",
        ),
        (
            none(),
            with(build(137, "Error"), disruption("PreemptionByScheduler")),
            "Preempted: ",
        ),
        (
            none(),
            with(build(137, "Error"), disruption("DeletionByTaintManager")),
            "NodeLost: ",
        ),
        (
            none(),
            with(build(137, "Error"), disruption("DeletionByPodGC")),
            "NodeLost: ",
        ),
        (
            none(),
            with(build(137, "Error"), disruption("EvictionByEvictionAPI")),
            "Evicted: ",
        ),
        (
            none(),
            with(build(137, "Error"), disruption("TerminationByKubelet")),
            "Evicted: ",
        ),
        (
            none(),
            with(build(0, "Completed"), disruption("PreemptionByScheduler")),
            "exited 0",
        ),
        (
            none(),
            with(
                build(137, "Error"),
                json!({ "reason": "Preempting", "message": "Preempted in order to admit critical pod" }),
            ),
            "Preempted: ",
        ),
        (
            none(),
            json!({ "phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu" }),
            "NotStarted: the node refused the build's pod (OutOfcpu): Node didn't have enough resource: cpu",
        ),
        (
            none(),
            json!({ "phase": "Failed", "reason": "Terminated", "message": "Pod was terminated in response to imminent node shutdown." }),
            "NodeLost: the build's node was shut down",
        ),
        (
            none(),
            failed_fetch(1, "Error", frame),
            "fetch failed Auth: the server wants a login",
        ),
        (
            none(),
            failed_fetch(2, "Error", ".0 Cloning\n"),
            "fetch failed Internal: the fetch step ended with exit code 2",
        ),
        (none(), failed_fetch(137, "OOMKilled", ""), "OutOfMemory"),
        (none(), json!({ "phase": "Failed" }), "lost: "),
        // Deleted by somebody while it ran, and after it had failed by itself.
        (
            deleted_at("2026-11-22T21:00:01Z"),
            build(137, "Error"),
            "Deleted: ",
        ),
        (deleted_at("2026-11-22T21:00:31Z"), build(3, "Error"), "exited 3"),
        (
            deleted_at("2026-11-22T21:00:01Z"),
            build(0, "Completed"),
            "exited 0",
        ),
        (
            deleted_at("2026-11-22T21:00:01Z"),
            failed_fetch(143, "Error", ""),
            "Deleted: ",
        ),
        (
            deleted_at("2026-11-22T21:00:01Z"),
            json!({ "phase": "Failed" }),
            "Deleted: ",
        ),
        // Ended by the gateway, by way of the deadline.
        (
            ended(EndCause::Stopped),
            with(build(2, "Error"), json!({ "reason": "DeadlineExceeded" })),
            "Stopped",
        ),
        (ended(EndCause::Stopped), build(0, "Completed"), "exited 0"),
        (
            ended(EndCause::Disrupted {
                how: Disruption::ImagePull,
                message: "no image".to_owned(),
            }),
            json!({ "phase": "Failed", "reason": "DeadlineExceeded" }),
            "ImagePull: no image",
        ),
    ];
    for (metadata, status, expected) in cases {
        let end =
            of(&pod(metadata, status.clone()), NOON_MS).unwrap_or_else(|| panic!("it is live: {status}"));
        let found = shown(&end.cause);
        assert!(found.starts_with(expected), "{found}, not {expected}: {status}");
        assert!(end.ended_at_ms > 0, "{status}");
    }
}

#[test]
fn a_pod_is_live_until_it_says_that_it_is_over() {
    let running = json!({
        "phase": "Running",
        "initContainerStatuses": [fetched()],
        "containerStatuses": [{ "name": "build", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "state": { "running": { "startedAt": "2026-11-22T20:59:30Z" } } }],
    });
    let waits = json!({ "phase": "Pending" });
    for status in [running.clone(), waits, json!({})] {
        assert_eq!(of(&pod(json!({}), status.clone()), NOON_MS), None, "{status}");
    }
    // A container's end alone is not: why it ended may be said a moment later. But it does not take for ever.
    let ended = with(build(1, "Error"), json!({ "phase": "Running" }));
    assert_eq!(of(&pod(json!({}), ended.clone()), NOON_MS + 1000), None);
    let beside = of(&pod(json!({}), ended), NOON_MS + 60_000).unwrap();
    assert_eq!(beside.cause, EndCause::Exited { code: 1 });
    // Deleted, its kubelet has its time.
    let deleted = pod(deleted_at("2026-11-22T21:00:01Z"), running);
    assert_eq!(of(&deleted, NOON_MS + 50_000), None);
    let silent = of(&deleted, NOON_MS + 70_000).unwrap();
    assert!(shown(&silent.cause).starts_with("NodeLost: "), "{silent:?}");
}

#[test]
fn a_pod_without_a_node_is_over_when_it_is_deleted() {
    let unscheduled = |metadata: Value| {
        let mut pod = pod(metadata, json!({ "phase": "Pending" }));
        pod.spec.as_mut().unwrap().node_name = None;
        of(&pod, NOON_MS).map(|end| shown(&end.cause))
    };
    assert_eq!(unscheduled(json!({})), None);
    let deleted = deleted_at("2026-11-22T20:59:50Z");
    assert!(unscheduled(deleted.clone()).unwrap().starts_with("Deleted: "));
    let stopped = with(deleted, ended(EndCause::Stopped));
    assert_eq!(unscheduled(stopped).unwrap(), "Stopped");
}

#[test]
fn what_was_ended_on_a_node_that_is_silent_is_over_after_a_while() {
    let running = json!({ "phase": "Running" });
    let stopped = pod(ended(EndCause::Stopped), running);
    assert_eq!(of(&stopped, NOON_MS), None);
    let end = of(&stopped, NOON_MS + 70_000).unwrap();
    assert_eq!((end.cause, end.ended_at_ms), (EndCause::Stopped, NOON_MS - 5000));
}

#[test]
fn the_digest_is_taken_from_well_formed_last_words_only() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    for (message, expected) in [
        (digest.clone(), Some(digest.clone())),
        (format!("{digest}\n"), Some(digest.clone())),
        (digest.to_uppercase(), None),
        (format!("{digest}0"), None),
        (String::new(), None),
    ] {
        let status = json!({
            "phase": "Succeeded", "containerStatuses": [terminated("build", 0, "Completed", &message)],
        });
        let end = of(&pod(json!({}), status), NOON_MS).unwrap();
        assert_eq!(end.digest, expected, "{message}");
        assert_eq!(end.ended_at_ms, NOON_MS);
    }
}
