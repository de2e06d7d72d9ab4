//! `ignite`, the build gateway's command-line client.
//!
//! A command turns its arguments into calls of [`client`], and what comes back into text by [`output`]. Whatever the
//! server sends is untrusted: names, errors and records reach a terminal with control characters made visible; only a
//! build's log goes through as it is.

mod args;
mod case;
mod client;
mod commands;
mod error;
mod exit;
mod follow;
mod interrupt;
mod offline;
mod output;
mod pack;
mod patience;
mod progress;
mod settings;
mod upload;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Before anything else: this process compiles what nobody has looked at, within limits that it sets itself first.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == offline::COMPILE_CHILD)
    {
        return ignite_plugins::runtime::compile_child();
    }
    let cli = args::Cli::parse();
    let format = cli.global.output;
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::errors::print(&error, format.unwrap_or_default());
            ExitCode::from(exit::code(&error))
        }
    }
}
