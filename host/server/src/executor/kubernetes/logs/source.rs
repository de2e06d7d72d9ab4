//! Where a container's log is asked for.

use std::fmt;

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Client,
    api::LogParams,
    core::{Request, Status},
};

/// Of what the API server says when it refuses.
const REFUSAL_BYTES_MAX: usize = 8 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Without the lines of before this second of Unix time.
    pub since_s: Option<i64>,
    /// Stay for what is written later.
    pub follow: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The cluster answers, and cannot give the log: it has not begun, its pod is gone, its node cannot be reached.
    #[error("the cluster answers {code}: {message}")]
    Refused { code: u16, message: String },
    /// No answer, or none to the end.
    #[error("{0}")]
    Unreachable(String),
}

/// One container's log, with timestamps.
#[async_trait::async_trait]
pub trait Source: Send + Sync {
    async fn open(&self, query: Query)
    -> Result<BoxStream<'static, Result<Bytes, SourceError>>, SourceError>;
}

/// The log of a container of a pod, asked for at the API server.
#[derive(Clone)]
pub struct PodLog {
    pub client: Client,
    pub namespace: String,
    pub pod: String,
    pub container: String,
}

impl fmt::Debug for PodLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PodLog({}/{}/{})", self.namespace, self.pod, self.container)
    }
}

#[async_trait::async_trait]
impl Source for PodLog {
    async fn open(
        &self,
        query: Query,
    ) -> Result<BoxStream<'static, Result<Bytes, SourceError>>, SourceError> {
        // Whole seconds: anything finer would be rounded, up as well.
        let since_time = query.since_s.and_then(|since| Timestamp::from_second(since).ok());
        let params = LogParams {
            container: Some(self.container.clone()),
            follow: query.follow,
            since_time,
            timestamps: true,
            ..LogParams::default()
        };
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        let request = Request::new(pods)
            .logs(&self.pod, &params)
            .map_err(|error| SourceError::Unreachable(error.to_string()))?;
        let response = self.client.send(request.map(Into::into)).await;
        let response = response.map_err(|error| SourceError::Unreachable(crate::clock::chain(&error)))?;
        let status = response.status();
        let bytes = axum::body::Body::new(response.into_body())
            .into_data_stream()
            .map(|chunk| chunk.map_err(|error| SourceError::Unreachable(crate::clock::chain(&error))));
        if status.is_success() {
            return Ok(bytes.boxed());
        }
        Err(SourceError::Refused {
            code: status.as_u16(),
            message: refusal(bytes.boxed()).await,
        })
    }
}

async fn refusal(mut bytes: BoxStream<'static, Result<Bytes, SourceError>>) -> String {
    let mut text = Vec::new();
    while let Some(Ok(chunk)) = bytes.next().await {
        text.extend_from_slice(&chunk);
        if text.len() > REFUSAL_BYTES_MAX {
            break;
        }
    }
    match serde_json::from_slice::<Status>(&text) {
        Ok(status) => status.message,
        Err(_) => String::from_utf8_lossy(&text).into_owned(),
    }
}
