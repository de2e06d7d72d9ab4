//! Who calls: bearer tokens, checked against a file of hashes that may change while the gateway runs.
//!
//! A token is found by its SHA-256, so how long the search takes says nothing about any stored token.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use axum::{
    extract::Request,
    http::{HeaderMap, header},
    response::Response,
};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{
        context::Context,
        tokens::{TokenFileError, TokenSet},
    },
    clock,
    error::{Error, Result},
    principal::Principal,
};

/// How long a change of the file may go unseen.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// The tokens of a file, kept up to date by [`Authenticator::watch`].
#[derive(Debug)]
pub struct Authenticator {
    file: PathBuf,
    tokens: RwLock<Arc<TokenSet>>,
    read: Mutex<Option<Fingerprint>>,
}

/// Tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

// === impl Authenticator ===

impl Authenticator {
    /// Reads the tokens of `file`. One that is not there yet means that there are none yet.
    pub fn load(file: &Path) -> std::result::Result<Self, TokenFileError> {
        let fingerprint = fingerprint(file);
        Ok(Self {
            file: file.to_owned(),
            tokens: RwLock::new(Arc::new(TokenSet::read(file)?)),
            read: Mutex::new(fingerprint),
        })
    }

    /// How many tokens there are, expired ones included.
    pub fn token_count(&self) -> usize {
        self.tokens().len()
    }

    /// The caller that an `Authorization` header stands for.
    ///
    /// # Errors
    /// `Unauthenticated`, saying whether the header is missing, malformed, or its token unknown or expired.
    pub fn authenticate(&self, header: Option<&str>) -> Result<Arc<Principal>> {
        self.authenticate_at(header, SystemTime::now())
    }

    fn authenticate_at(&self, header: Option<&str>, now: SystemTime) -> Result<Arc<Principal>> {
        let header = header
            .ok_or_else(|| unauthenticated("a token is needed: send `authorization: Bearer <token>`"))?;
        let token =
            bearer(header).ok_or_else(|| unauthenticated("the authorization must be `Bearer <token>`"))?;
        let sha256: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let tokens = self.tokens();
        let entry = tokens
            .get(&sha256)
            .ok_or_else(|| unauthenticated("the token is not known here: it may have been removed"))?;
        match entry.expires {
            Some(expires) if expires <= now => Err(unauthenticated(&format!(
                "the token expired at {}",
                humantime::format_rfc3339_seconds(expires)
            ))),
            Some(_) | None => Ok(Arc::clone(&entry.principal)),
        }
    }

    /// Reads the file again if it changed. If that fails the old tokens stay, and the log says why: a file that has gone is a
    /// slip, an empty one a decision.
    pub fn reload_if_changed(&self) {
        let now = fingerprint(&self.file);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if *read == now {
            return;
        }
        *read = now;
        match TokenSet::read_present(&self.file) {
            Ok(tokens) => {
                tracing::info!(file = %self.file.display(), count = tokens.len(), "tokens reloaded");
                *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
            }
            Err(error) => {
                tracing::error!(file = %self.file.display(), error = %clock::chain(&error), "tokens not reloaded: the old ones stay");
            }
        }
    }

    /// Follows changes of the file, by timer and at once on SIGHUP, until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) -> io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangup = signal(SignalKind::hangup())?;
        let mut ticks = tokio::time::interval(RELOAD_INTERVAL);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
                _ = hangup.recv() => {}
            }
            let this = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || this.reload_if_changed()).await {
                tracing::error!(%error, "reading the tokens failed");
            }
        }
    }

    fn tokens(&self) -> Arc<TokenSet> {
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn fingerprint(file: &Path) -> Option<Fingerprint> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(file).ok()?;
    Some(Fingerprint {
        modified: metadata.modified().ok()?,
        length: metadata.len(),
        inode: metadata.ino(),
    })
}

fn unauthenticated(message: &str) -> Error {
    Error::Unauthenticated {
        message: message.to_owned(),
    }
}

/// Lets only requests with a valid token through, and remembers whose it is.
pub(super) fn authenticate(
    authenticator: &Authenticator,
    request: &Request,
) -> std::result::Result<(), Box<Response>> {
    let context = Context::of(request)?;
    header_of(request.headers())
        .and_then(|header| authenticator.authenticate(header))
        .map(|caller| context.set_caller(caller))
        .map_err(|error| Box::new(context.respond(context.report(&error))))
}

/// The token in an `Authorization` header.
pub(super) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

/// The one `Authorization` header, if there is one.
pub(super) fn header_of(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(unauthenticated("there is more than one authorization"));
    }
    first
        .map(|value| value.to_str())
        .transpose()
        .map_err(|_| unauthenticated("the authorization must be `Bearer <token>`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::tokens::{self, Expiry, NewToken},
        principal::Scope,
    };

    fn new_token(expires: Option<Expiry>) -> NewToken {
        NewToken {
            org: "acme".parse().unwrap(),
            subject: "ci".into(),
            scopes: [Scope::BuildsRead].into(),
            expires,
        }
    }

    fn refusal(authenticator: &Authenticator, header: Option<&str>) -> String {
        authenticator.authenticate(header).unwrap_err().to_string()
    }

    #[test]
    fn each_way_to_be_refused_has_its_message_and_none_echoes_the_token() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens.toml");
        let authenticator = Authenticator::load(&file).unwrap();
        for (header, expected) in [
            (None, "a token is needed"),
            (Some("Basic c2VjcmV0"), "must be `Bearer <token>`"),
            (Some("Bearer "), "must be `Bearer <token>`"),
            (Some("c2VjcmV0"), "must be `Bearer <token>`"),
            (Some("Bearer c2VjcmV0"), "not known"),
        ] {
            let refusal = refusal(&authenticator, header);
            assert!(refusal.contains(expected), "{header:?}: {refusal}");
            assert!(!refusal.contains("c2VjcmV0"), "{refusal}");
        }
    }

    #[test]
    fn a_token_holds_until_it_expires() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens.toml");
        let expires = Some(Expiry::In(Duration::from_secs(60)));
        let token = tokens::create(&new_token(expires), &file).unwrap();
        let authenticator = Authenticator::load(&file).unwrap();
        let header = format!("bearer  {token} ");
        let principal = authenticator.authenticate(Some(&header)).unwrap();
        assert_eq!(principal.org.as_str(), "acme");
        assert_eq!(principal.subject, "ci");
        assert_eq!(principal.scopes, [Scope::BuildsRead].into());

        let later = SystemTime::now() + Duration::from_secs(61);
        let error = authenticator.authenticate_at(Some(&header), later).unwrap_err();
        assert!(error.to_string().contains("the token expired at 20"), "{error}");
    }

    #[test]
    fn a_changed_file_counts_and_a_broken_one_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens.toml");
        let authenticator = Authenticator::load(&file).unwrap();
        let token = tokens::create(&new_token(None), &file).unwrap();
        let header = format!("Bearer {token}");
        assert!(authenticator.authenticate(Some(&header)).is_err());
        authenticator.reload_if_changed();
        assert!(authenticator.authenticate(Some(&header)).is_ok());

        fs::write(&file, "[[token]]\nsha256 = 7\n").unwrap();
        authenticator.reload_if_changed();
        assert!(
            authenticator.authenticate(Some(&header)).is_ok(),
            "the old tokens stay"
        );

        fs::remove_file(&file).unwrap();
        authenticator.reload_if_changed();
        assert!(
            authenticator.authenticate(Some(&header)).is_ok(),
            "a file that has gone revokes nothing"
        );

        fs::write(&file, "").unwrap();
        authenticator.reload_if_changed();
        assert!(
            authenticator.authenticate(Some(&header)).is_err(),
            "a removed token is refused"
        );
    }
}
