//! One of several gateways over the same data directory: it waits for its turn, and ends when its turn does.
//!
//! ```text
//!   standby ── the Lease is free, or was not renewed for its duration ──▶ active ── not renewed in time ──▶ the process ends
//!   answers /healthz; all else: 503                     writes, builds, renews
//! ```
//!
//! What keeps two from writing is, in this order: the Lease of the cluster; the [`Tenure`] of the store, which is over before anybody
//! may take the Lease, and is asked before each write and before each acknowledgement, so that a process that was stopped for
//! a while writes nothing when it goes on; and the lock on the data directory, where the volume knows locks. The next one waits for
//! that lock too.

use std::time::Duration;

use axum::{Router, http::StatusCode, routing::get};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, Client, api::PostParams};
use tokio_util::sync::CancellationToken;

use self::lease::{Candidate, Turn};
use crate::{clock, store::Tenure};

mod lease;

/// Of the Lease, as others are told it: one that was not renewed for so long may be taken.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// Whoever could not renew for so long ends. The rest is for clocks that go at different speeds, and for a last write.
const TENURE: Duration = Duration::from_secs(10);
/// Between looks at the Lease, and between renewals.
const EVERY: Duration = Duration::from_secs(2);
/// Of one request to the cluster.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// The Lease was not renewed in time: another gateway may be at work.
#[derive(Debug, thiserror::Error)]
#[error("the lease was lost: another gateway may be at work")]
pub struct Lost;

/// This process's part in that.
#[derive(Debug)]
pub struct Standby {
    api: Api<Lease>,
    name: String,
    candidate: Candidate,
}

/// Answered where somebody else has written since.
const CONFLICT: u16 = 409;

/// The Lease as this process holds it, to be kept alive by [`Active::keep`].
#[derive(Debug)]
pub struct Active {
    standby: Standby,
    held: Lease,
    tenure: Tenure,
}

// === impl Standby ===

impl Standby {
    /// `lease` is a name, or `namespace/name`; without one it is in the client's own namespace. `identity` is this process's alone,
    /// also among those that ended.
    pub fn new(client: Client, lease: &str, identity: String) -> Self {
        let (api, name) = match lease.split_once('/') {
            Some((namespace, name)) => (Api::namespaced(client, namespace), name),
            None => (Api::default_namespaced(client), lease),
        };
        Self {
            api,
            name: name.to_owned(),
            candidate: Candidate::new(identity, LEASE_DURATION),
        }
    }

    /// Waits until this process may work. What the cluster does not answer is asked again. None if `closing` came first.
    pub async fn wait(mut self, closing: &CancellationToken) -> Option<Active> {
        let mut waits = false;
        loop {
            let sent = Tenure::now();
            match timed(self.attempt()).await {
                Ok(Ok(held)) => {
                    let tenure = Tenure::until(sent + TENURE);
                    tracing::info!(lease = %self.name, "standby.elected");
                    return Some(Active {
                        standby: self,
                        held,
                        tenure,
                    });
                }
                Ok(Err(holder)) => {
                    if !std::mem::replace(&mut waits, true) {
                        tracing::info!(lease = %self.name, holder, "standby.waiting");
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %clock::chain(&error), "standby.lease_unread");
                }
            }
            tokio::select! {
                () = closing.cancelled() => return None,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// The Lease, taken; or who holds it.
    async fn attempt(&mut self) -> Result<Result<Lease, String>, kube::Error> {
        let name = &self.name;
        let found = self.api.get_opt(name).await?;
        let taken = match self.candidate.look(found.as_ref(), Tenure::now()) {
            Turn::Taken { by } => return Ok(Err(by)),
            Turn::Mine(spec) => spec,
        };
        let written = match found {
            // With its resource version: somebody who was quicker wins.
            Some(mut lease) => {
                lease.spec = Some(taken);
                self.api.replace(name, &PostParams::default(), &lease).await
            }
            None => {
                let mut lease = Lease {
                    spec: Some(taken),
                    ..Lease::default()
                };
                lease.metadata.name = Some(name.clone());
                self.api.create(&PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(lease) => Ok(Ok(lease)),
            Err(kube::Error::Api(status)) if status.code == CONFLICT => {
                Ok(Err("another that was quicker".to_owned()))
            }
            Err(error) => Err(error),
        }
    }
}

// === impl Active ===

impl Active {
    /// How long the store may be written to, unless it is renewed.
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Renews until `done`, then gives the Lease back, so that the next one need not wait.
    ///
    /// # Errors
    /// [`Lost`] once this process may no longer write. It should end at once.
    pub async fn keep(mut self, done: CancellationToken) -> Result<(), Lost> {
        loop {
            let left = self.tenure.left().unwrap_or_default();
            tokio::select! {
                () = done.cancelled() => break,
                () = tokio::time::sleep(EVERY.min(left)) => {}
            }
            let sent = Tenure::now();
            let renewed = self.standby.candidate.renewed(self.held.spec.as_ref());
            let left = self.tenure.left().unwrap_or_default();
            match tokio::time::timeout(left.min(REQUEST_TIME_MAX), self.write(renewed)).await {
                Ok(Ok(lease)) => {
                    self.held = lease;
                    self.tenure.extend(sent + TENURE);
                }
                Ok(Err(kube::Error::Api(status))) if status.code == CONFLICT => {
                    self.look_again().await;
                }
                Ok(Err(error)) => tracing::warn!(error = %clock::chain(&error), "standby.not_renewed"),
                Err(_) => tracing::warn!("standby.not_renewed"),
            }
            if self.tenure.check().is_err() {
                return Err(Lost);
            }
        }
        let given_back = self.standby.candidate.given_back(self.held.spec.as_ref());
        if let Err(error) = timed(self.write(given_back)).await {
            tracing::warn!(error = %clock::chain(&error), "standby.not_given_back");
        }
        Ok(())
    }

    async fn write(&self, spec: LeaseSpec) -> Result<Lease, kube::Error> {
        let mut lease = self.held.clone();
        lease.spec = Some(spec);
        let name = &self.standby.name;
        self.standby
            .api
            .replace(name, &PostParams::default(), &lease)
            .await
    }

    /// Somebody changed it: a person who put a label on it, or one who took it. The latter ends the tenure by not letting it go on.
    async fn look_again(&mut self) {
        match timed(self.standby.api.get(&self.standby.name)).await {
            Ok(lease) if self.standby.candidate.holds(lease.spec.as_ref()) => self.held = lease,
            Ok(_) => tracing::error!("standby.taken_by_another"),
            Err(error) => tracing::warn!(error = %clock::chain(&error), "standby.lease_unread"),
        }
    }
}

async fn timed<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Unanswered> {
    match tokio::time::timeout(REQUEST_TIME_MAX, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Unanswered::Slow),
    }
}

#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("the cluster did not take the request")]
    Kube(#[from] kube::Error),
    #[error("the cluster did not answer in {} s", REQUEST_TIME_MAX.as_secs())]
    Slow,
}

/// What a gateway answers that is not at work: alive, but not ready.
pub fn router() -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .fallback(async || (StatusCode::SERVICE_UNAVAILABLE, "standby\n"))
}

/// A name that no other process has or had: where it runs, and something random.
pub fn identity() -> String {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let tag: u64 = rand::random();
    format!("{}_{tag:016x}", host.to_string_lossy())
}
