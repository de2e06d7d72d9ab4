//! PluginService over gRPC.

use std::sync::Arc;

use ignite_proto::v1::{self, plugin_service_server::PluginService};
use tonic::{Request, Response};

use super::{Call, StatusResult, upload};
use crate::service::Service;

/// [`Service`] as the generated code wants it.
#[derive(Debug)]
pub(super) struct Plugins {
    service: Arc<Service>,
}

// === impl Plugins ===

impl Plugins {
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl PluginService for Plugins {
    async fn upload_plugin(
        &self,
        request: Request<tonic::Streaming<v1::UploadPluginRequest>>,
    ) -> StatusResult<Response<v1::UploadPluginResponse>> {
        let call = Call::of(&request)?;
        let answer = async {
            let caller = call.context.require_caller()?;
            let (metadata, component) = upload::split(request.into_inner()).await?;
            self.service.upload_plugin(caller, metadata, component).await
        };
        call.answer(answer.await)
    }

    async fn import_plugin(
        &self,
        request: Request<v1::ImportPluginRequest>,
    ) -> StatusResult<Response<v1::ImportPluginResponse>> {
        unary!(self, request, import_plugin)
    }

    async fn list_plugins(
        &self,
        request: Request<v1::ListPluginsRequest>,
    ) -> StatusResult<Response<v1::ListPluginsResponse>> {
        unary!(self, request, list_plugins)
    }

    async fn get_plugin(
        &self,
        request: Request<v1::GetPluginRequest>,
    ) -> StatusResult<Response<v1::GetPluginResponse>> {
        unary!(self, request, get_plugin)
    }

    async fn delete_plugin(
        &self,
        request: Request<v1::DeletePluginRequest>,
    ) -> StatusResult<Response<v1::DeletePluginResponse>> {
        unary!(self, request, delete_plugin)
    }
}
