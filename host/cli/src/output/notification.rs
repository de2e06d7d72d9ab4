//! Announcements that are not made yet, as humans read them.

use ignite_proto::v1::{self, NotificationState};

use super::{
    table::columns,
    text::{line, timestamp},
};

/// One row an announcement.
pub(crate) fn list(notifications: &[v1::Notification]) -> String {
    if notifications.is_empty() {
        return "Nothing waits to be announced.\n".to_owned();
    }
    let rows: Vec<_> = notifications
        .iter()
        .map(|notification| {
            let (state, at_ms) = match notification.state() {
                NotificationState::Pending => ("waits until", notification.next_attempt_at_ms),
                NotificationState::Dead => ("dead since", notification.dead_at_ms),
                NotificationState::Unspecified => ("-", 0),
            };
            [
                line(&notification.id).into_owned(),
                line(&notification.plugin).into_owned(),
                format!("{state} {}", timestamp(at_ms).unwrap_or_default()),
                notification.attempts.to_string(),
                line(&notification.last_error).into_owned(),
            ]
        })
        .collect();
    columns(["ID", "PLUGIN", "STATE", "ATTEMPTS", "LAST ERROR"], &rows)
}
