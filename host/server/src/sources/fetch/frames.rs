//! What a container of a run's pod prints: the one way out that a pod has is its log, which may be cut, repeated, and lost in parts.
//! So each piece of a step's text says where in that text it stands.
//!
//! ```text
//!   .<n> <text>    what follows the first n bytes of the step's text, with a newline behind it
//!   +<n> <text>    as well, and no newline was written there
//!   !<n>           the build step: n bytes were all
//!   R<n> <json>    the fetch step: n bytes were all, and a FetchReport: it has done its work
//!   F<n> <json>    the fetch step: n bytes were all, and a Failed: it has not
//! ```
//!
//! A line is a frame: text of others, a git server's say, is put behind a number line by line, so it cannot pass for one of ours.
//! The build step's are written by `ignite-shim` (host/shim). The JSON has no line end in it. With a whole Dockerfile in it a report is
//! one line of up to [`LINE_BYTES_MAX`]; container runtimes store such a line in parts, and the kubelet puts them together again.

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use ignite_core::run::FetchReport;
use serde::{Serialize, de::DeserializeOwned};

use super::Failed;

/// Of a line without its end. A Dockerfile of 1 MiB is six times that where each of its characters has to be escaped.
pub const LINE_BYTES_MAX: usize = 8 << 20;

const LINE: u8 = b'.';
const PIECE: u8 = b'+';
const END: u8 = b'!';
const REPORT: u8 = b'R';
const FAILED: u8 = b'F';

/// One line of a step's output; `at`: how many bytes of text came before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    Text {
        at: u64,
        /// Without its newline.
        text: &'a [u8],
        has_newline: bool,
    },
    End {
        at: u64,
    },
    Report {
        at: u64,
        report: FetchReport,
    },
    Failed {
        at: u64,
        failed: Failed,
    },
}

/// A line that is none of ours. Its text is not told: it may be anybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a line of the step's output is no frame")]
    NoFrame,
    #[error("the fetch step's result is damaged")]
    Damaged,
}

/// Writes the fetch step's frames, each at once.
#[derive(Debug)]
pub struct FrameWriter<W> {
    out: W,
    at: u64,
}

impl<'a> Frame<'a> {
    /// Reads a line, given without its end.
    ///
    /// # Errors
    /// [`FrameError::NoFrame`] or [`FrameError::Damaged`].
    pub fn parse(line: &'a [u8]) -> Result<Self, FrameError> {
        let (kind, rest) = line.split_first().ok_or(FrameError::NoFrame)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = rest.split_at_checked(digits).ok_or(FrameError::NoFrame)?;
        let number = std::str::from_utf8(digits).ok();
        let at = number
            .and_then(|number| number.parse().ok())
            .ok_or(FrameError::NoFrame)?;
        match (*kind, rest) {
            (kind @ (LINE | PIECE), [b' ', text @ ..]) => Ok(Self::Text {
                at,
                text,
                has_newline: kind == LINE,
            }),
            (END, []) => Ok(Self::End { at }),
            (REPORT, [b' ', json @ ..]) => from_json(json).map(|report| Self::Report { at, report }),
            (FAILED, [b' ', json @ ..]) => from_json(json).map(|failed| Self::Failed { at, failed }),
            _ => Err(FrameError::NoFrame),
        }
    }
}

fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(json).map_err(|_| FrameError::Damaged)
}

// === impl FrameWriter ===

impl<W: Write> FrameWriter<W> {
    pub const fn new(out: W) -> Self {
        Self { out, at: 0 }
    }

    /// Writes text, and a newline behind it: as one line, or as several, all in one piece.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn log(&mut self, text: &str) -> io::Result<()> {
        let mut lines = Vec::new();
        for line in text.split('\n') {
            writeln!(lines, ".{} {line}", self.at)?;
            self.at = self.at.saturating_add(line.len() as u64).saturating_add(1);
        }
        self.write(&lines)
    }

    /// Writes the last line.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(mut self, result: &Result<FetchReport, Failed>) -> io::Result<()> {
        match result {
            Ok(report) => self.write_json(REPORT, report),
            Err(failed) => self.write_json(FAILED, failed),
        }
    }

    fn write_json(&mut self, kind: u8, content: &impl Serialize) -> io::Result<()> {
        let mut line = Vec::new();
        line.push(kind);
        write!(line, "{} ", self.at)?;
        serde_json::to_writer(&mut line, content)?;
        line.push(b'\n');
        self.write(&line)
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.out.write_all(lines)?;
        self.out.flush()
    }
}
