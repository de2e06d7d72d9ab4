//! What the daemon leaves in a run's directory for the supervisor and the fetch step.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use ignite_core::{ids::RunId, spec::ArgValue};
use serde::{Deserialize, Serialize};

use crate::executor::{
    RunPlan,
    local::{LocalConfig, sandbox::SandboxConfig},
};

/// `orders.json`: all that a supervisor needs to know, except the values of build args.
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

/// `secrets.json`.
pub(super) type Secrets = BTreeMap<String, ArgValue>;

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
