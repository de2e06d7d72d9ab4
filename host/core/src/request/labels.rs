//! Labels, by the rules of Kubernetes: they become labels of pods and terms of selectors.

use std::collections::BTreeMap;

use super::{Rules, Violations, keyed};

/// Names the resource class of a build: how much it may use.
pub const RESOURCES_LABEL: &str = "ignite.dodil.io/resources";

const LABELS_MAX: usize = 64;
const PREFIX_BYTES_MAX: usize = 253;
const NAME_BYTES_MAX: usize = 63;

pub(super) fn check_labels(labels: &BTreeMap<String, String>, rules: &Rules, found: &mut Violations) {
    if labels.len() > LABELS_MAX {
        found.add("labels", format!("must be at most {LABELS_MAX}"));
        return;
    }
    for (key, value) in labels {
        if !is_key(key) {
            found.add(
                keyed("labels", key),
                format!(
                    "the key must be a name of 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' and '.', letter or digit first \
                     and last, with an optional DNS prefix such as example.com/"
                ),
            );
        }
        if !(value.is_empty() || is_name(value)) {
            found.add(
                keyed("labels", key),
                format!(
                    "the value must be empty or up to {NAME_BYTES_MAX} letters, digits, '-', '_' and '.', letter or digit first \
                     and last"
                ),
            );
        }
    }
    let classes = &rules.resource_classes;
    if let Some(class) = labels.get(RESOURCES_LABEL)
        && !classes.is_empty()
        && !classes.contains(class)
    {
        found.add(
            keyed("labels", RESOURCES_LABEL),
            format!("must be one of {}", classes.join(", ")),
        );
    }
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_name(name),
    }
}

fn is_name(text: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_alphanumeric();
    text.len() <= NAME_BYTES_MAX
        && text.bytes().next().is_some_and(alnum)
        && text.bytes().last().is_some_and(alnum)
        && text.bytes().all(|b| alnum(b) || matches!(b, b'-' | b'_' | b'.'))
}

fn is_dns_subdomain(text: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= PREFIX_BYTES_MAX
        && text.split('.').all(|part| {
            part.len() <= 63
                && part.bytes().next().is_some_and(alnum)
                && part.bytes().last().is_some_and(alnum)
                && part.bytes().all(|b| alnum(b) || b == b'-')
        })
}
