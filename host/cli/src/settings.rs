//! Which server, which token, which organization, which output: flags, then environment, then the configuration file.

use std::{path::Path, time::Duration};

use crate::{
    args::{GlobalArgs, duration},
    error::{Error, Result},
    output::Format,
};

pub(crate) mod endpoint;
pub(crate) mod file;
pub(crate) mod token;

use endpoint::Endpoint;
use file::ConfigFile;
use token::Token;

const ENDPOINT_DEFAULT: &str = "http://127.0.0.1:8080";
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// What every command needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) endpoint: Endpoint,
    pub(crate) token: Option<Token>,
    /// What the token's organization is to be.
    pub(crate) org: Option<String>,
    pub(crate) output: Format,
    pub(crate) timeout: Duration,
}

/// Looks a variable up; an empty one counts as unset.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

// === impl Settings ===

impl Settings {
    pub(crate) fn resolve(
        flags: &GlobalArgs,
        timeout: Option<Duration>,
        env: Env<'_>,
        file: &ConfigFile,
    ) -> Result<Self> {
        let endpoint = endpoint(flags, env, file)?;
        let token = match &flags.token {
            Some(token) => Some(Token::new(token)?),
            None => match &flags.token_file {
                Some(path) => Some(token_file(path)?),
                None => env("DODIL_TOKEN")
                    .or_else(|| env("IGNITE_TOKEN"))
                    .map(|token| Token::new(&token))
                    .transpose()?
                    // A stored token goes to the server it was stored for, and to no other.
                    .or_else(|| file.tokens.get(endpoint.as_str()).cloned()),
            },
        };
        let timeout = match (timeout, &file.timeout) {
            (Some(timeout), _) => timeout,
            (None, Some(text)) => {
                duration(text).map_err(|error| Error::input(format!("configuration: timeout: {error}")))?
            }
            (None, None) => TIMEOUT_DEFAULT,
        };
        Ok(Self {
            endpoint,
            token,
            org: flags.org.clone().or_else(|| file.org.clone()),
            output: flags.output.or(file.output).unwrap_or_default(),
            timeout,
        })
    }
}

fn endpoint(flags: &GlobalArgs, env: Env<'_>, file: &ConfigFile) -> Result<Endpoint> {
    let text = flags
        .api_endpoint
        .clone()
        .or_else(|| env("IGNITE_API_ENDPOINT"))
        .or_else(|| file.api_endpoint.clone())
        .unwrap_or_else(|| ENDPOINT_DEFAULT.to_owned());
    Endpoint::parse(&text, flags.debug)
}

fn token_file(path: &Path) -> Result<Token> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::input(format!("cannot read the token file {}: {error}", path.display())))?;
    Token::new(&text)
}

/// The environment of this process.
pub(crate) fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> GlobalArgs {
        GlobalArgs {
            output: None,
            api_endpoint: None,
            token: None,
            token_file: None,
            org: None,
            debug: false,
        }
    }

    fn resolve(flags: &GlobalArgs, env: &[(&str, &str)], file: &str) -> Settings {
        let lookup = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Settings::resolve(flags, None, &lookup, &ConfigFile::parse(file).unwrap()).unwrap()
    }

    fn token(settings: &Settings) -> Option<&str> {
        settings.token.as_ref().map(Token::reveal)
    }

    #[test]
    fn flags_come_before_environment_before_file_before_defaults() {
        let file = "api-endpoint = 'http://file:1'\noutput = 'yaml'\ntimeout = '10s'\n[tokens]\n'http://file:1' = 'from-file'\n";
        let nothing = resolve(&flags(), &[], "");
        assert_eq!(nothing.endpoint.as_str(), "http://127.0.0.1:8080");
        assert_eq!((token(&nothing), nothing.timeout), (None, TIMEOUT_DEFAULT));

        let from_file = resolve(&flags(), &[], file);
        assert_eq!(from_file.endpoint.as_str(), "http://file:1");
        assert_eq!(from_file.output, Format::Yaml);
        assert_eq!(
            (token(&from_file), from_file.timeout),
            (Some("from-file"), Duration::from_secs(10))
        );

        let env = [("IGNITE_TOKEN", "second"), ("DODIL_TOKEN", "first")];
        assert_eq!(token(&resolve(&flags(), &env[..1], file)), Some("second"));
        assert_eq!(token(&resolve(&flags(), &env, file)), Some("first"));
        let with_flag = GlobalArgs {
            token: Some("flag".to_owned()),
            ..flags()
        };
        assert_eq!(token(&resolve(&with_flag, &env, file)), Some("flag"));
    }

    #[test]
    fn a_stored_token_is_not_sent_to_another_server() {
        let file = "[tokens]\n'https://mine' = 'secret'\n";
        let elsewhere = [("IGNITE_API_ENDPOINT", "https://mine.evil.example")];
        assert_eq!(token(&resolve(&flags(), &elsewhere, file)), None);
        let plain = [("IGNITE_API_ENDPOINT", "http://mine")];
        assert_eq!(token(&resolve(&flags(), &plain, file)), None);
        assert_eq!(
            token(&resolve(&flags(), &[("IGNITE_API_ENDPOINT", "mine")], file)),
            Some("secret")
        );
    }
}
