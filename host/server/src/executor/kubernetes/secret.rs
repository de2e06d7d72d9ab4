//! A run's Secret: all that its pod must not say of itself. Owned by the pod, so that it goes with it.

use std::{collections::BTreeMap, fmt, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ignite_core::{dockerfile::SecretMounts, kaniko, secrets::SecretText};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{KubernetesConfig, names};
use crate::{
    executor::{ExecutorError, RunPlan, RunSource},
    sources::fetch::{
        PLAN_FILE,
        pod::{CONTEXT_FILE, LOGIN_FILE, PLAN_DIR, PodContext, PodPlan, RUN_DIR},
    },
};

pub(super) const GIT_CA: &str = "git-ca.pem";
pub(super) const DOCKER_CONFIG: &str = "config.json";
pub(super) const REGISTRY_CA: &str = "registry-ca.pem";
const ARG_PREFIX: &str = "arg.";

/// Where the fetch step puts an archive that it downloads, in the run's folder.
const DOWNLOAD: &str = "context";
/// The API server takes no more.
const BYTES_MAX: usize = 1 << 20;

/// What the Secret holds, and how Kaniko is told of it.
pub(super) struct Payload {
    entries: BTreeMap<String, SecretText>,
    /// Variables of Kaniko's environment, each with the entry that has its value.
    pub(super) env: BTreeMap<String, String>,
    /// Arguments that name them.
    pub(super) args: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    #[serde(rename = "type")]
    kind_of_secret: &'static str,
    immutable: bool,
    data: BTreeMap<&'a str, SecretText>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    name: String,
    namespace: &'a str,
    labels: BTreeMap<String, String>,
    owner_references: [Owner<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Owner<'a> {
    api_version: &'static str,
    kind: &'static str,
    name: String,
    uid: &'a str,
}

// === impl Payload ===

impl Payload {
    /// # Errors
    /// If the plan cannot be carried out as a pod.
    pub(super) fn new(plan: &RunPlan, config: &KubernetesConfig) -> Result<Self, ExecutorError> {
        let mut entries = BTreeMap::new();
        let mut put = |key: &str, text: SecretText| entries.insert(key.to_owned(), text);

        let mut git = config.git.clone();
        git.ca_file = config
            .git_ca
            .as_ref()
            .map(|_| format!("{PLAN_DIR}/{GIT_CA}").into());
        let mut fetch_plan = plan.fetch_plan(config.archive.clone(), git);
        if let RunSource::Archive { path, .. } = &mut fetch_plan.source {
            *path = Path::new(RUN_DIR).join(DOWNLOAD);
            let grant = plan.context_grant.as_ref().ok_or_else(|| {
                ExecutorError::Other("a pod cannot read the stored context without a grant".to_owned())
            })?;
            let base = config.gateway_url.as_str().trim_end_matches('/');
            let context = PodContext {
                url: format!("{base}{}", grant.url_path),
                token: grant.token.clone(),
            };
            put(CONTEXT_FILE, json("how to get the context", &context)?);
        }
        let pod_plan = PodPlan {
            fetch: fetch_plan,
            gated: plan.gated,
            timeout: plan.timeout,
        };
        put(PLAN_FILE, json("the plan of the fetch step", &pod_plan)?);
        if let Some(login) = plan.git_login() {
            put(LOGIN_FILE, json("the git login", login)?);
        }
        if let Some(ca) = &config.git_ca {
            put(GIT_CA, SecretText::new(ca.clone()));
        }
        if let Some(ca) = &config.registry_ca {
            put(REGISTRY_CA, SecretText::new(ca.clone()));
        }
        if config.docker_config.is_some() || !plan.secrets.registries.is_empty() {
            let operators = config.docker_config.as_ref().map(SecretText::reveal);
            let text = kaniko::docker_config(operators, &plan.secrets.registries).map_err(|error| {
                ExecutorError::Other(format!("the setting registry_docker_config: {error}"))
            })?;
            put(DOCKER_CONFIG, text);
        }
        let mut env = BTreeMap::new();
        for (name, value) in &plan.build_args {
            let key = format!("{ARG_PREFIX}{name}");
            put(&key, SecretText::new(value.reveal().to_owned()));
            env.insert(name.clone(), key);
        }
        // The pod is made before anybody has seen the Dockerfile, so whatever it may ask for is there.
        let (args, mounted) = kaniko::secret_mounts(&plan.secrets.mounts, &SecretMounts::All);
        for (variable, value) in mounted {
            put(&variable, value);
            env.insert(variable.clone(), variable);
        }
        let bytes: usize = entries
            .iter()
            .map(|(key, text)| key.len().saturating_add(text.reveal().len()))
            .sum();
        if bytes > BYTES_MAX {
            return Err(ExecutorError::Unsupported(format!(
                "the secrets and build args of the build are {bytes} bytes together, and a Secret holds no more than {BYTES_MAX}"
            )));
        }
        Ok(Self { entries, env, args })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The Secret as JSON, owned by the pod of this uid.
    ///
    /// # Errors
    /// Those of the serializer: none.
    pub(super) fn object(
        &self,
        plan: &RunPlan,
        instance: &str,
        namespace: &str,
        pod_uid: &str,
    ) -> Result<Zeroizing<Vec<u8>>, ExecutorError> {
        let name = plan.run.to_string();
        let object = Object {
            api_version: "v1",
            kind: "Secret",
            metadata: Metadata {
                name: name.clone(),
                namespace,
                labels: names::labels(instance, &plan.org, plan.run),
                owner_references: [Owner {
                    api_version: "v1",
                    kind: "Pod",
                    name,
                    uid: pod_uid,
                }],
            },
            kind_of_secret: "Opaque",
            immutable: true,
            data: self
                .entries
                .iter()
                .map(|(key, text)| (key.as_str(), SecretText::new(STANDARD.encode(text.reveal()))))
                .collect(),
        };
        serde_json::to_vec(&object)
            .map(Zeroizing::new)
            .map_err(|_| ExecutorError::Other("a run's Secret cannot be written".to_owned()))
    }
}

/// The serializer's message could quote the value.
fn json(what: &str, value: &impl Serialize) -> Result<SecretText, ExecutorError> {
    serde_json::to_string(value)
        .map(SecretText::new)
        .map_err(|_| ExecutorError::Other(format!("{what} cannot be written")))
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("keys", &self.entries.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
