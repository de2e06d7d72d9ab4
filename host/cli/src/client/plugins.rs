//! Calls of the PluginService.

use futures::{StreamExt as _, stream};
use ignite_proto::v1::{self, upload_plugin_request::Payload};
use tonic::Status;

use super::Client;
use crate::{error::Result, upload::Chunks};

impl Client {
    /// One attempt; [`crate::upload`] repeats it, which is safe: the same bytes again are fine.
    pub(crate) async fn upload_plugin(
        &self,
        metadata: v1::UploadPluginMetadata,
        chunks: Chunks,
    ) -> Result<v1::UploadPluginResponse, Status> {
        let requests = stream::once(std::future::ready(Payload::Metadata(metadata)))
            .chain(chunks.map(Payload::Chunk))
            .map(|payload| v1::UploadPluginRequest {
                payload: Some(payload),
            });
        let response = self.plugins.clone().upload_plugin(requests).await?;
        Ok(response.into_inner())
    }

    pub(crate) async fn import_plugin(&self, reference: String) -> Result<v1::ImportPluginResponse> {
        let request = v1::ImportPluginRequest { reference };
        self.unary(request, async |request| {
            self.plugins.clone().import_plugin(request).await
        })
        .await
    }

    pub(crate) async fn list_plugins(
        &self,
        request: v1::ListPluginsRequest,
    ) -> Result<v1::ListPluginsResponse> {
        self.unary(request, async |request| {
            self.plugins.clone().list_plugins(request).await
        })
        .await
    }

    pub(crate) async fn get_plugin(&self, request: v1::GetPluginRequest) -> Result<v1::GetPluginResponse> {
        self.unary(request, async |request| {
            self.plugins.clone().get_plugin(request).await
        })
        .await
    }

    /// Not repeated: what the first attempt removed, the second would not find.
    pub(crate) async fn delete_plugin(
        &self,
        request: v1::DeletePluginRequest,
    ) -> Result<v1::DeletePluginResponse> {
        self.once(request, async |request| {
            self.plugins.clone().delete_plugin(request).await
        })
        .await
    }
}
