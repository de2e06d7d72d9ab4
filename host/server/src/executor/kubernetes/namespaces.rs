//! A namespace for each organization, where that is configured: with a quota, limits, a network policy and an account that may do
//! nothing. Made when the organization's first build after a start of the gateway comes, and mended then.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use ignite_core::ids::OrgId;
use k8s_openapi::{
    Resource as _,
    api::{
        core::v1::{LimitRange, Namespace, ResourceQuota, ServiceAccount},
        networking::v1::NetworkPolicy,
    },
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::{Host, Url};

use super::{
    KubernetesConfig,
    cluster::{CallError, called},
    names,
};
use crate::executor::ExecutorError;

/// Who applies these objects.
const FIELD_MANAGER: &str = "ignited";
const NAME: &str = "ignite";
/// Room for pods that have ended and whose logs are still read.
const SPARE_PODS: u32 = 8;

/// What no build needs to reach: this machine, link-local (cloud metadata), private and shared ranges.
const CLOSED_V4: [&str; 6] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
];
const CLOSED_V6: [&str; 3] = ["::1/128", "fc00::/7", "fe80::/10"];

/// Those that are as they should be.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    ready: Mutex<HashSet<OrgId>>,
}

// === impl Namespaces ===

impl Namespaces {
    /// Makes sure that the organization's namespace is there, and gives its name.
    ///
    /// # Errors
    /// If it cannot be made, or belongs to somebody else.
    pub(super) async fn ensure(
        &self,
        client: &Client,
        config: &KubernetesConfig,
        org: &OrgId,
    ) -> Result<String, ExecutorError> {
        if !config.namespace_per_org {
            return Ok(config.namespace.clone());
        }
        let name = names::namespace_of(&config.namespace, org);
        if self.has(org) {
            return Ok(name);
        }
        let doing = |error: CallError| error.doing(&format!("making the namespace {name}"));
        own(client, config, org, &name).await?;
        let objects = Objects {
            config,
            org,
            name: &name,
        };
        apply::<ResourceQuota>(client, &name, ResourceQuota::KIND, objects.quota())
            .await
            .map_err(doing)?;
        apply::<LimitRange>(client, &name, LimitRange::KIND, objects.limit_range())
            .await
            .map_err(doing)?;
        apply::<NetworkPolicy>(client, &name, NetworkPolicy::KIND, objects.network_policy())
            .await
            .map_err(doing)?;
        apply::<ServiceAccount>(client, &name, ServiceAccount::KIND, objects.service_account())
            .await
            .map_err(doing)?;
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(org.clone());
        Ok(name)
    }

    fn has(&self, org: &OrgId) -> bool {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(org)
    }

    /// To be looked at again: something in it was not there.
    pub(super) fn doubt(&self, org: &OrgId) {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(org);
    }
}

/// Makes the namespace, or finds that it is the organization's already.
async fn own(
    client: &Client,
    config: &KubernetesConfig,
    org: &OrgId,
    name: &str,
) -> Result<(), ExecutorError> {
    let doing = |error: CallError| error.doing(&format!("making the namespace {name}"));
    let api: Api<Namespace> = Api::all(client.clone());
    let mut labels = names::of_org(&config.namespace, org);
    match called(|| api.get_opt(name)).await.map_err(doing)? {
        Some(found) => {
            let theirs = found.metadata.labels.unwrap_or_default();
            if labels.iter().any(|(key, value)| theirs.get(key) != Some(value)) {
                return Err(ExecutorError::Unsupported(format!(
                    "the namespace {name} is there and is not the organization {org}'s: label it {}, or remove it",
                    labels
                        .iter()
                        .map(|(key, value)| format!("{key}={value}"))
                        .collect::<Vec<_>>()
                        .join(",")
                )));
            }
            Ok(())
        }
        None => {
            labels.insert(
                "pod-security.kubernetes.io/enforce".to_owned(),
                "baseline".to_owned(),
            );
            let namespace = json!({ "metadata": { "name": name, "labels": labels } });
            let namespace: Namespace = typed(namespace)?;
            let parameters = PostParams::default();
            match called(|| api.create(&parameters, &namespace)).await {
                // By the build that came at the same time.
                Ok(_) | Err(CallError::AlreadyExists) => Ok(()),
                Err(error) => Err(doing(error)),
            }
        }
    }
}

async fn apply<K>(client: &Client, namespace: &str, kind: &str, object: Value) -> Result<(), CallError>
where
    K: kube::Resource<Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Serialize,
    K::DynamicType: Default,
{
    let mut object = object;
    if let Value::Object(fields) = &mut object {
        let dynamic = K::DynamicType::default();
        fields.insert(
            "apiVersion".to_owned(),
            K::api_version(&dynamic).into_owned().into(),
        );
        fields.insert("kind".to_owned(), kind.into());
    }
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(object);
    called(|| api.patch(NAME, &parameters, &patch)).await.map(drop)
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ExecutorError> {
    serde_json::from_value(value)
        .map_err(|error| ExecutorError::Other(format!("an object of ours is malformed: {error}")))
}

/// What is in a namespace, without kind.
struct Objects<'a> {
    config: &'a KubernetesConfig,
    org: &'a OrgId,
    name: &'a str,
}

// === impl Objects ===

impl Objects<'_> {
    fn metadata(&self) -> Value {
        json!({
            "name": NAME,
            "namespace": self.name,
            "labels": names::of_org(&self.config.namespace, self.org),
        })
    }

    fn quota(&self) -> Value {
        let pods = self.config.running_per_org_max.saturating_add(SPARE_PODS);
        let most = self.config.classes.most();
        let times = |each: u64| each.saturating_mul(u64::from(pods));
        json!({
            "metadata": self.metadata(),
            "spec": { "hard": {
                "pods": pods.to_string(),
                "services": "0",
                "persistentvolumeclaims": "0",
                "limits.cpu": format!("{}m", times(most.cpu_millis)),
                "limits.memory": times(most.memory_bytes).to_string(),
                "limits.ephemeral-storage": times(most.disk_bytes).to_string(),
            } },
        })
    }

    fn limit_range(&self) -> Value {
        let most = self.config.classes.most();
        json!({
            "metadata": self.metadata(),
            "spec": { "limits": [{
                "type": "Container",
                "max": {
                    "cpu": format!("{}m", most.cpu_millis),
                    "memory": most.memory_bytes.to_string(),
                    "ephemeral-storage": most.disk_bytes.to_string(),
                },
            }] },
        })
    }

    fn service_account(&self) -> Value {
        json!({ "metadata": self.metadata(), "automountServiceAccountToken": false })
    }

    fn network_policy(&self) -> Value {
        let range = |cidr: &str, except: &[&str]| json!({ "ipBlock": { "cidr": cidr, "except": except } });
        let mut egress = vec![
            json!({ "to": [range("0.0.0.0/0", &CLOSED_V4), range("::/0", &CLOSED_V6)] }),
            json!({
                "to": [{
                    "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } },
                }],
                "ports": [{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }],
            }),
        ];
        let mut allowed: Vec<Value> = self
            .config
            .egress_allowed
            .iter()
            .map(|cidr| json!({ "ipBlock": { "cidr": cidr } }))
            .collect();
        allowed.extend(peer(self.config.gateway_url.host()));
        for registry in &self.config.registries {
            allowed.extend(peer(host_of(registry).as_ref().map(borrowed)));
        }
        if !allowed.is_empty() {
            egress.push(json!({ "to": allowed }));
        }
        json!({
            "metadata": self.metadata(),
            "spec": {
                "podSelector": {},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [],
                "egress": egress,
            },
        })
    }
}

/// Where the gateway, or a registry, is: an address, or all pods of the namespace that a Service's name tells. Other names are of
/// public addresses, or the operator allows theirs.
fn peer(host: Option<Host<&str>>) -> Option<Value> {
    let address = match host? {
        Host::Ipv4(address) => IpAddr::V4(address),
        Host::Ipv6(address) => IpAddr::V6(address),
        Host::Domain(name) => {
            let mut labels = name.trim_end_matches('.').split('.');
            let (_service, namespace, svc) = (labels.next()?, labels.next()?, labels.next()?);
            let matching = json!({ "kubernetes.io/metadata.name": namespace });
            return (svc == "svc").then(|| json!({ "namespaceSelector": { "matchLabels": matching } }));
        }
    };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    Some(json!({ "ipBlock": { "cidr": format!("{address}/{bits}") } }))
}

fn host_of(registry: &str) -> Option<Host<String>> {
    let url: Url = format!("http://{registry}/").parse().ok()?;
    url.host().map(|host| host.to_owned())
}

fn borrowed(host: &Host<String>) -> Host<&str> {
    match host {
        Host::Domain(name) => Host::Domain(name),
        Host::Ipv4(address) => Host::Ipv4(*address),
        Host::Ipv6(address) => Host::Ipv6(*address),
    }
}

#[cfg(test)]
mod tests;
