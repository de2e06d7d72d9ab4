//! `ignite policy …`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Subcommand};

use super::{CallTimeout, plugin::PageArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Print the policy in force, or an earlier revision. The document goes to stdout, what is known of it to stderr;
    /// with -o wide, json or yaml all goes to stdout
    Get {
        /// [default: the one in force]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        revision: Option<u64>,
        #[command(flatten)]
        timeout: CallTimeout,
    },
    /// Put a policy in force for all builds from now on
    Put(PutArgs),
    /// List the revisions, newest first
    Revisions(PageArgs),
    /// Run case files against a policy's document
    Test(PolicyTestArgs),
    /// Show what a policy would do to a build; nothing is stored or started. Exits with 1 if it would be denied
    DryRun(DryRunArgs),
    /// Print the JSON Schema of policy documents, for editors
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// A policy's document; `-` is stdin
    pub(crate) file: PathBuf,

    /// Refuse if another policy is in force by now than the one of this etag [default: the etag of the one in force when
    /// the command starts]
    #[arg(long, conflicts_with = "force")]
    pub(crate) etag: Option<String>,

    /// Replace whatever is in force
    #[arg(long)]
    pub(crate) force: bool,

    /// Check all, store nothing
    #[arg(long)]
    pub(crate) validate_only: bool,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("where").required(true).args(["plugins", "server"]))]
pub(crate) struct PolicyTestArgs {
    /// A policy's document
    pub(crate) file: PathBuf,

    /// Case files, or folders of them
    #[arg(required = true, value_name = "CASE")]
    pub(crate) cases: Vec<PathBuf>,

    /// Run here, offline, with the components (*.wasm) of this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) plugins: Option<PathBuf>,

    /// Ask the gateway, with the plugins that it has stored
    #[arg(long)]
    pub(crate) server: bool,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,
}

#[derive(Debug, Args)]
pub(crate) struct DryRunArgs {
    /// The build: fields of CreateBuildRequest as JSON or TOML (by the file's ending); `-` is stdin, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) request: PathBuf,

    /// A policy's document to try [default: the policy in force]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// The Dockerfile, for inspect hooks where the source is not an archive in the request
    #[arg(long, value_name = "FILE")]
    pub(crate) dockerfile: Option<PathBuf>,

    /// A piece of a log, to see what would be taken out of it; at most 64 KiB
    #[arg(long, value_name = "FILE")]
    pub(crate) log_sample: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,
}

// === impl PolicyCommand ===

impl PolicyCommand {
    /// The `--timeout` that stands behind the subcommand.
    pub(crate) fn call_timeout(&self) -> Option<Duration> {
        match self {
            Self::Get { timeout, .. } => timeout.call_timeout,
            Self::Put(args) => args.timeout.call_timeout,
            Self::Revisions(args) => args.timeout.call_timeout,
            Self::Test(args) => args.timeout.call_timeout,
            Self::DryRun(args) => args.timeout.call_timeout,
            Self::Schema => None,
        }
    }
}
