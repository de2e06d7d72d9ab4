//! Folders in the place of a pod's volumes, and the real step on them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use ignite_core::{
    run::{FetchFailure, FetchReport},
    secrets::GitLogin,
};
use ignite_server::{
    executor::RunSource,
    sources::{
        archive::ArchiveLimits,
        fetch::{
            Failed, FetchPlan,
            frames::Frame,
            pod::{PodContext, PodPlan},
        },
        git::GitRules,
    },
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Pod {
    dir: tempfile::TempDir,
}

/// The step at work.
pub(crate) struct Step {
    child: Child,
    lines: Receiver<Vec<u8>>,
    log: Vec<String>,
}

/// What the step says.
#[derive(Debug)]
pub(crate) enum Said {
    Log(String),
    Report(FetchReport),
    Failed(Failed),
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) log: Vec<String>,
    pub(crate) result: Option<Result<FetchReport, Failed>>,
    pub(crate) status: ExitStatus,
}

// === impl Pod ===

impl Pod {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["plan", "pod", "run", "bin", "image"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let pod = Self { dir };
        pod.write("image/ignite-shim", b"a program");
        pod.annotate("");
        pod
    }

    pub(crate) fn for_archive(sha256: &str, context: &PodContext) -> Self {
        let pod = Self::new();
        let source = RunSource::Archive {
            path: pod.path("run/context"),
            sha256: sha256.to_owned(),
        };
        pod.plan(source, |_| {});
        pod.write("plan/context.json", &serde_json::to_vec(context).unwrap());
        pod
    }

    pub(crate) fn plan(&self, source: RunSource, change: impl FnOnce(&mut PodPlan)) {
        let mut plan = PodPlan {
            fetch: FetchPlan {
                source,
                dockerfile: "Dockerfile".to_owned(),
                limits: ArchiveLimits::default(),
                git: GitRules {
                    http_allowed: true,
                    private_addresses_allowed: true,
                    ..GitRules::default()
                },
                has_login: false,
                build_args: [("TOKEN".to_owned(), true)].into(),
                unmasked: Vec::new(),
            },
            gated: false,
            timeout: Duration::from_secs(60),
        };
        change(&mut plan);
        self.write("plan/fetch.json", &serde_json::to_vec(&plan).unwrap());
    }

    /// Changes the plan that is there.
    pub(crate) fn replan(&self, change: impl FnOnce(&mut PodPlan)) {
        let plan: PodPlan = serde_json::from_slice(&fs::read(self.path("plan/fetch.json")).unwrap()).unwrap();
        let source = plan.fetch.source.clone();
        self.plan(source, change);
    }

    pub(crate) fn log_in(&self, login: &GitLogin) {
        self.write("plan/git-login.json", &serde_json::to_vec(login).unwrap());
    }

    /// As the kubelet does it: at once.
    pub(crate) fn annotate(&self, annotations: &str) {
        self.write("pod/new", annotations.as_bytes());
        fs::rename(self.path("pod/new"), self.path("pod/annotations")).unwrap();
    }

    pub(crate) fn write(&self, path: &str, content: &[u8]) {
        fs::write(self.path(path), content).unwrap();
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Of the workspace.
    pub(crate) fn files(&self) -> Vec<String> {
        files(&self.path("run/workspace"))
    }

    pub(crate) fn start(&self) -> Step {
        // Root without any of root's powers, as the container is.
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]);
        command.args([env!("CARGO_BIN_EXE_ignited"), "fetch", "--pod"]);
        for (flag, path) in [
            ("--plan-dir", "plan"),
            ("--pod-dir", "pod"),
            ("--run-dir", "run"),
            ("--bin-dir", "bin"),
            ("--shim", "image/ignite-shim"),
        ] {
            command.arg(flag).arg(self.path(path));
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (to, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.split(b'\n') {
                let _nobody_reads = to.send(line.unwrap());
            }
        });
        Step {
            child,
            lines,
            log: Vec::new(),
        }
    }

    /// To its end.
    pub(crate) fn fetch(&self) -> Ended {
        self.start().ended()
    }

    /// Nothing is left of an archive, and the shim is in place.
    pub(crate) fn check_tidy(&self) {
        assert_eq!(
            fs::read_dir(self.path("run")).unwrap().count(),
            1,
            "the workspace"
        );
        let shim = self.path("bin/ignite-shim");
        assert_eq!(fs::read(&shim).unwrap(), b"a program");
        assert_eq!(fs::metadata(&shim).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(self.path("bin")).unwrap().count(), 1);
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(
                files(&entry.path())
                    .into_iter()
                    .map(|inner| format!("{name}/{inner}")),
            );
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

// === impl Step ===

impl Step {
    /// What it says next, unless the output has ended.
    pub(crate) fn next(&mut self) -> Option<Said> {
        let line = match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("it says nothing any more: {:?}", self.log),
        };
        let frame = Frame::parse(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let logged: usize = self.log.iter().map(|text| text.len() + 1).sum();
        let (number, said) = match frame {
            Frame::Text { at, text, .. } => {
                let text = String::from_utf8(text.to_vec()).unwrap();
                self.log.push(text.clone());
                (at, Said::Log(text))
            }
            Frame::Report { at, report } => (at, Said::Report(report)),
            Frame::Failed { at, failed } => (at, Said::Failed(failed)),
            Frame::End { .. } => panic!("it has a result"),
        };
        assert_eq!(number, logged as u64);
        Some(said)
    }

    /// Waits for a line of the log.
    pub(crate) fn logs(&mut self, what: &str) {
        loop {
            match self.next() {
                Some(Said::Log(text)) if text.contains(what) => return,
                Some(Said::Log(_)) => {}
                other => panic!("{other:?}, and no {what:?} before: {:?}", self.log),
            }
        }
    }

    /// Waits for the report.
    pub(crate) fn reports(&mut self) -> FetchReport {
        loop {
            match self.next() {
                Some(Said::Report(report)) => return report,
                Some(Said::Log(_)) => {}
                other => panic!("{other:?}, and no report: {:?}", self.log),
            }
        }
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn terminate(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
    }

    pub(crate) fn ended(mut self) -> Ended {
        let mut result = None;
        while let Some(frame) = self.next() {
            assert!(result.is_none(), "{frame:?} behind the result");
            result = match frame {
                Said::Log(_) => None,
                Said::Report(report) => Some(Ok(report)),
                Said::Failed(failed) => Some(Err(failed)),
            };
        }
        let began = Instant::now();
        while !self.is_over() {
            assert!(began.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
        Ended {
            log: std::mem::take(&mut self.log),
            result,
            status: self.child.wait().unwrap(),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let _over_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

// === impl Ended ===

impl Ended {
    #[track_caller]
    pub(crate) fn report(self) -> FetchReport {
        assert!(self.status.success(), "{self:?}");
        self.result.unwrap().unwrap()
    }

    #[track_caller]
    pub(crate) fn check_failed(&self, failure: FetchFailure, why: &str) {
        assert_eq!(self.status.code(), Some(1), "{self:?}");
        let failed = self.result.as_ref().unwrap().as_ref().unwrap_err();
        assert!(
            failed.failure == failure && failed.message.contains(why),
            "{failed:?}"
        );
        assert_eq!(self.log.last().unwrap(), &format!("Error: {failed}"));
    }
}
