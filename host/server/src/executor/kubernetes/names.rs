//! What the gateway's objects in the cluster are called.

use std::collections::BTreeMap;

use ignite_core::ids::{OrgId, RunId};
use k8s_openapi::api::core::v1::Pod;
use sha2::{Digest as _, Sha256};

pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "ignite";
/// The gateway's namespace of builds: several gateways in a cluster know their own by it.
pub(super) const INSTANCE: &str = "app.kubernetes.io/instance";
pub(super) const ORG: &str = "ignite.dodil.io/org";
pub(super) const BUILD: &str = "ignite.dodil.io/build";
pub(super) const RUN: &str = "ignite.dodil.io/run";

/// On the pod until its run is forgotten: without it a deleted pod would take log and end with it.
pub(super) const FINALIZER: &str = "ignite.dodil.io/log";
/// Why the gateway has ended the run: see [`super::end::Verdict`].
pub(super) const ENDED: &str = "ignite.dodil.io/ended";

pub(super) const FETCH_CONTAINER: &str = "fetch";
pub(super) const BUILD_CONTAINER: &str = "build";

const NAME_BYTES_MAX: usize = 63;

/// Labels of everything that belongs to one run.
pub(super) fn labels(instance: &str, org: &OrgId, run: RunId) -> BTreeMap<String, String> {
    let mut labels = of_org(instance, org);
    labels.insert(BUILD.to_owned(), run.build.to_string());
    labels.insert(RUN.to_owned(), run.to_string());
    labels
}

/// Labels of everything that belongs to one organization.
pub(super) fn of_org(instance: &str, org: &OrgId) -> BTreeMap<String, String> {
    [(MANAGED_BY, MANAGER), (INSTANCE, instance), (ORG, org.as_str())]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// What selects all pods of one gateway.
pub(super) fn selector(instance: &str) -> String {
    format!("{MANAGED_BY}={MANAGER},{INSTANCE}={instance},{RUN}")
}

/// The run that a pod is of, if the pod is the gateway's.
pub(super) fn run_of(pod: &Pod, instance: &str) -> Option<RunId> {
    let labels = pod.metadata.labels.as_ref()?;
    let is = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
    let run: RunId = labels.get(RUN)?.parse().ok()?;
    let is_named = pod.metadata.name.as_deref() == Some(run.to_string().as_str());
    (is(MANAGED_BY, MANAGER) && is(INSTANCE, instance) && is_named).then_some(run)
}

/// The namespace of an organization. Two that are too long to be told apart otherwise are by a hash; whose a namespace is says
/// its label.
pub(super) fn namespace_of(instance: &str, org: &OrgId) -> String {
    const HASH_DIGITS: usize = 10;
    let whole = format!("{instance}-{org}");
    if whole.len() <= NAME_BYTES_MAX {
        return whole;
    }
    let hash = hex::encode(Sha256::digest(org.as_str()));
    let kept: String = whole.chars().take(NAME_BYTES_MAX - HASH_DIGITS - 1).collect();
    let digits: String = hash.chars().take(HASH_DIGITS).collect();
    format!("{}-{digits}", kept.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_organization_has_a_namespace_of_its_own() {
        let namespace = |org: &str| namespace_of("ignite-builds", &org.parse().unwrap());
        assert_eq!(namespace("acme"), "ignite-builds-acme");
        let (one, other) = (format!("{}1", "a".repeat(62)), format!("{}2", "a".repeat(62)));
        let (one, other) = (namespace(&one), namespace(&other));
        assert_ne!(one, other);
        for name in [
            one,
            other,
            namespace(&format!("{}-{}", "a".repeat(37), "b".repeat(25))),
        ] {
            assert!(name.len() <= NAME_BYTES_MAX, "{name}");
            assert!(name.parse::<OrgId>().is_ok(), "{name} is a DNS label");
        }
    }
}
