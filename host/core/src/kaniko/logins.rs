//! Registry logins in the form in which Kaniko reads them: Docker's `config.json`.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::secrets::{RegistryLogin, SecretText};

/// Docker Hub, under the name that image references have for it.
pub const DOCKER_HUB: &str = "docker.io";
/// Docker Hub, under the name that Docker's configuration has for it.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
const DOCKER_HUB_ALIASES: [&str; 4] = [
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
];

/// The operator's file cannot be read as a Docker `config.json`. Says nothing of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a Docker config.json (line {line})")]
pub struct NotDockerConfig {
    pub line: usize,
}

/// The registry that a key of a Docker configuration, or the host of an image reference, stands for: `host[:port]` in lower
/// case, without a scheme or a path; all names of Docker Hub are [`DOCKER_HUB`].
pub fn registry_host(key: &str) -> String {
    let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or_default().to_ascii_lowercase();
    match DOCKER_HUB_ALIASES.contains(&host.as_str()) {
        true => DOCKER_HUB.to_owned(),
        false => host,
    }
}

/// A run's `config.json`: the operator's, if there is one, with the organization's logins over it. Of a registry that the
/// organization has a login for nothing of the operator's is left.
///
/// # Errors
/// If the operator's is not a Docker configuration.
pub fn docker_config(
    operator: Option<&str>,
    logins: &BTreeMap<String, RegistryLogin>,
) -> Result<SecretText, NotDockerConfig> {
    let mut config: Map<String, Value> = match operator {
        // The parser's message could quote the file.
        Some(text) => serde_json::from_str(text).map_err(|error| NotDockerConfig { line: error.line() })?,
        None => Map::new(),
    };
    if !logins.is_empty() {
        let ours: Vec<String> = logins.keys().map(|host| registry_host(host)).collect();
        for section in ["auths", "credHelpers"] {
            if let Some(Value::Object(entries)) = config.get_mut(section) {
                entries.retain(|key, _| !ours.contains(&registry_host(key)));
            }
        }
        // It would be asked before what stands in the file, and no sandbox has the helper that it names.
        config.remove("credsStore");
        let auths = config.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        if let Value::Object(auths) = auths {
            for (host, login) in logins {
                let pair = SecretText::new(format!("{}:{}", login.username, login.password.reveal()));
                let auth = STANDARD.encode(pair.reveal());
                auths.insert(docker_key(host), json!({ "auth": auth }));
            }
        }
    }
    Ok(SecretText::new(Value::Object(config).to_string()))
}

/// Where Docker and Kaniko look a registry up.
fn docker_key(host: &str) -> String {
    match registry_host(host) {
        hub if hub == DOCKER_HUB => DOCKER_HUB_KEY.to_owned(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(username: &str, password: &str) -> RegistryLogin {
        RegistryLogin {
            username: username.to_owned(),
            password: SecretText::new(password.to_owned()),
        }
    }

    fn merged(operator: Option<&str>, logins: &[(&str, RegistryLogin)]) -> Value {
        let logins = logins
            .iter()
            .map(|(host, login)| ((*host).to_owned(), login.clone()))
            .collect();
        serde_json::from_str(docker_config(operator, &logins).unwrap().reveal()).unwrap()
    }

    #[test]
    fn an_organizations_login_replaces_all_that_the_operator_has_for_its_registry() {
        let operator = r#"{
            "auths": {
                "https://Registry.example.com/v1/": {"auth": "b3A6b2xk"},
                "other.example.com:5000": {"auth": "b3A6a2VwdA=="},
                "https://index.docker.io/v1/": {"auth": "b3A6aHVi"}
            },
            "credHelpers": {"registry.example.com": "pass", "gcr.io": "gcloud"},
            "credsStore": "desktop",
            "HttpHeaders": {"X": "y"}
        }"#;
        let config = merged(
            Some(operator),
            &[
                ("registry.example.com", login("acme", "p:w")),
                ("docker.io", login("hub", "t")),
            ],
        );
        let expected = json!({
            "auths": {
                "registry.example.com": {"auth": STANDARD.encode("acme:p:w")},
                "other.example.com:5000": {"auth": "b3A6a2VwdA=="},
                "https://index.docker.io/v1/": {"auth": STANDARD.encode("hub:t")},
            },
            "credHelpers": {"gcr.io": "gcloud"},
            "HttpHeaders": {"X": "y"},
        });
        assert_eq!(config, expected);
    }

    #[test]
    fn without_logins_the_operators_stays_as_it_is() {
        let operator = json!({"auths": {"a": {"identitytoken": "t"}}, "credsStore": "x"});
        assert_eq!(merged(Some(&operator.to_string()), &[]), operator);
        assert_eq!(merged(None, &[]), json!({}));
        let ours = merged(None, &[("r:5000", login("u", "p"))]);
        assert_eq!(ours, json!({"auths": {"r:5000": {"auth": "dTpw"}}}));
    }

    #[test]
    fn every_name_of_docker_hub_is_the_same_registry() {
        for name in [
            "docker.io",
            "index.docker.io",
            "https://index.docker.io/v1/",
            "registry-1.docker.io",
            "Docker.IO",
        ] {
            assert_eq!(registry_host(name), DOCKER_HUB, "{name}");
            let config = merged(None, &[(name, login("u", "p"))]);
            assert!(config["auths"][DOCKER_HUB_KEY].is_object(), "{config}");
        }
        assert_eq!(registry_host("http://R.example:5000/v2/"), "r.example:5000");
    }

    #[test]
    fn a_broken_file_is_not_quoted() {
        let error = docker_config(Some("{\n\"auths\": hunter2"), &BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "not a Docker config.json (line 2)");
    }
}
