//! What a sandbox leaves behind when it has ended.

use std::{fs::File, io::Read, os::fd::AsFd, path::Path};

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Reads the digest file from a root tree that the build could do anything to.
pub(super) fn read_digest(rootfs: &Path, path: &str) -> Option<String> {
    const BYTES_MAX: u64 = 256;
    let root = File::open(rootfs).ok()?;
    let file = rustix::fs::openat2(
        root.as_fd(),
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    );
    let file = File::from(file.ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    let hex = text.trim().strip_prefix("sha256:")?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (hex.len() == 64 && hex.bytes().all(is_hex)).then(|| format!("sha256:{hex}"))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_digest_is_read_only_from_a_small_plain_file_inside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rootfs");
        fs::create_dir_all(root.join("kaniko")).unwrap();
        let digest = format!("sha256:{}", "0a".repeat(32));
        let read = || read_digest(&root, "kaniko/digest");
        assert_eq!(read(), None);
        fs::write(root.join("kaniko/digest"), &digest).unwrap();
        assert_eq!(read().as_ref(), Some(&digest));
        fs::write(root.join("kaniko/digest"), digest.to_uppercase()).unwrap();
        assert_eq!(read(), None);
        fs::write(root.join("kaniko/digest"), vec![b'a'; 1 << 20]).unwrap();
        assert_eq!(read(), None);

        fs::write(dir.path().join("outside"), &digest).unwrap();
        fs::remove_file(root.join("kaniko/digest")).unwrap();
        symlink(dir.path().join("outside"), root.join("kaniko/digest")).unwrap();
        assert_eq!(read(), None);
        fs::remove_dir_all(root.join("kaniko")).unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        fs::write(dir.path().join("folder/digest"), &digest).unwrap();
        symlink(dir.path().join("folder"), root.join("kaniko")).unwrap();
        assert_eq!(read(), None);
        assert_eq!(read_digest(&root, "../outside"), None);
    }

    #[test]
    fn a_fifo_in_place_of_the_digest_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("digest"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(read_digest(dir.path(), "digest"), None);
    }
}
