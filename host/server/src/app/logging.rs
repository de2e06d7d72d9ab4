//! The daemon's own log: structured, on standard error.

use std::{io, panic};

use tracing_subscriber::{EnvFilter, fmt};

use crate::{config::LogFormat, unsaid::lines::Redacting};

/// What is logged where the setting does not name it: the client of the API server calls each answer of 500 an error, however often
/// it is asked again; whoever asks says what came of it.
const QUIET: &str = "kube_client::client::builder=off";

/// Sends every event from here on to standard error, redacted, and panics with them.
pub fn start(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))
        .unwrap_or_else(|_| EnvFilter::new(format!("{QUIET},info")));
    let json = match format {
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(Redacting::new(io::stderr, json))
        .with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    panic::set_hook(Box::new(|info| {
        // The message may hold anything, a caller's data among it: where it happened is enough to find it.
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, backtrace = %std::backtrace::Backtrace::capture(), "panic");
    }));
}
