//! What of a gateway is still on the machine: processes, mounts, control groups.
//!
//! Others work on the same machine. A mount below a gateway's folder stands in the mount table of every process that
//! shares the mount namespace, so a mount table says nothing about whose a process is: only where its own root comes from
//! does. Processes that are merely near the folder are reported and never ended.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// What `/proc` tells of a process.
#[derive(Debug, Clone, Default)]
struct Facts {
    pid: i32,
    arguments: Vec<String>,
    exe: PathBuf,
    cwd: PathBuf,
    /// Where in its file system the mount at `/` begins: `/` but for a process in a container or a bind-mounted root.
    root_within: PathBuf,
}

/// How sure it is that a gateway's run started a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// A supervisor or fetch step of a run in the folder, or a process whose root is one of the folder's.
    Ours,
    /// It stands in the folder: somebody's shell, perhaps.
    Near,
    Foreign,
}

/// Processes of runs below `folder`, and others that stand in it, in words.
pub fn processes(folder: &Path) -> Vec<String> {
    claimed(folder)
        .into_iter()
        .map(|(_, facts)| format!("process {}: {}", facts.pid, facts.arguments.join(" ")))
        .collect()
}

/// Mount points below `folder`.
pub fn mounts(folder: &Path) -> Vec<PathBuf> {
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
        .filter(|point| point != folder && point.starts_with(folder))
        .collect()
}

/// Private folders in memory whose names are those of runs of the builds.
pub fn private_folders(builds: &[String]) -> Vec<PathBuf> {
    let ids = ids(builds);
    let is_ours = |path: &PathBuf| {
        let name = path.to_string_lossy().to_ascii_lowercase();
        name.contains("/ignited-") && ids.iter().any(|id| name.contains(id))
    };
    let entries = ["/run", "/dev/shm"].map(|place| fs::read_dir(place).into_iter().flatten().flatten());
    let paths = entries.into_iter().flatten().map(|entry| entry.path());
    paths.filter(is_ours).collect()
}

fn ids(builds: &[String]) -> Vec<String> {
    let bare = |id: &String| id.trim_start_matches("bld_").to_ascii_lowercase();
    builds.iter().map(bare).collect()
}

/// Control groups whose path names one of the builds.
pub fn control_groups(builds: &[String]) -> Vec<PathBuf> {
    let ids = ids(builds);
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().to_ascii_lowercase();
            if ids.iter().any(|id| name.contains(id)) {
                found.push(entry.path());
            } else {
                pending.push(entry.path());
            }
        }
    }
    found
}

/// All of it, in words; empty when the machine is as it was.
pub fn all(folder: &Path, builds: &[String]) -> Vec<String> {
    let mut left = processes(folder);
    left.extend(
        mounts(folder)
            .into_iter()
            .map(|mount| format!("mount {}", mount.display())),
    );
    left.extend(
        control_groups(builds)
            .into_iter()
            .map(|group| format!("control group {}", group.display())),
    );
    left.extend(
        private_folders(builds)
            .into_iter()
            .map(|folder| format!("private folder {}", folder.display())),
    );
    left
}

/// Ends the processes that are surely of runs below `folder`, and takes away mounts below it, so that one failed test does
/// not fail the next.
pub fn sweep(folder: &Path) {
    for (claim, facts) in claimed(folder) {
        if claim == Claim::Ours {
            let _gone_meanwhile = kill(Pid::from_raw(facts.pid), Signal::SIGKILL);
        }
    }
    for point in mounts(folder) {
        let _busy = process::Command::new("umount").arg("--lazy").arg(point).status();
    }
}

fn claimed(folder: &Path) -> Vec<(Claim, Facts)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(facts)
        .map(|facts| (claim(&facts, folder), facts))
        .filter(|(claim, _)| *claim != Claim::Foreign)
        .collect()
}

fn facts(pid: i32) -> Option<Facts> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let arguments = fs::read(proc.join("cmdline")).ok()?;
    let mountinfo = fs::read_to_string(proc.join("mountinfo")).ok()?;
    Some(Facts {
        pid,
        arguments: String::from_utf8_lossy(&arguments)
            .split_terminator('\0')
            .map(str::to_owned)
            .collect(),
        exe: fs::read_link(proc.join("exe")).unwrap_or_default(),
        cwd: fs::read_link(proc.join("cwd")).unwrap_or_default(),
        root_within: root_within(&mountinfo),
    })
}

/// The fourth field of the line whose mount point is `/`; the last such line is what is seen.
pub(crate) fn root_within(mountinfo: &str) -> PathBuf {
    mountinfo
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(3);
            let within = fields.next()?;
            (fields.next() == Some("/")).then(|| PathBuf::from(within))
        })
        .next_back()
        .unwrap_or_else(|| PathBuf::from("/"))
}

fn claim(facts: &Facts, folder: &Path) -> Claim {
    // The harness's own name for the folder is random; anything else would be somebody's home.
    let Some(name) = folder
        .file_name()
        .filter(|name| name.to_string_lossy().starts_with("ignite-"))
    else {
        return Claim::Foreign;
    };
    if facts.pid <= 1 || u32::try_from(facts.pid) == Ok(process::id()) {
        return Claim::Foreign;
    }
    let run_below = facts.exe.file_name().is_some_and(|exe| exe == "ignited")
        && facts
            .arguments
            .windows(2)
            .any(|pair| pair[0] == "--run-dir" && Path::new(&pair[1]).starts_with(folder));
    // Relative to its file system, so that the folder may lie on one of its own.
    let root_below = facts
        .root_within
        .components()
        .any(|part| part.as_os_str() == name);
    if run_below || root_below {
        Claim::Ours
    } else if facts.cwd.starts_with(folder) {
        Claim::Near
    } else {
        Claim::Foreign
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "/tmp/ignite-gateway-Ab12Cd";
    const HOST_ROOT: &str = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n";

    fn running(arguments: &[&str], exe: &str, cwd: &str, mountinfo: &str) -> Facts {
        Facts {
            pid: 4242,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            exe: exe.into(),
            cwd: cwd.into(),
            root_within: root_within(mountinfo),
        }
    }

    #[test]
    fn a_mount_below_the_folder_makes_nobody_ours() {
        let table = format!("{HOST_ROOT}99 22 0:44 / {FOLDER}/data/mount rw - tmpfs none rw\n");
        let shell = running(&["bash"], "/usr/bin/bash", "/work", &table);
        assert_eq!(claim(&shell, Path::new(FOLDER)), Claim::Foreign);
    }

    #[test]
    fn who_names_or_enters_the_folder_is_not_ended() {
        let folder = Path::new(FOLDER);
        let log = format!("{FOLDER}/ignited.log");
        let reader = running(&["tail", "-f", &log], "/usr/bin/tail", "/", HOST_ROOT);
        assert_eq!(claim(&reader, folder), Claim::Foreign);
        let visitor = running(&["bash"], "/usr/bin/bash", FOLDER, HOST_ROOT);
        assert_eq!(claim(&visitor, folder), Claim::Near);
    }

    #[test]
    fn supervisors_and_containers_of_the_folder_are_ours() {
        let folder = Path::new(FOLDER);
        let run = format!("{FOLDER}/data/runs/r1");
        let supervisor = running(
            &["ignited", "supervise", "--run-dir", &run],
            "/repo/target/debug/ignited",
            "/",
            HOST_ROOT,
        );
        assert_eq!(claim(&supervisor, folder), Claim::Ours);
        let table = format!("30 29 254:0 {FOLDER}/data/runs/r1/rootfs / rw - ext4 /dev/vda rw\n");
        let step = running(&["sh"], "/bin/sh", "/", &table);
        assert_eq!(claim(&step, folder), Claim::Ours);
        let elsewhere = Path::new("/tmp/ignite-gateway-Zz99Yy");
        assert_eq!(claim(&supervisor, elsewhere), Claim::Foreign);
        assert_eq!(claim(&step, elsewhere), Claim::Foreign);
    }

    #[test]
    fn neither_the_first_process_nor_this_one_nor_anything_of_a_shared_folder_is_ours() {
        let table = format!("30 29 254:0 {FOLDER}/rootfs / rw - ext4 /dev/vda rw\n");
        let first = Facts {
            pid: 1,
            ..running(&["init"], "/init", "/", &table)
        };
        assert_eq!(claim(&first, Path::new(FOLDER)), Claim::Foreign);
        let this = Facts {
            pid: i32::try_from(process::id()).unwrap(),
            ..first.clone()
        };
        assert_eq!(claim(&this, Path::new(FOLDER)), Claim::Foreign);
        let inside = running(&["sh"], "/bin/sh", "/tmp", &table);
        for shared in ["/", "/tmp", "/work", ""] {
            assert_eq!(claim(&inside, Path::new(shared)), Claim::Foreign, "{shared}");
        }
    }

    #[test]
    fn a_new_folder_claims_nothing_on_this_machine() {
        let folder = tempfile::Builder::new().prefix("ignite-").tempdir().unwrap();
        assert_eq!(all(folder.path(), &[]), Vec::<String>::new());
    }
}
