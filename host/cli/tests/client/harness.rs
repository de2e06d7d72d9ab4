//! Runs the client with nothing of this machine's configuration, and waits for what it does.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use tokio::{process::Command, time::sleep};

pub(crate) const ID: &str = "bld_01JWB7X0000000000000000000";

/// `ignite` with nothing of this machine's configuration.
pub(crate) fn ignite(endpoint: &str, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ignite"));
    command
        .args(args.split_whitespace())
        .env_clear()
        .env("IGNITE_CONFIG", "/nonexistent/config.toml")
        .env("IGNITE_API_ENDPOINT", endpoint)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) async fn run(endpoint: &str, args: &str) -> Output {
    let finished = ignite(endpoint, args).output();
    tokio::time::timeout(Duration::from_secs(60), finished)
        .await
        .expect("the command hangs")
        .unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) async fn interrupt(child: &tokio::process::Child) {
    let pid = child.id().unwrap().to_string();
    let status = Command::new("kill").args(["-INT", &pid]).status().await;
    assert!(status.unwrap().success());
}

pub(crate) async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not happen");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    rand::fill(bytes.as_mut_slice());
    bytes
}

pub(crate) fn context(dir: &Path, size_bytes: usize) {
    std::fs::write(dir.join("Dockerfile"), "FROM scratch\nCOPY noise /\n").unwrap();
    std::fs::write(dir.join("noise"), noise(size_bytes)).unwrap();
}
