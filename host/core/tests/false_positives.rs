//! Which lines of real texts do the detectors change, though nobody said what is secret in them?
//!
//! The texts are what this machine's packages ship: headers, programs, documentation; logs. `IGNITE_TEST_TEXTS` names other
//! folders, separated by colons; then all that is in them is read, and nothing is asserted. Each kind of change is listed, with
//! examples: `cargo test -p ignite-core --test false_positives -- --nocapture`.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "what does not hold fails the test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fmt, fs,
    path::{Path, PathBuf},
};

use ignite_core::redact::detections;

const PACKAGES: [&str; 4] = ["/var/log", "/usr/lib/python3", "/usr/include", "/usr/share"];
/// Enough of them.
const BYTES_MAX: usize = 200 << 20;
const CHANGED_OF_100_000_LINES_MAX: f64 = 1.0;
/// Of each kind.
const EXAMPLES: usize = 12;
const EXAMPLE_BYTES: usize = 160;

#[derive(Default)]
struct Seen {
    files: usize,
    bytes: usize,
    lines: usize,
    changed: usize,
    kinds: BTreeMap<&'static str, Kind>,
}

#[derive(Default)]
struct Kind {
    count: usize,
    examples: BTreeSet<String>,
}

#[test]
fn texts_without_secrets_are_left_alone() {
    if let Ok(folders) = env::var("IGNITE_TEST_TEXTS") {
        println!("{}", read(folders.split(':'), usize::MAX));
        return;
    }
    let seen = read(PACKAGES, BYTES_MAX);
    println!("{seen}");
    assert!(seen.changed_of_100_000() < CHANGED_OF_100_000_LINES_MAX, "{seen}");
}

/// All files below the folders, or so many bytes of them.
fn read<'a>(folders: impl IntoIterator<Item = &'a str>, bytes_max: usize) -> Seen {
    let mut seen = Seen::default();
    // The last is taken first.
    let mut open: Vec<PathBuf> = folders.into_iter().map(PathBuf::from).collect();
    open.reverse();
    while seen.bytes < bytes_max
        && let Some(path) = open.pop()
    {
        let Ok(about) = fs::symlink_metadata(&path) else {
            continue;
        };
        if about.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            open.extend(entries.map(|entry| entry.path()));
        } else if about.is_file()
            && let Ok(text) = fs::read(&path)
            // Else it is not what a log shows.
            && !text.iter().take(4096).any(|byte| *byte == 0)
        {
            seen.add(&path, &text);
        }
    }
    seen
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

// === impl Seen ===

impl Seen {
    fn add(&mut self, path: &Path, text: &[u8]) {
        self.files += 1;
        self.bytes += text.len();
        self.lines += lines(text);
        let mut changed = BTreeSet::new();
        for one in detections(text) {
            let first = lines(text.get(..one.bytes.start).unwrap());
            let hidden = text.get(one.bytes).unwrap();
            changed.extend(first..=first + lines(hidden.trim_ascii_end()));
            let kind = self.kinds.entry(one.kind).or_default();
            kind.count += 1;
            if kind.examples.len() < EXAMPLES {
                let shown = hidden.get(..EXAMPLE_BYTES).unwrap_or(hidden).escape_ascii();
                kind.examples
                    .insert(format!("{}:{}: {shown}", path.display(), first + 1));
            }
        }
        self.changed += changed.len();
    }

    fn changed_of_100_000(&self) -> f64 {
        self.changed as f64 * 100_000.0 / self.lines.max(1) as f64
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, kind) in &self.kinds {
            writeln!(f, "{name}: {}", kind.count)?;
            for example in &kind.examples {
                writeln!(f, "    {example}")?;
            }
        }
        write!(
            f,
            "{} of {} lines changed, {:.2} in 100,000; {} files, {} MB",
            self.changed,
            self.lines,
            self.changed_of_100_000(),
            self.files,
            self.bytes / 1_000_000
        )
    }
}
