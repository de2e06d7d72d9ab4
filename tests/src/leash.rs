//! Servers that end with the test that started them, even if that is killed.

use std::{
    ffi::OsStr,
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
};

/// A server process. Ends, and its folder goes, when this is dropped or this process ends in whatever way.
#[derive(Debug)]
pub struct Leash {
    shell: Child,
}

/// Waits for the end of its input, which comes with the end of whoever holds the other side.
const SCRIPT: &str = r#"folder=$1; shift
"$@" </dev/null & pid=$!
read -r _
kill $pid; wait $pid
rm -rf "$folder""#;

// === impl Leash ===

impl Leash {
    /// Starts a server; what it says goes to `log`. `folder` is removed with it.
    pub fn start<A: AsRef<OsStr>>(folder: &Path, log: &Path, command: &[A]) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "leash"])
            .arg(folder)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { shell }
    }

    /// Whether it has ended by itself is not known here; its log tells.
    fn let_go(&mut self) {
        drop(self.shell.stdin.take());
        let _ended = self.shell.wait();
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.let_go();
    }
}
