//! A gateway whose builds are given all planted secrets, and a look at everything that it has kept, said and shown.

use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ignite_proto::v1;
use ignite_tests::{
    caller::Caller,
    command,
    gateway::{Builder, Gateway, PLATFORM},
    http::Http,
    paths,
    planted::{
        search::{Findings, Search},
        values,
    },
    processes::Watched,
    raw_logs::RawLogs,
    wait::eventually,
};
use tokio::task::JoinHandle;

const CLEAN_DEADLINE: Duration = Duration::from_secs(60);

/// All of it, from the first build to the last look.
pub(super) struct Scene {
    pub(super) gateway: Gateway,
    pub(super) caller: Caller,
    pub(super) search: Arc<Search>,
    pub(super) raw_logs: RawLogs,
    processes: Watched,
    followers: Vec<JoinHandle<()>>,
    /// What followers and watchers got to see, by what they followed.
    streamed: Arc<Mutex<Vec<Streamed>>>,
    findings: Findings,
}

/// What was followed, and all that came of it.
type Streamed = (String, Vec<u8>);

/// How a build gets the secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// As build args of its request, whose names tell that they are secrets.
    AsArgs,
    /// By the organization's stored build secrets.
    AsStored,
}

// === impl Scene ===

impl Scene {
    /// The daemon says all that it can say.
    pub(super) async fn start(builder: Builder, given: Given) -> Self {
        let gateway = builder
            .setting("metrics_listen", "127.0.0.1:0")
            .setting(
                "log_level",
                "ignite_server=trace,ignite_plugins=trace,ignite_core=trace,debug",
            )
            .start();
        let search = Arc::new(Search::new());
        if given == Given::AsStored {
            let keeper = gateway.caller_of("acme", "secrets:read,secrets:write");
            let request = v1::SaveBuildSecretsRequest {
                build_secrets: by_name(),
                ..Default::default()
            };
            keeper.grpc.clone().save_build_secrets(request).await.unwrap();
        }
        Self {
            caller: gateway.caller(),
            raw_logs: RawLogs::keep(&gateway),
            processes: Watched::of(&gateway, Arc::clone(&search)),
            followers: Vec::new(),
            streamed: Arc::default(),
            findings: Findings::new(),
            search,
            gateway,
        }
    }

    /// Begins a build, and follows all that can be followed of it.
    pub(super) async fn begin(&mut self, request: v1::CreateBuildRequest) -> String {
        let id = self.caller.create(request).await;
        self.follow(&id);
        id
    }

    pub(super) fn follow(&mut self, id: &str) {
        let (caller, streamed) = (self.caller.reconnected(), Arc::clone(&self.streamed));
        let keep = move |what: &str, bytes: Vec<u8>| streamed.lock().unwrap().push((what.to_owned(), bytes));
        let keep = Arc::new(keep);
        let (of_log, of_http, of_watch) = (caller.clone(), caller.clone(), caller);
        let (id_log, id_http, id_watch) = (id.to_owned(), id.to_owned(), id.to_owned());
        let (keep_log, keep_http) = (Arc::clone(&keep), Arc::clone(&keep));
        // The daemon may die on them: what they got until then counts.
        self.followers.push(tokio::spawn(async move {
            let mut chunks = of_log.follow(&id_log, true, 0).await;
            let mut bytes = Vec::new();
            while let Ok(Some(chunk)) = chunks.message().await {
                bytes.extend_from_slice(&chunk.data);
            }
            keep_log("the log over gRPC", bytes);
        }));
        self.followers.push(tokio::spawn(async move {
            let path = format!("/v1/ignite/builds/{id_http}/logs/stream?fromStart=true");
            let text = of_http.http.text_until_cut(&path).await;
            let chunk = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok();
            let data = text.lines().filter_map(chunk).filter_map(|chunk| {
                let data = chunk.get("data")?.as_str()?.to_owned();
                STANDARD.decode(data).ok()
            });
            keep_http("the log over HTTP", data.flatten().collect());
            keep_http("the log's answer over HTTP", text.into_bytes());
        }));
        self.followers.push(tokio::spawn(async move {
            let request = v1::WatchBuildRequest {
                build_id: id_watch.clone(),
            };
            let mut states = of_watch
                .grpc
                .clone()
                .watch_build(request)
                .await
                .unwrap()
                .into_inner();
            while let Ok(Some(build)) = states.message().await {
                keep("a watched state", all_texts(&build));
            }
        }));
    }

    /// Takes note of where a secret stands; it is told at the end, with all others.
    pub(super) fn look_at(&mut self, what: &str, bytes: &[u8]) {
        let found = self.search.find(bytes);
        if !found.is_empty() {
            self.findings.entry(what.to_owned()).or_default().extend(found);
        }
    }

    /// The same of what is no text.
    pub(super) fn look_at_binary(&mut self, what: &str, bytes: &[u8]) {
        let found = self.search.find_as_printed(bytes);
        if !found.is_empty() {
            self.findings.entry(what.to_owned()).or_default().extend(found);
        }
    }

    /// The disk as a killed daemon leaves it, where runs go on: but for what `docs/SECURITY.md` says of them.
    pub(super) fn look_at_disk_while_runs_go_on(&mut self) {
        let runs = self.gateway.data_dir().join("runs");
        self.findings
            .extend(self.search.files(&self.gateway.data_dir(), |path| {
                path.starts_with(&runs) && is_known_of_runs(&runs, path)
            }));
    }

    pub(super) fn kill_and_restart(&mut self) {
        self.gateway.kill9();
        self.look_at_disk_while_runs_go_on();
        self.gateway.restart();
        self.caller = self.caller.reconnected();
    }

    /// Which secrets in which forms the build's runs really printed.
    pub(super) fn printed(&self, id: &str) -> BTreeSet<String> {
        let logs = self.raw_logs.of(id);
        assert!(!logs.is_empty(), "{id} had no run");
        logs.iter().flat_map(|(_, log)| self.search.find(log)).collect()
    }

    /// The whole log as it is served at the end.
    pub(super) async fn log(&mut self, id: &str) -> String {
        let log = self.caller.log(id).await;
        self.look_at(&format!("the log of {id}"), log.as_bytes());
        log
    }

    /// Looks at everything once all builds are over: nothing may be found.
    pub(super) async fn nothing_is_found(mut self) {
        self.look_at_answers().await;
        for follower in std::mem::take(&mut self.followers) {
            follower.await.unwrap();
        }
        let streamed = std::mem::take(&mut *self.streamed.lock().unwrap());
        for (what, bytes) in streamed {
            self.look_at(&what, &bytes);
        }
        let seen = self.processes.seen();
        println!("processes looked at: {:?}", seen.programs);
        assert!(seen.programs.contains("ignited supervise"), "{:?}", seen.programs);
        self.findings.extend(seen.findings);

        // A run is cleared away a moment after its build has ended.
        let data_dir = self.gateway.data_dir();
        let runs = data_dir.join("runs");
        eventually("the runs to be cleared away", CLEAN_DEADLINE, async || {
            let mut left = std::fs::read_dir(&runs).into_iter().flatten();
            left.next().is_none().then_some(())
        })
        .await;
        assert!(self.gateway.terminate().success());
        self.findings.extend(self.search.files(&data_dir, |_| false));
        let export = data_dir.with_file_name("export");
        command::run(
            Command::new(paths::binary("ignited"))
                .args(["export", "--to", export.to_str().unwrap()])
                .env("IGNITED_DATA_DIR", &data_dir),
        );
        let exported = std::fs::read(&export).unwrap();
        let daemon_log = self.gateway.log().into_bytes();
        for (what, bytes) in [("the export", &exported), ("the daemon's log", &daemon_log)] {
            let found = self.search.find(bytes);
            if !found.is_empty() {
                self.findings.insert(what.to_owned(), found);
            }
        }
        assert!(daemon_log.len() > 1000 && exported.len() > 1000);
        assert!(self.findings.is_empty(), "{}", told(&self.findings));
    }

    async fn look_at_answers(&mut self) {
        let grpc = || self.caller.grpc.clone();
        let listed = grpc()
            .list_builds(v1::ListBuildsRequest {
                limit: 100,
                ..Default::default()
            })
            .await;
        let builds = listed.unwrap().into_inner().builds;
        let mut answers = Vec::new();
        for build in &builds {
            answers.push(("a record in a list", all_texts(build)));
            answers.push(("a record", all_texts(&self.caller.get(&build.id).await)));
            let path = format!("/v1/ignite/builds/{}", build.id);
            answers.push((
                "a record over HTTP",
                self.caller.http.get(&path).await.body.to_string().into_bytes(),
            ));
        }
        for path in [
            "/v1/ignite/builds?limit=100",
            "/v1/ignite/notifications",
            "/v1/ignite/builds/secrets",
        ] {
            let answer = self.gateway.caller_of("acme", PLATFORM).http.get(path).await;
            answers.push((path, answer.body.to_string().into_bytes()));
        }
        let log = self.gateway.log();
        let (_, served) = log.rsplit_once("metrics.served addr=").unwrap();
        let metrics = Http::new(served.split_whitespace().next().unwrap(), None);
        let metrics = metrics.get("/metrics").await.body.to_string().into_bytes();
        assert!(metrics.len() > 100);
        answers.push(("metrics", metrics));
        for (what, bytes) in answers {
            self.look_at(what, &bytes);
        }
    }
}

/// With all secrets as build args.
pub(super) fn with_args(request: v1::CreateBuildRequest) -> v1::CreateBuildRequest {
    v1::CreateBuildRequest {
        build_args: by_name(),
        no_cache: true,
        ..request
    }
}

/// `ARG` lines for all of them.
pub(super) fn arg_lines() -> String {
    (0..values::COUNT)
        .map(|index| format!("ARG {}\n", values::arg_name(index)))
        .collect()
}

fn by_name() -> std::collections::BTreeMap<String, String> {
    let secrets = values::all().into_iter().enumerate();
    secrets
        .map(|(index, (_, value))| (values::arg_name(index), value))
        .collect()
}

/// Each text of a record, as it is: in `Debug` and in JSON much is escaped.
fn all_texts(build: &v1::Build) -> Vec<u8> {
    let mut texts = vec![
        build.error.clone(),
        build.hold_reason.clone(),
        build.approved_by.clone(),
    ];
    texts.extend(
        build
            .build_args
            .iter()
            .flat_map(|(name, value)| [name.clone(), value.clone()]),
    );
    texts.extend(
        build
            .labels
            .iter()
            .flat_map(|(name, value)| [name.clone(), value.clone()]),
    );
    texts.extend(build.steps.iter().map(|step| step.name.clone()));
    for report in &build.hook_reports {
        texts.extend(report.changes.iter().chain(&report.messages).cloned());
    }
    texts.push(format!("{build:?}"));
    texts.push(serde_json::to_string(build).unwrap());
    texts.join("\0\0").into_bytes()
}

/// What of a run that goes on may hold secrets, by `docs/SECURITY.md`.
fn is_known_of_runs(runs: &Path, path: &Path) -> bool {
    let mut parts = path.strip_prefix(runs).unwrap().components().skip(1);
    parts.next().is_some_and(|part| part.as_os_str() == "private")
}

fn told(findings: &Findings) -> String {
    let mut text = String::from("secrets were found:\n");
    for (place, forms) in findings {
        let forms: Vec<&str> = forms.iter().map(String::as_str).collect();
        text.push_str(&format!(
            "  {place}: {} forms: {}\n",
            forms.len(),
            forms.join(", ")
        ));
    }
    text
}
