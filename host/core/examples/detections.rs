//! Which lines of real files do the detectors change, though nobody said what is secret in them? Reads all files below the folders
//! given, and lists each kind of detection: how often, in how many lines of all, and some examples.
//!
//!     cargo run --release -p ignite-core --example detections -- FOLDER...

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a tool for developers"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use ignite_core::redact::detections;

const EXAMPLES: usize = 12;
const SHOWN_BYTES: usize = 160;

#[derive(Default)]
struct Kind {
    count: usize,
    lines: usize,
    examples: BTreeSet<String>,
}

fn main() {
    let mut kinds: BTreeMap<&str, Kind> = BTreeMap::new();
    let (mut bytes, mut lines, mut changed, mut files) = (0, 0, 0, 0);
    let mut open: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    while let Some(path) = open.pop() {
        let Ok(about) = fs::symlink_metadata(&path) else {
            continue;
        };
        if about.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path()),
            );
        }
        if !about.is_file() {
            continue;
        }
        let Ok(text) = fs::read(&path) else { continue };
        // Not what a log shows.
        if text.iter().take(4096).any(|byte| *byte == 0) {
            continue;
        }
        files += 1;
        bytes += text.len();
        lines += text.iter().filter(|byte| **byte == b'\n').count();
        let mut lines_changed = BTreeSet::new();
        for one in detections(&text) {
            let first = text
                .iter()
                .take(one.bytes.start)
                .filter(|byte| **byte == b'\n')
                .count();
            let hidden = text.get(one.bytes.clone()).unwrap();
            let count = 1 + hidden
                .trim_ascii_end()
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            lines_changed.extend(first..first + count);
            let kind = kinds.entry(one.kind).or_default();
            kind.count += 1;
            kind.lines += count;
            if kind.examples.len() < EXAMPLES {
                kind.examples.insert(example(&path, first, hidden));
            }
        }
        changed += lines_changed.len();
    }
    for (name, kind) in &kinds {
        println!("{name}: {} in {} lines", kind.count, kind.lines);
        for example in &kind.examples {
            println!("    {example}");
        }
    }
    println!(
        "{changed} of {lines} lines changed, {:.2} in 100,000; {files} files, {:.0} MB",
        changed as f64 * 100_000.0 / lines.max(1) as f64,
        bytes as f64 / 1e6
    );
}

fn example(path: &Path, line: usize, hidden: &[u8]) -> String {
    let shown = hidden.get(..hidden.len().min(SHOWN_BYTES)).unwrap_or_default();
    format!("{}:{}: {}", path.display(), line + 1, shown.escape_ascii())
}
