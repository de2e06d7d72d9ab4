//! Each command: arguments in, calls, output.

use std::io::Write as _;

use clap::CommandFactory as _;

use crate::{
    args::{Cli, Command, plugin::PageArgs},
    error::{Error, Result},
    output::{self, text::line},
    settings::{Settings, file::ConfigFile, process_env},
};

mod build;
mod config;
mod create;
mod login;
mod notification;
mod plugin;
mod policy;
mod secrets;

pub(crate) fn run(cli: Cli) -> Result<()> {
    let Cli {
        global,
        timeout,
        command,
    } = cli;
    if let Command::Completions { shell } = command {
        return completions(shell);
    }
    let path = ConfigFile::path(&process_env);
    if let Command::Config(command) = command {
        return config::run(command, &path?, &global);
    }
    // Without a home there is no file, and nothing that needs one.
    let file = match &path {
        Ok(path) => ConfigFile::load(path)?,
        Err(_) => ConfigFile::default(),
    };
    let behind_command = match &command {
        Command::Build(command) => command.call_timeout(),
        Command::Plugin(command) => command.call_timeout(),
        Command::Policy(command) => command.call_timeout(),
        Command::Notification(command) => command.call_timeout(),
        Command::Login(args) => args.timeout.call_timeout,
        Command::Config(_) | Command::Completions { .. } => None,
    };
    let call_timeout = behind_command.or(timeout.call_timeout);
    let settings = Settings::resolve(&global, call_timeout, &process_env, &file)?;
    if let Ok(path) = &path
        && let Some(warning) = file.exposure(path)
    {
        warn(&settings, &warning);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::local("cannot start", error))?;
    let result = runtime.block_on(async {
        match command {
            Command::Build(command) => build::run(command, &settings).await,
            Command::Plugin(command) => plugin::run(command, &settings).await,
            Command::Policy(command) => policy::run(command, &settings).await,
            Command::Notification(command) => notification::run(command, &settings).await,
            Command::Login(args) => login::run(&args, settings, file, &path?).await,
            // Both are done above, without a server.
            Command::Config(_) | Command::Completions { .. } => Ok(()),
        }
    });
    // A write to a terminal that does not take it would hold the exit back for ever.
    runtime.shutdown_background();
    result
}

/// The server's largest page.
const PAGE: i32 = 100;

/// Reads one page of a list, or all of them: `read` takes a limit and a cursor, keeps the rows and returns the next cursor.
/// Returns where the list goes on; empty if it is at its end.
async fn pages(args: PageArgs, mut read: impl AsyncFnMut(i32, String) -> Result<String>) -> Result<String> {
    let limit = if args.all { PAGE } else { args.limit.unwrap_or(0) };
    let mut cursor = args.cursor.unwrap_or_default();
    loop {
        let next = read(limit, cursor.clone()).await?;
        if next.is_empty() || !args.all {
            return Ok(next);
        }
        if next == cursor {
            return Err(Error::Nonsense("a next page that is the same page"));
        }
        cursor = next;
    }
}

fn say_there_are_more(settings: &Settings, next_cursor: &str) {
    if !settings.output.is_for_programs() && !next_cursor.is_empty() {
        let cursor = line(next_cursor);
        output::stderr(&format!("There are more: --cursor {cursor}, or --all"));
    }
}

/// A warning for a human; programs parse what stderr says.
fn warn(settings: &Settings, text: &str) {
    if !settings.output.is_for_programs() {
        output::stderr(&format!("warning: {}", line(text)));
    }
}

fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ignite", &mut script);
    std::io::stdout().lock().write_all(&script).map_err(Error::stdout)
}
