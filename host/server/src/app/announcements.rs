//! What an operator does with the announcements of all organizations while the daemon is stopped: looks at them, has them made
//! again at the next start, drops them.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, SecondsFormat};
use ignite_core::{ids::OrgId, notification::NotificationId, text};

use super::AppError;
use crate::{
    clock,
    config::Config,
    store::{DataDir, OpenError, OutboxEntry, OutboxState, Store, StoreOptions},
};

/// Which announcements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this organization; None: of all.
    pub org: Option<OrgId>,
    /// These; empty: all.
    pub ids: BTreeSet<NotificationId>,
    /// Only those that were given up.
    pub dead: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    List,
    /// At the next start, under the same key, with attempts counted from the first again.
    Replay,
    Drop,
}

// === impl Selection ===

impl Selection {
    fn takes(&self, (key, row): &OutboxEntry) -> bool {
        let is_dead = match row.state {
            OutboxState::Dead => true,
            OutboxState::Pending => false,
        };
        (is_dead || !self.dead) && (self.ids.is_empty() || self.ids.contains(&key.id))
    }
}

/// Does it to what was selected; a line for each, as it was before, then one that counts. The daemon must not be running.
///
/// # Errors
/// [`AppError::NoAnnouncement`] if one that was named is not there: then nothing was done.
pub async fn act(config: &Config, act: Act, selection: &Selection) -> Result<Vec<String>, AppError> {
    let data = DataDir::open(&config.data_dir).map_err(OpenError::from)?;
    let store = Arc::new(Store::open(&data, StoreOptions::default())?);
    let done = act_on(&store, act, selection).await;
    store.shutdown().await;
    done
}

async fn act_on(store: &Store, act: Act, selection: &Selection) -> Result<Vec<String>, AppError> {
    let of_all = selection.clone();
    let entries = store
        .select_notifications(selection.org.as_ref(), move |entry| of_all.takes(entry))
        .await?;
    let found: BTreeSet<NotificationId> = entries.iter().map(|(key, _)| key.id).collect();
    if let Some(missing) = selection.ids.difference(&found).next() {
        return Err(AppError::NoAnnouncement(*missing));
    }
    let mut lines: Vec<String> = entries.iter().map(line).collect();
    let now_ms = clock::now_ms();
    for (key, row) in &entries {
        match act {
            Act::List => {}
            Act::Replay => {
                store.replay_notification(key, now_ms).await?;
            }
            Act::Drop => {
                store.settle_notification(key, row, None, None).await?;
            }
        }
    }
    let count = entries.len();
    lines.push(match act {
        Act::List => format!("{count} announcements"),
        Act::Replay => format!("{count} announcements will be made when the daemon starts"),
        Act::Drop => format!("{count} announcements dropped"),
    });
    Ok(lines)
}

/// Tabs between organization, id, plugin, state with its time, attempts, and what went wrong last.
fn line((key, row): &OutboxEntry) -> String {
    let at = DateTime::from_timestamp_millis(row.next_at_ms).unwrap_or_default();
    let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let state = match row.state {
        OutboxState::Pending => "pending until",
        OutboxState::Dead => "dead since",
    };
    format!(
        "{}\t{}\t{}\t{state} {at}\t{}\t{}",
        key.org,
        key.id,
        row.plugin,
        row.attempts,
        // A plugin's word, and it goes to a terminal.
        text::line(&row.last_error)
    )
}
