//! The configuration file: `$IGNITE_CONFIG`, or `ignite/config.toml` under `$XDG_CONFIG_HOME` or `~/.config`.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Env, token::Token};
use crate::{
    error::{Error, Result},
    output::Format,
};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ConfigFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) org: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Format>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<String>,
    /// By endpoint, so that a token never goes to another server than its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tokens: BTreeMap<String, Token>,
}

// === impl ConfigFile ===

impl ConfigFile {
    pub(crate) fn path(env: Env<'_>) -> Result<PathBuf> {
        if let Some(path) = env("IGNITE_CONFIG") {
            return Ok(path.into());
        }
        let base = match (env("XDG_CONFIG_HOME"), env("HOME")) {
            (Some(base), _) => PathBuf::from(base),
            (None, Some(home)) => Path::new(&home).join(".config"),
            (None, None) => return Err(Error::input("neither HOME nor IGNITE_CONFIG is set")),
        };
        Ok(base.join("ignite").join("config.toml"))
    }

    /// A file that is not there is an empty one.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => {
                Self::parse(&text).map_err(|error| Error::input(format!("{}: {error}", path.display())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::input(format!("cannot read {}: {error}", path.display()))),
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            // The whole error would quote the line, and with it perhaps a token.
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| before.matches('\n').count() + 1);
            Error::input(format!("line {line}: {}", error.message()))
        })
    }

    /// Replaces the file as a whole; only its owner can read it.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|error| Error::input(error.to_string()))?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let write = || -> io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let mut file = tempfile::Builder::new()
                .prefix(".config")
                .permissions(fs::Permissions::from_mode(0o600))
                .tempfile_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|error| Error::local(format!("cannot write {}", path.display()), error))
    }

    /// A word of warning if others can read the tokens in it.
    pub(crate) fn exposure(&self, path: &Path) -> Option<String> {
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (!self.tokens.is_empty() && mode & 0o077 != 0).then(|| {
            format!(
                "{} holds a token and has mode {mode:03o}; make it 600",
                path.display()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_only_the_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/config.toml");
        assert_eq!(ConfigFile::load(&path).unwrap(), ConfigFile::default());
        let config = ConfigFile {
            api_endpoint: Some("https://ignite.example".to_owned()),
            output: Some(Format::Json),
            tokens: [("https://ignite.example".to_owned(), Token::new("t0k3n").unwrap())].into(),
            ..ConfigFile::default()
        };
        config.save(&path).unwrap();
        assert_eq!(ConfigFile::load(&path).unwrap(), config);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(config.exposure(&path), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(config.exposure(&path).unwrap().contains("644"));
        config.save(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn errors_name_the_line_and_do_not_quote_it() {
        for text in [
            "org = 'a'\n[tokens]\nx = 'hunter2\n",
            "org = 'a'\n[tokens]\nx = 'hun ter2'\n",
            "org = 'a'\n[tokens]\nx = ['hunter2']\n",
        ] {
            let error = ConfigFile::parse(text).unwrap_err().to_string();
            assert!(error.contains("line") && !error.contains("ter2"), "{error}");
        }
    }
}
