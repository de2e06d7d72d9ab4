//! Checks what an organization wants kept for its builds.
//!
//! As with builds, all violations are told together and none repeats a value. Hosts come out in the one form in which they will be
//! looked up; keys as `ssh` reads them.

use std::collections::BTreeMap;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use super::{FieldViolation, Violations, args, keyed};
use crate::secrets::{GitLogin, RegistryLogin, SecretText};

mod git;
mod hosts;
mod ssh;
#[cfg(test)]
mod tests;

const REGISTRIES_MAX: usize = 64;
const AUTH_BYTES_MAX: usize = 16 * 1024;
const AUTHS_BYTES_MAX: usize = 128 * 1024;
const USERNAME_BYTES_MAX: usize = 256;
const BUILD_SECRETS_MAX: usize = 100;
const BUILD_SECRETS_BYTES_MAX: usize = 256 * 1024;
/// A shorter one would have to be taken out of a log wherever its letters happen to stand.
pub const BUILD_SECRET_BYTES_MIN: usize = 6;

/// As in Docker's configuration, where some writers leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is replaced or emptied as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretGroup {
    Registries,
    Git,
    Build,
}

/// As it came, in the shape of `SaveBuildSecretsRequest`. Empty means not sent.
#[derive(Debug, Default)]
pub struct SubmittedSecrets {
    /// `user:password` by registry host, or its base64.
    pub registry_credentials: BTreeMap<String, SecretText>,
    pub git_credentials: Option<SubmittedGit>,
    pub build_secrets: BTreeMap<String, SecretText>,
    /// None: a number that is no group.
    pub clear: Vec<Option<SecretGroup>>,
}

#[derive(Debug, Default)]
pub struct SubmittedGit {
    pub username: String,
    pub password: SecretText,
    pub hosts: Vec<String>,
    pub ssh_private_key: SecretText,
    pub ssh_known_hosts: String,
}

/// What becomes of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupChange<T> {
    Keep,
    Clear,
    Set(T),
}

/// A change of what is stored, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretsChange {
    pub registries: GroupChange<BTreeMap<String, RegistryLogin>>,
    pub git: GroupChange<GitLogin>,
    pub build: GroupChange<BTreeMap<String, SecretText>>,
}

/// Checks every field. On failure all violations come back.
pub fn check_secrets(submitted: SubmittedSecrets) -> Result<SecretsChange, Vec<FieldViolation>> {
    let mut found = Violations::default();
    let sent = [
        (
            SecretGroup::Registries,
            !submitted.registry_credentials.is_empty(),
        ),
        (SecretGroup::Git, submitted.git_credentials.is_some()),
        (SecretGroup::Build, !submitted.build_secrets.is_empty()),
    ];
    if submitted.clear.is_empty() && !sent.iter().any(|(_, sent)| *sent) {
        found.add(
            "clear",
            "nothing was sent; an empty group counts as not sent, so name it here to empty it",
        );
    }
    let clear = check_clear(&submitted.clear, &sent, &mut found);
    let change = SecretsChange {
        registries: change(
            submitted.registry_credentials,
            BTreeMap::is_empty,
            clear.contains(&SecretGroup::Registries),
            |sent| check_registries(sent, &mut found),
        ),
        git: change(
            submitted.git_credentials,
            Option::is_none,
            clear.contains(&SecretGroup::Git),
            |sent| git::check(sent.unwrap_or_default(), &mut found),
        ),
        build: change(
            submitted.build_secrets,
            BTreeMap::is_empty,
            clear.contains(&SecretGroup::Build),
            |sent| check_build_secrets(sent, &mut found),
        ),
    };
    match found.0.is_empty() {
        true => Ok(change),
        false => Err(found.0),
    }
}

fn change<S, T>(
    sent: S,
    is_absent: impl Fn(&S) -> bool,
    clear: bool,
    check: impl FnOnce(S) -> T,
) -> GroupChange<T> {
    match (is_absent(&sent), clear) {
        (false, _) => GroupChange::Set(check(sent)),
        (true, true) => GroupChange::Clear,
        (true, false) => GroupChange::Keep,
    }
}

fn check_clear(
    clear: &[Option<SecretGroup>],
    sent: &[(SecretGroup, bool)],
    found: &mut Violations,
) -> Vec<SecretGroup> {
    let mut groups = Vec::new();
    for (index, group) in clear.iter().enumerate() {
        let field = format!("clear[{index}]");
        match group {
            None => found.add(field, "must be a SECRET_GROUP other than the unspecified one"),
            Some(group) if sent.contains(&(*group, true)) => {
                found.add(field, "is sent in the same request: send a group, or clear it");
            }
            Some(group) => groups.push(*group),
        }
    }
    groups
}

fn check_registries(
    sent: BTreeMap<String, SecretText>,
    found: &mut Violations,
) -> BTreeMap<String, RegistryLogin> {
    const FIELD: &str = "registry_credentials";
    if sent.len() > REGISTRIES_MAX {
        found.add(FIELD, format!("must be at most {REGISTRIES_MAX}"));
        return BTreeMap::new();
    }
    let bytes: usize = sent.values().map(|auth| auth.reveal().len()).sum();
    if bytes > AUTHS_BYTES_MAX {
        found.add(FIELD, format!("together must be at most {AUTHS_BYTES_MAX} bytes"));
    }
    let mut logins = BTreeMap::new();
    for (host, auth) in sent {
        let field = keyed(FIELD, &host);
        let login = match parse_auth(&auth) {
            Ok(login) => login,
            Err(wrong) => {
                found.add(field, wrong);
                continue;
            }
        };
        match hosts::registry(&host) {
            Err(wrong) => found.add(field, wrong),
            Ok(host) if logins.contains_key(&host) => {
                found.add(field, format!("means {host}, which is there twice"));
            }
            Ok(host) => {
                logins.insert(host, login);
            }
        }
    }
    logins
}

/// With a colon in it, it is `user:password`; base64 has none.
fn parse_auth(auth: &SecretText) -> Result<RegistryLogin, String> {
    let auth = auth.reveal();
    let form = || "must be user:password, or the base64 of that".to_owned();
    if auth.len() > AUTH_BYTES_MAX {
        return Err(format!("must be at most {AUTH_BYTES_MAX} bytes"));
    }
    let decoded;
    let plain = if auth.contains(':') {
        auth
    } else {
        let bytes = Zeroizing::new(BASE64.decode(auth.trim()).map_err(|_| form())?);
        decoded = Zeroizing::new(std::str::from_utf8(&bytes).map_err(|_| form())?.to_owned());
        decoded.as_str()
    };
    let (username, password) = plain.split_once(':').ok_or_else(form)?;
    if username.is_empty() || password.is_empty() {
        return Err("must have a user before the colon and a password behind it".to_owned());
    }
    if let Some(wrong) = wrong_username(username) {
        return Err(format!("the user {wrong}"));
    }
    // A cloud's key file may be the password: of several lines.
    if password.contains('\0') {
        return Err("the password must not hold a NUL character".to_owned());
    }
    Ok(RegistryLogin {
        username: username.to_owned(),
        password: SecretText::new(password.to_owned()),
    })
}

fn wrong_username(username: &str) -> Option<String> {
    if username.len() > USERNAME_BYTES_MAX || username.contains(|c: char| c.is_control() || c == ':') {
        Some(format!(
            "must be at most {USERNAME_BYTES_MAX} bytes, without colons and control characters"
        ))
    } else {
        None
    }
}

fn check_build_secrets(
    sent: BTreeMap<String, SecretText>,
    found: &mut Violations,
) -> BTreeMap<String, SecretText> {
    const FIELD: &str = "build_secrets";
    if sent.len() > BUILD_SECRETS_MAX {
        found.add(FIELD, format!("must be at most {BUILD_SECRETS_MAX}"));
        return BTreeMap::new();
    }
    let sizes = sent.iter().map(|(name, value)| name.len() + value.reveal().len());
    if sizes.sum::<usize>() > BUILD_SECRETS_BYTES_MAX {
        found.add(
            FIELD,
            format!("names and values together must be at most {BUILD_SECRETS_BYTES_MAX} bytes"),
        );
    }
    for (name, value) in &sent {
        let field = keyed(FIELD, name);
        // They become args.
        if let Some(wrong) = args::wrong_with(name, value.reveal()) {
            found.add(field, wrong);
        } else if value.reveal().trim().len() < BUILD_SECRET_BYTES_MIN {
            found.add(
                field,
                format!(
                    "the value must be at least {BUILD_SECRET_BYTES_MIN} bytes: a shorter one cannot be kept out of logs"
                ),
            );
        }
    }
    sent
}
