//! How far packing and uploading are: a bar on a terminal, a line now and then elsewhere, nothing where stdout is for a
//! program.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::text::bytes;

const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Progress {
    shown: Shown,
    doing: String,
    total_bytes: Option<u64>,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines { last: Instant },
    Nothing,
}

// === impl Progress ===

impl Progress {
    /// `doing` stands before the numbers, such as "Packing app". Without a total it only counts.
    pub(crate) fn new(quiet: bool, doing: &str, total_bytes: Option<u64>) -> Self {
        let shown = if quiet {
            Shown::Nothing
        } else if std::io::stderr().is_terminal() {
            Shown::Bar(bar(doing, total_bytes))
        } else {
            Shown::Lines { last: Instant::now() }
        };
        Self {
            shown,
            doing: doing.to_owned(),
            total_bytes,
        }
    }

    /// `done_bytes` of the whole, not since the last time.
    pub(crate) fn at(&mut self, done_bytes: u64) {
        match &mut self.shown {
            Shown::Bar(bar) => bar.set_position(done_bytes),
            Shown::Lines { last } if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                let of = self
                    .total_bytes
                    .map(|total| format!(" of {}", bytes(total)))
                    .unwrap_or_default();
                let _ = writeln!(std::io::stderr(), "{}: {}{of}", self.doing, bytes(done_bytes));
            }
            Shown::Lines { .. } | Shown::Nothing => {}
        }
    }

    /// Replaces what was shown by one last line.
    pub(crate) fn finish(self, done: &str) {
        match self.shown {
            Shown::Bar(bar) => {
                bar.finish_and_clear();
                let _ = writeln!(std::io::stderr(), "{done}");
            }
            Shown::Lines { .. } => {
                let _ = writeln!(std::io::stderr(), "{done}");
            }
            Shown::Nothing => {}
        }
    }
}

fn bar(doing: &str, total_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match total_bytes {
        Some(total) => (
            ProgressBar::new(total),
            "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg} {binary_bytes}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(doing.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
