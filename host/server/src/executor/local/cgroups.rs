//! The control groups of sandboxes: the kernel's own account of what runs in them, and of why it killed.
//!
//! The runtime makes and removes them. When it was itself cut short it leaves them behind, with what was in them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

const ROOT: &str = "/sys/fs/cgroup";
/// For processes that were killed to be gone.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// The group of one sandbox, as the runtime is told it.
pub(super) fn path(id: &str) -> String {
    format!("/ignite/{id}")
}

/// How many processes of the sandbox the kernel has killed for memory. The count goes with the group.
pub(super) fn oom_kills(id: &str) -> u64 {
    let counters = dirs(id).into_iter().flat_map(|dir| {
        // The older hierarchy's file, and the unified one's.
        ["memory.oom_control", "memory.events"].map(|file| fs::read_to_string(dir.join(file)))
    });
    let count = |text: String| {
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    };
    counters.flatten().find_map(count).unwrap_or(0)
}

/// The threads in the sandbox: each may have open files of its own.
pub(super) fn threads(id: &str) -> Vec<u32> {
    // The older hierarchy's file, and the unified one's.
    let lists = dirs(id)
        .into_iter()
        .flat_map(|dir| ["tasks", "cgroup.threads"].map(|file| fs::read_to_string(dir.join(file))));
    let mut threads: Vec<u32> = lists
        .flatten()
        .flat_map(|list| {
            list.lines()
                .filter_map(|line| line.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect();
    threads.sort_unstable();
    threads.dedup();
    threads
}

/// Kills whatever is still in the sandbox's group and removes it. Fine if there is none. Blocks.
pub(super) fn remove(id: &str) -> io::Result<()> {
    let start = Instant::now();
    loop {
        let dirs = dirs(id);
        let mut failed = None;
        for dir in &dirs {
            kill_all(dir);
            if let Err(error) = fs::remove_dir(dir) {
                failed = Some(error);
            }
        }
        match failed {
            None => return Ok(()),
            Some(error) if start.elapsed() > PATIENCE => return Err(error),
            #[expect(
                clippy::disallowed_methods,
                reason = "never on an async worker; the kernel does not tell"
            )]
            Some(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn kill_all(dir: &Path) {
    let members = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in members
        .lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
    {
        let _gone_already = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// In the unified hierarchy one, in the older one a directory for each controller.
fn dirs(id: &str) -> Vec<PathBuf> {
    let below = path(id);
    let below = below.trim_start_matches('/');
    let controllers = fs::read_dir(ROOT)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    std::iter::once(PathBuf::from(ROOT))
        .chain(controllers)
        .map(|root| root.join(below))
        .filter(|dir| dir.is_dir())
        .collect()
}
