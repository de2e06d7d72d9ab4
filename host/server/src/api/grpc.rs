//! gRPC: the services of the contract, health and reflection.

use std::sync::Arc;

use axum::{Router, extract::Request as HttpRequest, http::StatusCode, response::Response as HttpResponse};
use futures::{StreamExt as _, stream::BoxStream};
use ignite_proto::v1::{
    self,
    build_service_server::{BuildService, BuildServiceServer},
    notification_service_server::NotificationServiceServer,
    plugin_service_server::PluginServiceServer,
    policy_service_server::PolicyServiceServer,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, server::NamedService};

use super::{
    context::{Context, Protocol},
    gate::gate,
    guard,
    status::Wire,
};
use crate::{
    error::{Error, Result},
    service::{Service, Streaming},
};

mod health;
mod upload;

/// Above what an inline archive may be, with room for the rest of its request: core then names the field that is too
/// large. Past it the library refuses before anything is decoded; see [`explain`].
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// [`Service`] as the generated code wants it.
#[derive(Debug)]
pub struct Builds {
    service: Arc<Service>,
    closing: CancellationToken,
}

/// The calls that need a token.
pub(super) fn routes(service: &Arc<Service>, closing: &CancellationToken) -> Router {
    let builds = Builds::new(Arc::clone(service), closing.clone());
    let notifications = notifications::Notifications::new(Arc::clone(service));
    let plugins = plugins::Plugins::new(Arc::clone(service));
    let policies = policies::Policies::new(Arc::clone(service));
    let router = Router::new();
    let router = route(
        router,
        BuildServiceServer::new(builds).max_decoding_message_size(MESSAGE_BYTES_MAX),
    );
    let router = route(
        router,
        PluginServiceServer::new(plugins).max_decoding_message_size(MESSAGE_BYTES_MAX),
    );
    let router = route(
        router,
        PolicyServiceServer::new(policies).max_decoding_message_size(MESSAGE_BYTES_MAX),
    );
    let router = route(
        router,
        NotificationServiceServer::new(notifications).max_decoding_message_size(MESSAGE_BYTES_MAX),
    );
    router.route_layer(gate(grpc_only))
}

fn route<S>(router: Router, service: S) -> Router
where
    S: tower::Service<HttpRequest, Error = std::convert::Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Response: axum::response::IntoResponse,
    S::Future: Send + 'static,
{
    router.route_service(&format!("/{}/{{method}}", S::NAME), service)
}

pub(super) use health::open_routes;

// === impl Builds ===

impl Builds {
    pub fn new(service: Arc<Service>, closing: CancellationToken) -> Self {
        Self { service, closing }
    }

    fn stream<T: Send + 'static>(
        &self,
        call: &Call,
        live: Result<Streaming<T>>,
    ) -> StatusResult<Response<GrpcStream<T>>> {
        let live = call.answer(live)?.into_inner();
        let context = Arc::clone(&call.context);
        let items = guard::until_closing(live, self.closing.clone())
            .map(move |item| item.map_err(|error| context.report(&error).into_grpc()));
        Ok(Response::new(items.boxed()))
    }
}

/// What the generated code takes.
type StatusResult<T> = std::result::Result<T, Status>;
type GrpcStream<T> = BoxStream<'static, StatusResult<T>>;

/// One call: who makes it, and how its errors are told.
struct Call {
    context: Arc<Context>,
}

impl Call {
    fn of<T>(request: &Request<T>) -> StatusResult<Self> {
        let context = request
            .extensions()
            .get::<Arc<Context>>()
            .ok_or_else(|| Status::internal("internal error"))?;
        Ok(Self {
            context: Arc::clone(context),
        })
    }

    fn answer<T>(&self, answer: Result<T>) -> StatusResult<Response<T>> {
        answer
            .map(Response::new)
            .map_err(|error| self.context.report(&error).into_grpc())
    }
}

/// A unary call: the service's method of the same name on the caller and the message.
macro_rules! unary {
    ($self:ident, $request:ident, $method:ident) => {{
        let call = Call::of(&$request)?;
        let answer = async {
            let caller = call.context.require_caller()?;
            $self.service.$method(caller, $request.into_inner()).await
        };
        call.answer(answer.await)
    }};
}

/// A server-streaming call, likewise.
macro_rules! streaming {
    ($self:ident, $request:ident, $method:ident) => {{
        let call = Call::of(&$request)?;
        let answer = async {
            let caller = call.context.require_caller()?;
            $self.service.$method(caller, $request.into_inner()).await
        };
        $self.stream(&call, answer.await)
    }};
}

// Below the macros that they use.
mod notifications;
mod plugins;
mod policies;

#[tonic::async_trait]
impl BuildService for Builds {
    type StreamBuildLogsStream = GrpcStream<v1::BuildLogChunk>;
    type WatchBuildStream = GrpcStream<v1::Build>;

    async fn create_build(
        &self,
        request: Request<v1::CreateBuildRequest>,
    ) -> StatusResult<Response<v1::CreateBuildResponse>> {
        unary!(self, request, create_build)
    }

    async fn get_build(
        &self,
        request: Request<v1::GetBuildRequest>,
    ) -> StatusResult<Response<v1::GetBuildResponse>> {
        unary!(self, request, get_build)
    }

    async fn list_builds(
        &self,
        request: Request<v1::ListBuildsRequest>,
    ) -> StatusResult<Response<v1::ListBuildsResponse>> {
        unary!(self, request, list_builds)
    }

    async fn stream_build_logs(
        &self,
        request: Request<v1::StreamBuildLogsRequest>,
    ) -> StatusResult<Response<Self::StreamBuildLogsStream>> {
        streaming!(self, request, stream_build_logs)
    }

    async fn cancel_build(
        &self,
        request: Request<v1::CancelBuildRequest>,
    ) -> StatusResult<Response<v1::CancelBuildResponse>> {
        unary!(self, request, cancel_build)
    }

    async fn upload_build_context(
        &self,
        request: Request<tonic::Streaming<v1::UploadBuildContextRequest>>,
    ) -> StatusResult<Response<v1::UploadBuildContextResponse>> {
        let call = Call::of(&request)?;
        let answer = async {
            let caller = call.context.require_caller()?;
            let (metadata, archive) = upload::split(request.into_inner()).await?;
            self.service.upload_build_context(caller, metadata, archive).await
        };
        call.answer(answer.await)
    }

    async fn save_build_secrets(
        &self,
        request: Request<v1::SaveBuildSecretsRequest>,
    ) -> StatusResult<Response<v1::SaveBuildSecretsResponse>> {
        unary!(self, request, save_build_secrets)
    }

    async fn get_build_secrets(
        &self,
        request: Request<v1::GetBuildSecretsRequest>,
    ) -> StatusResult<Response<v1::GetBuildSecretsResponse>> {
        unary!(self, request, get_build_secrets)
    }

    async fn retry_build(
        &self,
        request: Request<v1::RetryBuildRequest>,
    ) -> StatusResult<Response<v1::RetryBuildResponse>> {
        unary!(self, request, retry_build)
    }

    async fn approve_build(
        &self,
        request: Request<v1::ApproveBuildRequest>,
    ) -> StatusResult<Response<v1::ApproveBuildResponse>> {
        unary!(self, request, approve_build)
    }

    async fn watch_build(
        &self,
        request: Request<v1::WatchBuildRequest>,
    ) -> StatusResult<Response<Self::WatchBuildStream>> {
        streaming!(self, request, watch_build)
    }
}

// === errors that the library makes ===

/// Gives an error that the gRPC library made by itself the details that all of ours have, and an over-large or
/// undecodable message the code of what it is: the caller's argument.
pub(super) fn explain(response: HttpResponse, path: &str, context: &Context) -> HttpResponse {
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    if status.code() == Code::Ok || !status.details().is_empty() {
        return response;
    }
    let wire = match status.code() {
        Code::OutOfRange => {
            let (field, advice) = if path.ends_with("/CreateBuild") {
                (
                    "zipped_code",
                    "upload a large context with UploadBuildContext and send its context_id",
                )
            } else {
                ("message", "send less at once")
            };
            let description = format!(
                "the message is larger than {} MiB: {advice}",
                MESSAGE_BYTES_MAX >> 20
            );
            context.report(&Error::invalid(field, description))
        }
        Code::Internal => context.report(&Error::invalid(
            "message",
            format!("is not what this call takes: {}", status.message()),
        )),
        Code::Unimplemented => no_such_call(path),
        other => Wire::new(other, "TRANSPORT", status.message()),
    };
    context.respond(wire)
}

pub(super) fn no_such_call(path: &str) -> Wire {
    Wire::new(
        Code::Unimplemented,
        "NO_SUCH_CALL",
        format!("there is no call {path:?}"),
    )
}

/// Anything but gRPC on a gRPC path would otherwise get an answer that it cannot read.
fn grpc_only(request: &HttpRequest) -> std::result::Result<(), Box<HttpResponse>> {
    match Context::of(request)?.protocol {
        Protocol::Grpc => Ok(()),
        Protocol::Json => {
            let message = "this path speaks gRPC only: the content-type must be application/grpc";
            let wire = Wire::new(Code::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", message);
            Err(Box::new(
                wire.with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE).into_http(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn closing_ends_a_stream_with_details() {
        let closing = CancellationToken::new();
        let (service, _directory) = crate::api::tests::service().await;
        let builds = Builds::new(service, closing.clone());
        let call = Call {
            context: Arc::new(Context::new(&HeaderMap::new())),
        };
        let live: Streaming<u8> = stream::iter([Ok(1)]).chain(stream::pending()).boxed();
        let mut live = builds.stream(&call, Ok(live)).unwrap().into_inner();
        assert_eq!(live.next().await.unwrap().unwrap(), 1);
        closing.cancel();
        let status = live.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let details = tonic_types::StatusExt::get_error_details(&status);
        assert!(details.error_info().is_some() && details.retry_info().is_some());
        assert!(live.next().await.is_none());
    }
}
