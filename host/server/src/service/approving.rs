//! Releasing builds that a policy holds.

use std::sync::Arc;

use ignite_core::{
    build::{Approval, Build},
    redact::Redactor,
};
use ignite_proto::v1;

use super::{Service, convert};
use crate::{
    clock,
    error::{Error, Result},
    principal::{Principal, Scope},
    secrets::Snapshot,
    store::StoreError,
};

/// Of the reason that is recorded.
const REASON_BYTES_MAX: usize = 1024;

// === impl Service ===

impl Service {
    /// Nobody releases a build of their own: two people are the point of holding one.
    pub async fn approve_build(
        &self,
        caller: &Principal,
        request: v1::ApproveBuildRequest,
    ) -> Result<v1::ApproveBuildResponse> {
        caller.require(Scope::BuildsApprove)?;
        if request.reason.len() > REASON_BYTES_MAX || request.reason.contains(char::is_control) {
            let description = format!("must be at most {REASON_BYTES_MAX} bytes, without control characters");
            return Err(Error::invalid("reason", description));
        }
        let build = self.find(caller, &request.build_id).await?;
        let status = match self.driver.live(build.id) {
            Some(live) if build.hold.is_some() => {
                if build.created_by == caller.subject {
                    return Err(Error::Forbidden {
                        reason: "SELF_APPROVAL",
                        message: "a build must be approved by somebody other than who submitted it"
                            .to_owned(),
                    });
                }
                let approval = Approval {
                    subject: caller.subject.clone(),
                    reason: self.redacted(&build, &request.reason).await?,
                    at_ms: clock::now_ms(),
                };
                self.driver.approve(&live, approval).await?.status
            }
            // Approved before: the same answer again.
            Some(_) | None if build.approved_by.is_some() => build.status,
            Some(_) | None => {
                return Err(Error::FailedPrecondition {
                    reason: "NOT_HELD",
                    message: format!("no policy holds {}: there is nothing to approve", build.id),
                });
            }
        };
        Ok(v1::ApproveBuildResponse {
            status: convert::status(status).into(),
        })
    }

    /// Somebody may quote what must not stand in the record.
    async fn redacted(&self, build: &Arc<Build>, text: &str) -> Result<String> {
        let sealed = self.store.spec(build.id).await?;
        let sealed = sealed.ok_or(StoreError::Dangling(build.id))?;
        let spec = self.vault.open_spec(&build.org, build.id, &sealed).await?;
        let stored = Snapshot::take(self.secrets.load(&build.org).await?, &spec);
        let values = spec.secret_values().chain(stored.values());
        Ok(Redactor::new(values).redact_text(text))
    }
}
