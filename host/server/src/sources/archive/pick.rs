//! One file's content out of an archive, by the rules by which the archive will be unpacked.

use std::{fs::File, io};

use super::{
    ArchiveLimits, ArchiveSummary,
    error::ArchiveError,
    name::EntryName,
    sink::{Meta, Sink},
};

/// Reads the whole archive. The content is None where `path` is no regular file of its own (not there, or reached by a
/// link) or has more than `bytes_max` bytes.
pub fn read_file(
    archive: &File,
    path: &str,
    bytes_max: usize,
    limits: &ArchiveLimits,
) -> Result<(Option<Vec<u8>>, ArchiveSummary), ArchiveError> {
    let mut picked = None;
    let summary = super::walk(
        archive,
        limits,
        Pick {
            path,
            bytes_max,
            current: None,
            picked: &mut picked,
        },
    )?;
    Ok((picked, summary))
}

struct Pick<'a> {
    path: &'a str,
    bytes_max: usize,
    /// Of the wanted file, while it is read.
    current: Option<Vec<u8>>,
    picked: &'a mut Option<Vec<u8>>,
}

// === impl Pick ===

impl Sink for Pick<'_> {
    fn directory(&mut self, _name: &EntryName, _meta: Meta) -> io::Result<()> {
        Ok(())
    }

    fn symlink(&mut self, _name: &EntryName, _target: &str, _meta: Meta) -> io::Result<()> {
        Ok(())
    }

    fn hard_link(&mut self, _name: &EntryName, _target: &EntryName) -> io::Result<()> {
        Ok(())
    }

    fn begin_file(&mut self, name: &EntryName) -> io::Result<()> {
        self.current = (name.as_str() == self.path).then(Vec::new);
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        let fits = |content: &Vec<u8>| content.len().saturating_add(bytes.len()) <= self.bytes_max;
        self.current = self.current.take().filter(fits);
        if let Some(content) = &mut self.current {
            content.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn end_file(&mut self, _meta: Meta) -> io::Result<()> {
        if let Some(content) = self.current.take() {
            *self.picked = Some(content);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    fn archive(entries: &[(&str, &[u8])], link: Option<(&str, &str)>) -> File {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        if let Some((name, target)) = link {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, name, target).unwrap();
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&builder.into_inner().unwrap()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn pick(file: &File, path: &str, bytes_max: usize) -> Option<Vec<u8>> {
        read_file(file, path, bytes_max, &ArchiveLimits::default())
            .unwrap()
            .0
    }

    #[test]
    fn a_file_is_found_by_its_whole_path_and_only_within_its_limit() {
        let entries: [(&str, &[u8]); 3] = [
            ("Dockerfile", b"FROM a"),
            ("./deploy/Dockerfile", b"FROM b"),
            ("other", b"x"),
        ];
        let file = archive(&entries, Some(("link", "Dockerfile")));
        assert_eq!(pick(&file, "Dockerfile", 6).as_deref(), Some(&b"FROM a"[..]));
        assert_eq!(
            pick(&file, "deploy/Dockerfile", 100).as_deref(),
            Some(&b"FROM b"[..])
        );
        assert_eq!(pick(&file, "Dockerfile", 5), None);
        assert_eq!(pick(&file, "missing", 100), None);
        assert_eq!(
            pick(&file, "link", 100),
            None,
            "what a link means is known only when it is unpacked"
        );
        let (_, summary) = read_file(&file, "missing", 0, &ArchiveLimits::default()).unwrap();
        assert_eq!(summary.unpacked_bytes, 13);
    }
}
