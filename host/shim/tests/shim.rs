//! The real program.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn shim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ignite-shim"))
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("SECRET", "a b\nc")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn both_outputs_are_one_in_the_order_in_which_they_were_written() {
    let script = "for i in 1 2 3; do echo out $i; echo err $i >&2; done; exit 7";
    let output = shim(&["/bin/sh", "-c", script]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(text(&output.stdout), "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn the_program_gets_its_arguments_and_environment_as_they_are() {
    let output = shim(&[
        "/bin/sh",
        "-c",
        "printf '%s|' \"$0\" \"$@\" \"$SECRET\"",
        "zero",
        "",
        "two three",
    ]);
    assert_eq!(text(&output.stdout), "zero||two three|a b\nc|");
    let environment = shim(&["env"]);
    let mut lines: Vec<_> = text(&environment.stdout).lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["PATH=/usr/bin:/bin", "SECRET=a b", "c"]);
}

#[test]
fn the_program_takes_the_shims_place() {
    // A signal to the container's first process must reach Kaniko.
    let mut child = Command::new(env!("CARGO_BIN_EXE_ignite-shim"))
        .args(["/bin/sleep", "60"])
        .spawn()
        .unwrap();
    let pid = child.id();
    let name = || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    while name() != "sleep\n" {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_cannot_be_started_is_127_and_says_why() {
    for (args, why) in [
        (
            &["/nowhere/executor", "--flag"][..],
            "/nowhere/executor cannot be started: No such file",
        ),
        (
            &["/etc/passwd"],
            "/etc/passwd cannot be started: Permission denied",
        ),
        (&[], "no program to start was given"),
    ] {
        let output = shim(args);
        assert_eq!(output.status.code(), Some(127), "{args:?}");
        let said = [output.stdout, output.stderr].concat();
        assert!(text(&said).contains(why), "{}", text(&said));
    }
}
