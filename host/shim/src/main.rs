//! `ignite-shim PROGRAM ARGS…`: becomes the program, with what it writes to standard error going where its standard output
//! goes. Environment, arguments and standard input are untouched.
//!
//! A container runtime keeps two streams apart until it writes them down, line by line as each happens to come, and parts of
//! long lines in between each other: Kaniko's words would mix with those of the steps that it runs. One pipe has one order.

use std::{env, ffi::OsStr, io, os::fd::AsFd as _, os::unix::process::CommandExt as _, process::Command};

/// As shells have it, for a program that cannot be started.
const CANNOT_START: i32 = 127;

fn main() {
    let mut args = env::args_os().skip(1);
    let Some(program) = args.next() else {
        fail("no program to start was given");
    };
    let error = become_program(&program, args);
    fail(&format!("{} cannot be started: {error}", program.display()));
}

/// Returns only if it failed.
fn become_program(program: &OsStr, args: impl Iterator<Item = std::ffi::OsString>) -> io::Error {
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(stdout) => Command::new(program).args(args).stderr(stdout).exec(),
        Err(error) => error,
    }
}

fn fail(why: &str) -> ! {
    eprintln!("ignite-shim: {why}");
    std::process::exit(CANNOT_START)
}
