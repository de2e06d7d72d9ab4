//! Runs builds as pods of a Kubernetes cluster: one bare pod for each run, fetching in an init container and Kaniko in the other.
//!
//! ```text
//!   gateway ── ensure ──▶ pod (see [`pod`]), then its Secret (see [`secret`]), owned by it
//!      ▲ ▲
//!      │ └── watch ────── all pods of this gateway (see [`pods`]): how runs stand, what they wait for, how they ended
//!      └──── log ──────── of each container (see [`logs`]), turned into events (see [`follow`])
//! ```
//!
//! All that a later gateway needs to know stands in the pod: a finalizer keeps it until its run is forgotten, whoever deletes it.
//! The calls to the API server are the same few for each build, however many run.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::stream::BoxStream;
use ignite_core::{
    ids::RunId,
    run::{EndCause, ObservedRun, RunPhase},
    secrets::SecretText,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use url::Url;

use self::{
    cluster::{CallError, Calls, or_gone},
    end::Verdict,
    namespaces::Namespaces,
    pods::Pods,
    secret::Payload,
};
use crate::{
    clock,
    executor::{Executor, ExecutorError, RawCursor, RunEvent, RunPlan, classes::ResourceClasses},
    sources::{archive::ArchiveLimits, fetch::pod::GO_AHEAD, git::GitRules},
};

mod cluster;
mod end;
mod follow;
pub mod logs;
mod names;
mod namespaces;
mod pod;
mod pods;
#[cfg(test)]
mod samples;
mod secret;
mod template;
mod waiting;

pub(crate) use cluster::connect;
pub use template::{PodTemplate, TemplateError};

/// How long the end of a killed run may take.
const KILL_PATIENCE: Duration = Duration::from_secs(120);
/// A pod may change between a look and a patch, but not for ever.
const LOOKS_MAX: u32 = 8;

/// How the Kubernetes executor is set up.
#[derive(Debug, Clone)]
pub struct KubernetesConfig {
    /// None: as a pod of the cluster, else as `kubectl` does.
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    /// Of build pods, or what the names of the organizations' begin with. It tells this gateway's pods from another's.
    pub namespace: String,
    pub namespace_per_org: bool,
    /// Address ranges that pods in such a namespace may reach though they are private.
    pub egress_allowed: Vec<String>,
    /// Registries that they may reach, by host and optional port.
    pub registries: Vec<String>,
    /// Runs of one organization at once.
    pub running_per_org_max: u32,
    pub fetch_image: String,
    pub kaniko_image: String,
    /// How pods reach this gateway.
    pub gateway_url: Url,
    pub template: PodTemplate,
    pub classes: Arc<ResourceClasses>,
    /// What the fetch step accepts.
    pub archive: ArchiveLimits,
    pub git: GitRules,
    /// PEM certificates of authorities for git servers, beside the fetch image's.
    pub git_ca: Option<String>,
    /// Registry logins, in the form of Docker's `config.json`. Steps of a build can read them.
    pub docker_config: Option<SecretText>,
    /// PEM certificates of authorities for registries, beside the Kaniko image's.
    pub registry_ca: Option<String>,
}

/// See the module.
#[derive(Clone)]
pub struct KubernetesExecutor {
    shared: Arc<Shared>,
}

struct Shared {
    config: KubernetesConfig,
    client: Client,
    pods: Pods,
    namespaces: Namespaces,
}

// === impl KubernetesExecutor ===

impl KubernetesExecutor {
    /// Connects, and begins to watch pods. To be called in a Tokio runtime.
    ///
    /// # Errors
    /// [`ExecutorError::Unsupported`] if the cluster cannot be reached as the settings say, or refuses.
    pub async fn new(config: KubernetesConfig) -> Result<Self, ExecutorError> {
        let client = connect(config.kubeconfig.as_deref(), config.context.as_deref()).await?;
        let api: Api<Pod> = match config.namespace_per_org {
            true => Api::all(client.clone()),
            false => Api::namespaced(client.clone(), &config.namespace),
        };
        cluster::check(&api, &config.namespace).await?;
        let pods = Pods::watch(api, &config.namespace);
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                client,
                pods,
                namespaces: Namespaces::default(),
            }),
        })
    }
}

impl fmt::Debug for KubernetesExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesExecutor")
            .field("namespace", &self.shared.config.namespace)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Executor for KubernetesExecutor {
    async fn ensure(&self, plan: &RunPlan) -> Result<(), ExecutorError> {
        self.shared.ensure(plan).await
    }

    async fn observe(&self) -> Result<Vec<ObservedRun>, ExecutorError> {
        let now_ms = clock::now_ms();
        let pods = self.shared.pods.all().await?;
        let observed = pods.into_iter().map(|(run, pod)| ObservedRun {
            run,
            phase: match end::of(&pod, now_ms) {
                Some(end) => RunPhase::Ended(end),
                None => RunPhase::Live,
            },
        });
        Ok(observed.collect())
    }

    fn follow(&self, run: RunId, from: RawCursor) -> BoxStream<'static, Result<RunEvent, ExecutorError>> {
        follow::follow(Arc::clone(&self.shared), run, from)
    }

    async fn go_ahead(&self, run: RunId) -> Result<(), ExecutorError> {
        let (pod, _) = self.shared.pods.find(run).await?;
        if end::of(&pod, clock::now_ms()).is_some() || has_annotation(&pod, GO_AHEAD) {
            return Ok(());
        }
        let given = self.shared.calls(&pod).go_ahead(&run.to_string()).await;
        or_gone(given).map_err(|error| error.doing("letting the run go on"))
    }

    async fn stop(&self, run: RunId) -> Result<(), ExecutorError> {
        let (pod, _) = self.shared.pods.find(run).await?;
        self.shared.end(&pod, EndCause::Stopped).await
    }

    async fn forget(&self, run: RunId) -> Result<(), ExecutorError> {
        self.shared.forget(run).await
    }
}

// === impl Shared ===

impl Shared {
    fn calls<'a>(&'a self, pod: &'a Pod) -> Calls<'a> {
        let namespace = pod.metadata.namespace.as_deref();
        self.calls_in(namespace.unwrap_or(&self.config.namespace))
    }

    fn calls_in<'a>(&'a self, namespace: &'a str) -> Calls<'a> {
        Calls {
            client: &self.client,
            namespace,
        }
    }

    async fn ensure(&self, plan: &RunPlan) -> Result<(), ExecutorError> {
        let name = plan.run.to_string();
        let namespace = self
            .namespaces
            .ensure(&self.client, &self.config, &plan.org)
            .await?;
        let payload = Payload::new(plan, &self.config)?;
        let pod = pod::pod(plan, &self.config, &payload, &namespace)?;
        let calls = self.calls_in(&namespace);
        let there = match calls.create_pod(&pod).await {
            Ok(created) => created,
            Err(CallError::AlreadyExists) => self.found(plan, calls).await?,
            Err(error) => {
                // Somebody may have removed the namespace.
                self.namespaces.doubt(&plan.org);
                return Err(error.doing("making the build's pod"));
            }
        };
        let is_over =
            there.metadata.deletion_timestamp.is_some() || end::of(&there, clock::now_ms()).is_some();
        if !is_over {
            let uid = there.metadata.uid.as_deref().unwrap_or_default();
            self.ensure_secret(plan, &payload, calls, uid)
                .await
                .map_err(|error| error.doing("making the build's Secret"))?;
        }
        tracing::debug!(run = %name, namespace, "pod.ensured");
        self.pods.seen(plan.run).await
    }

    /// The pod of that name, if it is the run's.
    async fn found(&self, plan: &RunPlan, calls: Calls<'_>) -> Result<Pod, ExecutorError> {
        let name = plan.run.to_string();
        let doing = "looking at the build's pod";
        let pod = calls.get_pod(&name).await.map_err(|error| error.doing(doing))?;
        if names::run_of(&pod, &self.config.namespace) == Some(plan.run) {
            Ok(pod)
        } else {
            Err(ExecutorError::Unsupported(format!(
                "the namespace {} has a pod {name} that is not this gateway's",
                calls.namespace
            )))
        }
    }

    /// No Secret is ever without an owner: it is made when its pod is there, and waits for nobody.
    async fn ensure_secret(
        &self,
        plan: &RunPlan,
        payload: &Payload,
        calls: Calls<'_>,
        pod_uid: &str,
    ) -> Result<(), CallError> {
        let name = plan.run.to_string();
        let object = || {
            payload
                .object(plan, &self.config.namespace, calls.namespace, pod_uid)
                .map_err(|error| CallError::Away(error.to_string()))
        };
        match calls.create_secret(&object()?).await {
            Err(CallError::AlreadyExists) => {}
            other => return other,
        }
        if calls.secret_owner(&name).await?.as_deref() == Some(pod_uid) {
            return Ok(());
        }
        or_gone(calls.delete_secret(&name).await)?;
        calls.create_secret(&object()?).await
    }

    /// Kills the run, for this cause, unless it has ended or has been killed before.
    async fn end(&self, pod: &Arc<Pod>, cause: EndCause) -> Result<(), ExecutorError> {
        let doing = |error: CallError| error.doing("ending the build's pod");
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let calls = self.calls(pod);
        let mut pod = Arc::clone(pod);
        for _ in 0..LOOKS_MAX {
            let now_ms = clock::now_ms();
            if end::of(&pod, now_ms).is_some() || has_annotation(&pod, names::ENDED) {
                return Ok(());
            }
            let verdict = Verdict {
                cause: cause.clone(),
                at_ms: now_ms,
            };
            let verdict = serde_json::to_string(&verdict)
                .map_err(|error| ExecutorError::Other(format!("ending the build's pod: {error}")))?;
            match calls.end_pod(&pod, &verdict).await {
                // No kubelet looks at the deadline of a pod that has no node.
                Ok(()) if pod.spec.as_ref().is_none_or(|spec| spec.node_name.is_none()) => {
                    return or_gone(calls.delete_pod(&pod).await).map_err(doing);
                }
                Ok(()) | Err(CallError::NotFound) => return Ok(()),
                Err(CallError::Conflict) => match calls.get_pod(name).await {
                    Ok(newer) => pod = Arc::new(newer),
                    Err(CallError::NotFound) => return Ok(()),
                    Err(error) => return Err(doing(error)),
                },
                Err(error) => return Err(doing(error)),
            }
        }
        Err(doing(CallError::Conflict))
    }

    async fn forget(&self, run: RunId) -> Result<(), ExecutorError> {
        let (pod, mut changes) = match self.pods.find(run).await {
            Ok(found) => found,
            Err(ExecutorError::UnknownRun(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.end(&pod, EndCause::Stopped).await?;
        let ended = follow::ended(&mut changes);
        match tokio::time::timeout(KILL_PATIENCE, ended).await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(_) => {
                return Err(ExecutorError::Other(format!(
                    "the pod of {run} did not end within {} s",
                    KILL_PATIENCE.as_secs()
                )));
            }
        }
        let Some(pod) = changes.borrow().clone() else {
            return Ok(());
        };
        let doing = |error: CallError| error.doing("removing the build's pod");
        let calls = self.calls(&pod);
        or_gone(calls.delete_pod(&pod).await).map_err(doing)?;
        or_gone(calls.release_pod(&pod).await).map_err(doing)?;
        self.pods.gone(changes).await
    }
}

fn has_annotation(pod: &Pod, key: &str) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.is_some_and(|annotations| annotations.contains_key(key))
}

/// Reads a file that an operator named.
///
/// # Errors
/// [`ExecutorError::Unsupported`] with the setting's name.
pub(crate) fn read_setting(setting: &str, path: &Path) -> Result<String, ExecutorError> {
    fs::read_to_string(path).map_err(|error| {
        ExecutorError::Unsupported(format!(
            "the setting {setting}: {} cannot be read: {error}",
            path.display()
        ))
    })
}
