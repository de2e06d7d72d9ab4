//! The settings of the Kubernetes executor.

use std::path::PathBuf;

use url::Url;

use super::{ExecutorKind, parse, sources::Values};

/// How builds run as pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesSettings {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    /// Of all build pods, or what the organizations' begin with.
    pub namespace: String,
    pub namespace_per_org: bool,
    /// Address ranges.
    pub egress_allowed: Vec<String>,
    pub fetch_image: String,
    pub kaniko_image: String,
    pub gateway_url: Url,
    pub pod_template: Option<PathBuf>,
    pub resource_classes: Option<PathBuf>,
}

// === impl KubernetesSettings ===

impl KubernetesSettings {
    /// Some(None) where builds run elsewhere; None once an error says what is wrong. All are checked in either case, so that what
    /// is set for later is right.
    pub(super) fn read(values: &mut Values) -> Option<Option<Self>> {
        let executor = values.get("executor", parse::executor);
        let kubeconfig = values.optional("kubernetes_kubeconfig", parse::path);
        let context = values.optional("kubernetes_context", parse::text);
        let namespace = values.get("kubernetes_namespace", parse::namespace);
        let namespace_per_org = values.get("kubernetes_namespace_per_org", parse::boolean);
        let egress_allowed = values.list("kubernetes_egress_allowed", parse::address_range);
        let fetch_image = values.optional("kubernetes_fetch_image", parse::text);
        let kaniko_image = values.optional("kubernetes_kaniko_image", parse::text);
        let gateway_url = values.optional("kubernetes_gateway_url", parse::http_url);
        let pod_template = values.optional("kubernetes_pod_template", parse::path);
        let resource_classes = values.optional("kubernetes_resource_classes", parse::path);
        if executor? == ExecutorKind::Local {
            return Some(None);
        }
        let missing = [
            ("kubernetes_fetch_image", fetch_image.is_none()),
            ("kubernetes_kaniko_image", kaniko_image.is_none()),
            ("kubernetes_gateway_url", gateway_url.is_none()),
        ];
        for (name, _) in missing.into_iter().filter(|(_, is_missing)| *is_missing) {
            values.wrong(name, "is required where executor is kubernetes");
        }
        Some(Some(Self {
            kubeconfig,
            context,
            namespace: namespace?,
            namespace_per_org: namespace_per_org?,
            egress_allowed,
            fetch_image: fetch_image?,
            kaniko_image: kaniko_image?,
            gateway_url: gateway_url?,
            pod_template,
            resource_classes,
        }))
    }
}
