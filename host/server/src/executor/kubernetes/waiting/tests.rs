//! Statuses as scheduler and kubelet of Kubernetes 1.36 write them.

use serde_json::{Value, json};

use super::*;

#[allow(clippy::needless_pass_by_value, reason = "reads better with json! in place")]
fn pod(status: Value) -> Pod {
    serde_json::from_value(json!({ "metadata": {}, "status": status })).unwrap()
}

fn waits(name: &str, reason: &str, message: &str) -> Value {
    json!({
        "name": name, "image": "example.com/ignite:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": reason, "message": message } },
    })
}

#[test]
fn what_keeps_a_pod_is_told_and_for_how_long_it_may() {
    let schedule = Duration::from_secs(600);
    let (pull, create) = (Some(IMAGE_PATIENCE), Some(CREATE_PATIENCE));
    let no_room = "0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available.";
    let unscheduled = json!({ "phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": no_room,
    }] });
    let init = |reason: &str, message: &str| {
        json!({ "phase": "Pending", "initContainerStatuses": [waits("fetch", reason, message)],
                "containerStatuses": [waits("build", "PodInitializing", "")] })
    };
    let build = |reason: &str, message: &str| json!({ "phase": "Pending", "containerStatuses": [waits("build", reason, message)] });
    let cases = [
        (
            unscheduled,
            Disruption::Unscheduled,
            Some(schedule),
            "waiting for a node: 0/1 nodes are available: 1 Insufficient memory.",
        ),
        (
            init("ErrImagePull", "not found"),
            Disruption::ImagePull,
            pull,
            "the gateway's image example.com/ignite:1 cannot be pulled (ErrImagePull: not found)",
        ),
        (
            init("ImagePullBackOff", "Back-off pulling image"),
            Disruption::ImagePull,
            pull,
            "the gateway's image",
        ),
        (
            init("InvalidImageName", ""),
            Disruption::ImagePull,
            Some(Duration::ZERO),
            "the gateway's image example.com/ignite:1 cannot be pulled (InvalidImageName)",
        ),
        (
            build("ErrImageNeverPull", "not there"),
            Disruption::ImagePull,
            Some(Duration::ZERO),
            "the gateway's image",
        ),
        (
            build("CreateContainerConfigError", "secret \"a\" not found"),
            Disruption::NotStarted,
            create,
            "the container of the build step cannot be made (CreateContainerConfigError: secret \"a\" not found)",
        ),
        (
            init("CreateContainerError", "x"),
            Disruption::NotStarted,
            create,
            "the container of the fetch step",
        ),
    ];
    for (status, how, patience, says) in cases {
        let waiting = of(&pod(status.clone())).unwrap_or_else(|| panic!("it waits: {status}"));
        assert!(waiting.reason.starts_with(says), "{}", waiting.reason);
        let (found, what) = waiting.patience(schedule);
        assert_eq!((what, Some(found)), (how, patience), "{status}");
    }
}

#[test]
fn an_ordinary_start_waits_for_nothing() {
    let scheduled = json!([{ "type": "PodScheduled", "status": "True" }]);
    for status in [
        json!({}),
        json!({ "phase": "Pending", "conditions": scheduled }),
        json!({ "phase": "Pending", "containerStatuses": [waits("build", "PodInitializing", "")] }),
        json!({ "phase": "Pending", "initContainerStatuses": [waits("fetch", "ContainerCreating", "")] }),
    ] {
        assert_eq!(of(&pod(status.clone())), None, "{status}");
    }
}
