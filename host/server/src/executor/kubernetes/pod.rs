//! A run as a pod: an init container that fetches, a container with Kaniko. Nothing in it is secret: values are taken from the
//! run's Secret (see [`super::secret`]).
//!
//! ```text
//!   volume     fetch (init container)         build
//!   work       /ignite/run                    its workspace/ at /kaniko/context
//!   bin        /ignite/bin                    /ignite/bin, read-only: ignite-shim
//!   plan       /ignite/plan: from the Secret
//!   pod        /ignite/pod: the pod's annotations, where the go-ahead comes
//!   logins                                    /kaniko/.docker: from the Secret
//!   ca                                        /kaniko/ssl/certs/registry-ca.pem: from the Secret
//! ```
//!
//! It meets the Pod Security level *baseline*: Kaniko has to be root in its container, with the capabilities that unpacking
//! images takes and no others.

use std::collections::BTreeMap;

use ignite_core::kaniko;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{
    KubernetesConfig, names,
    names::{BUILD_CONTAINER, FETCH_CONTAINER, FINALIZER},
    secret::{DOCKER_CONFIG, GIT_CA, Payload, REGISTRY_CA},
};
use crate::{
    executor::{
        ExecutorError, RunPlan,
        classes::ResourceClass,
        container::{self, CA_DIR, DIGEST_FILE, EXECUTOR, WORKSPACE},
    },
    sources::fetch::{
        PLAN_FILE, WORKSPACE_DIR,
        pod::{BIN_DIR, CONTEXT_FILE, LOGIN_FILE, PLAN_DIR, POD_DIR, RUN_DIR, SHIM_FILE},
    },
};

const DOCKER_CONFIG_DIR: &str = "/kaniko/.docker";

/// A killed Kaniko has nothing to tidy up.
const GRACE_SECS: u32 = 1;

/// The pod of a run.
///
/// # Errors
/// If the operator's template does not fit.
pub(super) fn pod(
    plan: &RunPlan,
    config: &KubernetesConfig,
    payload: &Payload,
    namespace: &str,
) -> Result<Pod, ExecutorError> {
    let class = config.classes.get(plan.resource_class.as_deref());
    let mut spec = config.template.spec.clone();
    let own = json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECS,
        // Timeouts are counted in whole seconds.
        "activeDeadlineSeconds": plan.timeout.as_secs().max(1),
        "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
        "initContainers": [fetch_container(config, class)],
        "containers": [build_container(plan, config, payload, class)],
        "volumes": volumes(plan, payload, class),
    });
    if let Value::Object(own) = own {
        spec.extend(own);
    }
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": plan.run.to_string(),
            "namespace": namespace,
            "labels": names::labels(&config.namespace, &plan.org, plan.run),
            "annotations": config.template.annotations,
            "finalizers": [FINALIZER],
        },
        "spec": spec,
    });
    serde_json::from_value(pod)
        .map_err(|error| ExecutorError::Unsupported(format!("the setting kubernetes_pod_template: {error}")))
}

fn fetch_container(config: &KubernetesConfig, class: ResourceClass) -> Value {
    json!({
        "name": FETCH_CONTAINER,
        "image": config.fetch_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/local/bin/ignited", "fetch", "--pod"],
        "env": plain_env(&config.template.env, &[("HOME", RUN_DIR), ("TMPDIR", RUN_DIR)]),
        "resources": resources(class),
        // The last line of a failed one says why, and the kubelet keeps it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": [
            { "name": "work", "mountPath": RUN_DIR },
            { "name": "bin", "mountPath": BIN_DIR },
            { "name": "plan", "mountPath": PLAN_DIR, "readOnly": true },
            { "name": "pod", "mountPath": POD_DIR, "readOnly": true },
        ],
    })
}

fn build_container(
    plan: &RunPlan,
    config: &KubernetesConfig,
    payload: &Payload,
    class: ResourceClass,
) -> Value {
    let args = plan.kaniko_args.iter().chain(&payload.args);
    // The kubelet would put variables' values, secrets among them, where `$(NAME)` stands.
    let args: Vec<String> = args.map(|arg| arg.replace('$', "$$")).collect();
    let mut mounts = vec![
        json!({ "name": "bin", "mountPath": BIN_DIR, "readOnly": true }),
        json!({ "name": "work", "mountPath": WORKSPACE, "subPath": WORKSPACE_DIR }),
    ];
    if payload.has(DOCKER_CONFIG) {
        mounts.push(json!({ "name": "logins", "mountPath": DOCKER_CONFIG_DIR, "readOnly": true }));
    }
    if payload.has(REGISTRY_CA) {
        let path = format!("{CA_DIR}/{REGISTRY_CA}");
        mounts.push(json!({ "name": "ca", "mountPath": path, "subPath": REGISTRY_CA, "readOnly": true }));
    }
    json!({
        "name": BUILD_CONTAINER,
        "image": config.kaniko_image,
        "imagePullPolicy": "IfNotPresent",
        // One stream for both of Kaniko's, and numbered: see `logs`.
        "command": [format!("{BIN_DIR}/{SHIM_FILE}"), EXECUTOR.to_owned()],
        "args": args,
        "env": build_env(plan, config, payload),
        "resources": resources(class),
        // What is left there is what the kubelet reports as the container's last words.
        "terminationMessagePath": DIGEST_FILE,
        "terminationMessagePolicy": "File",
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "privileged": false,
            // su and sudo in a RUN step need their set-id bits to work, as under Docker.
            "allowPrivilegeEscalation": true,
            "capabilities": { "drop": ["ALL"], "add": container::CAPABILITIES },
        },
        "volumeMounts": mounts,
    })
}

/// Kaniko's own settings win over the operator's, and both over build args.
fn build_env(plan: &RunPlan, config: &KubernetesConfig, payload: &Payload) -> Vec<Value> {
    let own: Vec<(&str, &str)> = kaniko::ENVIRONMENT
        .into_iter()
        .chain(container::ENVIRONMENT)
        // How Kaniko knows that it is in a container and may overwrite its root.
        .chain([("container", "kube")])
        .collect();
    let plain = plain_env(&config.template.env, &own);
    let is_set = |name: &str| plain.iter().any(|variable| variable["name"] == name);
    let run = plan.run.to_string();
    let secret = payload.env.iter().filter(|(name, _)| !is_set(name));
    let mut env: Vec<Value> = secret
        .map(|(name, key)| {
            let from = json!({ "secretKeyRef": { "name": run, "key": key } });
            json!({ "name": name, "valueFrom": from })
        })
        .collect();
    env.extend(plain);
    env
}

fn plain_env(operators: &BTreeMap<String, String>, own: &[(&str, &str)]) -> Vec<Value> {
    let mut all = operators.clone();
    all.extend(
        own.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    all.into_iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect()
}

fn resources(class: ResourceClass) -> Value {
    let of = |memory: u64, cpu: u64, disk: u64| {
        json!({
            "memory": memory.to_string(),
            "cpu": format!("{cpu}m"),
            "ephemeral-storage": disk.to_string(),
        })
    };
    let (limits, requests) = (class.limits, class.requests);
    json!({
        "limits": of(limits.memory_bytes, limits.cpu_millis, limits.disk_bytes),
        "requests": of(requests.memory_bytes, requests.cpu_millis, requests.disk_bytes),
    })
}

fn volumes(plan: &RunPlan, payload: &Payload, class: ResourceClass) -> Vec<Value> {
    const BIN_BYTES: &str = "16Mi";
    let run = plan.run.to_string();
    let from_secret = |name: &str, keys: &[&str]| {
        let there = keys.iter().filter(|key| payload.has(key));
        let items: Vec<Value> = there.map(|key| json!({ "key": key, "path": key })).collect();
        json!({
            "name": name,
            "secret": { "secretName": run, "items": items, "defaultMode": 0o400 },
        })
    };
    let disk = class.limits.disk_bytes.to_string();
    let annotations = json!({ "path": "annotations", "fieldRef": { "fieldPath": "metadata.annotations" } });
    let mut volumes = vec![
        json!({ "name": "work", "emptyDir": { "sizeLimit": disk } }),
        json!({ "name": "bin", "emptyDir": { "sizeLimit": BIN_BYTES } }),
        from_secret("plan", &[PLAN_FILE, CONTEXT_FILE, LOGIN_FILE, GIT_CA]),
        json!({ "name": "pod", "downwardAPI": { "items": [annotations] } }),
    ];
    if payload.has(DOCKER_CONFIG) {
        volumes.push(from_secret("logins", &[DOCKER_CONFIG]));
    }
    if payload.has(REGISTRY_CA) {
        volumes.push(from_secret("ca", &[REGISTRY_CA]));
    }
    volumes
}

#[cfg(test)]
mod tests;
