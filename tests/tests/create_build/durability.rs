//! No build is acknowledged before it is on disk: the daemon's system calls show it.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures::future::join_all;
use ignite_tests::{
    caller::Caller,
    gateway::{Gateway, database_files},
    wait::eventually_blocking,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

const ATTACH_DEADLINE: Duration = Duration::from_secs(20);
const CALLS: &str = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,fdatasync,fsync";

/// strace on the daemon, until it is dropped.
struct Trace {
    strace: Child,
    folder: tempfile::TempDir,
}

/// One system call that ended, in the order in which they ended.
struct Call {
    name: String,
    /// Arguments, and what came back, as strace prints them.
    text: String,
    /// Position in the trace where it began.
    began: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_acknowledged_only_once_it_is_synced() {
    let gateway = Gateway::builder().setting("builds_running_max", 1).start();
    let caller = gateway.caller();
    // The first keeps the only place, so that no other build writes while the calls are watched.
    let first = create(&caller, "first").await;
    caller.wait_running(&first).await;

    let trace = Trace::attach(gateway.pid());
    let mut names: Vec<String> = (0..12).map(|n| format!("alone-{n}")).collect();
    let mut ids = Vec::new();
    for name in &names {
        ids.push(create(&caller, name).await);
    }
    // Together they share a commit; each must still wait for it.
    let together: Vec<String> = (0..24).map(|n| format!("together-{n}")).collect();
    ids.extend(join_all(together.iter().map(|name| create(&caller, name))).await);
    names.extend(together);
    let calls = trace.finish();

    for (name, id) in names.iter().zip(&ids) {
        let asked = find(
            &calls,
            0,
            &["read", "readv", "recvfrom", "recvmsg"],
            &format!("\\\"{name}\\\""),
        );
        let answered = find(&calls, asked, &["write", "writev", "sendto", "sendmsg"], id);
        let between = &calls[asked..answered];
        assert!(
            written_then_synced(between, asked),
            "{name} was acknowledged before its database file was synced"
        );
    }
    for id in ids.iter().chain([&first]) {
        caller.cancel(id).await;
    }
    for id in ids.iter().chain([&first]) {
        caller.wait_terminal(id).await;
    }
    assert_no_blobs(&gateway.data_dir());
}

/// Whether some write to a database is followed by a sync of it that began after the write, and ended well.
///
/// Any write will do: a commit for somebody else may begin before this one is answered.
fn written_then_synced(calls: &[Call], offset: usize) -> bool {
    let Some(written) = calls
        .iter()
        .position(|call| call.name == "pwrite64" && on_database(call))
    else {
        return false;
    };
    calls[written..].iter().any(|call| {
        matches!(call.name.as_str(), "fdatasync" | "fsync")
            && on_database(call)
            && call.began > offset + written
            && call.text.ends_with("= 0")
    })
}

async fn create(caller: &Caller, name: &str) -> String {
    use base64::Engine as _;
    let context = ignite_tests::context::Context::scratch(r#"RUN ["/bin/busybox", "sleep", "120"]"#);
    let body = json!({
        "name": name,
        "zippedCode": base64::engine::general_purpose::STANDARD.encode(context.tar_gz()),
        "noCache": true,
    });
    let answer = caller.http.post("/v1/ignite/builds", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let id = answer.body["buildId"].as_str().unwrap().to_owned();
    caller.remember(&id);
    id
}

fn on_database(call: &Call) -> bool {
    call.text.contains("/db>")
}

fn find(calls: &[Call], from: usize, names: &[&str], text: &str) -> usize {
    from + calls[from..]
        .iter()
        .position(|call| names.contains(&call.name.as_str()) && call.text.contains(text))
        .unwrap_or_else(|| panic!("no {names:?} with {text} in the trace"))
}

fn assert_no_blobs(data_dir: &Path) {
    let databases = database_files(data_dir);
    assert!(!databases.is_empty(), "no database below {}", data_dir.display());
    for database in databases {
        let blobs = database.with_file_name("blobs");
        let count = fs::read_dir(&blobs).map_or(0, Iterator::count);
        assert_eq!(count, 0, "values too large for the log in {}", blobs.display());
    }
}

// === impl Trace ===

impl Trace {
    fn attach(pid: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let strace = Command::new("strace")
            .args([
                "-f",
                "-y",
                "-s",
                "4096",
                "-e",
                &format!("trace={CALLS}"),
                "-p",
                &pid.to_string(),
                "-o",
            ])
            .arg(folder.path().join("trace"))
            .stderr(Stdio::from(fs::File::create(folder.path().join("said")).unwrap()))
            .spawn()
            .unwrap();
        let said = folder.path().join("said");
        eventually_blocking("strace to attach", ATTACH_DEADLINE, || {
            fs::read_to_string(&said)
                .unwrap()
                .contains("attached")
                .then_some(())
        });
        Self { strace, folder }
    }

    fn finish(mut self) -> Vec<Call> {
        let pid = Pid::from_raw(i32::try_from(self.strace.id()).unwrap());
        kill(pid, Signal::SIGINT).unwrap();
        self.strace.wait().unwrap();
        let text = fs::read(self.folder.path().join("trace")).unwrap();
        parse(&String::from_utf8_lossy(&text))
    }
}

/// Joins the halves of calls that were interrupted in the print.
fn parse(text: &str) -> Vec<Call> {
    let mut open: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    let mut calls: Vec<Call> = Vec::new();
    for line in text.lines() {
        let Some((thread, event)) = line.split_once(' ') else {
            continue;
        };
        let event = event.trim_start();
        let began = calls.len();
        if let Some(start) = event.strip_suffix(" <unfinished ...>") {
            open.insert(thread, (began, start.to_owned()));
        } else if let Some(rest) = event.strip_prefix("<... ") {
            let Some((began, start)) = open.remove(thread) else {
                continue;
            };
            let (_, end) = rest.split_once(" resumed>").unwrap_or(("", rest));
            calls.extend(call(began, &format!("{start}{end}")));
        } else {
            calls.extend(call(began, event));
        }
    }
    calls
}

fn call(began: usize, text: &str) -> Option<Call> {
    let (name, _) = text.split_once('(')?;
    Some(Call {
        name: name.to_owned(),
        text: text.trim_end().to_owned(),
        began,
    })
}
