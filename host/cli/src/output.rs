//! What a command shows. stdout carries the result and nothing else; everything said to a human goes to stderr.

use std::io::Write as _;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub(crate) mod build;
pub(crate) mod errors;
pub(crate) mod notification;
pub(crate) mod plugin;
pub(crate) mod policy;
pub(crate) mod secrets;
pub(crate) mod table;
pub(crate) mod text;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For reading; the default
    #[default]
    Table,
    /// proto3 JSON of the response
    Json,
    /// The same as YAML
    Yaml,
    /// The table with more columns
    Wide,
}

/// How a human reads it; the other formats are for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    Table,
    Wide,
}

// === impl Format ===

impl Format {
    /// `None` when a program reads.
    pub(crate) fn detail(self) -> Option<Detail> {
        match self {
            Self::Table => Some(Detail::Table),
            Self::Wide => Some(Detail::Wide),
            Self::Json | Self::Yaml => None,
        }
    }

    pub(crate) fn is_for_programs(self) -> bool {
        self.detail().is_none()
    }
}

/// Prints a whole response: as `human` says, or as the message itself.
pub(crate) fn response<T: Serialize>(
    format: Format,
    message: &T,
    human: impl FnOnce(Detail) -> String,
) -> Result<()> {
    stdout(&match format {
        Format::Table => human(Detail::Table),
        Format::Wide => human(Detail::Wide),
        Format::Json => json(message, true)?,
        Format::Yaml => yaml(message)?,
    })
}

/// Prints one message of a stream: a line of JSON, or a YAML document.
pub(crate) fn item<T: Serialize>(
    format: Format,
    message: &T,
    human: impl FnOnce(Detail) -> String,
) -> Result<()> {
    stdout(&match format {
        Format::Table => human(Detail::Table),
        Format::Wide => human(Detail::Wide),
        Format::Json => json(message, false)?,
        Format::Yaml => format!("---\n{}", yaml(message)?),
    })
}

/// Writes text as it is; a missing line end is added.
pub(crate) fn stdout(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    out.write_all(text.as_bytes())
        .and_then(|()| out.write_all(end.as_bytes()))
        .and_then(|()| out.flush())
        .map_err(Error::stdout)
}

/// Says something to the human at the terminal; that nobody listens is no error.
pub(crate) fn stderr(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end_matches('\n'));
}

/// The message as JSON. Control characters that JSON leaves as they are become escapes: the text may meet a terminal.
pub(crate) fn json<T: Serialize>(message: &T, pretty: bool) -> Result<String> {
    let encoded = if pretty {
        serde_json::to_string_pretty(message)
    } else {
        serde_json::to_string(message)
    };
    let encoded = encoded.map_err(|_| Error::Nonsense("a value that its type does not have"))?;
    let mut safe = String::with_capacity(encoded.len() + 1);
    for c in encoded.chars() {
        // Outside of strings JSON has no such characters but the line feeds of pretty printing.
        if c != '\n' && text::is_unsafe(c) {
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe.push('\n');
    Ok(safe)
}

fn yaml<T: Serialize>(message: &T) -> Result<String> {
    let nonsense = |_| Error::Nonsense("a value that its type does not have");
    let encoded = serde_norway::to_string(message).map_err(nonsense)?;
    if encoded.chars().any(|c| c != '\n' && text::is_unsafe(c)) {
        // JSON is YAML, and can escape everything.
        return json(message, true);
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests;
