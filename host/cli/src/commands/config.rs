//! `ignite config`: the configuration file, key by key.

use std::path::Path;

use clap::ValueEnum as _;

use crate::{
    args::{ConfigCommand, ConfigKey, GlobalArgs, duration},
    error::{Error, Result},
    output::{self, Format, table::record, text::line},
    settings::{endpoint::Endpoint, file::ConfigFile},
};

pub(crate) fn run(command: ConfigCommand, path: &Path, flags: &GlobalArgs) -> Result<()> {
    match command {
        ConfigCommand::Path => output::stdout(&path.display().to_string()),
        ConfigCommand::Get { key } => match get(&ConfigFile::load(path)?, key) {
            Some(value) => output::stdout(&line(&value)),
            None => Ok(()),
        },
        ConfigCommand::Set { key, value } => {
            let mut file = ConfigFile::load(path)?;
            set(&mut file, key, &value, flags.debug)?;
            file.save(path)
        }
        ConfigCommand::List => {
            let file = ConfigFile::load(path)?;
            output::response(
                flags.output.or(file.output).unwrap_or_default(),
                &shown(&file),
                |_| {
                    let mut pairs: Vec<_> = Vec::new();
                    for key in ConfigKey::value_variants() {
                        pairs.push((name(*key), get(&file, *key).unwrap_or_default()));
                    }
                    let servers: Vec<_> = file.tokens.keys().map(|server| line(server)).collect();
                    pairs.push(("tokens for", servers.join("\n")));
                    record(&pairs)
                },
            )
        }
    }
}

/// The file with its tokens masked.
fn shown(file: &ConfigFile) -> serde_json::Value {
    let mut values = serde_json::Map::new();
    for key in ConfigKey::value_variants() {
        if let Some(value) = get(file, *key) {
            values.insert(name(*key).to_owned(), value.into());
        }
    }
    let tokens = file.tokens.keys().map(|server| (server.clone(), "***".into()));
    values.insert("tokens".to_owned(), serde_json::Value::Object(tokens.collect()));
    values.into()
}

fn name(key: ConfigKey) -> &'static str {
    match key {
        ConfigKey::ApiEndpoint => "api-endpoint",
        ConfigKey::Org => "org",
        ConfigKey::Output => "output",
        ConfigKey::Timeout => "timeout",
    }
}

fn get(file: &ConfigFile, key: ConfigKey) -> Option<String> {
    match key {
        ConfigKey::ApiEndpoint => file.api_endpoint.clone(),
        ConfigKey::Org => file.org.clone(),
        ConfigKey::Output => file
            .output
            .and_then(|format| format.to_possible_value())
            .map(|value| value.get_name().to_owned()),
        ConfigKey::Timeout => file.timeout.clone(),
    }
}

/// Only what would be accepted as a flag is stored.
fn set(file: &mut ConfigFile, key: ConfigKey, value: &str, plaintext: bool) -> Result<()> {
    let value = Some(value).filter(|value| !value.is_empty());
    match key {
        ConfigKey::ApiEndpoint => {
            let endpoint = value.map(|text| Endpoint::parse(text, plaintext)).transpose()?;
            file.api_endpoint = endpoint.map(|endpoint| endpoint.to_string());
        }
        ConfigKey::Org => file.org = value.map(str::to_owned),
        ConfigKey::Output => {
            file.output = value
                .map(|text| Format::from_str(text, true))
                .transpose()
                .map_err(|_| Error::input("output must be table, json, yaml or wide"))?;
        }
        ConfigKey::Timeout => {
            value
                .map(duration)
                .transpose()
                .map_err(|error| Error::input(format!("timeout: {error}")))?;
            file.timeout = value.map(str::to_owned);
        }
    }
    Ok(())
}
