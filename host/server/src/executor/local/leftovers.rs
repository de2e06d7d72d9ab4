//! Processes that outlived their run's supervisor.

use std::{fs, io, path::Path};

use rustix::process::{Pid, PidfdFlags, Signal};

use crate::executor::local::runtime::RUN_DIR_ENV;

/// Kills the processes that were started for a run outside its container: the fetch step with all its children, a
/// runtime that was just starting.
pub(super) fn kill_leftovers(dir: &Path) -> io::Result<()> {
    let mark = [RUN_DIR_ENV.as_bytes(), b"=", dir.as_os_str().as_encoded_bytes()].concat();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(pid) = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw)
        else {
            continue;
        };
        let is_marked = || {
            let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == mark)
        };
        // Held before it is looked at, so that it stays the process we looked at.
        if let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty())
            && is_marked()
        {
            let _gone_already = rustix::process::kill_process_group(pid, Signal::KILL);
            let _gone_already = rustix::process::pidfd_send_signal(process, Signal::KILL);
        }
    }
    Ok(())
}
