//! `ignite plugin …`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use ignite_core::hook::Hook;

use super::{CallTimeout, duration};

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Make a new plugin's folder, with a hook that works and a test case
    New(NewArgs),
    /// Compile the plugin in a folder into a component
    Build(BuildArgs),
    /// Show what a component is, and whether the gateway would take it
    Inspect(InspectArgs),
    /// Run a plugin's test cases here, as the gateway would run it
    Test(TestArgs),
    /// Measure a plugin's hook here, in the gateway's runtime
    Bench(BenchArgs),
    /// Upload a component; its name and version are what it says
    Push(PushArgs),
    /// Let the gateway take a component from an OCI registry
    Import {
        /// REGISTRY/REPOSITORY@sha256:HEX of the manifest
        reference: String,
        #[command(flatten)]
        timeout: CallTimeout,
    },
    /// List the organization's plugins, each with all its versions
    List(PageArgs),
    /// Show a stored plugin
    Get {
        #[arg(value_name = "NAME[@VERSION]")]
        plugin: PluginRef,
        #[command(flatten)]
        timeout: CallTimeout,
    },
    /// Delete one version of a plugin; without a version all of them. Refused while the policy in force names it
    Delete {
        #[arg(value_name = "NAME[@VERSION]")]
        plugin: PluginRef,
        #[command(flatten)]
        timeout: CallTimeout,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Lower-case letters, digits and `-`, at most 63 characters
    pub(crate) name: String,

    #[arg(long, short, value_enum)]
    pub(crate) language: Language,

    /// Where it acts; may be repeated or separated by commas
    #[arg(long = "hook", value_name = "HOOK", required = true, value_delimiter = ',', value_parser = hook)]
    pub(crate) hooks: Vec<Hook>,

    /// The folder to make [default: NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    #[value(alias = "js")]
    Javascript,
    Python,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A component's file, or a stored plugin's NAME[@VERSION]
    #[arg(value_name = "FILE|NAME[@VERSION]")]
    pub(crate) what: String,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// A plugin's folder, or a component's file
    #[arg(default_value = ".", value_name = "DIR|FILE")]
    pub(crate) plugin: PathBuf,

    /// A case file; may be repeated [default: tests/*.toml of the folder, or of the current one for a file]
    #[arg(long = "case", value_name = "FILE")]
    pub(crate) cases: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// A component's file
    pub(crate) file: PathBuf,

    /// The case that says which hook is called with what
    #[arg(long, value_name = "FILE")]
    pub(crate) case: PathBuf,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub(crate) duration: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// A component's file
    pub(crate) file: PathBuf,

    /// Send it under this NAME@VERSION without looking at it first; the gateway still checks that it is what the component
    /// says
    #[arg(long = "as", value_name = "NAME@VERSION")]
    pub(crate) unexamined: Option<PluginRef>,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,
}

/// Which part of a list.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Number of rows [default: 20, at most 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) limit: Option<i32>,

    /// Continue a list where it ended
    #[arg(long)]
    pub(crate) cursor: Option<String>,

    /// Everything, not one page
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,
}

/// A stored plugin as it is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PluginRef {
    pub(crate) name: String,
    /// Empty if none was given.
    pub(crate) version: String,
}

// === impl PluginCommand ===

impl PluginCommand {
    /// The `--timeout` that stands behind the subcommand.
    pub(crate) fn call_timeout(&self) -> Option<Duration> {
        match self {
            Self::New(_) | Self::Build(_) | Self::Test(_) | Self::Bench(_) => None,
            Self::Inspect(args) => args.timeout.call_timeout,
            Self::Push(args) => args.timeout.call_timeout,
            Self::List(args) => args.timeout.call_timeout,
            Self::Import { timeout, .. } | Self::Get { timeout, .. } | Self::Delete { timeout, .. } => {
                timeout.call_timeout
            }
        }
    }
}

// === impl PluginRef ===

impl std::str::FromStr for PluginRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('@') {
            Some((_, "")) => return Err("must be NAME or NAME@VERSION, such as base-images@0.1.0".to_owned()),
            Some((name, version)) => (name, version),
            None => (text, ""),
        };
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
        })
    }
}

/// A name that the gateway would take.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=63).contains(&name.len()) && name.bytes().all(fits) {
        Ok(())
    } else {
        Err("a plugin's name must be 1 to 63 lower-case letters, digits and `-`".to_owned())
    }
}

fn hook(text: &str) -> Result<Hook, String> {
    text.parse::<Hook>()
        .map_err(|invalid| format!("must be {}", invalid.form))
}
