//! Calls of the NotificationService.

use ignite_proto::v1;

use super::Client;
use crate::error::Result;

impl Client {
    pub(crate) async fn list_notifications(
        &self,
        request: v1::ListNotificationsRequest,
    ) -> Result<v1::ListNotificationsResponse> {
        self.unary(request, async |request| {
            self.notifications.clone().list_notifications(request).await
        })
        .await
    }

    /// Not repeated: the second would announce again what the first has just announced.
    pub(crate) async fn replay_notification(&self, id: &str) -> Result<v1::ReplayNotificationResponse> {
        let request = v1::ReplayNotificationRequest {
            notification_id: id.to_owned(),
        };
        self.once(request, async |request| {
            self.notifications.clone().replay_notification(request).await
        })
        .await
    }
}
