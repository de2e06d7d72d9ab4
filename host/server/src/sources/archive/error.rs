//! Why an archive is refused. Messages go to the user; names from the archive are shown escaped and cut.

use std::io;

use super::name::ShownName;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("not a tar, tar.gz, tar.zst or zip archive: it looks like {looks_like}")]
    NotAnArchive { looks_like: &'static str },
    #[error("the archive is empty")]
    Empty,
    /// An entry that must not be unpacked, or that shows the archive to be damaged.
    #[error("entry {name}: {fault}")]
    Entry { name: ShownName, fault: Fault },
    /// Wrong outside of any entry.
    #[error("{0}")]
    Whole(Fault),
    /// Ours: the archive could not be read or the files not written.
    #[error("{doing}")]
    Io {
        doing: String,
        #[source]
        source: io::Error,
    },
}

/// What is wrong with an entry, as a clause about "it".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("its name is empty")]
    NameEmpty,
    #[error("its name is not UTF-8")]
    NameNotUtf8,
    #[error("its name contains a NUL byte")]
    NameHasNul,
    #[error("its name is an absolute path")]
    NameAbsolute,
    #[error("its name contains \"..\"")]
    NameHasParent,
    #[error("its name contains a backslash or a drive letter")]
    NameWindows,
    #[error("its name is longer than {max} bytes")]
    NameTooLong { max: usize },
    #[error("its name has a part longer than 255 bytes")]
    NamePartTooLong,
    #[error("it lies deeper than {max} directories")]
    NameTooDeep { max: usize },
    #[error("its name is given twice, differently")]
    NameAmbiguous,
    #[error("its name ends with a slash, but it is not a directory")]
    NotADirectory,
    #[error("the name appears a second time")]
    Duplicate,
    #[error("it would be written through {0}, which is a symbolic link")]
    ThroughSymlink(ShownName),
    #[error("it lies below {0}, which is a file")]
    BelowFile(ShownName),
    #[error("it is a hard link to {0}, which is not an earlier regular file of the archive")]
    HardLinkTarget(ShownName),
    #[error("it is a hard link whose target is refused: {0}")]
    HardLinkName(Box<Fault>),
    #[error("it is a symbolic link whose target is empty, too long or not UTF-8")]
    SymlinkTarget,
    #[error("it is a sparse file, which is not supported")]
    Sparse,
    #[error("it is a {0}, which a build context may not contain")]
    Special(&'static str),
    #[error("its entry type {0:?} is not supported")]
    UnknownType(char),
    #[error("it has content, although it is a directory or a link")]
    UnexpectedContent,
    #[error("its size is {header} bytes in one header and {extended} in another")]
    SizeAmbiguous { header: u64, extended: u64 },
    #[error("its extended header is longer than {max} bytes")]
    ExtendedHeaderTooLong { max: u64 },
    #[error("its extended header is malformed or not allowed: {0}")]
    ExtendedHeader(&'static str),
    #[error("its header is damaged: {0}")]
    Header(&'static str),
    #[error("it is encrypted")]
    Encrypted,
    #[error("its compression method {0} is not supported; use store or deflate")]
    Method(u16),
    #[error("the archive's directory and the entry's own header disagree on its {0}")]
    HeadersDisagree(&'static str),
    #[error("it overlaps another entry")]
    Overlap,
    #[error("its content does not match its {0}")]
    ContentMismatch(&'static str),
    #[error("its content is damaged: {0}")]
    Damaged(String),
    #[error("the archive ends in the middle")]
    Truncated,
    #[error("the archive has data behind its end")]
    TrailingData,
    #[error("the archive's directory is damaged: {0}")]
    ZipDirectory(&'static str),
    #[error("the archive has more than {max} entries")]
    TooManyEntries { max: u64 },
    #[error("the archive unpacks to more than {max} bytes")]
    TooLarge { max: u64 },
    #[error("the archive's names are longer than {max} bytes together")]
    NamesTooLong { max: u64 },
    #[error("the archive unpacks to more than {max} times its size")]
    Ratio { max: u64 },
}

// === impl ArchiveError ===

impl ArchiveError {
    pub(super) fn io(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            doing: doing.into(),
            source: source.into(),
        }
    }

    pub(super) fn entry(name: &[u8], fault: Fault) -> Self {
        Self::Entry {
            name: ShownName::new(name),
            fault,
        }
    }

    /// Reading failed: the operating system's errors are ours, a decoder's are the archive's.
    pub(super) fn reading(name: Option<&[u8]>, source: io::Error) -> Self {
        if source.raw_os_error().is_some() {
            return Self::io("reading the archive", source);
        }
        let fault = match source.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Truncated,
            _ => Fault::Damaged(source.to_string()),
        };
        match name {
            Some(name) => Self::entry(name, fault),
            None => Self::Whole(fault),
        }
    }

    /// Whether the gateway, not the archive, is at fault.
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}
