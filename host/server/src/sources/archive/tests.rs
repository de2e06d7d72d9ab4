//! Archives crafted byte by byte, made by the usual crates, and made by the usual tools.

mod real_tools;
mod round_trip;
mod tar_tricks;
mod whole;
#[allow(clippy::cast_possible_truncation, reason = "the crafted archives are small")]
mod zip_tricks;

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use tar::{EntryType, Header};

use super::{ArchiveError, ArchiveLimits, ArchiveSummary, inspect, unpack};

/// A tar archive of whatever entries a test wants.
#[derive(Default)]
pub(super) struct Tar(Vec<u8>);

// === impl Tar ===

impl Tar {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn file(self, name: &str, content: &[u8]) -> Self {
        self.raw(EntryType::Regular, name.as_bytes(), b"", content)
    }

    pub(super) fn dir(self, name: &str) -> Self {
        self.with(EntryType::Directory, name.as_bytes(), b"", b"", |header| {
            header.set_mode(0o755);
        })
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(EntryType::Symlink, name.as_bytes(), target.as_bytes(), b"")
    }

    pub(super) fn hard_link(self, name: &str, target: &str) -> Self {
        self.raw(EntryType::Link, name.as_bytes(), target.as_bytes(), b"")
    }

    /// A local PAX header with these records.
    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.raw(EntryType::XHeader, b"PaxHeaders/x", b"", &pax_records(records))
    }

    pub(super) fn raw(self, kind: EntryType, name: &[u8], link: &[u8], content: &[u8]) -> Self {
        self.with(kind, name, link, content, |_| {})
    }

    /// With a last word on the header before its checksum is made.
    pub(super) fn with(
        mut self,
        kind: EntryType,
        name: &[u8],
        link: &[u8],
        content: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn unfinished(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(super) fn pax_records(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (1..)
            .find(|digits| (rest + digits).to_string().len() == *digits)
            .unwrap()
            + rest;
        body.extend_from_slice(format!("{length} {key}=").as_bytes());
        body.extend_from_slice(value);
        body.push(b'\n');
    }
    body
}

pub(super) fn on_disk(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

/// Inspects and unpacks; both must refuse for the same reason and leave nothing. The message is returned.
pub(super) fn refusal(archive: &[u8], limits: &ArchiveLimits) -> String {
    let file = on_disk(archive);
    let place = tempfile::tempdir().unwrap();
    let dest = place.path().join("dest");
    fs::create_dir(&dest).unwrap();
    let inspected = inspect(&file, limits).expect_err("inspect accepted it");
    let unpacked = unpack(&file, &dest, limits).expect_err("unpack accepted it");
    assert!(!unpacked.is_internal(), "{unpacked:?}");
    assert_eq!(inspected.to_string(), unpacked.to_string());
    assert_eq!(tree(place.path()), ["dest d755"], "something was left behind");
    unpacked.to_string()
}

/// Asserts that the entry is refused and named.
#[track_caller]
pub(super) fn assert_refused(archive: &[u8], name: &str, why: &str) {
    let message = refusal(archive, &ArchiveLimits::default());
    assert!(
        message.contains(&format!("entry {name:?}")) && message.contains(why),
        "{message}"
    );
}

/// Unpacks what must be accepted; the tree and the summary, which inspecting gives as well.
pub(super) fn unpacked(archive: &[u8]) -> Result<(Vec<String>, ArchiveSummary), ArchiveError> {
    let file = on_disk(archive);
    let dest = tempfile::tempdir().unwrap();
    let summary = unpack(&file, dest.path(), &ArchiveLimits::default())?;
    assert_eq!(inspect(&file, &ArchiveLimits::default())?, summary);
    Ok((tree(dest.path()), summary))
}

/// Every path below `root` with its type, mode, and for files size and number of links, for links the target.
pub(super) fn tree(root: &Path) -> Vec<String> {
    walkdir::WalkDir::new(root)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let meta = entry.path().symlink_metadata().unwrap();
            let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap();
            let mode = meta.permissions().mode() & 0o7777;
            if meta.is_dir() {
                format!("{path} d{mode:o}")
            } else if meta.is_symlink() {
                format!("{path} -> {}", fs::read_link(entry.path()).unwrap().display())
            } else {
                format!("{path} f{mode:o} {} bytes x{}", meta.len(), meta.nlink())
            }
        })
        .collect()
}
