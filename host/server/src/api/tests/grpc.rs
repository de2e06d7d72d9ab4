use bytes::Bytes;
use futures::{StreamExt as _, stream};
use ignite_proto::v1::{self, build_service_client::BuildServiceClient};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1 as reflection, v1alpha as reflection_alpha};
use tonic_types::StatusExt as _;

use super::*;

impl Server {
    async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address))
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    async fn builds(&self) -> BuildServiceClient<Channel> {
        BuildServiceClient::new(self.channel().await)
    }

    fn authorized<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token: MetadataValue<_> = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        request
    }
}

/// The reason that every refusal has, and its first field violation's field.
fn details(status: &Status) -> (String, Option<String>) {
    let details = status.get_error_details();
    let info = details.error_info().expect("every refusal says its reason");
    assert_eq!(info.domain, crate::api::status::ERROR_DOMAIN);
    let field = details
        .bad_request()
        .map(|bad| bad.field_violations[0].field.clone());
    (info.reason.clone(), field)
}

#[tokio::test]
async fn calls_want_a_token() {
    let server = Server::start().await;
    let mut builds = server.builds().await;
    let status = builds
        .get_build(v1::GetBuildRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), details(&status).0.as_str()),
        (Code::Unauthenticated, "UNAUTHENTICATED")
    );
    assert!(status.metadata().contains_key("x-request-id"));

    let request = server.authorized(v1::SaveBuildSecretsRequest::default());
    let status = builds.save_build_secrets(request).await.unwrap_err();
    assert_eq!(
        (status.code(), details(&status).0.as_str()),
        (Code::InvalidArgument, "INVALID_ARGUMENT")
    );
}

#[tokio::test]
async fn errors_that_the_library_makes_have_details_too() {
    let server = Server::start().await;
    let mut builds = server.builds().await.max_encoding_message_size(32 << 20);
    let request = v1::CreateBuildRequest {
        source: Some(v1::create_build_request::Source::ZippedCode(
            vec![0; 9 << 20].into(),
        )),
        ..Default::default()
    };
    let status = builds.create_build(server.authorized(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_eq!(
        details(&status),
        ("INVALID_ARGUMENT".into(), Some("zipped_code".into()))
    );

    let status = raw(&server, "/dodil.ignite.v1.BuildService/CreateBuild", b"\xff").await;
    assert_eq!(
        (status.code(), details(&status).1),
        (Code::InvalidArgument, Some("message".into()))
    );
    for path in [
        "/dodil.ignite.v1.BuildService/Nothing",
        "/dodil.ignite.v9.NoService/Nothing",
    ] {
        let status = raw(&server, path, b"").await;
        assert_eq!(
            (status.code(), details(&status).0.as_str()),
            (Code::Unimplemented, "NO_SUCH_CALL")
        );
    }
}

/// A message whose field 1, a string in every request of the contract, is these bytes.
async fn raw(server: &Server, path: &'static str, name: &'static [u8]) -> Status {
    let mut grpc = Grpc::new(server.channel().await);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<RawMessage, RawMessage>::default();
    let name = Bytes::from_static(name);
    let message = server.authorized(RawMessage { name });
    grpc.unary(message, PathAndQuery::from_static(path), codec)
        .await
        .unwrap_err()
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawMessage {
    #[prost(bytes = "bytes", tag = "1")]
    name: Bytes,
}

#[tokio::test]
async fn four_megabytes_reach_the_service() {
    let server = Server::start().await;
    let mut builds = server.builds().await;
    let request = v1::SaveBuildSecretsRequest {
        build_secrets: [("A".into(), "x".repeat(4 << 20))].into(),
        ..Default::default()
    };
    let status = builds
        .save_build_secrets(server.authorized(request))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().contains("build_secrets"), "{status:?}");
}

#[tokio::test]
async fn an_upload_without_metadata_is_refused_by_name() {
    use v1::upload_build_context_request::Payload;
    let server = Server::start().await;
    let mut builds = server.builds().await;
    let chunk = v1::UploadBuildContextRequest {
        payload: Some(Payload::Chunk(Bytes::from_static(b"x"))),
    };
    let request = server.authorized(stream::iter([chunk]));
    let status = builds.upload_build_context(request).await.unwrap_err();
    assert_eq!(
        details(&status),
        ("INVALID_ARGUMENT".into(), Some("metadata".into()))
    );
}

#[tokio::test]
async fn a_component_comes_in_chunks_behind_its_metadata() {
    use v1::{plugin_service_client::PluginServiceClient, upload_plugin_request::Payload};
    let server = Server::start().await;
    let mut plugins = PluginServiceClient::new(server.channel().await);
    let message = |payload| v1::UploadPluginRequest {
        payload: Some(payload),
    };
    let metadata = message(Payload::Metadata(v1::UploadPluginMetadata {
        name: "tags".to_owned(),
        version: "1.0.0".to_owned(),
    }));
    let chunk = message(Payload::Chunk(Bytes::from_static(b"no component")));
    for (messages, field) in [
        (vec![chunk.clone()], "metadata"),
        (vec![metadata.clone(), chunk.clone()], "chunk"),
        (vec![metadata.clone(), chunk, metadata], "metadata"),
    ] {
        let request = server.authorized(stream::iter(messages));
        let status = plugins.upload_plugin(request).await.unwrap_err();
        assert_eq!(details(&status), ("INVALID_ARGUMENT".into(), Some(field.into())));
    }
}

#[tokio::test]
async fn health_needs_no_token_and_tells_of_the_end() {
    let server = Server::start().await;
    let mut health = HealthClient::new(server.channel().await);
    for service in [
        "",
        "dodil.ignite.v1.BuildService",
        "dodil.ignite.v1.PluginService",
        "dodil.ignite.v1.PolicyService",
    ] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let mut watch = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    let stopped = tokio::spawn(server.stop());
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    stopped.await.unwrap();
}

#[tokio::test]
async fn reflection_needs_no_token_in_either_version() {
    let server = Server::start().await;
    let channel = server.channel().await;

    let request = reflection::ServerReflectionRequest {
        message_request: Some(
            reflection::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
        ..Default::default()
    };
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers = client
        .server_reflection_info(stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let names = format!("{:?}", answers.next().await.unwrap().unwrap());
    for service in [
        "dodil.ignite.v1.BuildService",
        "dodil.ignite.v1.PluginService",
        "dodil.ignite.v1.PolicyService",
        "grpc.health.v1.Health",
    ] {
        assert!(names.contains(service), "{names}");
    }

    let symbol = "dodil.ignite.v1.BuildService".to_owned();
    let request = reflection_alpha::ServerReflectionRequest {
        message_request: Some(
            reflection_alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol),
        ),
        ..Default::default()
    };
    let mut client = reflection_alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client
        .server_reflection_info(stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let file = format!("{:?}", answers.next().await.unwrap().unwrap());
    assert!(file.contains("FileDescriptorResponse"), "{file}");
}
