//! Stored secrets as humans read them: names, never values.

use ignite_proto::v1::{self, SecretGroup};

use super::{
    table::columns,
    text::{line, timestamp},
};

/// One row a secret.
pub(crate) fn list(secrets: &[v1::StoredSecret]) -> String {
    if secrets.is_empty() {
        return "Nothing is stored.\n".to_owned();
    }
    let rows: Vec<_> = secrets
        .iter()
        .map(|secret| {
            [
                group(secret.group()).to_owned(),
                line(&secret.name).into_owned(),
                timestamp(secret.updated_at_ms).unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    columns(["GROUP", "NAME", "UPDATED"], &rows)
}

/// What a request that was taken has changed.
pub(crate) fn stored(request: &v1::SaveBuildSecretsRequest) -> String {
    let names = |map: &std::collections::BTreeMap<String, String>| {
        let names: Vec<_> = map.keys().map(|name| line(name).into_owned()).collect();
        names.join(", ")
    };
    let mut text = String::new();
    if !request.build_secrets.is_empty() {
        text.push_str(&format!(
            "build secrets are now: {}\n",
            names(&request.build_secrets)
        ));
    }
    if !request.registry_credentials.is_empty() {
        let hosts = names(&request.registry_credentials);
        text.push_str(&format!("registry logins are now for: {hosts}\n"));
    }
    if request.git_credentials.is_some() {
        text.push_str("the git login is replaced\n");
    }
    for cleared in &request.clear {
        let cleared = SecretGroup::try_from(*cleared).unwrap_or_default();
        text.push_str(&format!("nothing is stored any more of: {}\n", group(cleared)));
    }
    text
}

fn group(group: SecretGroup) -> &'static str {
    match group {
        SecretGroup::BuildSecrets => "build",
        SecretGroup::RegistryCredentials => "registry",
        SecretGroup::GitCredentials => "git",
        SecretGroup::Unspecified => "-",
    }
}
