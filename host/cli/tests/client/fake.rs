//! A server that follows a script and remembers what it was asked.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::{StreamExt as _, stream::BoxStream};
use ignite_proto::v1::{
    self, BuildStatus,
    build_service_server::{BuildService, BuildServiceServer},
    notification_service_server::NotificationServiceServer,
    plugin_service_server::PluginServiceServer,
    policy_service_server::PolicyServiceServer,
    upload_build_context_request::Payload,
};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Identity, Server, ServerTlsConfig},
};

use crate::{harness::ID, stores::Stored};

/// What goes wrong, and what there is.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) log: Vec<u8>,
    /// What each log connection does; those after the last send everything.
    pub(crate) cuts: Vec<Cut>,
    /// Between two chunks.
    pub(crate) pace: Duration,
    /// The build runs, and its log stands here, until it is cancelled.
    pub(crate) holds_at: Option<usize>,
    pub(crate) end: BuildStatus,
    pub(crate) create_failures: usize,
    pub(crate) upload_failures: usize,
    pub(crate) upload_stalls: bool,
    pub(crate) pages: usize,
    /// For every read.
    pub(crate) refusal: Option<(Code, String)>,
    pub(crate) token: Option<&'static str>,
}

/// How far into the log a connection gets, and how it ends.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    at: usize,
    status: Option<Status>,
    overlap: usize,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) created: Vec<v1::CreateBuildRequest>,
    pub(crate) log_requests: Vec<v1::StreamBuildLogsRequest>,
    pub(crate) log_bytes: usize,
    pub(crate) lists: Vec<v1::ListBuildsRequest>,
    pub(crate) cancelled: Vec<String>,
    pub(crate) approved: Vec<v1::ApproveBuildRequest>,
    pub(crate) stored: Stored,
    pub(crate) secrets: Vec<v1::SaveBuildSecretsRequest>,
    pub(crate) uploads: Vec<Upload>,
    pub(crate) upload_attempts: usize,
    pub(crate) authorization: Vec<Option<String>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) expected_size_bytes: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) chunk_bytes_max: usize,
}

#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) endpoint: String,
    service: Service,
    serving: JoinHandle<()>,
}

#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) script: Arc<Script>,
    seen: Arc<Mutex<Seen>>,
}

/// Lines of different lengths, with colours and bytes that are no UTF-8.
pub(crate) fn log(size_bytes: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 0_u32.. {
        if text.len() >= size_bytes {
            break;
        }
        let line = format!(
            "\u{1b}[36mINFO\u{1b}[0m[{number:04}] {}\n",
            "é".repeat(number as usize % 50)
        );
        text.extend_from_slice(line.as_bytes());
        text.push(0xff);
    }
    text.truncate(size_bytes);
    text
}

pub(crate) fn build(status: BuildStatus, log_bytes: usize) -> v1::Build {
    v1::Build {
        id: ID.to_owned(),
        name: "app".to_owned(),
        organization_id: "acme".to_owned(),
        status: status.into(),
        image_refs: vec!["reg.example/acme/app:latest".to_owned()],
        image_digest: format!("sha256:{}", "0".repeat(64)),
        log_bytes: log_bytes as u64,
        ..Default::default()
    }
}

// === impl Script ===

impl Default for Script {
    fn default() -> Self {
        Self {
            log: b"hello\n".to_vec(),
            cuts: Vec::new(),
            pace: Duration::ZERO,
            holds_at: None,
            end: BuildStatus::Succeeded,
            create_failures: 0,
            upload_failures: 0,
            upload_stalls: false,
            pages: 2,
            refusal: None,
            token: None,
        }
    }
}

// === impl Cut ===

impl Cut {
    pub(crate) fn status(at: usize, status: Status) -> Self {
        Self {
            at,
            status: Some(status),
            overlap: 0,
        }
    }

    /// Ends as if the log were over.
    pub(crate) fn end(at: usize) -> Self {
        Self {
            at,
            status: None,
            overlap: 0,
        }
    }

    pub(crate) fn overlapping(self, overlap: usize) -> Self {
        Self { overlap, ..self }
    }
}

// === impl Fake ===

impl Fake {
    pub(crate) async fn start(script: Script) -> Self {
        Self::serve(Server::builder(), "http", script).await
    }

    /// With a certificate for 127.0.0.1, both as PEM.
    pub(crate) async fn start_tls(script: Script, certificate: &[u8], key: &[u8]) -> Self {
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        Self::serve(Server::builder().tls_config(tls).unwrap(), "https", script).await
    }

    async fn serve(mut builder: Server, scheme: &str, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("{scheme}://{}", listener.local_addr().unwrap());
        let service = Service {
            script: Arc::new(script),
            seen: Arc::default(),
        };
        let server = builder
            .add_service(BuildServiceServer::new(service.clone()))
            .add_service(PluginServiceServer::new(service.clone()))
            .add_service(PolicyServiceServer::new(service.clone()))
            .add_service(NotificationServiceServer::new(service.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let serving = tokio::spawn(async move { server.await.unwrap() });
        Self {
            endpoint,
            service,
            serving,
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.service.seen().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

// === impl Service ===

impl Service {
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub(crate) fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let header = request.metadata().get("authorization");
        let header = header.map(|value| value.to_str().unwrap().to_owned());
        self.seen().authorization.push(header.clone());
        if let Some((code, message)) = &self.script.refusal {
            return Err(Status::new(*code, message.clone()));
        }
        match self.script.token {
            Some(token) if header != Some(format!("Bearer {token}")) => {
                Err(Status::unauthenticated("who are you?"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn build(&self) -> v1::Build {
        match self.script.holds_at {
            Some(_) if !self.seen().cancelled.is_empty() => {
                build(BuildStatus::Cancelled, self.script.log.len())
            }
            Some(at) => build(BuildStatus::Running, at),
            None => build(self.script.end, self.script.log.len()),
        }
    }
}

#[tonic::async_trait]
impl BuildService for Service {
    type StreamBuildLogsStream = BoxStream<'static, Result<v1::BuildLogChunk, Status>>;
    type WatchBuildStream = BoxStream<'static, Result<v1::Build, Status>>;

    async fn create_build(
        &self,
        request: Request<v1::CreateBuildRequest>,
    ) -> Result<Response<v1::CreateBuildResponse>, Status> {
        self.check(&request)?;
        let mut seen = self.seen();
        seen.created.push(request.into_inner());
        if seen.created.len() <= self.script.create_failures {
            return Err(Status::unavailable("starting"));
        }
        Ok(Response::new(v1::CreateBuildResponse {
            build_id: ID.to_owned(),
            status: BuildStatus::Pending.into(),
        }))
    }

    async fn get_build(
        &self,
        request: Request<v1::GetBuildRequest>,
    ) -> Result<Response<v1::GetBuildResponse>, Status> {
        self.check(&request)?;
        Ok(Response::new(v1::GetBuildResponse {
            build: Some(self.build()),
        }))
    }

    async fn list_builds(
        &self,
        request: Request<v1::ListBuildsRequest>,
    ) -> Result<Response<v1::ListBuildsResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        let page: usize = request
            .cursor
            .strip_prefix("page")
            .map_or(0, |number| number.parse().unwrap());
        self.seen().lists.push(request);
        Ok(Response::new(v1::ListBuildsResponse {
            builds: vec![build(BuildStatus::Failed, 0)],
            next_cursor: if page + 1 < self.script.pages {
                format!("page{}", page + 1)
            } else {
                String::new()
            },
        }))
    }

    async fn stream_build_logs(
        &self,
        request: Request<v1::StreamBuildLogsRequest>,
    ) -> Result<Response<Self::StreamBuildLogsStream>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        let cut = {
            let mut seen = self.seen();
            seen.log_requests.push(request.clone());
            self.script.cuts.get(seen.log_requests.len() - 1).cloned()
        };
        let service = self.clone();
        let overlap = cut.as_ref().map_or(0, |cut| cut.overlap);
        let from = usize::try_from(request.offset).unwrap().saturating_sub(overlap);
        let stream = futures::stream::unfold((from, false), move |(from, done)| {
            let (service, cut) = (service.clone(), cut.clone());
            async move {
                if done {
                    return None;
                }
                let log = &service.script.log;
                let limit = cut
                    .as_ref()
                    .map(|cut| cut.at)
                    .or(service.script.holds_at)
                    .unwrap_or(log.len());
                if from < limit.min(log.len()) {
                    sleep(service.script.pace).await;
                    let end = (from + 4_000).min(limit).min(log.len());
                    service.seen().log_bytes = end;
                    let chunk = v1::BuildLogChunk {
                        data: log[from..end].to_vec().into(),
                        timestamp_ms: 0,
                        offset: from as u64,
                    };
                    return Some((Ok(chunk), (end, false)));
                }
                if let Some(status) = cut.as_ref().and_then(|cut| cut.status.clone()) {
                    return Some((Err(status), (from, true)));
                }
                while cut.is_none()
                    && service.script.holds_at.is_some()
                    && service.seen().cancelled.is_empty()
                {
                    sleep(Duration::from_millis(20)).await;
                }
                None
            }
        });
        Ok(Response::new(stream.boxed()))
    }

    async fn cancel_build(
        &self,
        request: Request<v1::CancelBuildRequest>,
    ) -> Result<Response<v1::CancelBuildResponse>, Status> {
        self.check(&request)?;
        self.seen().cancelled.push(request.into_inner().build_id);
        Ok(Response::new(v1::CancelBuildResponse {
            status: BuildStatus::Running.into(),
        }))
    }

    async fn upload_build_context(
        &self,
        request: Request<Streaming<v1::UploadBuildContextRequest>>,
    ) -> Result<Response<v1::UploadBuildContextResponse>, Status> {
        self.check(&request)?;
        if self.script.upload_stalls {
            sleep(Duration::from_secs(3600)).await;
        }
        let attempt = {
            let mut seen = self.seen();
            seen.upload_attempts += 1;
            seen.upload_attempts
        };
        let mut messages = request.into_inner();
        let Some(Payload::Metadata(metadata)) = messages.message().await?.and_then(|first| first.payload)
        else {
            return Err(Status::invalid_argument("metadata first"));
        };
        let (mut bytes, mut chunk_bytes_max) = (Vec::new(), 0);
        while let Some(message) = messages.message().await? {
            let Some(Payload::Chunk(chunk)) = message.payload else {
                return Err(Status::invalid_argument("metadata once"));
            };
            bytes.extend_from_slice(&chunk);
            chunk_bytes_max = chunk.len().max(chunk_bytes_max);
            if attempt <= self.script.upload_failures && bytes.len() > 1_000_000 {
                return Err(Status::unavailable("restarting"));
            }
        }
        let response = v1::UploadBuildContextResponse {
            context_id: "ctx_1".to_owned(),
            size_bytes: metadata.expected_size_bytes,
            sha256: String::new(),
        };
        self.seen().uploads.push(Upload {
            expected_size_bytes: metadata.expected_size_bytes.try_into().unwrap(),
            bytes,
            chunk_bytes_max,
        });
        Ok(Response::new(response))
    }

    async fn retry_build(
        &self,
        request: Request<v1::RetryBuildRequest>,
    ) -> Result<Response<v1::RetryBuildResponse>, Status> {
        self.check(&request)?;
        Ok(Response::new(v1::RetryBuildResponse {
            build_id: ID.to_owned(),
            status: BuildStatus::Pending.into(),
        }))
    }

    async fn watch_build(
        &self,
        request: Request<v1::WatchBuildRequest>,
    ) -> Result<Response<Self::WatchBuildStream>, Status> {
        self.check(&request)?;
        let changes = [build(BuildStatus::Running, 0), self.build()];
        Ok(Response::new(futures::stream::iter(changes.map(Ok)).boxed()))
    }

    async fn save_build_secrets(
        &self,
        request: Request<v1::SaveBuildSecretsRequest>,
    ) -> Result<Response<v1::SaveBuildSecretsResponse>, Status> {
        self.check(&request)?;
        self.seen().secrets.push(request.into_inner());
        Ok(Response::new(v1::SaveBuildSecretsResponse {}))
    }

    async fn get_build_secrets(
        &self,
        request: Request<v1::GetBuildSecretsRequest>,
    ) -> Result<Response<v1::GetBuildSecretsResponse>, Status> {
        self.check(&request)?;
        let names: Vec<String> = self
            .seen()
            .secrets
            .last()
            .map(|saved| saved.build_secrets.keys().cloned().collect())
            .unwrap_or_default();
        let secrets = names.into_iter().map(|name| v1::StoredSecret {
            group: v1::SecretGroup::BuildSecrets.into(),
            name,
            updated_at_ms: 1_748_390_400_000,
        });
        Ok(Response::new(v1::GetBuildSecretsResponse {
            secrets: secrets.collect(),
        }))
    }

    async fn approve_build(
        &self,
        request: Request<v1::ApproveBuildRequest>,
    ) -> Result<Response<v1::ApproveBuildResponse>, Status> {
        self.check(&request)?;
        self.seen().approved.push(request.into_inner());
        Ok(Response::new(v1::ApproveBuildResponse {
            status: BuildStatus::Pending.into(),
        }))
    }
}
