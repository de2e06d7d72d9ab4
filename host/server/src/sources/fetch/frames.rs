//! What the fetch step prints where it runs as a container of a pod: the one way out that a pod has is its log.
//!
//! ```text
//!   L <text>    a line of the build's log
//!   R <json>    a FetchReport: the step has done its work. Once, the last line
//!   F <json>    a Failed: it has not. Once, the last line
//! ```
//!
//! A line is a frame: text of others, a git server's say, is put behind an `L` line by line, so it cannot pass for one of ours.
//! The JSON has no line end in it. With a whole Dockerfile in it a report is one line of up to [`LINE_BYTES_MAX`]; container
//! runtimes store such a line in parts, and the kubelet puts them together again.

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use ignite_core::run::FetchReport;
use serde::{Serialize, de::DeserializeOwned};

use super::Failed;

/// Of a line without its end. A Dockerfile of 1 MiB is six times that where each of its characters has to be escaped.
pub const LINE_BYTES_MAX: usize = 8 << 20;

const LOG: u8 = b'L';
const REPORT: u8 = b'R';
const FAILED: u8 = b'F';

/// One line of the step's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// For the build's log, without the line end.
    Log(String),
    Report(FetchReport),
    Failed(Failed),
}

/// A line that is none of ours. Its text is not told: it may be anybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a line of the fetch step's output is no frame")]
    NoFrame,
    #[error("the fetch step's result is damaged")]
    Damaged,
    #[error("a line of the fetch step's output is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
}

/// Makes frames of output that comes in pieces, cut anywhere. Holds no more than a line.
#[derive(Debug, Default)]
pub struct FrameReader {
    line: Vec<u8>,
    /// What there was of the current line is thrown away, and so is the rest.
    too_long: bool,
}

// === impl Frame ===

impl Frame {
    /// Reads a line, given without its end. Bytes of log text that are no UTF-8 are replaced.
    ///
    /// # Errors
    /// [`FrameError::NoFrame`] or [`FrameError::Damaged`].
    pub fn parse(line: &[u8]) -> Result<Self, FrameError> {
        match line {
            [LOG, b' ', text @ ..] => Ok(Self::Log(String::from_utf8_lossy(text).into_owned())),
            [REPORT, b' ', json @ ..] => from_json(json).map(Self::Report),
            [FAILED, b' ', json @ ..] => from_json(json).map(Self::Failed),
            _ => Err(FrameError::NoFrame),
        }
    }

    /// Writes the frame as a line, and text of several lines as several frames, all in one piece.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut lines = Vec::new();
        match self {
            Self::Log(text) => {
                for line in text.split('\n') {
                    lines.extend([LOG, b' ']);
                    lines.extend(line.as_bytes());
                    lines.push(b'\n');
                }
            }
            Self::Report(report) => push_json(&mut lines, REPORT, report)?,
            Self::Failed(failed) => push_json(&mut lines, FAILED, failed)?,
        }
        out.write_all(&lines)?;
        out.flush()
    }
}

fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(json).map_err(|_| FrameError::Damaged)
}

fn push_json(lines: &mut Vec<u8>, kind: u8, content: &impl Serialize) -> io::Result<()> {
    lines.extend([kind, b' ']);
    serde_json::to_writer(&mut *lines, content)?;
    lines.push(b'\n');
    Ok(())
}

// === impl FrameReader ===

impl FrameReader {
    /// Takes the next piece of the output and gives the lines that it ends.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<Result<Frame, FrameError>> {
        let mut frames = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.keep(line);
            frames.push(self.take());
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.keep(bytes);
        frames
    }

    /// What the output ended with, if that was no line end.
    pub fn finish(&mut self) -> Option<Result<Frame, FrameError>> {
        (!self.is_between_lines()).then(|| self.take())
    }

    /// Whether the last piece ended with its line.
    pub fn is_between_lines(&self) -> bool {
        self.line.is_empty() && !self.too_long
    }

    fn keep(&mut self, part: &[u8]) {
        if self.line.len().saturating_add(part.len()) > LINE_BYTES_MAX {
            self.too_long = true;
            self.line = Vec::new();
        }
        if !self.too_long {
            self.line.extend_from_slice(part);
        }
    }

    fn take(&mut self) -> Result<Frame, FrameError> {
        let line = std::mem::take(&mut self.line);
        match std::mem::take(&mut self.too_long) {
            true => Err(FrameError::TooLong),
            false => Frame::parse(&line),
        }
    }
}
