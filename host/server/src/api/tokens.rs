//! The token file: which token stands for whom.
//!
//! ```toml
//! [[token]]
//! sha256 = "<hex of SHA-256 of the token>"
//! organization = "acme"
//! subject = "ci"
//! scopes = ["builds:read", "builds:write"]
//! expires = "2027-01-31T00:00:00Z"   # optional
//! ```
//!
//! Hashes suffice: tokens are 256 random bits, so nobody finds one by guessing.

use std::{
    collections::{BTreeSet, HashMap},
    fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ignite_core::ids::OrgId;
use sha2::{Digest as _, Sha256};

use crate::principal::{Principal, Scope};

mod file;

/// What every token starts with, so that scanners and people know one when they see it.
pub const TOKEN_PREFIX: &str = "ign_";

/// Every token of a file, by its SHA-256.
#[derive(Debug, Default)]
pub(super) struct TokenSet(HashMap<[u8; 32], Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) principal: Arc<Principal>,
    pub(super) expires: Option<SystemTime>,
}

/// Whom a token to be made stands for.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub org: OrgId,
    pub subject: String,
    pub scopes: BTreeSet<Scope>,
    pub expires: Option<Expiry>,
}

/// When a token ends: so long from now, or at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    In(Duration),
    At(SystemTime),
}

#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("{}: {doing} failed", file.display())]
    Io {
        file: PathBuf,
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    /// Every problem of the file, each with the entry it is in.
    #[error("{} has {} problems:\n{}", file.display(), problems.len(), problems.join("\n"))]
    Invalid { file: PathBuf, problems: Vec<String> },
    #[error("the expiry {0:?} is neither a duration such as 90d nor a time such as 2027-01-31T00:00:00Z")]
    Expiry(String),
}

// === impl TokenSet ===

impl TokenSet {
    /// The tokens of `file`; none if it is not there.
    pub(super) fn read(file: &Path) -> Result<Self, TokenFileError> {
        match Self::read_present(file) {
            Err(error) if error.is_missing() => Ok(Self::default()),
            read => read,
        }
    }

    /// The tokens of `file`, which must be there.
    pub(super) fn read_present(file: &Path) -> Result<Self, TokenFileError> {
        let text = text_of(file)?;
        Self::parse(&text).map_err(|problems| TokenFileError::Invalid {
            file: file.to_owned(),
            problems,
        })
    }

    pub(super) fn parse(text: &str) -> Result<Self, Vec<String>> {
        file::parse(text).map(Self)
    }

    pub(super) fn get(&self, sha256: &[u8; 32]) -> Option<&Entry> {
        self.0.get(sha256)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Makes a token, appends its hash to `file`, and returns it: the only time it is ever seen.
///
/// The file is replaced as a whole, readable by its owner only; a file with problems is left as it is.
pub fn create(token: &NewToken, file: &Path) -> Result<String, TokenFileError> {
    let failed = |doing| {
        move |source| TokenFileError::Io {
            file: file.to_owned(),
            doing,
            source,
        }
    };
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    fs::create_dir_all(directory).map_err(failed("creating its directory"))?;
    // Held until the new file is in place, so that of two tokens made at once neither is lost.
    let lock = fs::File::open(directory).map_err(failed("opening its directory"))?;
    lock.lock().map_err(failed("locking its directory"))?;

    let secret = format!("{TOKEN_PREFIX}{}", hex::encode(rand::random::<[u8; 32]>()));
    TokenSet::read(file)?;
    let mut text = match text_of(file) {
        Err(error) if error.is_missing() => String::new(),
        text => text?,
    };
    text.push_str(&file::entry(token, &Sha256::digest(secret.as_bytes()).into()));

    let mut new = tempfile::NamedTempFile::new_in(directory).map_err(failed("writing"))?;
    new.write_all(text.as_bytes()).map_err(failed("writing"))?;
    new.as_file().sync_all().map_err(failed("writing"))?;
    new.persist(file)
        .map_err(|error| failed("replacing")(error.error))?;
    lock.sync_all().map_err(failed("syncing its directory"))?;
    Ok(secret)
}

fn text_of(file: &Path) -> Result<String, TokenFileError> {
    // Reading a pipe would wait for a writer for ever, and with it every later reload.
    let read = || {
        if fs::metadata(file)?.is_file() {
            fs::read_to_string(file)
        } else {
            Err(io::Error::other("it is not a plain file"))
        }
    };
    read().map_err(|source| TokenFileError::Io {
        file: file.to_owned(),
        doing: "reading",
        source,
    })
}

// === impl TokenFileError ===

impl TokenFileError {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

// === impl Expiry ===

impl Expiry {
    fn at(self) -> SystemTime {
        match self {
            Self::In(duration) => SystemTime::now()
                .checked_add(duration)
                .unwrap_or_else(SystemTime::now),
            Self::At(time) => time,
        }
    }
}

impl FromStr for Expiry {
    type Err = TokenFileError;

    fn from_str(text: &str) -> Result<Self, TokenFileError> {
        if let Ok(duration) = humantime::parse_duration(text) {
            return Ok(Self::In(duration));
        }
        file::rfc3339(text)
            .map(Self::At)
            .ok_or_else(|| TokenFileError::Expiry(text.to_owned()))
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_rfc3339_seconds(self.at()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_token(subject: &str) -> NewToken {
        NewToken {
            org: "acme".parse().unwrap(),
            subject: subject.to_owned(),
            scopes: [Scope::BuildsRead, Scope::BuildsWrite].into(),
            expires: None,
        }
    }

    #[test]
    fn a_created_token_is_in_the_file_as_a_hash_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("new/tokens.toml");
        let first = create(&new_token("ci"), &file).unwrap();
        let second = create(&new_token("quotes \" and \\ and \n lines"), &file).unwrap();
        assert_ne!(first, second);
        assert_eq!(first.len(), TOKEN_PREFIX.len() + 64);

        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&first) && !text.contains(&first[TOKEN_PREFIX.len()..]));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let tokens = TokenSet::read(&file).unwrap();
        assert_eq!(tokens.len(), 2);
        let hash = Sha256::digest(second.as_bytes()).into();
        assert_eq!(
            tokens.get(&hash).unwrap().principal.subject,
            "quotes \" and \\ and \n lines"
        );
    }

    #[test]
    fn tokens_made_at_once_are_all_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens.toml");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| create(&new_token("ci"), &file).unwrap());
            }
        });
        assert_eq!(TokenSet::read(&file).unwrap().len(), 8);
    }

    #[test]
    fn a_broken_file_is_not_added_to() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens.toml");
        fs::write(&file, "[[token]]").unwrap();
        assert!(create(&new_token("ci"), &file).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "[[token]]");
    }

    #[test]
    fn a_pipe_in_place_of_the_file_is_refused_and_not_waited_on() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens.toml");
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(TokenSet::read(&file).is_err());
    }

    #[test]
    fn an_expiry_is_a_duration_or_a_time() {
        assert_eq!(
            "90d".parse::<Expiry>().unwrap(),
            Expiry::In(Duration::from_secs(90 * 86_400))
        );
        let time = "2027-01-31T02:00:00+02:00".parse::<Expiry>().unwrap();
        assert_eq!(time.to_string(), "2027-01-31T00:00:00Z");
        assert!("soon".parse::<Expiry>().is_err());
    }
}
