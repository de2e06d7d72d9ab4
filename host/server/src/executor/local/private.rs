//! A run's private folder: what the sandbox cannot be given but by files, and what must not stay. It lies in memory, where the
//! machine has a file system there; a power failure then leaves nothing of it, and a crash leaves it until it is swept.
//!
//! Its name follows from the run's directory, so the supervisor and any daemon find the same.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use rustix::fs::statfs;
use sha2::{Digest as _, Sha256};

use crate::executor::local::{layout::RunDir, raw_log, tree};

const PLACES: [&str; 2] = ["/run", "/dev/shm"];
/// Of `statfs`.
const TMPFS: i64 = 0x0102_1994;

/// The first place that is in memory.
static PLACE: LazyLock<Option<&Path>> = LazyLock::new(|| {
    let in_memory = |path: &&Path| statfs(*path).is_ok_and(|stat| stat.f_type == TMPFS);
    PLACES.into_iter().map(Path::new).find(in_memory)
});

/// The private folder of the run in `run_dir`.
pub(super) fn folder_of(run_dir: &Path) -> PathBuf {
    let (Some(place), Some(runs), Some(run)) = (*PLACE, run_dir.parent(), run_dir.file_name()) else {
        return run_dir.join("private");
    };
    let mut name = prefix(runs);
    name.push_str(&run.to_string_lossy());
    place.join(name)
}

/// Removes a private folder; fine if it is not there.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match is_ours(folder)? {
        true => tree::remove(folder),
        false => Ok(()),
    }
}

/// False if it is not there.
fn is_ours(folder: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        // The place may be everybody's: what is not ours could lead us elsewhere.
        Ok(meta) if meta.uid() != 0 || !meta.is_dir() => Err(io::Error::other(format!(
            "{} is in the way: it was not made by us",
            folder.display()
        ))),
        Ok(_) => Ok(true),
    }
}

/// Removes what only a live run needs: all but the key of its log, which somebody may still have to read. Fine if it is not there.
pub(super) fn clear(folder: &Path) -> io::Result<()> {
    if !is_ours(folder)? {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() != raw_log::KEY_FILE {
            tree::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes the private folders of runs below `runs` that are not there any more, and what those need no more that are over.
pub(super) fn sweep(runs: &Path) -> io::Result<()> {
    let Some(place) = *PLACE else {
        return Ok(());
    };
    let prefix = prefix(runs);
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(run) = name.to_str().and_then(|name| name.strip_prefix(&prefix)) else {
            continue;
        };
        let dir = RunDir::new(runs.join(OsStr::new(run)));
        if !dir.exists()? {
            remove(&entry.path())?;
        } else if is_over(&dir)? {
            clear(&entry.path())?;
        }
    }
    Ok(())
}

/// Else its supervisor lives, or its end is still to be written: whoever does that clears up.
fn is_over(dir: &RunDir) -> io::Result<bool> {
    Ok(dir.holder()?.is_none() && dir.end()?.is_some())
}

/// Of the names of all private folders for runs below `runs`.
fn prefix(runs: &Path) -> String {
    const HASH_BYTES: usize = 8;
    let hash = Sha256::digest(runs.as_os_str().as_encoded_bytes());
    let shown = hash.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}"));
    format!("ignited-{}-", shown.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_run_needs_is_swept_and_nothing_else() {
        let data = tempfile::tempdir().unwrap();
        let runs = data.path().join("runs");
        for run in ["live", "ended"] {
            fs::create_dir_all(runs.join(run)).unwrap();
        }
        fs::write(
            runs.join("ended/end.json"),
            r#"{"cause": "stopped", "ended_at_ms": 1, "digest": null}"#,
        )
        .unwrap();
        let folders = ["live", "ended", "gone", "gone.1"].map(|run| folder_of(&runs.join(run)));
        let other = folder_of(&data.path().join("other/gone"));
        for folder in folders.iter().chain([&other]) {
            fs::create_dir(folder).unwrap();
            fs::create_dir(folder.join("state")).unwrap();
            fs::write(folder.join("state/file"), "x").unwrap();
            fs::write(folder.join(raw_log::KEY_FILE), "x").unwrap();
        }
        sweep(&runs).unwrap();
        let left = |file: &str| folders.each_ref().map(|folder| folder.join(file).exists());
        assert_eq!(left("state"), [true, false, false, false]);
        assert_eq!(left(raw_log::KEY_FILE), [true, true, false, false]);
        assert!(other.join("state/file").exists());
        for folder in [&folders[0], &folders[1], &other] {
            remove(folder).unwrap();
            remove(folder).unwrap();
        }
    }

    #[test]
    fn a_folder_that_somebody_else_put_there_is_left_alone() {
        let data = tempfile::tempdir().unwrap();
        let folder = folder_of(&data.path().join("runs/r"));
        std::os::unix::fs::symlink("/etc", &folder).unwrap();
        assert!(remove(&folder).is_err());
        fs::remove_file(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::chown(&folder, Some(12345), None).unwrap();
        assert!(remove(&folder).is_err());
        fs::remove_dir(&folder).unwrap();
    }
}
