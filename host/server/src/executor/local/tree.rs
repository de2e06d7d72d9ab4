//! Directory trees that builds have written: counted, handed over, removed. What is in them is hostile: any depth, any mode,
//! any name.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::{Path, PathBuf},
};

use walkdir::WalkDir;

/// What each name costs besides its content: a disk can also run out of inodes.
const ENTRY_BYTES: u64 = 4096;

/// Bytes on disk under `root`. What vanishes while we look counts nothing; a path too long to look at counts as endless,
/// or it would be a place to hide in.
pub(super) fn used_bytes(root: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut bytes = 0_u64;
    for entry in WalkDir::new(root) {
        match entry.and_then(|entry| entry.metadata()) {
            Ok(meta) => {
                let again = !meta.is_dir() && meta.nlink() > 1 && !seen.insert((meta.dev(), meta.ino()));
                if !again {
                    bytes = bytes.saturating_add(on_disk(&meta));
                }
            }
            Err(error) if is_too_long(error.io_error()) => return u64::MAX,
            Err(_) => {}
        }
    }
    bytes
}

/// Bytes of the files on `root`'s disk that have no name any more, but live on in the hands of these threads.
pub(super) fn nameless_bytes(root: &Path, threads: &[u32]) -> u64 {
    let Ok(disk) = fs::metadata(root).map(|meta| meta.dev()) else {
        return 0;
    };
    let mut seen = HashSet::new();
    let held = threads
        .iter()
        // An open file, and one that is only mapped.
        .flat_map(|thread| ["fd", "map_files"].map(|kind| format!("/proc/{thread}/{kind}")))
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
        // Follows the link without opening what it stands for.
        .filter_map(|entry| fs::metadata(entry.path()).ok())
        .filter(|meta| meta.is_file() && meta.nlink() == 0 && meta.dev() == disk);
    held.filter(|meta| seen.insert(meta.ino()))
        .fold(0, |bytes, meta| bytes.saturating_add(on_disk(&meta)))
}

fn on_disk(meta: &fs::Metadata) -> u64 {
    const BLOCK_BYTES: u64 = 512;
    meta.blocks()
        .saturating_mul(BLOCK_BYTES)
        .saturating_add(ENTRY_BYTES)
}

fn is_too_long(error: Option<&io::Error>) -> bool {
    error.is_some_and(|error| error.kind() == io::ErrorKind::InvalidFilename)
}

/// Gives everything under `root` to one owner. Set-id bits, which a change of owner clears, are put back.
pub(crate) fn chown(root: &Path, uid: u32, gid: u32) -> io::Result<()> {
    const SET_ID_BITS: u32 = 0o6000;
    for entry in WalkDir::new(root) {
        let entry = entry?;
        let meta = entry.metadata()?;
        lchown(entry.path(), Some(uid), Some(gid))?;
        if meta.is_file() && meta.mode() & SET_ID_BITS != 0 {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(meta.mode() & 0o7777))?;
        }
    }
    Ok(())
}

/// Removes `root` and all under it; fine if it is not there. Nobody may be writing to it.
///
/// Folders inside folders are moved up next to `root` first: recursion would run out of stack, file handles or path length
/// on a tree that a build made deep on purpose.
pub(super) fn remove(root: &Path) -> io::Result<()> {
    let mut folders = vec![root.to_owned()];
    let mut moved = 0_u64;
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                fs::remove_file(&folder)?;
                continue;
            }
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            } else if fs::remove_dir(entry.path()).is_err() {
                let beside = free_name_beside(root, &mut moved)?;
                fs::rename(entry.path(), &beside)?;
                folders.push(beside);
            }
        }
        fs::remove_dir(&folder)?;
    }
    Ok(())
}

/// An interrupted removal may have left some of these names behind; who removes the folder above meets them again.
fn free_name_beside(root: &Path, count: &mut u64) -> io::Result<PathBuf> {
    loop {
        *count = count.saturating_add(1);
        let mut name = root.as_os_str().to_owned();
        name.push(format!(".{count}"));
        let path = PathBuf::from(name);
        if !path.try_exists()? {
            return Ok(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_tree_deeper_than_any_path_is_removed_and_counts_as_endless() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        // Built from the inside out: each level is made short and moved under the next.
        for level in 0..3000 {
            let outer = dir.path().join("outer");
            fs::create_dir(&outer).unwrap();
            fs::rename(&root, outer.join("d")).unwrap();
            fs::rename(&outer, &root).unwrap();
            if level == 0 {
                fs::write(root.join("d/file"), "x").unwrap();
            }
        }
        assert_eq!(used_bytes(&root), u64::MAX);
        remove(&root).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn removal_stays_inside_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir_all(outside.join("kept")).unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        symlink(&outside, root.join("a/b/link")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o000)).unwrap();
        remove(&root).unwrap();
        remove(&root).unwrap();
        assert!(outside.join("kept").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn files_without_content_and_files_without_a_name_count() {
        let dir = tempfile::tempdir().unwrap();
        let empty = used_bytes(dir.path());
        for name in 0..100 {
            fs::write(dir.path().join(name.to_string()), "").unwrap();
        }
        assert!(used_bytes(dir.path()) - empty >= 100 * ENTRY_BYTES);

        let ours: Vec<u32> = vec![std::process::id()];
        let before = nameless_bytes(dir.path(), &ours);
        let mut file = fs::File::create(dir.path().join("gone")).unwrap();
        io::Write::write_all(&mut file, &vec![1; 1 << 20]).unwrap();
        let _second_handle = file.try_clone().unwrap();
        assert_eq!(nameless_bytes(dir.path(), &ours), before, "it has its name still");
        fs::remove_file(dir.path().join("gone")).unwrap();
        let held = nameless_bytes(dir.path(), &ours) - before;
        assert!((1 << 20..2 << 20).contains(&held), "{held}");
        assert_eq!(nameless_bytes(dir.path(), &[]), 0);
    }

    #[test]
    fn hard_links_count_once_and_holes_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let empty = used_bytes(dir.path());
        fs::write(dir.path().join("a"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        fs::File::create(dir.path().join("hole"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        let used = used_bytes(dir.path()) - empty;
        assert!((1 << 20..(1 << 20) + 65_536).contains(&used), "{used}");
    }
}
