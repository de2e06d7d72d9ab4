//! `ignite build …`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use ignite_proto::v1;

use super::{CallTimeout, duration, secrets::SecretsCommand};

#[derive(Debug, Subcommand)]
pub(crate) enum BuildCommand {
    /// Start a build from a folder, an uploaded context or a git repository
    Create(Box<CreateArgs>),
    /// Upload a folder as a context for later builds
    Upload(UploadArgs),
    /// Show one build
    Get {
        #[arg(value_name = "ID")]
        build_id: String,
        #[command(flatten)]
        timeout: CallTimeout,
    },
    /// List builds, newest first
    List(ListArgs),
    /// Print a build's log
    Logs(LogsArgs),
    /// Ask for a build to be cancelled; one that has ended stays as it is
    Cancel {
        #[arg(value_name = "ID")]
        build_id: String,
        #[command(flatten)]
        timeout: CallTimeout,
    },
    /// Start a new build from the specification of an earlier one
    Retry(RetryArgs),
    /// Release a build that a policy holds
    Approve {
        #[arg(value_name = "ID")]
        build_id: String,
        /// Recorded with the build
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        timeout: CallTimeout,
    },
    /// Store, list and remove what the organization's builds are given: build secrets, registry and git logins
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Show a build at every change of its state or steps until it ends; exits by its result
    Watch {
        #[arg(value_name = "ID")]
        build_id: String,
        #[command(flatten)]
        timeout: CallTimeout,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Build and image name
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) source: SourceArgs,

    /// Path of the Dockerfile, relative to the context's root [default: Dockerfile]
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) dockerfile: Option<String>,

    /// Image tag; may be repeated [default: latest]
    #[arg(long = "tag", short, value_name = "TAG")]
    pub(crate) tags: Vec<String>,

    /// Value of an ARG; NAME alone takes it from the environment. May be repeated
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]", value_parser = build_arg)]
    pub(crate) build_args: Vec<BuildArg>,

    /// Use no cached layers
    #[arg(long)]
    pub(crate) no_cache: bool,

    /// os/arch[/variant], such as linux/amd64
    #[arg(long)]
    pub(crate) platform: Option<String>,

    /// Longest time the build may take, such as 600, 90s, 20m. (The limit of the call itself is `ignite --timeout TIME
    /// build create …`)
    #[arg(id = "build_timeout", long = "timeout", value_name = "TIME", value_parser = duration)]
    pub(crate) build_timeout: Option<Duration>,

    /// Label of the build; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) labels: Vec<(String, String)>,

    /// -100 to 100; higher runs earlier within the organization
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) priority: i32,

    /// The same key returns the same build instead of a new one [default: a random one]
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,

    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("source").required(true).args(["context", "context_id", "git_url"]))]
pub(crate) struct SourceArgs {
    /// Folder to build from. `.dockerignore` is honoured
    #[arg(long, value_name = "DIR")]
    pub(crate) context: Option<PathBuf>,

    /// An id that `ignite build upload` printed
    #[arg(long, value_name = "ID")]
    pub(crate) context_id: Option<String>,

    /// Git repository to build from
    #[arg(long, value_name = "URL")]
    pub(crate) git_url: Option<String>,

    /// Branch, tag or commit [default: main]
    #[arg(long, value_name = "REF", requires = "git_url", conflicts_with_all = ["context", "context_id"])]
    pub(crate) git_ref: Option<String>,

    /// Folder of the repository to build from
    #[arg(long, value_name = "DIR", requires = "git_url", conflicts_with_all = ["context", "context_id"])]
    pub(crate) git_dir: Option<String>,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct FollowArgs {
    /// Print the live log until the build ends, then its result, and exit by that. Ctrl-C detaches, a second one cancels.
    /// The log goes to stdout and the result to stderr; of a new build with -o json or yaml it is the other way round
    #[arg(long)]
    pub(crate) follow: bool,

    /// Ctrl-C cancels the build instead of leaving it running
    #[arg(long, requires = "follow")]
    pub(crate) cancel_on_interrupt: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UploadArgs {
    /// Folder to pack. `.dockerignore` is honoured
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: PathBuf,

    /// What the context is for, shown in the gateway's logs
    #[arg(long)]
    pub(crate) name: String,

    /// The Dockerfile that will be built, so that its own `.dockerignore` is found and it is never left out
    #[arg(long, short = 'f', value_name = "FILE", default_value = "Dockerfile")]
    pub(crate) dockerfile: String,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Number of builds [default: 20, at most 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) limit: Option<i32>,

    /// Only builds in this state
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) status: Option<StatusArg>,

    /// Only builds of exactly this name
    #[arg(long)]
    pub(crate) name: Option<String>,

    /// Only builds with this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) labels: Vec<(String, String)>,

    /// Continue a list where it ended
    #[arg(long)]
    pub(crate) cursor: Option<String>,

    /// Every build, not one page
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[arg(value_name = "ID")]
    pub(crate) build_id: String,

    /// Start at this byte of the log
    #[arg(long, value_name = "N", conflicts_with = "tail_from_now")]
    pub(crate) offset: Option<u64>,

    /// Skip what was logged before
    #[arg(long, requires = "follow")]
    pub(crate) tail_from_now: bool,

    #[command(flatten)]
    pub(crate) follow: FollowArgs,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    #[arg(value_name = "ID")]
    pub(crate) build_id: String,

    /// The same key returns the same build instead of a new one [default: a random one]
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,

    #[command(flatten)]
    pub(crate) follow: FollowArgs,

    #[command(flatten)]
    pub(crate) timeout: CallTimeout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusArg {
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// A build arg's name and value. `Debug` shows no value.
#[derive(Clone)]
pub(crate) struct BuildArg {
    pub(crate) name: String,
    pub(crate) value: String,
}

// === impl BuildCommand ===

impl BuildCommand {
    /// The `--timeout` that stands behind the subcommand.
    pub(crate) fn call_timeout(&self) -> Option<Duration> {
        match self {
            Self::Create(_) => None,
            Self::Upload(args) => args.timeout.call_timeout,
            Self::List(args) => args.timeout.call_timeout,
            Self::Logs(args) => args.timeout.call_timeout,
            Self::Retry(args) => args.timeout.call_timeout,
            Self::Secrets(command) => command.call_timeout(),
            Self::Get { timeout, .. }
            | Self::Cancel { timeout, .. }
            | Self::Approve { timeout, .. }
            | Self::Watch { timeout, .. } => timeout.call_timeout,
        }
    }
}

// === impl StatusArg ===

impl From<StatusArg> for v1::BuildStatus {
    fn from(status: StatusArg) -> Self {
        match status {
            StatusArg::Pending => Self::Pending,
            StatusArg::Running => Self::Running,
            StatusArg::Succeeded => Self::Succeeded,
            StatusArg::Failed => Self::Failed,
            StatusArg::Cancelled => Self::Cancelled,
        }
    }
}

// === impl BuildArg ===

impl std::fmt::Debug for BuildArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BuildArg({:?})", self.name)
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("must be KEY=VALUE".to_owned()),
    }
}

fn build_arg(text: &str) -> Result<BuildArg, String> {
    if let Ok((name, value)) = key_value(text) {
        return Ok(BuildArg { name, value });
    }
    if text.is_empty() || text.starts_with('=') {
        return Err("must be NAME=VALUE or NAME".to_owned());
    }
    match std::env::var(text) {
        Ok(value) => Ok(BuildArg {
            name: text.to_owned(),
            value,
        }),
        Err(_) => Err(format!("{text} is not set in the environment")),
    }
}
