//! What is known of a build when it is submitted.

use ignite_plugin_sdk::{BuildRequest, Caller, Source};
use time::OffsetDateTime;

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
            let reference = git.reference.as_str();
            if let Some(version) = version(reference.strip_prefix("refs/tags/").unwrap_or(reference)) {
                facts.version.get_or_insert(version);
            } else if matches!(reference.len(), 40 | 64) && reference.bytes().all(|b| b.is_ascii_hexdigit()) {
                facts.commit = Some(reference.to_ascii_lowercase());
            } else {
                facts.branch = Some(tag_text(
                    reference.strip_prefix("refs/heads/").unwrap_or(reference),
                ));
            }
        }
        Ok(facts)
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
