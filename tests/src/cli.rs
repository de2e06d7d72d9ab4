//! The client `ignite`, run as a user would.

use std::process::{Command, Output};

use crate::{command, paths};

/// A ready `ignite` command line for one gateway and token.
#[derive(Debug, Clone)]
pub struct Cli {
    address: String,
    token: String,
    /// Its home: no configuration file of this machine is read.
    home: std::sync::Arc<tempfile::TempDir>,
}

// === impl Cli ===

impl Cli {
    pub fn new(address: &str, token: &str) -> Self {
        Self {
            address: address.to_owned(),
            token: token.to_owned(),
            home: std::sync::Arc::new(tempfile::tempdir().unwrap()),
        }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(paths::binary("ignite"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("IGNITE_API_ENDPOINT", format!("http://{}", self.address))
            .env("IGNITE_TOKEN", &self.token);
        command
    }

    /// Runs it; a failure panics.
    pub fn run(&self, arguments: &[&str]) -> String {
        command::run(&mut self.command(arguments))
    }

    /// Runs it with `-o json`.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
        let text = self.run(&arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// Runs it to whatever end.
    pub fn output(&self, arguments: &[&str]) -> Output {
        command::output(&mut self.command(arguments))
    }
}
