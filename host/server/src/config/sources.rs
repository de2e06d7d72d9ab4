//! Where values come from.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use super::{
    ConfigError,
    settings::{self, SETTINGS},
};
use crate::vault::MASTER_KEY_VARIABLE;

/// What was said outside the file.
#[derive(Clone, Default)]
pub struct Sources {
    /// The TOML file, if one is to be read.
    pub file: Option<PathBuf>,
    /// The whole environment; only `IGNITED_*` is looked at.
    pub environment: BTreeMap<String, String>,
    /// By setting name.
    pub flags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    Flag(String),
}

/// Text values by setting, and what is wrong with them so far.
#[derive(Debug, Default)]
pub(super) struct Values {
    values: BTreeMap<&'static str, (String, Origin)>,
    pub(super) errors: Vec<ConfigError>,
    /// The value of [`MASTER_KEY_VARIABLE`], if that is set.
    pub(super) master_key: Option<SecretString>,
}

/// Variables that are the daemon's but no settings.
const OTHER_VARIABLES: [&str; 2] = ["IGNITED_CONFIG", MASTER_KEY_VARIABLE];
/// What Kubernetes sets in pods beside a Service named `ignited`.
const OTHER_PREFIXES: [&str; 2] = ["IGNITED_SERVICE_", "IGNITED_PORT"];

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(path) => path.display().fmt(f),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag(flag) => write!(f, "--{flag}"),
        }
    }
}

// === impl Sources ===

/// The environment may hold anybody's secrets, and one of ours.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// Every setting that has a value, with it and where it comes from; none of them is a secret.
    pub fn effective(self) -> Vec<(&'static str, String, Origin)> {
        let values = Values::gather(self);
        values
            .values
            .into_iter()
            .map(|(name, (value, origin))| (name, value, origin))
            .collect()
    }
}

// === impl Values ===

impl Values {
    pub(super) fn gather(sources: Sources) -> Self {
        let mut gathered = Self::default();
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                gathered
                    .values
                    .insert(setting.name, (default.to_owned(), Origin::Default));
            }
        }
        if let Some(file) = sources.file {
            gathered.read_file(&file);
        }
        gathered.read_environment(&sources.environment);
        for setting in SETTINGS {
            if let Some(value) = sources.flags.get(setting.name) {
                gathered
                    .values
                    .insert(setting.name, (value.clone(), Origin::Flag(setting.flag())));
            }
        }
        gathered
    }

    fn read_file(&mut self, path: &Path) {
        let origin = Origin::File(path.to_owned());
        let whole = |problem: String| ConfigError {
            setting: "the configuration file".to_owned(),
            origin: origin.clone(),
            problem,
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.errors.push(whole(format!("cannot be read: {error}"))),
        };
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => return self.errors.push(whole(format!("is not TOML: {error}"))),
        };
        for (key, value) in table {
            let Some(setting) = SETTINGS.iter().find(|setting| setting.name == key) else {
                self.errors.push(unknown(key, origin.clone()));
                continue;
            };
            match scalar(&value) {
                Some(text) => {
                    self.values.insert(setting.name, (text, origin.clone()));
                }
                None => self.errors.push(ConfigError {
                    setting: key,
                    origin: origin.clone(),
                    problem: "must be a string, a number, a boolean, or a list of strings".to_owned(),
                }),
            }
        }
    }

    fn read_environment(&mut self, environment: &BTreeMap<String, String>) {
        self.master_key = environment
            .get(MASTER_KEY_VARIABLE)
            .map(|text| SecretString::from(text.as_str()));
        for (variable, value) in environment {
            let ours = variable.starts_with("IGNITED_")
                && !OTHER_VARIABLES.contains(&variable.as_str())
                && !OTHER_PREFIXES.iter().any(|prefix| variable.starts_with(prefix));
            if !ours {
                continue;
            }
            let origin = Origin::Environment(variable.clone());
            match SETTINGS.iter().find(|setting| setting.variable() == *variable) {
                Some(setting) => {
                    self.values.insert(setting.name, (value.clone(), origin));
                }
                None => {
                    let name = variable.trim_start_matches("IGNITED_").to_ascii_lowercase();
                    self.errors.push(unknown(name, origin));
                }
            }
        }
    }

    /// The value of a setting that must have one. None once an error says why.
    pub(super) fn get<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.optional(name, parse);
        if value.is_none() && !self.values.contains_key(name) {
            self.wrong(name, "is required");
        }
        value
    }

    /// The value of a setting that may be unset; empty counts as unset.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (text, _) = self.values.get(name)?;
        if text.is_empty()
            && SETTINGS
                .iter()
                .any(|setting| setting.name == name && setting.default.is_none())
        {
            return None;
        }
        match parse(text) {
            Ok(value) => Some(value),
            Err(expected) => {
                let problem = format!("{text:?} is not {expected}");
                self.wrong(name, &problem);
                None
            }
        }
    }

    /// The parts between commas.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let each = |text: &str| {
            text.split(',')
                .map(str::trim)
                .map(&parse)
                .collect::<Result<Vec<_>, _>>()
        };
        self.optional(name, each).unwrap_or_default()
    }

    /// Of the master key: its value is not to be shown.
    pub(super) fn wrong_key(&mut self, problem: &str) {
        self.errors.push(ConfigError {
            setting: "the master key".to_owned(),
            origin: Origin::Environment(MASTER_KEY_VARIABLE.to_owned()),
            problem: problem.to_owned(),
        });
    }

    pub(super) fn wrong(&mut self, name: &'static str, problem: &str) {
        let origin = self
            .values
            .get(name)
            .map_or(Origin::Default, |(_, origin)| origin.clone());
        self.errors.push(ConfigError {
            setting: name.to_owned(),
            origin,
            problem: problem.to_owned(),
        });
    }
}

fn unknown(name: String, origin: Origin) -> ConfigError {
    let problem = match settings::like(&name) {
        Some(like) => format!("is no setting; did you mean {like}?"),
        None => "is no setting; `ignited config print` lists them".to_owned(),
    };
    ConfigError {
        setting: name,
        origin,
        problem,
    }
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => items
            .iter()
            .map(toml::Value::as_str)
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(",")),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}
