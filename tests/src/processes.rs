//! What can be read of a gateway's processes from outside: arguments and environment of every one that it starts, but for
//! those in a build's own container.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    gateway::Gateway,
    leftovers,
    planted::search::{Findings, Search},
};

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks again and again, until it is asked what it saw.
#[derive(Debug)]
pub struct Watched {
    stop: Arc<AtomicBool>,
    looker: JoinHandle<Seen>,
}

/// What was seen of processes in all looks together.
#[derive(Debug, Default)]
pub struct Seen {
    /// The first argument's file name, and for those of the gateway the second argument too.
    pub programs: BTreeSet<String>,
    pub findings: Findings,
}

// === impl Watched ===

impl Watched {
    /// Of this gateway, over its restarts.
    pub fn of(gateway: &Gateway, search: Arc<Search>) -> Self {
        let folder = gateway.data_dir().parent().unwrap().to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let looker = thread::spawn(move || {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                look(&folder, &search, &mut seen);
                #[allow(clippy::disallowed_methods, reason = "a thread that has nothing else to do")]
                thread::sleep(LOOK_EVERY);
            }
            seen
        });
        Self { stop, looker }
    }

    pub fn seen(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.looker.join().unwrap()
    }
}

fn look(folder: &Path, search: &Search, seen: &mut Seen) {
    for pid in below(folder) {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        // What ended meanwhile has nothing to show.
        let (Ok(arguments), Ok(mountinfo)) = (
            fs::read(proc.join("cmdline")),
            fs::read_to_string(proc.join("mountinfo")),
        ) else {
            continue;
        };
        if leftovers::root_within(&mountinfo) != Path::new("/") {
            continue;
        }
        let environment = fs::read(proc.join("environ")).unwrap_or_default();
        let program = program(&arguments);
        for (what, bytes) in [("arguments", &arguments), ("environment", &environment)] {
            let found = search.find_as_printed(bytes);
            if !found.is_empty() {
                let findings = seen.findings.entry(format!("{what} of {program}"));
                findings.or_default().extend(found);
            }
        }
        seen.programs.insert(program);
    }
}

/// Processes that stand in the folder or name it in their arguments, and all that they have started. The daemon does, and so
/// do its supervisors, which are nobody's children.
fn below(folder: &Path) -> BTreeSet<i32> {
    let mut children = BTreeMap::<i32, Vec<i32>>::new();
    let mut pending = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name before it may hold anything, brackets too.
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split(' ').nth(2)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
        let executable = fs::read_link(entry.path().join("exe")).unwrap_or_default();
        if executable.file_name().is_none_or(|name| name != "ignited") {
            continue;
        }
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let stands = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        if stands || String::from_utf8_lossy(&arguments).contains(&*folder.to_string_lossy()) {
            pending.push(pid);
        }
    }
    let mut found = BTreeSet::new();
    while let Some(pid) = pending.pop() {
        if found.insert(pid) {
            pending.extend(children.remove(&pid).unwrap_or_default());
        }
    }
    found
}

fn program(arguments: &[u8]) -> String {
    let text = String::from_utf8_lossy(arguments);
    let mut words = text.split('\0');
    let first = words.next().unwrap_or_default();
    let name = first.rsplit('/').next().unwrap_or_default();
    match words
        .next()
        .filter(|word| name.starts_with("ignited") && !word.starts_with('-'))
    {
        Some(word) if !word.is_empty() => format!("{name} {word}"),
        _ => name.to_owned(),
    }
}
