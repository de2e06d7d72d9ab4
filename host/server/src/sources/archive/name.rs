//! Names of entries: made safe before anything is done with them, and escaped before anyone sees them.

use std::fmt;

use super::{ArchiveLimits, error::Fault};

/// A relative path of normal parts, `a/b`: no empty part, no `.`, no `..`, no NUL, UTF-8, within the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryName(String);

/// An untrusted name as messages show it: quoted, escaped, cut after 200 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownName(String);

/// Whose naming habits an archive has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// A backslash is a character like any other.
    Unix,
    /// Windows tools may take a backslash for a separator and `C:` for a drive.
    Portable,
}

const PART_BYTES_MAX: usize = 255;

// === impl EntryName ===

impl EntryName {
    /// None for the archive's root (`./`).
    pub(super) fn parse(raw: &[u8], naming: Naming, limits: &ArchiveLimits) -> Result<Option<Self>, Fault> {
        if raw.is_empty() {
            return Err(Fault::NameEmpty);
        }
        if raw.contains(&0) {
            return Err(Fault::NameHasNul);
        }
        let text = str::from_utf8(raw).map_err(|_| Fault::NameNotUtf8)?;
        if text.starts_with('/') {
            return Err(Fault::NameAbsolute);
        }
        if naming == Naming::Portable && (text.contains('\\') || has_drive(text)) {
            return Err(Fault::NameWindows);
        }
        let mut clean = String::with_capacity(text.len());
        let mut depth = 0;
        for part in text.split('/').filter(|part| !matches!(*part, "" | ".")) {
            if part == ".." {
                return Err(Fault::NameHasParent);
            }
            if part.len() > PART_BYTES_MAX {
                return Err(Fault::NamePartTooLong);
            }
            if depth > 0 {
                clean.push('/');
            }
            clean.push_str(part);
            depth += 1;
        }
        if clean.len() > limits.path_bytes_max {
            return Err(Fault::NameTooLong {
                max: limits.path_bytes_max,
            });
        }
        if depth > limits.path_depth_max {
            return Err(Fault::NameTooDeep {
                max: limits.path_depth_max,
            });
        }
        Ok((depth > 0).then_some(Self(clean)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory it lies in, empty for the root, and its last part.
    pub(super) fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }

    /// Every directory above it, outermost first.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').filter_map(|(at, _)| self.0.get(..at))
    }
}

fn has_drive(text: &str) -> bool {
    matches!(text.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

// === impl ShownName ===

impl ShownName {
    pub fn new(raw: &[u8]) -> Self {
        const SHOWN_CHARS_MAX: usize = 200;
        let text = String::from_utf8_lossy(raw);
        let mut shown: String = text
            .chars()
            .take(SHOWN_CHARS_MAX)
            .flat_map(char::escape_debug)
            .collect();
        if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
            shown.push('…');
        }
        Self(shown)
    }
}

impl fmt::Display for ShownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(raw: &str) -> Result<Option<String>, Fault> {
        EntryName::parse(raw.as_bytes(), Naming::Unix, &ArchiveLimits::default())
            .map(|name| name.map(|n| n.0))
    }

    #[test]
    fn a_name_is_normalized() {
        for (raw, clean) in [
            ("a", "a"),
            ("./a", "a"),
            ("a//b/", "a/b"),
            ("./a/./b", "a/b"),
            ("a\\b", "a\\b"),
        ] {
            assert_eq!(parse(raw), Ok(Some(clean.to_owned())), "{raw}");
        }
        assert_eq!(parse("./"), Ok(None));
        assert_eq!(parse("."), Ok(None));
    }

    #[test]
    fn shown_names_hide_no_control_characters() {
        assert_eq!(ShownName::new(b"a\x1b[2J\n").to_string(), r#""a\u{1b}[2J\n""#);
        assert_eq!(ShownName::new(&[b'x'; 300]).to_string().chars().count(), 203);
    }

    proptest! {
        #[test]
        fn an_accepted_name_stays_below_its_root(raw in "[a./\\\\:C]{0,12}") {
            for naming in [Naming::Unix, Naming::Portable] {
                if let Ok(Some(name)) = EntryName::parse(raw.as_bytes(), naming, &ArchiveLimits::default()) {
                    prop_assert!(!name.0.starts_with('/') && !name.0.ends_with('/'));
                    prop_assert!(name.0.split('/').all(|part| !matches!(part, "" | "." | "..")));
                    prop_assert!(naming == Naming::Unix || !name.0.contains('\\'));
                }
            }
        }
    }
}
