//! The typed client: gRPC with a token, and the waits that tests need.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use ignite_proto::v1::{self, build_service_client::BuildServiceClient, create_build_request::Source};
use tokio_stream::StreamExt as _;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::{context::Context, http::Http, wait::eventually};

pub type Grpc = BuildServiceClient<InterceptedService<Channel, Bearer>>;

/// Puts the token into each call.
#[derive(Debug, Clone)]
pub struct Bearer(MetadataValue<Ascii>);

/// One user of one gateway, over both transports.
#[derive(Debug, Clone)]
pub struct Caller {
    pub grpc: Grpc,
    pub http: Http,
    pub token: String,
    address: String,
    builds: Arc<Mutex<Vec<String>>>,
}

/// Long: two cores run several builds and the tests.
pub const BUILD_DEADLINE: Duration = Duration::from_secs(300);
/// Whoever wants no more than what is there waits so long for more of it.
const MORE_PATIENCE: Duration = Duration::from_millis(500);
const CHUNK_BYTES: usize = 512 * 1024;

/// The request for a build of an inline context.
pub fn inline(name: &str, context: &Context) -> v1::CreateBuildRequest {
    request(name, Source::ZippedCode(context.tar_gz().into()))
}

/// The request for a build from git.
pub fn git(name: &str, url: &str, reference: &str, context_dir: &str) -> v1::CreateBuildRequest {
    let source = v1::GitSource {
        url: url.to_owned(),
        reference: reference.to_owned(),
        context_dir: context_dir.to_owned(),
    };
    request(name, Source::GitSource(source))
}

pub fn request(name: &str, source: Source) -> v1::CreateBuildRequest {
    v1::CreateBuildRequest {
        name: name.to_owned(),
        source: Some(source),
        ..Default::default()
    }
}

/// The stable reason of an error.
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "ignite.dodil.io");
    info.reason.clone()
}

/// The fields that an InvalidArgument names.
pub fn violated_fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    let bad_request = details
        .bad_request()
        .unwrap_or_else(|| panic!("no BadRequest in {status:?}"));
    bad_request
        .field_violations
        .iter()
        .map(|violation| violation.field.clone())
        .collect()
}

// === impl Bearer ===

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

// === impl Caller ===

impl Caller {
    pub fn new(address: &str, token: &str, builds: Arc<Mutex<Vec<String>>>) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy();
        let bearer = Bearer(format!("Bearer {token}").parse().unwrap());
        Self {
            grpc: BuildServiceClient::with_interceptor(channel, bearer).max_encoding_message_size(usize::MAX),
            http: Http::new(address, Some(token)),
            token: token.to_owned(),
            address: address.to_owned(),
            builds,
        }
    }

    /// The same user on a connection of its own.
    pub fn reconnected(&self) -> Self {
        Self::new(&self.address, &self.token, Arc::clone(&self.builds))
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Tells the gateway's last check about a build that was created some other way.
    pub fn remember(&self, id: &str) {
        self.builds.lock().unwrap().push(id.to_owned());
    }

    pub async fn try_create(&self, request: v1::CreateBuildRequest) -> Result<String, Status> {
        let response = self.grpc.clone().create_build(request).await?.into_inner();
        self.remember(&response.build_id);
        Ok(response.build_id)
    }

    /// Creates a build; returns its id.
    pub async fn create(&self, request: v1::CreateBuildRequest) -> String {
        self.try_create(request).await.unwrap()
    }

    pub async fn try_get(&self, id: &str) -> Result<v1::Build, Status> {
        let request = v1::GetBuildRequest {
            build_id: id.to_owned(),
        };
        let response = self.grpc.clone().get_build(request).await?;
        Ok(response.into_inner().build.unwrap())
    }

    pub async fn get(&self, id: &str) -> v1::Build {
        self.try_get(id).await.unwrap()
    }

    pub async fn cancel(&self, id: &str) -> v1::BuildStatus {
        let request = v1::CancelBuildRequest {
            build_id: id.to_owned(),
        };
        self.grpc
            .clone()
            .cancel_build(request)
            .await
            .unwrap()
            .into_inner()
            .status()
    }

    /// Waits for a state that builds do not leave.
    pub async fn wait_terminal(&self, id: &str) -> v1::Build {
        self.wait_for(id, "end", |build| is_terminal(build.status()))
            .await
    }

    pub async fn wait_running(&self, id: &str) -> v1::Build {
        self.wait_for(id, "run", |build| build.status() == v1::BuildStatus::Running)
            .await
    }

    /// Waits until the log holds a text; returns the log so far.
    pub async fn wait_logged(&self, id: &str, text: &str) {
        let mut stream = self.follow(id, true, 0).await;
        let mut log = Vec::new();
        let found = tokio::time::timeout(BUILD_DEADLINE, async {
            while let Some(chunk) = stream.message().await.unwrap() {
                log.extend_from_slice(&chunk.data);
                if String::from_utf8_lossy(&log).contains(text) {
                    return true;
                }
            }
            false
        })
        .await;
        assert!(
            found.unwrap_or(false),
            "{text:?} is not in the log of {id}:\n{}",
            String::from_utf8_lossy(&log)
        );
    }

    /// Follows a build's log.
    pub async fn follow(
        &self,
        id: &str,
        from_start: bool,
        offset: u64,
    ) -> tonic::Streaming<v1::BuildLogChunk> {
        let request = v1::StreamBuildLogsRequest {
            build_id: id.to_owned(),
            from_start,
            offset,
        };
        self.grpc
            .clone()
            .stream_build_logs(request)
            .await
            .unwrap()
            .into_inner()
    }

    /// The whole log, followed to its end; its chunks must join without gap or overlap.
    pub async fn log(&self, id: &str) -> String {
        let chunks = self.follow(id, true, 0).await;
        String::from_utf8(joined(chunks, 0).await).unwrap()
    }

    /// The log as far as it is there.
    pub async fn log_so_far(&self, id: &str) -> String {
        let mut stream = self.follow(id, true, 0).await;
        let mut log = Vec::new();
        while let Ok(Ok(Some(chunk))) = tokio::time::timeout(MORE_PATIENCE, stream.message()).await {
            log.extend_from_slice(&chunk.data);
        }
        String::from_utf8_lossy(&log).into_owned()
    }

    /// A build that must succeed.
    pub async fn succeed(&self, request: v1::CreateBuildRequest) -> v1::Build {
        let id = self.create(request).await;
        let build = self.wait_terminal(&id).await;
        if build.status() != v1::BuildStatus::Succeeded {
            panic!("{build:#?}\n{}", self.log(&id).await);
        }
        assert_eq!(
            (build.error.as_str(), build.failure_reason()),
            ("", v1::FailureReason::Unspecified)
        );
        build
    }

    /// A build that must fail for this reason; returns it and its log.
    pub async fn fail(
        &self,
        request: v1::CreateBuildRequest,
        reason: v1::FailureReason,
    ) -> (v1::Build, String) {
        let id = self.create(request).await;
        let build = self.wait_terminal(&id).await;
        let log = self.log(&id).await;
        assert_eq!(build.status(), v1::BuildStatus::Failed, "{build:#?}\n{log}");
        assert_eq!(build.failure_reason(), reason, "{build:#?}\n{log}");
        assert!(!build.error.is_empty());
        assert_eq!(build.log_bytes, log.len() as u64);
        (build, log)
    }

    /// Uploads an archive over gRPC in chunks of the usual size.
    pub async fn upload(&self, archive: Vec<u8>) -> Result<v1::UploadBuildContextResponse, Status> {
        let metadata = v1::UploadBuildContextMetadata {
            content_type: "application/gzip".to_owned(),
            name: "test".to_owned(),
            expected_size_bytes: i64::try_from(archive.len()).unwrap(),
        };
        self.upload_as(metadata, archive).await
    }

    pub async fn upload_as(
        &self,
        metadata: v1::UploadBuildContextMetadata,
        archive: Vec<u8>,
    ) -> Result<v1::UploadBuildContextResponse, Status> {
        use v1::upload_build_context_request::Payload;
        let archive = Bytes::from(archive);
        let chunks = (0..archive.len()).step_by(CHUNK_BYTES).map(move |start| {
            let end = archive.len().min(start + CHUNK_BYTES);
            Payload::Chunk(archive.slice(start..end))
        });
        let messages = std::iter::once(Payload::Metadata(metadata))
            .chain(chunks)
            .map(|payload| v1::UploadBuildContextRequest {
                payload: Some(payload),
            });
        let response = self
            .grpc
            .clone()
            .upload_build_context(tokio_stream::iter(messages.collect::<Vec<_>>()))
            .await?;
        Ok(response.into_inner())
    }

    async fn wait_for(&self, id: &str, what: &str, holds: impl Fn(&v1::Build) -> bool) -> v1::Build {
        eventually(&format!("{id} to {what}"), BUILD_DEADLINE, async || {
            let build = self.get(id).await;
            let done = holds(&build);
            assert!(
                done || !is_terminal(build.status()),
                "{id} did not {what}: {build:#?}"
            );
            done.then_some(build)
        })
        .await
    }
}

/// The bytes of a log stream from `offset` to its end, without gap or overlap.
pub async fn joined(mut chunks: tonic::Streaming<v1::BuildLogChunk>, offset: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.unwrap();
        assert_eq!(
            chunk.offset,
            offset + bytes.len() as u64,
            "a gap or an overlap in the log"
        );
        bytes.extend_from_slice(&chunk.data);
    }
    bytes
}

pub fn is_terminal(status: v1::BuildStatus) -> bool {
    match status {
        v1::BuildStatus::Unspecified | v1::BuildStatus::Pending | v1::BuildStatus::Running => false,
        v1::BuildStatus::Succeeded | v1::BuildStatus::Failed | v1::BuildStatus::Cancelled => true,
    }
}
