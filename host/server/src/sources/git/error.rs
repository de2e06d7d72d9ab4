//! Why a source could not be fetched, out of what git prints.
//!
//! Git's words are partly the server's, may hold URLs and control characters, and differ between versions: known ones are
//! put in our own words, of others one line is passed on, cleaned.

use std::error::Error as StdError;

use ignite_core::run::FetchFailure;

/// A source that could not be fetched. The message is fit for the user.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct GitError {
    pub failure: FetchFailure,
    pub message: String,
}

/// What the server was shown of the organization's login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// There is none.
    Nothing,
    /// There is one, for other hosts or another scheme.
    NotHere,
    /// A name and a password, if it asked.
    Password,
    /// An ssh key.
    Key,
}

const SHOWN_CHARS_MAX: usize = 200;

/// Text of others, without control characters and cut.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_CHARS_MAX) {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// What git's failure with `url` comes down to.
pub(super) fn classify(stderr: &str, url: &str, shown: Shown) -> GitError {
    if shown == Shown::Key
        && let Some(error) = ssh_trouble(stderr, url)
    {
        return error;
    }
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    let source = |why: &str| GitError::source(format!("{url} could not be fetched: {why}"));
    if says(&[
        "could not read Username",
        "could not read Password",
        "Authentication failed",
    ]) || says(&["error: 401", "error: 403", "HTTP 401", "HTTP 403"])
    {
        let why = match shown {
            Shown::Nothing => {
                "the server wants credentials, or there is no such repository; store a git login that may read it"
            }
            Shown::NotHere => {
                "the server wants credentials, and the stored git login is for other hosts, or for ssh; or there is no \
                 such repository"
            }
            Shown::Password | Shown::Key => {
                "the server refused the stored git login: it is wrong, has expired or may not read this, or there is no \
                 such repository"
            }
        };
        return GitError::auth(format!("{url} could not be fetched: {why}"));
    }
    if says(&[
        "error: 301",
        "error: 302",
        "error: 303",
        "error: 307",
        "error: 308",
    ]) {
        return source("the server redirects to another address, which is not followed; give the final URL");
    }
    if says(&[
        "error: 404",
        "error: 410",
        "' not found",
        "is this a git repository",
        "does not appear to be a git repository",
        "Repository not found",
    ]) {
        return source("there is no such repository");
    }
    if let Some(rest) = stderr.split("returned error: ").nth(1) {
        let code: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return source(&format!("the server answered with status {code}"));
    }
    if says(&[
        "No space left on device",
        "Disk quota exceeded",
        "Cannot allocate memory",
        "out of memory",
    ]) {
        return GitError {
            failure: FetchFailure::Internal,
            message: "the gateway ran out of space while it fetched".to_owned(),
        };
    }
    if says(&["Operation too slow", "timed out", "Timeout"]) {
        return source("the server was too slow to answer");
    }
    if says(&[
        "Failed to connect",
        "Connection refused",
        "Couldn't connect",
        "No route to host",
        "unreachable",
    ]) {
        return source("the host cannot be reached");
    }
    if says(&["certificate", "SSL", "TLS", "gnutls"]) {
        return source("the server's certificate or TLS setup is not accepted");
    }
    source(&last_words(stderr))
}

/// What ssh itself complains of. The server can make it say much, but only about this fetch.
fn ssh_trouble(stderr: &str, url: &str) -> Option<GitError> {
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    let auth = |why: &str| Some(GitError::auth(format!("{url} could not be fetched: {why}")));
    if says(&["cannot run ssh"]) {
        return Some(GitError {
            failure: FetchFailure::Internal,
            message: "the gateway has no ssh client".to_owned(),
        });
    }
    if says(&[
        "Host key verification failed",
        "host key is known for",
        "HOST IDENTIFICATION HAS CHANGED",
        "host key for",
    ]) {
        return auth("the server's host key is not among the stored known_hosts, or is another than there");
    }
    if says(&["Load key", "error in libcrypto", "invalid format"]) {
        return auth("the stored ssh key cannot be read: it must be a private key without a passphrase");
    }
    if says(&["Permission denied", "Too many authentication failures"]) {
        return auth("the server refused the stored ssh key");
    }
    if says(&["Connection timed out", "Connection closed", "Connection reset"]) {
        return Some(GitError::source(format!(
            "{url} could not be fetched: the host cannot be reached by ssh"
        )));
    }
    None
}

/// Git's last complaint, URLs and whatever could be a login left out.
fn last_words(stderr: &str) -> String {
    let complaint = stderr.lines().rev().find_map(|line| {
        line.strip_prefix("fatal: ")
            .or_else(|| line.strip_prefix("error: "))
    });
    let words: Vec<&str> = complaint
        .unwrap_or("git gave no reason")
        .split_whitespace()
        .map(|word| {
            if word.contains("://") || word.contains('@') {
                "…"
            } else {
                word
            }
        })
        .collect();
    format!("git says: {}", shown(&words.join(" ")))
}

// === impl GitError ===

impl GitError {
    pub(super) fn source(message: String) -> Self {
        Self {
            failure: FetchFailure::Source,
            message,
        }
    }

    pub(super) fn auth(message: String) -> Self {
        Self {
            failure: FetchFailure::Auth,
            message,
        }
    }

    pub(super) fn internal(doing: &str, source: &dyn StdError) -> Self {
        Self {
            failure: FetchFailure::Internal,
            message: format!("{doing}: {source}"),
        }
    }

    /// Says in which part of the source it happened.
    pub(super) fn within(mut self, part: &str) -> Self {
        self.message = format!("{part}: {}", self.message);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_words_become_ours() {
        use FetchFailure::{Auth, Internal, Source};
        let unable = "fatal: unable to access 'https://h/': The requested URL returned error: ";
        for (stderr, failure, part) in [
            (
                "fatal: could not read Username for 'https://h'",
                Auth,
                "wants credentials",
            ),
            (&format!("{unable}403"), Auth, "wants credentials"),
            (&format!("{unable}301"), Source, "redirects"),
            (&format!("{unable}502"), Source, "status 502"),
            (
                "fatal: repository 'https://h/x/' not found",
                Source,
                "no such repository",
            ),
            (
                "fatal: Failed to connect to h port 443",
                Source,
                "cannot be reached",
            ),
            (
                "error: x\nfatal: write error: No space left on device",
                Internal,
                "ran out of space",
            ),
            (
                "fatal: fsck error in packed object",
                Source,
                "git says: fsck error in packed object",
            ),
            ("", Source, "gave no reason"),
        ] {
            let error = classify(stderr, "https://h/x", Shown::Nothing);
            assert_eq!(error.failure, failure, "{stderr}");
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn what_is_passed_on_is_cleaned() {
        let error = classify(
            "remote: hi\nfatal: odd \u{1b}[31m https://u:p@h/x me@h end",
            "https://h/x",
            Shown::Nothing,
        );
        assert!(
            error.message.ends_with("git says: odd \\u{1b}[31m … … end"),
            "{error}"
        );
    }
}
