//! SaveBuildSecrets and GetBuildSecrets.

use ignite_core::{
    request::{
        check_secrets,
        secrets::{GroupChange, SecretGroup, SecretsChange, SubmittedGit, SubmittedSecrets},
    },
    secrets::SecretText,
};
use ignite_proto::v1;

use super::Service;
use crate::{
    clock,
    error::{Error, Result},
    principal::{Principal, Scope},
};

// === impl Service ===

impl Service {
    pub async fn save_build_secrets(
        &self,
        caller: &Principal,
        request: v1::SaveBuildSecretsRequest,
    ) -> Result<v1::SaveBuildSecretsResponse> {
        caller.require(Scope::SecretsWrite)?;
        let change = check_secrets(submitted(request)).map_err(Error::InvalidArgument)?;
        let told = told(&change);
        self.secrets.save(&caller.org, change, clock::now_ms()).await?;
        tracing::info!(org = %caller.org, subject = %caller.subject, changes = told, "secrets.saved");
        Ok(v1::SaveBuildSecretsResponse {})
    }

    pub async fn get_build_secrets(
        &self,
        caller: &Principal,
        _request: v1::GetBuildSecretsRequest,
    ) -> Result<v1::GetBuildSecretsResponse> {
        caller.require(Scope::SecretsRead)?;
        let stored = self.secrets.load(&caller.org).await?;
        let secrets = stored.listed().into_iter().map(|secret| v1::StoredSecret {
            group: group(secret.group).into(),
            name: secret.name,
            updated_at_ms: secret.updated_at_ms,
        });
        Ok(v1::GetBuildSecretsResponse {
            secrets: secrets.collect(),
        })
    }
}

/// Values are moved, not copied: the memory that they came in is wiped when they go.
fn submitted(request: v1::SaveBuildSecretsRequest) -> SubmittedSecrets {
    let texts = |(name, value)| (name, SecretText::new(value));
    SubmittedSecrets {
        registry_credentials: request.registry_credentials.into_iter().map(texts).collect(),
        git_credentials: request.git_credentials.map(|git| SubmittedGit {
            username: git.username,
            password: SecretText::new(git.password),
            hosts: git.hosts,
            ssh_private_key: SecretText::new(git.ssh_private_key),
            ssh_known_hosts: git.ssh_known_hosts,
        }),
        build_secrets: request.build_secrets.into_iter().map(texts).collect(),
        clear: request
            .clear
            .into_iter()
            .map(|number| match v1::SecretGroup::try_from(number) {
                Ok(v1::SecretGroup::RegistryCredentials) => Some(SecretGroup::Registries),
                Ok(v1::SecretGroup::GitCredentials) => Some(SecretGroup::Git),
                Ok(v1::SecretGroup::BuildSecrets) => Some(SecretGroup::Build),
                Ok(v1::SecretGroup::Unspecified) | Err(_) => None,
            })
            .collect(),
    }
}

fn group(group: SecretGroup) -> v1::SecretGroup {
    match group {
        SecretGroup::Registries => v1::SecretGroup::RegistryCredentials,
        SecretGroup::Git => v1::SecretGroup::GitCredentials,
        SecretGroup::Build => v1::SecretGroup::BuildSecrets,
    }
}

/// Who changed what, for the daemon's log: names, never values.
fn told(change: &SecretsChange) -> String {
    fn part<T>(group: &str, change: &GroupChange<T>, names: impl Fn(&T) -> Vec<&str>) -> Option<String> {
        match change {
            GroupChange::Keep => None,
            GroupChange::Clear => Some(format!("{group} cleared")),
            GroupChange::Set(content) => Some(format!("{group} set to {}", names(content).join(","))),
        }
    }
    let parts = [
        part("registries", &change.registries, |all| {
            all.keys().map(String::as_str).collect()
        }),
        part("git", &change.git, |git| {
            let kinds = [
                git.https.as_ref().map(|_| "https"),
                git.ssh.as_ref().map(|_| "ssh"),
            ];
            kinds.into_iter().flatten().collect()
        }),
        part("build", &change.build, |all| {
            all.keys().map(String::as_str).collect()
        }),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
