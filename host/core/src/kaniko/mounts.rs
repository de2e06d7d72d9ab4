//! Build secrets as Kaniko takes them, for `RUN --mount=type=secret,id=NAME`: each in a variable of its environment, which
//! steps are not given.

use std::collections::BTreeMap;

use crate::{dockerfile::SecretMounts, secrets::SecretText};

/// Begins the names of these variables; no build arg may have such a name.
pub const SECRET_ENV_PREFIX: &str = "IGNITE_SECRET_";

/// Whether a secret of this name can be mounted: the name is part of an argument that commas divide.
pub fn is_mount_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.chars().all(is_plain)
}

/// Kaniko's arguments, and the variables that they name, for those of `secrets` that are `wanted`.
pub fn secret_mounts(
    secrets: &BTreeMap<String, SecretText>,
    wanted: &SecretMounts,
) -> (Vec<String>, BTreeMap<String, SecretText>) {
    secrets
        .iter()
        .filter(|(name, _)| is_mount_name(name) && wanted.has(name))
        .enumerate()
        .map(|(index, (name, value))| {
            let variable = format!("{SECRET_ENV_PREFIX}{index}");
            let arg = format!("--secret=id={name},env={variable}");
            (arg, (variable, value.clone()))
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kaniko::is_reserved_env;

    #[test]
    fn only_what_is_wanted_is_handed_over_and_no_argument_has_a_value() {
        let secrets: BTreeMap<_, _> = ["a,b", "npm.token", "other", "ssh-key"]
            .map(|name| (name.to_owned(), SecretText::new(format!("value of {name}"))))
            .into();
        let named = SecretMounts::Named(
            ["npm.token", "ssh-key", "a,b", "unknown"]
                .map(str::to_owned)
                .into(),
        );
        let (args, env) = secret_mounts(&secrets, &named);
        assert_eq!(
            args,
            [
                "--secret=id=npm.token,env=IGNITE_SECRET_0",
                "--secret=id=ssh-key,env=IGNITE_SECRET_1"
            ]
        );
        let values: Vec<_> = env.values().map(SecretText::reveal).collect();
        assert_eq!(values, ["value of npm.token", "value of ssh-key"]);
        assert!(env.keys().all(|name| is_reserved_env(name)));
        assert_eq!(secret_mounts(&secrets, &SecretMounts::All).0.len(), 3);
    }
}
