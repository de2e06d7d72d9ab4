//! `ignite-shim PROGRAM ARGS…`: runs the program, with its errors in the same stream as its output, and tells where in that stream
//! each piece of it stands. Environment, arguments and standard input are the program's.
//!
//! A container's log passes through a runtime, files that are rotated, a kubelet and an API server. All of them may lose a part of it, or
//! be asked for the same part again, and none would say so. With numbers a reader knows. And a container runtime keeps two streams
//! apart until it writes them down: Kaniko's words would mix with those of the steps that it runs. One pipe has one order.
//!
//! A line for each line of the program, or for a piece of one, and one at the end:
//!
//! ```text
//!   .<n> <text>    the text is what follows the first n bytes, with the newline behind it
//!   +<n> <text>    as well, but no newline was written there
//!   !<n>           n bytes were all of them
//! ```
//!
//! The server reads it: `host/server/src/sources/fetch/frames.rs`.

mod frames;
mod run;

use std::{env, process::ExitCode};

/// As shells have it, for a program that cannot be started.
const CANNOT_START: u8 = 127;

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let Some(program) = args.next() else {
        eprintln!("ignite-shim: no program to start was given");
        return CANNOT_START.into();
    };
    match run::run(&program, args) {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("ignite-shim: {}: {error}", program.display());
            CANNOT_START.into()
        }
    }
}
