//! The command line: what can be asked, in clap's words.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{exit, output::Format};

pub(crate) mod build;
pub(crate) mod notification;
pub(crate) mod plugin;
pub(crate) mod policy;
pub(crate) mod secrets;

/// Client of the Ignite build gateway
#[derive(Debug, Parser)]
#[command(name = "ignite", version, max_term_width = 100)]
#[command(after_help = exit::HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// How to show results. With json and yaml, stdout carries nothing but the response
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,

    /// http://HOST:PORT, https://HOST:PORT, or HOST:PORT for TLS [env: IGNITE_API_ENDPOINT] [default: http://127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ENDPOINT")]
    pub(crate) api_endpoint: Option<String>,

    /// Bearer token; other users of this machine can see it here, so better --token-file, a variable or `ignite login`
    /// [env: DODIL_TOKEN, then IGNITE_TOKEN]
    #[arg(long, global = true)]
    pub(crate) token: Option<String>,

    /// File that holds the token
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,

    /// Refuse to act if the token belongs to another organization than this. The organization itself always comes from
    /// the token
    #[arg(long, global = true)]
    pub(crate) org: Option<String>,

    /// No TLS when the endpoint is a bare HOST:PORT
    #[arg(long, global = true)]
    pub(crate) debug: bool,
}

/// The limit of a call. Not a global argument of clap's, because `build create` has a `--timeout` of another meaning.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct CallTimeout {
    /// Longest time for a call, for an upload to stand still, and for a followed build to be out of reach; a followed
    /// log is never cut. Such as 90, 30s, 5m [default: 5m]
    #[arg(id = "call_timeout", long = "timeout", value_name = "TIME", value_parser = duration)]
    pub(crate) call_timeout: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, follow and inspect builds
    #[command(subcommand)]
    Build(build::BuildCommand),
    /// Write, test and store plugins
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Say which plugins act on the organization's builds
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// See and repeat the announcements of ended builds that were not heard yet
    #[command(subcommand)]
    Notification(notification::NotificationCommand),
    /// Store an endpoint and its token, read from the terminal or from stdin
    Login(LoginArgs),
    /// Read and change the configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the completion script of a shell
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Store the token without asking the server whether it is good
    #[arg(long)]
    pub(crate) no_verify: bool,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print one value
    Get { key: ConfigKey },
    /// Store one value; an empty one removes it
    Set { key: ConfigKey, value: String },
    /// Print every value that is set
    List,
    /// Print where the file is
    Path,
}

/// What the configuration file holds. Tokens are stored by `ignite login` alone, so that none is given as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigKey {
    ApiEndpoint,
    Org,
    Output,
    Timeout,
}

/// `90` (seconds), `30s`, `5m`, `1h 30m`; more than nothing.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<u64>() {
        Ok(secs) => Duration::from_secs(secs),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "must be a time such as 90, 30s or 1h 30m".to_owned())?,
    };
    if parsed.is_zero() {
        return Err("must be more than nothing".to_owned());
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests;
