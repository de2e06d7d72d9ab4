//! NotificationService: what is still to be announced, and what was given up.

use ignite_core::notification::NotificationId;
use ignite_proto::v1;

use super::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX, Service};
use crate::{
    clock,
    error::{Error, Result},
    principal::{Principal, Scope},
    store::{OutboxEntry, OutboxKey, OutboxState},
};

/// Of an id that is none, in the error that says so.
const ID_SHOWN_CHARS_MAX: usize = 64;

impl Service {
    pub async fn list_notifications(
        &self,
        caller: &Principal,
        request: v1::ListNotificationsRequest,
    ) -> Result<v1::ListNotificationsResponse> {
        caller.require(Scope::PoliciesRead)?;
        let limit = match usize::try_from(request.limit) {
            Ok(0) => LIST_LIMIT_DEFAULT,
            Ok(limit) => limit.min(LIST_LIMIT_MAX),
            Err(_) => {
                let description = "must not be negative; 0 means 20, above 100 means 100";
                return Err(Error::invalid("limit", description));
            }
        };
        let before = match request.cursor.as_str() {
            "" => None,
            text => Some(
                text.parse::<NotificationId>()
                    .map_err(|_| Error::invalid("cursor", "must be the next_cursor of an earlier answer"))?,
            ),
        };
        let page = self.store.list_notifications(&caller.org, before, limit).await?;
        Ok(v1::ListNotificationsResponse {
            notifications: page.entries.into_iter().map(notification).collect(),
            next_cursor: page.next.map(|id| id.to_string()).unwrap_or_default(),
        })
    }

    pub async fn replay_notification(
        &self,
        caller: &Principal,
        request: v1::ReplayNotificationRequest,
    ) -> Result<v1::ReplayNotificationResponse> {
        caller.require(Scope::PoliciesWrite)?;
        if request.notification_id.is_empty() {
            return Err(Error::invalid("notification_id", "is required"));
        }
        let not_found = || Error::NotFound {
            kind: "notification",
            name: request.notification_id.chars().take(ID_SHOWN_CHARS_MAX).collect(),
        };
        let key = OutboxKey {
            org: caller.org.clone(),
            id: request.notification_id.parse().map_err(|_| not_found())?,
        };
        let row = self
            .outbox
            .replay(&key, clock::now_ms())
            .await?
            .ok_or_else(not_found)?;
        tracing::info!(notification = %key.id, org = %caller.org, subject = %caller.subject, "outbox.replayed");
        Ok(v1::ReplayNotificationResponse {
            notification: Some(notification((key, row))),
        })
    }
}

fn notification((key, row): OutboxEntry) -> v1::Notification {
    let (state, next_attempt_at_ms, dead_at_ms) = match row.state {
        OutboxState::Pending => (v1::NotificationState::Pending, row.next_at_ms, 0),
        OutboxState::Dead => (v1::NotificationState::Dead, 0, row.next_at_ms),
    };
    v1::Notification {
        id: key.id.to_string(),
        build_id: key.id.build.to_string(),
        plugin: row.plugin,
        digest: row.digest.to_string(),
        policy_revision: row.policy_revision,
        state: state.into(),
        attempts: row.attempts,
        last_error: row.last_error,
        next_attempt_at_ms,
        dead_at_ms,
    }
}
