//! The connection to the server: TLS, the token, and calls that are repeated where that is safe.
//!
//! Every [`Client::unary`] call may be repeated: reads change nothing, cancelling is idempotent, and what creates carries
//! an idempotency key or is content-addressed. What may not be is made [`Client::once`].

use std::{future::Future, time::Duration};

use ignite_proto::v1::{
    self, build_service_client::BuildServiceClient, notification_service_client::NotificationServiceClient,
    plugin_service_client::PluginServiceClient, policy_service_client::PolicyServiceClient,
};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    error::{Error, Result},
    patience::{Patience, is_transient, retry_after},
    settings::{Settings, token::Token},
};

mod notifications;
mod plugins;
mod policies;

/// How long a call is repeated while the server cannot be reached: long enough for a restart, short enough for a typo.
const RETRY_FOR: Duration = Duration::from_secs(4);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A followed log may be silent for hours: only pings tell a silent server from a lost one.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A page of 100 builds with all their steps.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

type Authorized = InterceptedService<Channel, Bearer>;
pub(crate) type Grpc = BuildServiceClient<Authorized>;

#[derive(Debug, Clone)]
pub(crate) struct Client {
    grpc: Grpc,
    plugins: PluginServiceClient<Authorized>,
    policies: PolicyServiceClient<Authorized>,
    notifications: NotificationServiceClient<Authorized>,
    endpoint: String,
    has_token: bool,
    timeout: Duration,
}

/// Puts the token on every call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<AsciiMetadataValue>);

// === impl Client ===

impl Client {
    /// Connects with the first call. Must be called inside the runtime.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let misfit = |error: tonic::transport::Error| {
            Error::input(format!(
                "the API endpoint {}: {}",
                settings.endpoint,
                chain(&error)
            ))
        };
        let mut endpoint = Endpoint::from_shared(settings.endpoint.as_str().to_owned())
            .map_err(misfit)?
            .user_agent(concat!("ignite/", env!("CARGO_PKG_VERSION")))
            .map_err(misfit)?
            .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout))
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        if settings.endpoint.is_tls() {
            endpoint = endpoint
                .tls_config(ClientTlsConfig::new().with_native_roots())
                .map_err(misfit)?;
        }
        let bearer = Bearer::new(settings.token.as_ref())?;
        let channel = InterceptedService::new(endpoint.connect_lazy(), bearer);
        Ok(Self {
            has_token: settings.token.is_some(),
            grpc: BuildServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            plugins: PluginServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            policies: PolicyServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            notifications: NotificationServiceClient::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            endpoint: settings.endpoint.as_str().to_owned(),
            timeout: settings.timeout,
        })
    }

    /// How long anything may take without progress.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn grpc(&self) -> Grpc {
        self.grpc.clone()
    }

    pub(crate) async fn create(&self, request: v1::CreateBuildRequest) -> Result<v1::CreateBuildResponse> {
        self.unary(request, async |request| self.grpc().create_build(request).await)
            .await
    }

    pub(crate) async fn get(&self, build_id: &str) -> Result<v1::GetBuildResponse> {
        let request = v1::GetBuildRequest {
            build_id: build_id.to_owned(),
        };
        self.unary(request, async |request| self.grpc().get_build(request).await)
            .await
    }

    /// The build itself; see [`Client::get`].
    pub(crate) async fn build(&self, build_id: &str) -> Result<v1::Build> {
        let response = self.get(build_id).await?;
        response.build.ok_or(Error::Nonsense("a build without a record"))
    }

    pub(crate) async fn list(&self, request: v1::ListBuildsRequest) -> Result<v1::ListBuildsResponse> {
        self.unary(request, async |request| self.grpc().list_builds(request).await)
            .await
    }

    pub(crate) async fn cancel(&self, build_id: &str) -> Result<v1::CancelBuildResponse> {
        let request = v1::CancelBuildRequest {
            build_id: build_id.to_owned(),
        };
        self.unary(request, async |request| self.grpc().cancel_build(request).await)
            .await
    }

    /// Not repeated: the second of two approvals is refused.
    pub(crate) async fn approve(&self, request: v1::ApproveBuildRequest) -> Result<v1::ApproveBuildResponse> {
        self.once(request, async |request| self.grpc().approve_build(request).await)
            .await
    }

    pub(crate) async fn retry(&self, request: v1::RetryBuildRequest) -> Result<v1::RetryBuildResponse> {
        self.unary(request, async |request| self.grpc().retry_build(request).await)
            .await
    }

    /// Repeated, it stores the same again.
    pub(crate) async fn save_secrets(
        &self,
        request: v1::SaveBuildSecretsRequest,
    ) -> Result<v1::SaveBuildSecretsResponse> {
        self.unary(request, async |request| {
            self.grpc().save_build_secrets(request).await
        })
        .await
    }

    pub(crate) async fn secrets(&self) -> Result<v1::GetBuildSecretsResponse> {
        let request = v1::GetBuildSecretsRequest {};
        self.unary(request, async |request| {
            self.grpc().get_build_secrets(request).await
        })
        .await
    }

    /// One attempt; the caller knows where to go on.
    pub(crate) async fn logs(
        &self,
        request: v1::StreamBuildLogsRequest,
    ) -> Result<Streaming<v1::BuildLogChunk>, Status> {
        self.open(self.grpc().stream_build_logs(request)).await
    }

    /// One attempt; see [`Client::logs`].
    pub(crate) async fn watch(&self, build_id: &str) -> Result<Streaming<v1::Build>, Status> {
        let request = v1::WatchBuildRequest {
            build_id: build_id.to_owned(),
        };
        self.open(self.grpc().watch_build(request)).await
    }

    /// Fails if the token is known to belong to another organization than `wanted`. The server tells by its builds
    /// alone: where there are none yet, or the token may not list them, nothing is known and the call passes.
    pub(crate) async fn check_org(&self, wanted: &str) -> Result<()> {
        let request = v1::ListBuildsRequest {
            limit: 1,
            ..Default::default()
        };
        let page = match self.list(request).await {
            Ok(page) => page,
            Err(Error::Rpc(status)) if status.code() == Code::PermissionDenied => return Ok(()),
            Err(error) => return Err(error),
        };
        match page.builds.first() {
            Some(build) if build.organization_id != wanted => Err(Error::OtherOrganization {
                wanted: wanted.to_owned(),
                actual: build.organization_id.clone(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Repeats a call that is safe to repeat while the server cannot be reached.
    async fn unary<Q: Clone, R>(
        &self,
        message: Q,
        call: impl AsyncFn(Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R> {
        self.patiently(RETRY_FOR, message, call).await
    }

    /// One attempt, for what a repetition would do twice or be refused for.
    async fn once<Q: Clone, R>(
        &self,
        message: Q,
        call: impl AsyncFn(Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R> {
        self.patiently(Duration::ZERO, message, call).await
    }

    async fn patiently<Q: Clone, R>(
        &self,
        retry_for: Duration,
        message: Q,
        call: impl AsyncFn(Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R> {
        let deadline = Instant::now() + self.timeout;
        let mut patience = Patience::new(retry_for.min(self.timeout));
        loop {
            let mut request = Request::new(message.clone());
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let result = timeout_at(deadline, call(request)).await;
            let status = match result {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => return Err(self.out_of_time().into()),
            };
            let wait = if is_transient(&status) {
                patience.failed(std::time::Instant::now(), retry_after(&status))
            } else {
                None
            };
            match wait {
                Some(wait) => sleep(wait).await,
                None => return Err(self.explain(status).into()),
            }
        }
    }

    /// Waits for the head of a streaming response; the stream itself has no limit.
    async fn open<R>(&self, call: impl Future<Output = Result<Response<R>, Status>>) -> Result<R, Status> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(status),
            Err(_) => Err(self.out_of_time()),
        }
    }

    pub(crate) fn out_of_time(&self) -> Status {
        let timeout = humantime::format_duration(self.timeout);
        Status::deadline_exceeded(format!("{} did not answer within {timeout}", self.endpoint))
    }

    /// Adds what the user needs to know: which server, and why it could not be reached.
    pub(crate) fn explain(&self, status: Status) -> Status {
        if let Some(source) = std::error::Error::source(&status) {
            let code = match status.code() {
                Code::Unknown => Code::Unavailable,
                code => code,
            };
            return Status::new(
                code,
                format!("cannot talk to {}: {}", self.endpoint, chain(source)),
            );
        }
        if status.code() == Code::Unauthenticated && !self.has_token {
            let message = format!(
                "{} (no token was sent; `ignite login --api-endpoint {}` stores one for this server)",
                status.message(),
                self.endpoint
            );
            let details = bytes::Bytes::copy_from_slice(status.details());
            return Status::with_details(status.code(), message, details);
        }
        status
    }
}

// === impl Bearer ===

impl Bearer {
    fn new(token: Option<&Token>) -> Result<Self> {
        let Some(token) = token else {
            return Ok(Self(None));
        };
        let mut value: AsciiMetadataValue = format!("Bearer {}", token.reveal())
            .parse()
            .map_err(|_| Error::input("the token cannot be sent as a header"))?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer(***)")
    }
}

/// An error and its sources on one line; several layers say the same and are named once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let layer = error.to_string();
        if !text.contains(&layer) {
            text.push_str(": ");
            text.push_str(&layer);
        }
        next = error.source();
    }
    text
}
