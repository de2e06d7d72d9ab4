//! Calls of the PolicyService.

use ignite_proto::v1;

use super::Client;
use crate::error::{Error, Result};

impl Client {
    /// `revision` 0 means the policy in force.
    pub(crate) async fn get_policy(&self, revision: u64) -> Result<v1::GetPolicyResponse> {
        let request = v1::GetPolicyRequest { revision };
        self.unary(request, async |request| {
            self.policies.clone().get_policy(request).await
        })
        .await
    }

    /// The policy in force itself.
    pub(crate) async fn policy(&self) -> Result<v1::Policy> {
        let response = self.get_policy(0).await?;
        response
            .policy
            .ok_or(Error::Nonsense("a policy without a record"))
    }

    /// Not repeated: the first attempt would have changed the etag that the second carries.
    pub(crate) async fn put_policy(&self, request: v1::PutPolicyRequest) -> Result<v1::PutPolicyResponse> {
        self.once(request, async |request| {
            self.policies.clone().put_policy(request).await
        })
        .await
    }

    pub(crate) async fn list_policy_revisions(
        &self,
        request: v1::ListPolicyRevisionsRequest,
    ) -> Result<v1::ListPolicyRevisionsResponse> {
        self.unary(request, async |request| {
            self.policies.clone().list_policy_revisions(request).await
        })
        .await
    }

    pub(crate) async fn dry_run_policy(
        &self,
        request: v1::DryRunPolicyRequest,
    ) -> Result<v1::DryRunPolicyResponse> {
        self.unary(request, async |request| {
            self.policies.clone().dry_run_policy(request).await
        })
        .await
    }
}
