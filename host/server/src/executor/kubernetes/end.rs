//! From a pod's status to how its run ended. Pure: the same pod gives the same end, to this gateway and to the next.
//!
//! The first that holds decides:
//!
//! 1. Kaniko exited 0: what came later changes nothing.
//! 2. The gateway said why it killed the run ([`Verdict`], an annotation, written before the pod is deleted).
//! 3. The kubelet says why it ended the pod: deadline, eviction, node shutdown, a pod that the node would not take.
//! 4. The control plane says so: the condition `DisruptionTarget`.
//! 5. A container's own end, unless somebody deleted the pod before.
//!
//! A pod is over once it says so. One that was deleted, or ended by the gateway, is over as well where no kubelet will ever say so:
//! it was never given a node, or its node does not answer.

use ignite_core::run::{Disruption, EndCause, FetchFailure, RunEnd};
use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStateTerminated, Pod, PodCondition, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde::{Deserialize, Serialize};

use super::names::{BUILD_CONTAINER, ENDED, FETCH_CONTAINER};
use crate::sources::fetch::frames::Frame;

/// A pod that is to be dead, and whose kubelet says nothing for so long, has lost its node.
const SILENCE_MS_MAX: i64 = 60_000;
/// The build container has ended and the pod has not: something that was put into the pod beside it goes on.
const OTHERS_MS_MAX: i64 = 15_000;

/// Why the gateway has killed a run: the value of the annotation, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub(super) cause: EndCause,
    pub(super) at_ms: i64,
}

/// How the run ended; None while it is live.
pub(super) fn of(pod: &Pod, now_ms: i64) -> Option<RunEnd> {
    let seen = Seen::new(pod);
    let cause = if seen.is_over(now_ms) {
        seen.cause()
    } else if seen.is_abandoned(now_ms) {
        seen.abandoned()
    } else {
        return None;
    };
    Some(RunEnd {
        cause,
        ended_at_ms: seen.ended_at_ms(),
        digest: seen.digest(),
    })
}

/// How the container of that name stands, if the kubelet has said so.
pub(super) fn state_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerState> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    let own = status.container_statuses.iter().flatten();
    init.chain(own)
        .find(|status| status.name == container)?
        .state
        .as_ref()
}

/// What of a pod tells.
struct Seen<'a> {
    pod: &'a Pod,
    status: Option<&'a PodStatus>,
    verdict: Option<Verdict>,
    fetch: Option<&'a ContainerStateTerminated>,
    build: Option<&'a ContainerStateTerminated>,
    disruption: Option<&'a PodCondition>,
}

impl<'a> Seen<'a> {
    fn new(pod: &'a Pod) -> Self {
        let status = pod.status.as_ref();
        let annotation = pod.metadata.annotations.as_ref().and_then(|all| all.get(ENDED));
        let terminated = |name: &str| state_of(pod, name)?.terminated.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        Self {
            pod,
            status,
            verdict: annotation.and_then(|text| serde_json::from_str(text).ok()),
            fetch: terminated(FETCH_CONTAINER),
            build: terminated(BUILD_CONTAINER),
            disruption: conditions
                .into_iter()
                .flatten()
                .find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True"),
        }
    }

    /// The kubelet, or whoever stands in for it, says that the pod is over.
    fn is_over(&self, now_ms: i64) -> bool {
        let phase = self.status.and_then(|status| status.phase.as_deref());
        let lasts = |ended: &ContainerStateTerminated| {
            millis(ended.finished_at.as_ref()).is_some_and(|at| now_ms > at.saturating_add(OTHERS_MS_MAX))
        };
        matches!(phase, Some("Succeeded" | "Failed")) || self.build.is_some_and(lasts)
    }

    /// It was deleted and no kubelet will say how it ended.
    fn is_abandoned(&self, now_ms: i64) -> bool {
        let deleted_at = millis(self.pod.metadata.deletion_timestamp.as_ref());
        let ended_at = self.verdict.as_ref().map(|verdict| verdict.at_ms);
        let Some(deadline) = deleted_at.or(ended_at) else {
            return false;
        };
        self.node().is_none() || now_ms > deadline.saturating_add(SILENCE_MS_MAX)
    }

    /// Which it was given.
    fn node(&self) -> Option<&str> {
        self.pod.spec.as_ref()?.node_name.as_deref()
    }

    fn abandoned(&self) -> EndCause {
        if let Some(verdict) = &self.verdict {
            return verdict.cause.clone();
        }
        let by_control_plane = self.disruption.map(disrupted);
        by_control_plane.unwrap_or_else(|| match self.node() {
            None => deleted(),
            Some(node) => EndCause::Disrupted {
                how: Disruption::NodeLost,
                message: format!("the build's pod was deleted and its node {node} no longer answers"),
            },
        })
    }

    fn cause(&self) -> EndCause {
        if self.build.is_some_and(|build| build.exit_code == 0) {
            return EndCause::Exited { code: 0 };
        }
        if let Some(verdict) = &self.verdict {
            return verdict.cause.clone();
        }
        self.by_kubelet()
            .or_else(|| self.disruption.map(disrupted))
            .unwrap_or_else(|| self.by_container())
    }

    /// What the kubelet gives as the reason of a failed pod.
    fn by_kubelet(&self) -> Option<EndCause> {
        let status = self.status?;
        let message = status.message.as_deref().unwrap_or_default();
        let disrupted = |how, what: &str| {
            let message = match message {
                "" => what.to_owned(),
                message => format!("{what}: {message}"),
            };
            Some(EndCause::Disrupted { how, message })
        };
        match status.reason.as_deref()? {
            "DeadlineExceeded" => Some(EndCause::TimedOut),
            "Evicted" if is_own_disk(message) => Some(EndCause::OutOfDisk),
            "Evicted" => disrupted(Disruption::Evicted, "the build's pod was evicted from its node"),
            "Preempting" => disrupted(
                Disruption::Preempted,
                "the build's pod had to make room for another on its node",
            ),
            "NodeLost" => disrupted(Disruption::NodeLost, "the build's node is lost"),
            "NodeShutdown" | "Shutdown" | "Terminated" => {
                disrupted(Disruption::NodeLost, "the build's node was shut down")
            }
            // The node was chosen and then would not take it.
            reason @ ("NodeAffinity" | "UnexpectedAdmissionError" | "PodOSNotSupported") => disrupted(
                Disruption::NotStarted,
                &format!("the node refused the build's pod ({reason})"),
            ),
            reason if reason.starts_with("OutOf") || reason.ends_with("Error") => disrupted(
                Disruption::NotStarted,
                &format!("the node refused the build's pod ({reason})"),
            ),
            _ => None,
        }
    }

    fn by_container(&self) -> EndCause {
        let ended = match (self.build, self.fetch) {
            (Some(build), _) => build,
            (None, Some(fetch)) if fetch.exit_code != 0 => fetch,
            (None, _) if self.pod.metadata.deletion_timestamp.is_some() => return deleted(),
            (None, _) => {
                return EndCause::Lost {
                    message: format!("the build's pod ended before its steps did{}", self.said()),
                };
            }
        };
        let text = ended.message.as_deref().unwrap_or_default();
        match ended.reason.as_deref() {
            Some("OOMKilled") => return EndCause::OutOfMemory,
            // What a kubelet writes of a container that it does not find any more.
            Some("ContainerStatusUnknown") => {
                return EndCause::Lost {
                    message: "the build's container was lost by its node".to_owned(),
                };
            }
            Some(reason @ ("StartError" | "ContainerCannotRun" | "RunContainerError")) => {
                return EndCause::Disrupted {
                    how: Disruption::NotStarted,
                    message: format!("the build's container could not be started ({reason}): {text}"),
                };
            }
            Some(_) | None => {}
        }
        if self.was_deleted_before(ended) {
            return deleted();
        }
        match self.build {
            Some(build) => EndCause::Exited {
                code: build.exit_code,
            },
            None => fetch_failed(ended.exit_code, text),
        }
    }

    /// Killing is what deleting does, so an end that is not clearly before is taken for its work.
    fn was_deleted_before(&self, ended: &ContainerStateTerminated) -> bool {
        let metadata = &self.pod.metadata;
        let Some(dead_at) = millis(metadata.deletion_timestamp.as_ref()) else {
            return false;
        };
        let grace_ms = metadata
            .deletion_grace_period_seconds
            .unwrap_or_default()
            .saturating_mul(1000);
        let asked_at = dead_at.saturating_sub(grace_ms);
        millis(ended.finished_at.as_ref()).is_none_or(|finished| finished >= asked_at)
    }

    /// From what never changes again.
    fn ended_at_ms(&self) -> i64 {
        let finished = |ended: Option<&ContainerStateTerminated>| {
            ended.and_then(|ended| millis(ended.finished_at.as_ref()))
        };
        let positive = |at: &i64| *at > 0;
        finished(self.build)
            .filter(positive)
            .or_else(|| finished(self.fetch).filter(positive))
            .or_else(|| self.verdict.as_ref().map(|verdict| verdict.at_ms))
            .or_else(|| millis(self.pod.metadata.deletion_timestamp.as_ref()))
            .or_else(|| millis(self.disruption.and_then(|it| it.last_transition_time.as_ref())))
            .or_else(|| millis(self.pod.metadata.creation_timestamp.as_ref()))
            .unwrap_or_default()
    }

    /// What Kaniko's digest file had in it: it is where the container's last words are read from.
    fn digest(&self) -> Option<String> {
        let text = self.build?.message.as_deref()?;
        let hex = text.trim().strip_prefix("sha256:")?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (hex.len() == 64 && hex.bytes().all(is_hex)).then(|| format!("sha256:{hex}"))
    }

    /// `: reason: message`
    fn said(&self) -> String {
        let status = self.status;
        [
            status.and_then(|status| status.reason.as_deref()),
            status.and_then(|status| status.message.as_deref()),
        ]
        .into_iter()
        .flatten()
        .map(|text| format!(": {text}"))
        .collect()
    }
}

pub(super) fn deleted() -> EndCause {
    EndCause::Disrupted {
        how: Disruption::Deleted,
        message: "the build's pod was deleted, and not by the gateway".to_owned(),
    }
}

/// The condition of a pod that the control plane, or the kubelet, ends for the sake of something else.
fn disrupted(condition: &PodCondition) -> EndCause {
    let (how, what) = match condition.reason.as_deref().unwrap_or_default() {
        "PreemptionByScheduler" => (
            Disruption::Preempted,
            "the build's pod had to make room for one of a higher priority",
        ),
        "DeletionByTaintManager" => (
            Disruption::NodeLost,
            "the build's node no longer answers, or was tainted",
        ),
        "DeletionByPodGC" => (Disruption::NodeLost, "the build's node is gone"),
        "EvictionByEvictionAPI" => (
            Disruption::Evicted,
            "the build's pod was evicted: its node is being drained",
        ),
        "TerminationByKubelet" => (Disruption::Evicted, "the build's pod was ended by its node"),
        _ => (Disruption::Evicted, "the cluster ended the build's pod"),
    };
    let message = match condition.message.as_deref() {
        None | Some("") => what.to_owned(),
        Some(message) => format!("{what}: {message}"),
    };
    EndCause::Disrupted { how, message }
}

/// Of the messages of an eviction: those of a pod that used more disk than its own limits, not of a node that ran short.
fn is_own_disk(message: &str) -> bool {
    const OWN: [&str; 3] = [
        "ephemeral local storage usage exceeds the total limit of containers",
        "exceeded its local ephemeral storage limit",
        "Usage of EmptyDir volume",
    ];
    OWN.iter().any(|text| message.contains(text))
}

/// From the fetch step's last words: the last line of what it printed is why it failed.
fn fetch_failed(code: i32, last_words: &str) -> EndCause {
    let frame = last_words
        .lines()
        .next_back()
        .map(|line| Frame::parse(line.as_bytes()));
    match frame {
        Some(Ok(Frame::Failed { failed, .. })) => EndCause::FetchFailed {
            failure: failed.failure,
            message: failed.message,
        },
        Some(_) | None => EndCause::FetchFailed {
            failure: FetchFailure::Internal,
            message: format!("the fetch step ended with exit code {code} and gave no reason"),
        },
    }
}

pub(super) fn millis(time: Option<&Time>) -> Option<i64> {
    time.map(|time| time.0.as_millisecond())
}

#[cfg(test)]
mod tests;
