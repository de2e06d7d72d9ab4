//! `ignite build secrets …`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use ignite_proto::v1;

use super::CallTimeout;

const STORED_HELP: &str = "There are three groups: registry logins, the git login and build secrets. A group of which \
                           something is given replaces the stored group as a whole, for values never come back to be merged; \
                           the other groups stay as they are.\n\nThe value of a line loses its line end; what has several lines \
                           stays as it is. No value is taken from the command line, where others could see it.";

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Store what the organization's builds are given: build secrets, registry logins, a git login
    #[command(after_help = STORED_HELP)]
    Set(Box<SetArgs>),
    /// List names and times of what is stored; values never come back
    Get {
        #[command(flatten)]
        timeout: CallTimeout,
    },
    /// Remove all that is stored of these groups
    Clear {
        #[arg(required = true, value_enum, value_name = "GROUP")]
        groups: Vec<GroupArg>,
        #[command(flatten)]
        timeout: CallTimeout,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args([
    "values", "from_file", "registry", "registry_from_file", "git_username", "ssh_key",
]))]
pub(crate) struct SetArgs {
    /// Build secret: NAME asks for its value on the terminal, NAME=- reads it from stdin
    #[arg(value_name = "NAME", value_parser = secret_value)]
    pub(crate) values: Vec<SecretValue>,

    /// Build secret with the content of a file; may be repeated
    #[arg(long, value_name = "NAME=PATH", value_parser = named_file)]
    pub(crate) from_file: Vec<(String, PathBuf)>,

    /// Login to a registry; asks for the password on the terminal unless --password-stdin is given
    #[arg(long, value_name = "HOST", requires = "username")]
    pub(crate) registry: Option<String>,

    /// Name to log in to the registry with
    #[arg(long, value_name = "NAME", requires = "registry")]
    pub(crate) username: Option<String>,

    /// Read the registry's password from stdin
    #[arg(long, requires = "registry")]
    pub(crate) password_stdin: bool,

    /// Login to a registry from a file that holds user:password, or its base64; may be repeated
    #[arg(long, value_name = "HOST=PATH", value_parser = named_file)]
    pub(crate) registry_from_file: Vec<(String, PathBuf)>,

    /// Name to log in to git servers with; asks for the password or token on the terminal unless --git-password-stdin is given
    #[arg(long, value_name = "NAME")]
    pub(crate) git_username: Option<String>,

    /// Read the git password or token from stdin
    #[arg(long, requires = "git_username")]
    pub(crate) git_password_stdin: bool,

    /// Git server that may be shown the git login; may be repeated [default: that of each build's own URL]
    #[arg(long = "git-host", value_name = "HOST")]
    pub(crate) git_hosts: Vec<String>,

    /// Private key for git over ssh, without a passphrase
    #[arg(long, value_name = "FILE", requires = "known_hosts")]
    pub(crate) ssh_key: Option<PathBuf>,

    /// Keys of the git servers, as ssh-keyscan prints them; other servers are refused
    #[arg(long, value_name = "FILE", requires = "ssh_key")]
    pub(crate) known_hosts: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,
}

/// Where the value of a build secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretValue {
    pub(crate) name: String,
    pub(crate) from_stdin: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupArg {
    /// Build secrets
    Build,
    /// Registry logins
    Registry,
    /// The git login
    Git,
}

// === impl SecretsCommand ===

impl SecretsCommand {
    /// The `--timeout` that stands behind the subcommand.
    pub(crate) fn call_timeout(&self) -> Option<Duration> {
        match self {
            Self::Set(args) => args.timeout.call_timeout,
            Self::Get { timeout } | Self::Clear { timeout, .. } => timeout.call_timeout,
        }
    }
}

// === impl GroupArg ===

impl From<GroupArg> for v1::SecretGroup {
    fn from(group: GroupArg) -> Self {
        match group {
            GroupArg::Build => Self::BuildSecrets,
            GroupArg::Registry => Self::RegistryCredentials,
            GroupArg::Git => Self::GitCredentials,
        }
    }
}

fn secret_value(text: &str) -> Result<SecretValue, String> {
    let value = |name: &str, from_stdin| SecretValue {
        name: name.to_owned(),
        from_stdin,
    };
    match text.split_once('=') {
        None if !text.is_empty() => Ok(value(text, false)),
        Some((name, "-")) if !name.is_empty() => Ok(value(name, true)),
        // clap shows what was given, which is seen already where it was typed.
        Some(_) | None => Err(
            "must be NAME, or NAME=- for stdin: values are not taken from the command line, see --from-file"
                .to_owned(),
        ),
    }
}

fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(path)))
        }
        Some(_) | None => Err("must be NAME=PATH".to_owned()),
    }
}
