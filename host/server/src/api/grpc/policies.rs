//! PolicyService over gRPC.

use std::sync::Arc;

use ignite_proto::v1::{self, policy_service_server::PolicyService};
use tonic::{Request, Response};

use super::{Call, StatusResult};
use crate::service::Service;

/// [`Service`] as the generated code wants it.
#[derive(Debug)]
pub(super) struct Policies {
    service: Arc<Service>,
}

// === impl Policies ===

impl Policies {
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn get_policy(
        &self,
        request: Request<v1::GetPolicyRequest>,
    ) -> StatusResult<Response<v1::GetPolicyResponse>> {
        unary!(self, request, get_policy)
    }

    async fn put_policy(
        &self,
        request: Request<v1::PutPolicyRequest>,
    ) -> StatusResult<Response<v1::PutPolicyResponse>> {
        unary!(self, request, put_policy)
    }

    async fn list_policy_revisions(
        &self,
        request: Request<v1::ListPolicyRevisionsRequest>,
    ) -> StatusResult<Response<v1::ListPolicyRevisionsResponse>> {
        unary!(self, request, list_policy_revisions)
    }

    async fn dry_run_policy(
        &self,
        request: Request<v1::DryRunPolicyRequest>,
    ) -> StatusResult<Response<v1::DryRunPolicyResponse>> {
        unary!(self, request, dry_run_policy)
    }
}
