//! Logs in at a registry as it asks to: Basic, or a token from its login service.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Response, header, header::HeaderValue};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use url::Url;

use super::{Importer, no_access, read_all, unreachable};
use crate::{
    error::{Error, Result},
    registry::Login,
};

const TOKEN_BYTES_MAX: usize = 64 << 10;

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

// === impl Importer ===

impl Importer {
    /// The header that the registry's challenge asks for.
    pub(super) async fn authorization(
        &self,
        host: &str,
        repository: &str,
        refusal: &Response,
        login: Option<&Login>,
    ) -> Result<HeaderValue> {
        let challenge = refusal
            .headers()
            .get(header::WWW_AUTHENTICATE)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| no_access(host))?;
        let (scheme, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return basic(login.ok_or_else(|| no_access(host))?);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(no_access(host));
        }
        let parameters = read_parameters(parameters);
        let realm = parameters.get("realm").and_then(|realm| Url::parse(realm).ok());
        let mut url = realm.ok_or_else(|| no_access(host))?;
        if !self.reach.allows_url(&url) {
            return Err(no_access(host));
        }
        url.query_pairs_mut()
            .append_pair("scope", &format!("repository:{repository}:pull"));
        if let Some(service) = parameters.get("service") {
            url.query_pairs_mut().append_pair("service", service);
        }
        let mut request = self.client.get(url);
        if let Some(login) = login {
            request = request.header(header::AUTHORIZATION, basic(login)?);
        }
        let response = request.send().await.map_err(|error| unreachable(host, &error))?;
        if !response.status().is_success() {
            return Err(no_access(host));
        }
        let body = read_all(response, TOKEN_BYTES_MAX).await?;
        let token: Token = serde_json::from_slice(&body).map_err(|_| no_access(host))?;
        sensitive(&format!("Bearer {}", token.token))
    }
}

fn basic(login: &Login) -> Result<HeaderValue> {
    let pair = format!("{}:{}", login.user, login.password.expose_secret());
    sensitive(&format!("Basic {}", STANDARD.encode(pair)))
}

fn sensitive(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).map_err(Error::internal)?;
    value.set_sensitive(true);
    Ok(value)
}

/// `name="value"` pairs between commas.
fn read_parameters(text: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    let mut rest = text.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
            Some(quoted) => quoted,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        rest = next.trim_start_matches([',', ' ']);
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_with_commas_in_its_values() {
        let read = read_parameters(r#"realm="https://auth.example/token",service="r, s" , scope=pull"#);
        let expected = [
            ("realm", "https://auth.example/token"),
            ("service", "r, s"),
            ("scope", "pull"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read, expected.into());
    }
}
