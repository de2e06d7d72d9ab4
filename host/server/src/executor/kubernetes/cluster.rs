//! The calls to the API server. No body with a secret in it is read back, shown or logged: the client library logs what it cannot
//! parse, so a Secret is asked to come back without its data.

use std::{future::Future, path::Path, time::Duration};

use axum::{
    body,
    http::{HeaderValue, StatusCode, header::ACCEPT},
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
    core::{Request, Status},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};
use zeroize::Zeroizing;

use super::names;
use crate::{clock, executor::ExecutorError, sources::fetch::pod::GO_AHEAD};

/// For every call but watching and following, with its repetitions.
const CALL_PATIENCE: Duration = Duration::from_secs(30);
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// Metadata is all that we want of a Secret.
const METADATA_ONLY: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A call that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("there is one of that name")]
    AlreadyExists,
    #[error("it is not there")]
    NotFound,
    /// It has changed since it was looked at.
    #[error("it has changed meanwhile")]
    Conflict,
    #[error("the API server refused it ({code} {reason}){}{message}", if message.is_empty() { "" } else { ": " })]
    Refused {
        code: u16,
        reason: String,
        message: String,
    },
    #[error("the API server cannot be asked: {0}")]
    Away(String),
}

pub(super) type Called<T> = Result<T, CallError>;

#[derive(Clone, Copy)]
pub(super) struct Calls<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
}

/// Connects to the cluster that the settings name. Does not ask it anything.
///
/// # Errors
/// [`ExecutorError::Unsupported`] if there is no usable configuration.
pub(crate) async fn connect(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<Client, ExecutorError> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = match (kubeconfig, context) {
        (Some(path), _) => match Kubeconfig::read_from(path) {
            Ok(read) => Config::from_custom_kubeconfig(read, &options).await,
            Err(error) => Err(error),
        },
        (None, None) => match Config::incluster() {
            Ok(config) => Ok(config),
            Err(_) => Config::from_kubeconfig(&options).await,
        },
        (None, Some(_)) => Config::from_kubeconfig(&options).await,
    };
    let unsupported = |error: String| {
        ExecutorError::Unsupported(format!(
            "the cluster's configuration (kubernetes_kubeconfig, kubernetes_context) cannot be used: {error}"
        ))
    };
    let config = config.map_err(|error| unsupported(error.to_string()))?;
    Client::try_from(config).map_err(|error| unsupported(error.to_string()))
}

// === impl Calls ===

impl Calls<'_> {
    pub(super) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    pub(super) async fn create_pod(&self, pod: &Pod) -> Called<Pod> {
        let api = self.pods();
        let parameters = PostParams::default();
        called(|| api.create(&parameters, pod)).await
    }

    pub(super) async fn get_pod(&self, name: &str) -> Called<Pod> {
        let api = self.pods();
        called(|| api.get(name)).await
    }

    /// Lets a gated run go on.
    pub(super) async fn go_ahead(&self, name: &str) -> Called<()> {
        let annotations = json!({ GO_AHEAD: "true" });
        self.patch_pod(name, json!({ "metadata": { "annotations": annotations } }))
            .await
    }

    /// Has the kubelet end the pod, and notes why; only if the pod is still the one that was looked at. A pod whose deadline has
    /// passed keeps its log, a deleted one does not.
    pub(super) async fn end_pod(&self, pod: &Pod, verdict: &str) -> Called<()> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let metadata = json!({
            "uid": pod.metadata.uid,
            "resourceVersion": pod.metadata.resource_version,
            "annotations": { names::ENDED: verdict },
        });
        let patch = json!({ "metadata": metadata, "spec": { "activeDeadlineSeconds": 1 } });
        self.patch_pod(name, patch).await
    }

    /// Takes our finalizer off the pod of this uid, and leaves those of others.
    pub(super) async fn release_pod(&self, pod: &Pod) -> Called<()> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let finalizers = pod.metadata.finalizers.iter().flatten();
        let others: Vec<&String> = finalizers.filter(|it| *it != names::FINALIZER).collect();
        // With the uid, the patch is for this pod or for none.
        let metadata = json!({ "uid": pod.metadata.uid, "finalizers": others });
        self.patch_pod(name, json!({ "metadata": metadata })).await
    }

    async fn patch_pod(&self, name: &str, patch: Value) -> Called<()> {
        let api = self.pods();
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        called(|| api.patch_metadata(name, &parameters, &patch))
            .await
            .map(drop)
    }

    /// Asks for the pod's end, now. The pod stays in sight until it is released.
    pub(super) async fn delete_pod(&self, pod: &Pod) -> Called<()> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let api = self.pods();
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: pod.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        called(|| api.delete(name, &parameters)).await.map(drop)
    }

    /// The Secret as [`super::secret::Payload::object`] has it.
    pub(super) async fn create_secret(&self, object: &Zeroizing<Vec<u8>>) -> Called<()> {
        patiently(|| self.try_create_secret(object)).await
    }

    async fn try_create_secret(&self, object: &Zeroizing<Vec<u8>>) -> Called<()> {
        let api = self.secrets();
        let mut request = Request::new(api.resource_url())
            .create(&PostParams::default(), object.to_vec())
            .map_err(|error| CallError::Away(error.to_string()))?;
        request.headers_mut().insert(ACCEPT, METADATA_ONLY);
        let answer = self.client.send(request.map(Body::from)).await;
        let answer = answer.map_err(failed)?;
        let code = answer.status();
        if code.is_success() {
            return Ok(());
        }
        let text = body::to_bytes(body::Body::new(answer.into_body()), ANSWER_BYTES_MAX)
            .await
            .unwrap_or_default();
        Err(secret_refused(code, &text))
    }

    /// The uid of the pod that owns the Secret.
    pub(super) async fn secret_owner(&self, name: &str) -> Called<Option<String>> {
        let api = self.secrets();
        let secret = called(|| api.get_metadata(name)).await?;
        let owners = secret.metadata.owner_references.into_iter().flatten();
        let mut pods = owners.filter(|owner| owner.kind == "Pod");
        Ok(pods.next().map(|owner| owner.uid))
    }

    pub(super) async fn delete_secret(&self, name: &str) -> Called<()> {
        let api = self.secrets();
        let parameters = DeleteParams::default();
        called(|| api.delete(name, &parameters)).await.map(drop)
    }
}

/// Does the call, again and again for a while where the server is away or has too much to do: each may be repeated.
pub(super) async fn called<T, F>(call: impl Fn() -> F) -> Called<T>
where
    F: Future<Output = kube::Result<T>>,
{
    patiently(|| async { call().await.map_err(failed) }).await
}

async fn patiently<T, F>(call: impl Fn() -> F) -> Called<T>
where
    F: Future<Output = Called<T>>,
{
    let deadline = Instant::now() + CALL_PATIENCE;
    let mut pause = PAUSE_MIN;
    loop {
        let answer = timeout_at(deadline, call()).await;
        let Ok(Err(CallError::Away(why))) = answer else {
            return answer.unwrap_or_else(|_| Err(CallError::Away("it does not answer".to_owned())));
        };
        if Instant::now() + pause >= deadline {
            return Err(CallError::Away(why));
        }
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(PAUSE_MAX);
    }
}

fn failed(error: kube::Error) -> CallError {
    match error {
        kube::Error::Api(status) if status.is_already_exists() => CallError::AlreadyExists,
        kube::Error::Api(status) if status.is_not_found() => CallError::NotFound,
        kube::Error::Api(status) if status.is_conflict() => CallError::Conflict,
        kube::Error::Api(status) if is_passing(status.code) => CallError::Away(status.message),
        kube::Error::Api(status) => CallError::Refused {
            code: status.code,
            reason: status.reason,
            message: status.message,
        },
        other => CallError::Away(clock::chain(&other)),
    }
}

/// A server, or what stands before it, that will do better in a moment.
fn is_passing(code: u16) -> bool {
    code == 429 || code >= 500
}

/// Without the server's message, or an admission webhook's: it could quote a value.
fn secret_refused(code: StatusCode, text: &[u8]) -> CallError {
    let status: Status = serde_json::from_slice(text).unwrap_or_else(|_| Status::success());
    match status.reason.as_str() {
        "AlreadyExists" => CallError::AlreadyExists,
        "NotFound" => CallError::NotFound,
        _ if is_passing(code.as_u16()) => CallError::Away(code.to_string()),
        _ => CallError::Refused {
            code: code.as_u16(),
            reason: status.reason,
            message: String::new(),
        },
    }
}

// === impl CallError ===

impl CallError {
    pub(super) fn doing(self, what: &str) -> ExecutorError {
        ExecutorError::Other(format!("{what}: {self}"))
    }
}

/// As with [`CallError::NotFound`] where the thing is to be gone anyway.
pub(super) fn or_gone(called: Called<()>) -> Called<()> {
    match called {
        Err(CallError::NotFound) => Ok(()),
        other => other,
    }
}

/// Whether the cluster answers and lets this gateway see its pods.
///
/// # Errors
/// [`ExecutorError::Unsupported`] says what is missing.
pub(super) async fn check(api: &Api<Pod>, instance: &str) -> Result<(), ExecutorError> {
    let parameters = ListParams::default().labels(&names::selector(instance)).limit(1);
    let error = match called(|| api.list_metadata(&parameters)).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    Err(ExecutorError::Unsupported(format!(
        "the cluster cannot be used: {error}; check kubernetes_kubeconfig, and that the gateway may list pods in {}",
        api.namespace().unwrap_or("all namespaces")
    )))
}

#[cfg(test)]
mod tests;
