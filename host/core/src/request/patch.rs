//! A rewriter's changes, applied under the same rules as a caller's request.
//!
//! Each change must leave a request that [`super::check`] would have taken. A rewriter never learns a secret's value: all
//! that it can do to a secret is to remove it or to put something else in its place.

use super::{FieldViolation, Rules, Violations, args, check_timeout, image, keyed, labels::check_labels};
use crate::{
    hook::{Change, ProposedArg},
    spec::{ArgValue, BuildSpec},
};

const CHANGES_MAX: usize = 256;
/// Of a value in the line that says what changed: the record keeps them all.
const SHOWN_CHARS_MAX: usize = 256;

#[cfg(test)]
mod tests;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patched {
    pub spec: BuildSpec,
    /// What changed, one line each, without secret values. Empty if nothing did.
    pub changes: Vec<String>,
}

/// Applies all changes in order, or none.
///
/// # Errors
/// Every change that cannot be taken: the field of the request that it would have spoiled, and in the description the
/// change (`changes[3]`, from 0) and what would be right. No value is repeated.
pub fn patch(
    spec: &BuildSpec,
    changes: &[Change],
    rules: &Rules,
    secret_is_stored: &dyn Fn(&str) -> bool,
) -> Result<Patched, Vec<FieldViolation>> {
    let mut refused = Violations::default();
    if changes.len() > CHANGES_MAX {
        refused.add("", format!("must be at most {CHANGES_MAX} changes"));
        return Err(refused.0);
    }
    let mut spec = spec.clone();
    let mut lines = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let mut found = Violations::default();
        let line = apply(&mut spec, change, rules, secret_is_stored, &mut found);
        lines.extend(line);
        for violation in found.0 {
            let description = format!("changes[{index}]: {}", violation.description);
            refused.add(violation.field, description);
        }
    }
    if refused.0.is_empty() {
        Ok(Patched { spec, changes: lines })
    } else {
        Err(refused.0)
    }
}

/// What changed; None if nothing did. What is found spoils the whole, so it does not matter how far a bad change came.
fn apply(
    spec: &mut BuildSpec,
    change: &Change,
    rules: &Rules,
    secret_is_stored: &dyn Fn(&str) -> bool,
    found: &mut Violations,
) -> Option<String> {
    match change {
        Change::SetArg { name, value } => match value {
            ProposedArg::Plain(value) => set_arg(spec, name, value, found),
            ProposedArg::Secret(secret) if secret_is_stored(secret) => set_stored(spec, name, secret, found),
            ProposedArg::Secret(_) => {
                found.add(
                    keyed("build_args", name),
                    "no secret of this name is stored; set a plain value, or leave the arg out of the changes to keep it \
                     as it is",
                );
                None
            }
        },
        Change::RemoveArg(name) => {
            let gone = spec.build_args.remove(name);
            gone.map(|_| format!("build arg {name} removed"))
        }
        Change::AddTag(tag) => add_tag(spec, tag, found),
        Change::RemoveTag(tag) => {
            let at = spec.tags.iter().position(|one| one == tag)?;
            if spec.tags.len() == 1 {
                found.add("tags", "the last tag cannot be removed: add another before");
                return None;
            }
            spec.tags.remove(at);
            Some(format!("tag {tag} removed"))
        }
        Change::SetLabel { key, value } => {
            let before = spec.labels.insert(key.clone(), value.clone());
            if before.as_ref() == Some(value) {
                return None;
            }
            check_labels(&spec.labels, rules, found);
            Some(format!("label {key} set to {value:?}"))
        }
        Change::RemoveLabel(key) => {
            let gone = spec.labels.remove(key);
            gone.map(|_| format!("label {key} removed"))
        }
        Change::SetPlatform(platform) => set_platform(spec, platform, found),
        Change::SetNoCache(no_cache) => {
            let changed = spec.no_cache != *no_cache;
            spec.no_cache = *no_cache;
            changed.then(|| format!("no_cache set to {no_cache}"))
        }
        Change::SetTimeoutSeconds(seconds) => set_timeout(spec, *seconds, rules, found),
    }
}

fn set_arg(spec: &mut BuildSpec, name: &str, value: &str, found: &mut Violations) -> Option<String> {
    let value = args::check_build_arg(name, value.to_owned(), found);
    let secret = value.is_secret();
    let shown = shown(value.reveal());
    // The rewriter did not know a secret's value, so even the same one in its place is a change: to say that nothing
    // changed would confirm a guess.
    let same = |before: &ArgValue| !before.is_secret() && *before == value;
    if spec.build_args.get(name).is_some_and(same) {
        return None;
    }
    spec.build_args.insert(name.to_owned(), value);
    check_args(spec, found);
    Some(match secret {
        true => format!("build arg {name} set to a secret value"),
        false => format!("build arg {name} set to {shown}"),
    })
}

/// Routes a stored secret into the arg: its value is not known here.
fn set_stored(spec: &mut BuildSpec, name: &str, secret: &str, found: &mut Violations) -> Option<String> {
    args::check_build_arg(name, String::new(), found);
    let value = ArgValue::stored(secret.to_owned());
    if spec.build_args.get(name) == Some(&value) {
        return None;
    }
    spec.build_args.insert(name.to_owned(), value);
    check_args(spec, found);
    Some(format!("build arg {name} set to the stored secret {secret}"))
}

/// All args together, but for those that are stored: an organization's secrets take no place away from a request's args.
fn check_args(spec: &BuildSpec, found: &mut Violations) {
    let sizes = spec.build_args.iter();
    let sizes = sizes.filter(|(_, value)| value.stored_name().is_none());
    let sizes: Vec<usize> = sizes
        .map(|(name, value)| name.len() + value.reveal().len())
        .collect();
    args::check_total(sizes.len(), sizes.iter().sum(), found);
}

fn add_tag(spec: &mut BuildSpec, tag: &str, found: &mut Violations) -> Option<String> {
    if spec.tags.iter().any(|one| one == tag) {
        return None;
    }
    spec.tags.push(tag.to_owned());
    spec.tags = image::check_tags(std::mem::take(&mut spec.tags), found);
    Some(format!("tag {tag} added"))
}

fn set_platform(spec: &mut BuildSpec, platform: &str, found: &mut Violations) -> Option<String> {
    if platform.is_empty() {
        found.add(
            "platform",
            "must be os/arch or os/arch/variant, such as linux/arm64/v8",
        );
    }
    image::check_platform("platform", platform, found);
    let before = spec.platform.replace(platform.to_owned());
    (before.as_deref() != Some(platform)).then(|| format!("platform set to {platform}"))
}

fn set_timeout(spec: &mut BuildSpec, seconds: u64, rules: &Rules, found: &mut Violations) -> Option<String> {
    // In a request zero means the default; a change has no use for that.
    if seconds == 0 {
        found.add("timeout_secs", "must be above zero");
    }
    let timeout = check_timeout(seconds, rules, found);
    let changed = spec.timeout != timeout;
    spec.timeout = timeout;
    changed.then(|| format!("timeout set to {seconds} s"))
}

/// In quotes, with its length where it is too long to be shown whole.
fn shown(value: &str) -> String {
    let short: String = value.chars().take(SHOWN_CHARS_MAX).collect();
    match short.len() < value.len() {
        true => format!("{:?}… ({} bytes)", short, value.len()),
        false => format!("{value:?}"),
    }
}
