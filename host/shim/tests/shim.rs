//! The shim as a process.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what does not hold fails the test"
)]

use std::{
    fs,
    io::Read as _,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

fn shim(script: &str) -> Command {
    let mut shim = Command::new(env!("CARGO_BIN_EXE_ignite-shim"));
    shim.args(["/bin/sh", "-c", script]);
    shim
}

fn run(script: &str) -> Output {
    shim(script).output().unwrap()
}

fn text(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn both_streams_come_in_their_order_with_numbers() {
    let output = run("echo one; echo two >&2; printf three; exit 7");
    assert_eq!(text(&output), ".0 one\n.4 two\n+8 three\n!13\n");
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn a_piece_without_a_newline_is_told_while_the_program_goes_on() {
    let mut child = shim("printf piece; sleep 600")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut bytes = [0; 9];
    child.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"+0 piece\n");
    // As a container runtime asks it to end.
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let mut rest = String::new();
    child.stdout.as_mut().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "!5\n");
    assert_eq!(child.wait().unwrap().code(), Some(128 + 9));
}

#[test]
fn what_the_program_leaves_running_holds_nothing_up() {
    let began = Instant::now();
    let output = run("(trap '' TERM; while sleep 0.01; do echo more; done) & echo end");
    assert!(began.elapsed() < Duration::from_secs(5));
    let text = text(&output);
    assert!(text.contains(" end\n"), "{text}");
    assert!(text.lines().last().unwrap().starts_with('!'), "{text}");
}

#[test]
fn closed_streams_do_not_end_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("late");
    let script = format!("exec >&- 2>&-; sleep 0.3; touch '{}'; exit 3", file.display());
    let output = run(&script);
    assert_eq!(text(&output), "!0\n");
    assert_eq!(output.status.code(), Some(3));
    assert!(fs::exists(file).unwrap());
}

#[test]
fn a_lot_comes_whole() {
    let output = run("i=0; while [ $i -lt 200 ]; do head -c 65536 /dev/zero | tr '\\0' x; i=$((i+1)); done");
    let text = text(&output);
    let sum: usize = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, text)| text.len())
        .sum();
    assert_eq!(sum, 200 << 16);
    assert!(text.ends_with(&format!("\n!{sum}\n")));
}

/// Not even root may write to the shim's own output: it takes the right to trace, which builds do not have.
#[test]
fn the_numbers_cannot_be_forged() {
    let script = "echo '!1' >/proc/$PPID/fd/1; echo $?";
    let mut build = Command::new("setpriv");
    let without = if nix::unistd::geteuid().is_root() {
        &["--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"][..]
    } else {
        &[]
    };
    let output = build
        .args(without)
        .args(["--", env!("CARGO_BIN_EXE_ignite-shim"), "/bin/sh", "-c", script])
        .output()
        .unwrap();
    let text = text(&output);
    assert!(
        text.contains("Permission denied") && text.contains(" 2\n"),
        "{text}"
    );
    assert!(!text.contains("\n!1\n"), "{text}");
}

#[test]
fn a_program_that_is_not_there_is_told_as_shells_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_ignite-shim"))
        .arg("/nowhere/program")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(127));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("/nowhere/program: No such file or directory"),
        "{said}"
    );
}
