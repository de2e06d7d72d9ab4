//! What the daemon leaves in a run's directory for the supervisor and the fetch step.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use ignite_core::{ids::RunId, secrets::RunSecrets, spec::ArgValue};
use nix::unistd::dup2_stdin;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    executor::{
        RunPlan, RunSource,
        local::{LocalConfig, sandbox::SandboxConfig},
    },
    unnamed,
};

/// `orders.json`: all that a supervisor needs to know, except what is secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) run: RunId,
    pub(super) kaniko_args: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) runtime: PathBuf,
    pub(super) sandbox: SandboxConfig,
    /// The fetch step's program and first arguments; `--run-dir DIR` comes behind.
    pub(super) fetch: Vec<PathBuf>,
    /// To wait for a go-ahead between fetch and build.
    #[serde(default)]
    pub(super) gated: bool,
}

/// What a supervisor is given by its standard input, and what is nowhere else but in memory.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Secrets {
    pub(super) build_args: BTreeMap<String, ArgValue>,
    /// The git login only where there is a git source.
    pub(super) run: RunSecrets,
}

/// A run's secrets are no longer than this as they are handed over.
const SECRETS_BYTES_MAX: u64 = 64 << 20;

// === impl Secrets ===

impl Secrets {
    pub(super) fn of(plan: &RunPlan) -> Self {
        let mut run = plan.secrets.clone();
        if !matches!(plan.source, RunSource::Git(_)) {
            run.git = None;
        }
        Self {
            build_args: plan.build_args.clone(),
            run,
        }
    }

    /// The supervisor's standard input.
    pub(super) fn to_stdin(&self) -> io::Result<Stdio> {
        stdin_of(self)
    }

    /// Takes them from standard input, which is `/dev/null` from then on: no other process is to find them there.
    pub(super) fn from_stdin() -> io::Result<Self> {
        let mut text = Zeroizing::new(Vec::new());
        io::stdin().take(SECRETS_BYTES_MAX).read_to_end(&mut text)?;
        dup2_stdin(File::open("/dev/null")?)?;
        if text.is_empty() {
            return Ok(Self::default());
        }
        // The parser's message could quote them.
        serde_json::from_slice(&text).map_err(|_| io::Error::other("the secrets are damaged"))
    }
}

/// A standard input that holds `value`.
pub(super) fn stdin_of(value: &impl Serialize) -> io::Result<Stdio> {
    let text = Zeroizing::new(serde_json::to_vec(value)?);
    Ok(Stdio::from(unnamed::holding(&text)?))
}

// === impl Orders ===

impl Orders {
    pub(super) fn new(plan: &RunPlan, config: &LocalConfig, runtime: &Path) -> Self {
        let fetch = match &config.fetch_program {
            Some(program) => vec![program.clone()],
            None => vec![config.program.clone(), PathBuf::from("fetch")],
        };
        Self {
            run: plan.run,
            kaniko_args: plan.kaniko_args.clone(),
            timeout: plan.timeout,
            runtime: runtime.to_owned(),
            sandbox: config.sandbox(),
            fetch,
            gated: plan.gated,
        }
    }

    /// Where in the sandbox Kaniko was told to write the image's digest, without the leading slash.
    pub(super) fn digest_file(&self) -> Option<&str> {
        self.kaniko_args
            .iter()
            .find_map(|arg| arg.strip_prefix("--digest-file="))
            .map(|path| path.trim_start_matches('/'))
    }
}
