//! Image names, tags and platforms, by the grammars of the OCI distribution and image specifications.

use std::collections::BTreeSet;

use super::Violations;
use crate::kaniko::CACHE_REPOSITORY;

/// Registries and clients limit `host/path` to this.
const REFERENCE_BYTES_MAX: usize = 255;
/// `/` + the longest organization + `/`, between the registry and the name.
const ORGANIZATION_BYTES_MAX: usize = 65;
const TAG_BYTES_MAX: usize = 128;
const TAGS_MAX: usize = 32;
const PLATFORM_PART_BYTES_MAX: usize = 32;

pub(super) fn check_name(name: String, registry: &str, found: &mut Violations) -> String {
    let bytes_max = REFERENCE_BYTES_MAX.saturating_sub(registry.len() + ORGANIZATION_BYTES_MAX);
    if name.is_empty() {
        found.add("name", "is required");
    } else if name.len() > bytes_max {
        found.add("name", format!("must be at most {bytes_max} characters"));
    } else if !name.split('/').all(is_path_component) {
        found.add(
            "name",
            "must be lower-case letters and digits, with single separators from '.', '_', '__', '-' between them and '/' \
             between parts, such as team/web-app",
        );
    } else if name == CACHE_REPOSITORY {
        found.add(
            "name",
            format!("{CACHE_REPOSITORY:?} is where the layer cache is kept"),
        );
    }
    name
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(part: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends_well = part.bytes().next().is_some_and(alnum) && part.bytes().last().is_some_and(alnum);
    ends_well
        && part
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
            })
}

/// The tags as they came, or `latest` where none did.
pub(super) fn check_tags(tags: Vec<String>, found: &mut Violations) -> Vec<String> {
    if tags.is_empty() {
        return vec!["latest".to_owned()];
    }
    if tags.len() > TAGS_MAX {
        found.add("tags", format!("must be at most {TAGS_MAX}"));
        return tags;
    }
    let mut seen = BTreeSet::new();
    for (index, tag) in tags.iter().enumerate() {
        if !is_tag(tag) {
            found.add(
                format!("tags[{index}]"),
                format!(
                    "must be 1 to {TAG_BYTES_MAX} letters, digits, '_', '.' and '-', not starting with '.' or '-'"
                ),
            );
        } else if !seen.insert(tag) {
            found.add(format!("tags[{index}]"), "is there twice");
        }
    }
    tags
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_BYTES_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// The one platform, by either field; `platforms` of one means the same as `platform`.
pub(super) fn check_platforms(
    platform: String,
    platforms: Vec<String>,
    found: &mut Violations,
) -> Option<String> {
    check_platform("platform", &platform, found);
    for (index, one) in platforms.iter().enumerate() {
        if one.is_empty() {
            found.add(format!("platforms[{index}]"), "must not be empty");
        }
        check_platform(&format!("platforms[{index}]"), one, found);
    }
    let single = Some(platform).filter(|platform| !platform.is_empty());
    let mut platforms = platforms.into_iter();
    match (single, platforms.next(), platforms.next()) {
        (single, None, _) => single,
        (None, one @ Some(_), None) => one,
        (Some(single), Some(one), None) if single == one => Some(single),
        (Some(_), Some(_), _) => {
            found.add("platforms", "must be empty where platform is set");
            None
        }
        (None, Some(_), Some(_)) => {
            found.add("platforms", "several platforms are not available yet");
            None
        }
    }
}

/// An empty one means none.
pub(super) fn check_platform(field: &str, platform: &str, found: &mut Violations) {
    let part = |part: &str| {
        (1..=PLATFORM_PART_BYTES_MAX).contains(&part.len())
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
    };
    let parts = platform.split('/').count();
    let well_formed = (2..=3).contains(&parts) && platform.split('/').all(part);
    if !(well_formed || platform.is_empty()) {
        found.add(
            field,
            "must be os/arch or os/arch/variant in lower case, such as linux/arm64/v8",
        );
    }
}
