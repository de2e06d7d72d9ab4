//! `Debug` of messages that carry secrets: which, never what they are.

use std::fmt;

use crate::v1;

impl fmt::Debug for v1::GitCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitCredentials")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::SaveBuildSecretsRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registries: Vec<&String> = self.registry_credentials.keys().collect();
        let names: Vec<&String> = self.build_secrets.keys().collect();
        f.debug_struct("SaveBuildSecretsRequest")
            .field("registry_credentials", &registries)
            .field("git_credentials", &self.git_credentials)
            .field("build_secrets", &names)
            .field("clear", &self.clear)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_shown() {
        let value = || "hunter2".to_owned();
        let request = v1::SaveBuildSecretsRequest {
            registry_credentials: [("r.example.com".to_owned(), value())].into(),
            git_credentials: Some(v1::GitCredentials {
                username: value(),
                password: value(),
                hosts: vec!["github.com".to_owned()],
                ssh_private_key: value(),
                ssh_known_hosts: value(),
            }),
            build_secrets: [("TOKEN".to_owned(), value())].into(),
            clear: Vec::new(),
        };
        let shown = format!("{request:?}");
        assert!(shown.contains("r.example.com") && shown.contains("TOKEN") && shown.contains("github.com"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
