//! Build contexts put together in tests: as archives, as folders, as commits.

use std::{
    fs,
    io::{Cursor, Write as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use tar::{EntryType, Header};

/// A build context: entries in the order they were added.
#[derive(Debug, Clone, Default)]
pub struct Context {
    entries: Vec<(String, Entry)>,
}

#[derive(Debug, Clone)]
enum Entry {
    File { content: Vec<u8>, mode: u32 },
    Folder { mode: u32 },
    Symlink { target: String },
    HardLink { target: String },
}

// === impl Context ===

impl Context {
    /// A context with this Dockerfile.
    pub fn new(dockerfile: &str) -> Self {
        Self::default().file("Dockerfile", dockerfile)
    }

    /// One with `FROM scratch`, the static busybox as `/bin/busybox`, and these lines after it.
    pub fn scratch(lines: &str) -> Self {
        Self::new(&format!("FROM scratch\nCOPY busybox /bin/busybox\n{lines}\n")).busybox()
    }

    pub fn file(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.file_with_mode(path, content, 0o644)
    }

    pub fn file_with_mode(self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        let content = content.into();
        self.with(path, Entry::File { content, mode })
    }

    /// Adds Debian's static busybox as `busybox`.
    pub fn busybox(self) -> Self {
        let content = fs::read("/bin/busybox").expect("busybox-static is not installed: run `make setup`");
        self.file_with_mode("busybox", content, 0o755)
    }

    pub fn folder(self, path: &str, mode: u32) -> Self {
        self.with(path, Entry::Folder { mode })
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        let target = target.to_owned();
        self.with(path, Entry::Symlink { target })
    }

    /// To an entry that was added before.
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        let target = target.to_owned();
        self.with(path, Entry::HardLink { target })
    }

    /// A tar.gz whose names stand as they were given, whatever they are.
    pub fn tar_gz(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, entry) in &self.entries {
            let mut header = Header::new_gnu();
            header.set_mtime(1_700_000_000);
            match entry {
                Entry::File { content, mode } => {
                    header.set_mode(*mode);
                    header.set_size(content.len() as u64);
                    append(&mut tar, header, path, content);
                }
                Entry::Folder { mode } => {
                    header.set_mode(*mode);
                    header.set_entry_type(EntryType::Directory);
                    append(&mut tar, header, &format!("{path}/"), &[]);
                }
                Entry::Symlink { target } => {
                    header.set_entry_type(EntryType::Symlink);
                    tar.append_link(&mut header, path, target).unwrap();
                }
                Entry::HardLink { target } => {
                    header.set_entry_type(EntryType::Link);
                    tar.append_link(&mut header, path, target).unwrap();
                }
            }
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    /// A zip; it has no hard links.
    pub fn zip(&self) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        for (path, entry) in &self.entries {
            match entry {
                Entry::File { content, mode } => {
                    zip.start_file(path.as_str(), options.unix_permissions(*mode))
                        .unwrap();
                    zip.write_all(content).unwrap();
                }
                Entry::Folder { mode } => {
                    zip.add_directory(path.as_str(), options.unix_permissions(*mode))
                        .unwrap();
                }
                Entry::Symlink { target } => {
                    zip.add_symlink(path.as_str(), target.as_str(), options).unwrap();
                }
                Entry::HardLink { .. } => panic!("a zip holds no hard links"),
            }
        }
        zip.finish().unwrap().into_inner()
    }

    /// Puts the entries into a folder, over what is there.
    pub fn write_to(&self, folder: &Path) {
        for (path, entry) in &self.entries {
            let at = folder.join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            match entry {
                Entry::File { content, mode } => {
                    fs::write(&at, content).unwrap();
                    set_mode(&at, *mode);
                }
                Entry::Folder { mode } => {
                    fs::create_dir_all(&at).unwrap();
                    set_mode(&at, *mode);
                }
                Entry::Symlink { target } => symlink(target, &at).unwrap(),
                Entry::HardLink { target } => fs::hard_link(folder.join(target), &at).unwrap(),
            }
        }
    }

    /// A new temporary folder with the entries in it.
    pub fn in_folder(&self) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        self.write_to(folder.path());
        let path = folder.path().to_owned();
        (folder, path)
    }

    fn with(mut self, path: &str, entry: Entry) -> Self {
        self.entries.push((path.to_owned(), entry));
        self
    }
}

/// `append_data` would refuse the names that hostile archives have; a name that fits is put into the header as it is.
fn append(tar: &mut tar::Builder<impl std::io::Write>, mut header: Header, path: &str, content: &[u8]) {
    let name = &mut header.as_gnu_mut().unwrap().name;
    if path.len() < name.len() {
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, content).unwrap();
    } else {
        tar.append_data(&mut header, path, content).unwrap();
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// `size_bytes` of bytes that do not compress, the same for the same seed.
pub fn noise(size_bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(size_bytes + 8);
    while bytes.len() < size_bytes {
        // xorshift64: good enough to be incompressible.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size_bytes);
    bytes
}
