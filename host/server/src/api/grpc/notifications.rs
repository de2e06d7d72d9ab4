//! NotificationService over gRPC.

use std::sync::Arc;

use ignite_proto::v1::{self, notification_service_server::NotificationService};
use tonic::{Request, Response};

use super::{Call, StatusResult};
use crate::service::Service;

/// [`Service`] as the generated code wants it.
#[derive(Debug)]
pub(in crate::api) struct Notifications {
    service: Arc<Service>,
}

// === impl Notifications ===

impl Notifications {
    pub(in crate::api) fn new(service: Arc<Service>) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl NotificationService for Notifications {
    async fn list_notifications(
        &self,
        request: Request<v1::ListNotificationsRequest>,
    ) -> StatusResult<Response<v1::ListNotificationsResponse>> {
        unary!(self, request, list_notifications)
    }

    async fn replay_notification(
        &self,
        request: Request<v1::ReplayNotificationRequest>,
    ) -> StatusResult<Response<v1::ReplayNotificationResponse>> {
        unary!(self, request, replay_notification)
    }
}
