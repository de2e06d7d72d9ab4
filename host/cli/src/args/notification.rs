//! `ignite notification …`.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};

use super::{CallTimeout, plugin::PageArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum NotificationCommand {
    /// List the announcements of ended builds that wait for their next attempt or were given up, of the newest build first
    List(PageArgs),
    /// Announce at once, under the same key, what waits or was given up
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["ids", "dead"]))]
pub(crate) struct ReplayArgs {
    /// As `list` shows them
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,

    /// All that were given up
    #[arg(long)]
    pub(crate) dead: bool,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,
}

// === impl NotificationCommand ===

impl NotificationCommand {
    /// The `--timeout` that stands behind the subcommand.
    pub(crate) fn call_timeout(&self) -> Option<Duration> {
        match self {
            Self::List(args) => args.timeout.call_timeout,
            Self::Replay(args) => args.timeout.call_timeout,
        }
    }
}
