//! Why a pod's steps have not begun, from its status. Pure.

use std::time::Duration;

use ignite_core::run::Disruption;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// Registries have their bad minutes.
const IMAGE_PATIENCE: Duration = Duration::from_secs(180);
/// A Secret that is not there yet, a node's runtime that restarts.
const CREATE_PATIENCE: Duration = Duration::from_secs(120);

/// What a pod waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) kind: Kind,
    /// Fit for the user.
    pub(super) reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// For a node that will take it.
    Node,
    /// For one of our images, which cannot be pulled. Some things are not worth waiting for.
    Image { is_hopeless: bool },
    /// For its containers, which cannot be made.
    Container,
}

/// None if nothing is known to keep it from going on.
pub(super) fn of(pod: &Pod) -> Option<Waiting> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.iter().flatten();
    let unscheduled = conditions
        .into_iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let said = condition
            .message
            .as_deref()
            .unwrap_or("no scheduler has looked at it yet");
        return Some(Waiting {
            kind: Kind::Node,
            reason: format!("waiting for a node: {said}"),
        });
    }
    let init = status.init_container_statuses.iter().flatten();
    let own = status.container_statuses.iter().flatten();
    init.chain(own).find_map(container)
}

fn container(status: &ContainerStatus) -> Option<Waiting> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let said = match waiting.message.as_deref() {
        None | Some("") => String::new(),
        Some(message) => format!(": {message}"),
    };
    let reason = waiting.reason.as_deref()?;
    let kind = match reason {
        "InvalidImageName" | "ErrImageNeverPull" => Kind::Image { is_hopeless: true },
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Kind::Image { is_hopeless: false },
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "PreStartHookError"
        | "PostStartHookError" => Kind::Container,
        // As it always is for a moment: PodInitializing, ContainerCreating.
        _ => return None,
    };
    let reason = match kind {
        Kind::Image { .. } => format!(
            "the gateway's image {} cannot be pulled ({reason}{said})",
            status.image
        ),
        Kind::Node | Kind::Container => {
            format!(
                "the container of the {} step cannot be made ({reason}{said})",
                status.name
            )
        }
    };
    Some(Waiting { kind, reason })
}

// === impl Waiting ===

impl Waiting {
    /// How long it may last, and what it then is. `schedule`: how long a pod may wait for a node.
    pub(super) fn patience(&self, schedule: Duration) -> (Duration, Disruption) {
        match self.kind {
            Kind::Node => (schedule, Disruption::Unscheduled),
            Kind::Image { is_hopeless: true } => (Duration::ZERO, Disruption::ImagePull),
            Kind::Image { is_hopeless: false } => (IMAGE_PATIENCE, Disruption::ImagePull),
            Kind::Container => (CREATE_PATIENCE, Disruption::NotStarted),
        }
    }
}

#[cfg(test)]
mod tests;
