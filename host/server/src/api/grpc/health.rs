//! Health and reflection: what may be asked without a token.

use axum::Router;
use ignite_proto::v1::{
    build_service_server, notification_service_server, plugin_service_server, policy_service_server,
};
use tokio_util::sync::CancellationToken;
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, HealthService},
};
use tonic_reflection::server::Builder;

use super::route;

pub(in crate::api) fn open_routes(closing: &CancellationToken) -> Router {
    let reporter = HealthReporter::new();
    let health = HealthService::from_health_reporter(reporter.clone());
    let health = tonic_health::pb::health_server::HealthServer::new(health);
    tokio::spawn(report(reporter, closing.clone()));
    with_reflection(route(Router::new(), health))
}

/// Serving, until the gateway closes. Forgetting the services then ends the streams of those who watch them.
async fn report(mut reporter: HealthReporter, closing: CancellationToken) {
    const SERVICES: [&str; 5] = [
        "",
        build_service_server::SERVICE_NAME,
        notification_service_server::SERVICE_NAME,
        plugin_service_server::SERVICE_NAME,
        policy_service_server::SERVICE_NAME,
    ];
    for service in SERVICES {
        reporter.set_service_status(service, ServingStatus::Serving).await;
    }
    closing.cancelled().await;
    for service in SERVICES {
        reporter
            .set_service_status(service, ServingStatus::NotServing)
            .await;
    }
    tokio::time::sleep(super::guard::RECONNECT_AFTER).await;
    for service in SERVICES {
        reporter.clear_service_status(service).await;
    }
}

/// In v1 and, for older tools, v1alpha. Without it only tools that bring their own .proto files work, so a descriptor
/// that cannot be read is logged, not fatal.
fn with_reflection(router: Router) -> Router {
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(ignite_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that tools can show the details of errors.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => route(route(router, v1), v1alpha),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "server reflection is off");
            router
        }
    }
}
