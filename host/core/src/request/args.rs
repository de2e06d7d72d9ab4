//! Build args: their form, and which of them are secrets.

use std::collections::BTreeMap;

use super::{Violations, keyed};
use crate::{kaniko::is_reserved_env, spec::ArgValue};

const ARGS_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 128;
/// The kernel takes no environment string above 128 KiB.
const VALUE_BYTES_MAX: usize = 96 * 1024;
const TOTAL_BYTES_MAX: usize = 256 * 1024;

/// Words that make a name a secret's, wherever they stand between its separators.
const SECRET_WORDS: [&str; 18] = [
    "ACCESSKEY",
    "APIKEY",
    "AUTH",
    "AUTHORIZATION",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDS",
    "PASS",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PASSWORDS",
    "PRIVATEKEY",
    "PWD",
    "SECRET",
    "SECRETS",
    "TOKEN",
    "TOKENS",
];
/// What stands before a `KEY` that is a secret: not every key is (`CACHE_KEY`).
const SECRET_KEYS: [&str; 13] = [
    "ACCESS",
    "ACCOUNT",
    "API",
    "AUTH",
    "DEPLOY",
    "ENCRYPTION",
    "LICENSE",
    "MASTER",
    "PRIVATE",
    "SECRET",
    "SIGNING",
    "SSH",
    "STORAGE",
];
/// Endings of a word that is written without separators: `GITHUBTOKEN`. The short ones are left out: `COMPASS`.
const SECRET_SUFFIXES: [&str; 7] = [
    "APIKEY",
    "CREDENTIALS",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "SECRET",
    "TOKEN",
];
/// Values that say yes or no about a secret and are none: `USE_TOKEN=true`.
const NOT_SECRET_VALUES: [&str; 12] = [
    "true", "false", "yes", "no", "on", "off", "enabled", "disabled", "none", "null", "required", "optional",
];

pub(super) fn check_build_args(
    args: BTreeMap<String, String>,
    found: &mut Violations,
) -> BTreeMap<String, ArgValue> {
    if args.len() > ARGS_MAX {
        found.add("build_args", format!("must be at most {ARGS_MAX}"));
        return BTreeMap::new();
    }
    let sizes = args.iter().map(|(name, value)| name.len() + value.len());
    check_total(args.len(), sizes.sum(), found);
    args.into_iter()
        .map(|(name, value)| {
            let value = check_build_arg(&name, value, found);
            (name, value)
        })
        .collect()
}

/// Of all args together: how many, and their names and values in bytes.
pub(super) fn check_total(count: usize, bytes: usize, found: &mut Violations) {
    if count > ARGS_MAX {
        found.add("build_args", format!("must be at most {ARGS_MAX}"));
    }
    if bytes > TOTAL_BYTES_MAX {
        found.add(
            "build_args",
            format!("names and values together must be at most {TOTAL_BYTES_MAX} bytes"),
        );
    }
}

/// One arg by itself. Hidden if it looks like a secret.
pub(super) fn check_build_arg(name: &str, value: String, found: &mut Violations) -> ArgValue {
    if let Some(wrong) = wrong_with(name, &value) {
        found.add(keyed("build_args", name), wrong);
    }
    let secret = looks_secret(name, &value);
    ArgValue::new(value, secret)
}

pub(super) fn wrong_with(name: &str, value: &str) -> Option<String> {
    let word = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let well_formed =
        name.bytes().next().is_some_and(word) && name.bytes().all(|b| word(b) || b.is_ascii_digit());
    if !well_formed {
        Some("the name must be letters, digits and '_', not starting with a digit".to_owned())
    } else if name.len() > NAME_BYTES_MAX {
        Some(format!("the name must be at most {NAME_BYTES_MAX} characters"))
    } else if is_reserved_env(name) {
        Some("the builder itself reads a variable of this name; choose another".to_owned())
    } else if value.len() > VALUE_BYTES_MAX {
        Some(format!("the value must be at most {VALUE_BYTES_MAX} bytes"))
    } else if value.contains('\0') {
        Some("the value must not hold a NUL character".to_owned())
    } else {
        None
    }
}

/// Whether a build arg is to be hidden: by its name, unless its value says that there is nothing to hide.
///
/// The record masks and the log redacts by this one answer, so both always agree. Values of under three bytes are never
/// hidden: to blank out each `1` of a log hides nothing and ruins the log.
pub fn looks_secret(name: &str, value: &str) -> bool {
    let value = value.trim();
    if value.len() < 3
        || NOT_SECRET_VALUES
            .iter()
            .any(|plain| value.eq_ignore_ascii_case(plain))
    {
        return false;
    }
    let words = words_of(name);
    let secret_key = words.windows(2).any(|pair| match pair {
        [kind, key] => matches!(key.as_str(), "KEY" | "KEYS") && SECRET_KEYS.contains(&kind.as_str()),
        _ => false,
    });
    secret_key
        || words.iter().any(|word| {
            SECRET_WORDS.contains(&word.as_str())
                || SECRET_SUFFIXES.iter().any(|suffix| word.ends_with(suffix))
        })
}

/// The upper-case words of `snake_case`, `kebab-case` and `camelCase` names, without their trailing numbers.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        let separator = !c.is_ascii_alphanumeric();
        if separator || (c.is_ascii_uppercase() && after_lower) {
            words.push(String::new());
        }
        if let (false, Some(word)) = (separator, words.last_mut()) {
            word.push(c.to_ascii_uppercase());
        }
        after_lower = c.is_ascii_lowercase();
    }
    words
        .into_iter()
        .map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}
