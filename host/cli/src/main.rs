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
use ignite_plugins::schema;

fn main() -> ExitCode {
    // Before anything else: these children look at what nobody has looked at, within limits that they set themselves first.
    match std::env::args_os().nth(1) {
        Some(first) if first == offline::COMPILE_CHILD => return ignite_plugins::runtime::compile_child(),
        Some(first) if first == schema::CHILD_COMMAND => return schema::child(),
        Some(_) | None => {}
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
