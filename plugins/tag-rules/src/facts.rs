//! What is known of a build when it is submitted.

use ignite_plugin_sdk::{BuildRequest, Caller, Source};
use time::OffsetDateTime;

/// From so many digits on the gateway takes the beginning of a commit's id for the commit.
const SHORT_COMMIT_MIN: usize = 7;

/// Each a text that may stand in a tag.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) version: Option<[String; 3]>,
    pub(crate) branch: Option<String>,
    pub(crate) commit: Option<String>,
    pub(crate) date: String,
    pub(crate) time: String,
    pub(crate) subject: String,
}

// === impl Facts ===

impl Facts {
    /// # Errors
    ///
    /// If the time of submission is after the year 9999.
    pub(crate) fn new(caller: &Caller, request: &BuildRequest) -> Result<Self, String> {
        let then = i64::try_from(caller.submitted_at_ms / 1000).map_err(|e| e.to_string())?;
        let then = OffsetDateTime::from_unix_timestamp(then).map_err(|e| e.to_string())?;
        let (year, month, day) = (then.year(), u8::from(then.month()), then.day());
        let (hour, minute, second) = then.to_hms();
        let mut facts = Self {
            version: request.tags.iter().find_map(|tag| version(tag)),
            date: format!("{year:04}{month:02}{day:02}"),
            time: format!("{hour:02}{minute:02}{second:02}"),
            subject: tag_text(&caller.subject),
            ..Self::default()
        };
        if let Source::Git(git) = &request.source {
            match Reference::of(&git.reference) {
                Reference::Version(version) => {
                    facts.version.get_or_insert(version);
                }
                Reference::Commit(commit) => facts.commit = Some(commit),
                Reference::Branch(branch) => facts.branch = Some(tag_text(branch)),
                Reference::Unknown => {}
            }
        }
        Ok(facts)
    }
}

/// What a git reference is by its form alone: nothing is fetched yet when tags are made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reference<'a> {
    Version([String; 3]),
    /// Its full id, in small letters.
    Commit(String),
    Branch(&'a str),
    /// A tag that is no version, `HEAD`, or what the gateway may find to be the beginning of a commit's id or the name of a branch:
    /// an image must not be called after the wrong one.
    Unknown,
}

// === impl Reference ===

impl<'a> Reference<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        if let Some(branch) = text.strip_prefix("refs/heads/") {
            return Self::Branch(branch);
        }
        let is_hex = text.bytes().all(|b| b.is_ascii_hexdigit());
        match version(text.strip_prefix("refs/tags/").unwrap_or(text)) {
            Some(version) => Self::Version(version),
            None if is_hex && matches!(text.len(), 40 | 64) => Self::Commit(text.to_ascii_lowercase()),
            None if is_hex && (SHORT_COMMIT_MIN..40).contains(&text.len()) => Self::Unknown,
            None if text.starts_with("refs/") || text == "HEAD" => Self::Unknown,
            None => Self::Branch(text),
        }
    }
}

/// The parts of a semantic version, `v` before it or not. No pre-release: a `1.4` that means `1.4.0-rc1` would be a surprise.
fn version(text: &str) -> Option<[String; 3]> {
    let core = text.strip_prefix('v').unwrap_or(text);
    let parts: Vec<&str> = core.split('.').collect();
    let is_number = |part: &str| {
        part.len() <= 10
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    match parts.as_slice() {
        [major, minor, patch] if parts.iter().all(|part| !part.is_empty() && is_number(part)) => {
            Some([(*major).to_owned(), (*minor).to_owned(), (*patch).to_owned()])
        }
        _ => None,
    }
}

/// With what a tag cannot hold replaced.
fn tag_text(text: &str) -> String {
    let replaced = text.chars().map(|c| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' => c,
        _ => '-',
    });
    // As many as leave room for the rest of a template in a tag's 128.
    replaced.take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_commit_or_a_branch_only_where_it_can_be_nothing_else() {
        let commit = "0123456789abcdef0123456789ABCDEF01234567";
        let known = Reference::Commit(commit.to_ascii_lowercase());
        assert_eq!(Reference::of(commit), known);
        assert_eq!(
            Reference::of(&commit.repeat(2)[..64]),
            Reference::Commit(commit.to_ascii_lowercase().repeat(2)[..64].to_owned())
        );
        for unknown in [
            "0123456",
            &commit[..12],
            &commit[..39],
            "20260302",
            "refs/tags/nightly",
            "refs/pull/7/head",
            "HEAD",
        ] {
            assert_eq!(Reference::of(unknown), Reference::Unknown, "{unknown}");
        }
        let full_branch = format!("refs/heads/{commit}");
        for (text, branch) in [
            ("main", "main"),
            ("012345", "012345"),
            ("refs/heads/20260302", "20260302"),
            ("refs/heads/1.2.3", "1.2.3"),
            (&full_branch, commit),
            (&commit.repeat(2)[..41], &commit.repeat(2)[..41]),
        ] {
            assert_eq!(Reference::of(text), Reference::Branch(branch), "{text}");
        }
        let version = Reference::Version(["1", "2", "3"].map(str::to_owned));
        assert_eq!(Reference::of("refs/tags/v1.2.3"), version);
        assert_eq!(Reference::of("1.2.3"), version);
    }

    #[test]
    fn only_a_whole_release_is_a_version() {
        assert_eq!(version("v1.20.3"), Some(["1", "20", "3"].map(str::to_owned)));
        for text in [
            "1.2",
            "1.2.3.4",
            "1.2.3-rc1",
            "1.02.3",
            "vv1.2.3",
            "1..3",
            "",
            "1.2.x",
        ] {
            assert_eq!(version(text), None, "{text}");
        }
    }
}
