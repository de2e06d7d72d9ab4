//! What builds are given in secret: where in a cluster it stands while they run, and that nothing of it is left afterwards.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ignite_proto::v1::{self, BuildStatus};
use ignite_tests::{
    caller::{git, inline},
    cluster::Cluster,
    context::Context,
    gateway::Gateway,
    git_server::{self, GitServer},
    planted::{
        search::{Findings, Search},
        values,
    },
    registry::Registry,
    wait::eventually,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const SOON: Duration = Duration::from_secs(120);
const RUN: &str = "ignite.dodil.io/run";

/// Steps of builds wait here until all of them may go on.
struct Gate {
    listener: TcpListener,
    waiting: Vec<TcpStream>,
}

// === impl Gate ===

impl Gate {
    async fn on(host: &str) -> Self {
        Self {
            listener: TcpListener::bind((host, 0)).await.unwrap(),
            waiting: Vec::new(),
        }
    }

    /// What a step is to run.
    fn command(&self) -> String {
        format!(
            "wget -q -O /dev/null http://{}/",
            self.listener.local_addr().unwrap()
        )
    }

    async fn until_waiting(&mut self, steps: usize) {
        while self.waiting.len() < steps {
            let (mut step, _) = self.listener.accept().await.unwrap();
            // Its whole request, which is short.
            let _bytes = step.read(&mut [0; 2048]).await.unwrap();
            self.waiting.push(step);
        }
    }

    async fn open(&mut self) {
        for mut step in self.waiting.drain(..) {
            step.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await.unwrap();
        }
    }
}

/// A look at everything that the API server shows and the node's programs have said.
struct Look<'a> {
    cluster: &'a Cluster,
    search: Search,
    findings: Findings,
}

// === impl Look ===

impl Look<'_> {
    fn at(&mut self, what: &str, bytes: &[u8]) {
        let found = self.search.find(bytes);
        if !found.is_empty() {
            self.findings.entry(what.to_owned()).or_default().extend(found);
        }
    }

    /// Objects of every kind, of all namespaces, but for the Secrets of runs.
    fn at_objects(&mut self) {
        let kinds = self
            .cluster
            .kubectl(&["api-resources", "--verbs=list", "--output=name"]);
        let kinds: Vec<&str> = kinds.lines().collect();
        assert!(kinds.contains(&"events") && kinds.contains(&"pods") && kinds.contains(&"secrets"));
        let all = self.cluster.get(&[&kinds.join(","), "--all-namespaces"]);
        for object in all["items"].as_array().unwrap() {
            if object["kind"] == "Secret" && object["metadata"]["labels"][RUN].is_string() {
                continue;
            }
            let metadata = &object["metadata"];
            let name = format!(
                "{} {}/{}",
                object["kind"], metadata["namespace"], metadata["name"]
            );
            self.at(&name, object.to_string().as_bytes());
        }
        let described = self
            .cluster
            .kubectl(&["describe", "pods,events", "--all-namespaces"]);
        self.at("what kubectl describes", described.as_bytes());
    }

    /// The logs of kubelet, containerd, API server and all others.
    fn at_daemons(&mut self) {
        for entry in fs::read_dir(self.cluster.node_folder().join("logs")).unwrap() {
            let path = entry.unwrap().path();
            let log = fs::read(&path).unwrap();
            assert!(!log.is_empty(), "{}", path.display());
            self.at(&path.display().to_string(), &log);
        }
    }

    /// The containers' own logs, and the volumes of pods.
    fn at_node(&mut self) {
        for folder in ["pod-logs", "kubelet"] {
            let folder = self.cluster.node_folder().join(folder);
            let found = self.search.files(&folder, |_| false);
            self.findings.extend(found);
        }
    }

    #[track_caller]
    fn found_nothing(&self) {
        assert!(self.findings.is_empty(), "{:#?}", self.findings);
    }
}

fn secrets_of_runs(cluster: &Cluster, namespace: &str) -> Vec<Value> {
    let secrets = cluster.get(&["secrets", "--namespace", namespace, "--selector", RUN]);
    secrets["items"].as_array().unwrap().clone()
}

fn decoded(secret: &Value, key: &str) -> Option<String> {
    let bytes = STANDARD.decode(secret["data"][key].as_str()?).unwrap();
    Some(String::from_utf8(bytes).unwrap())
}

/// `user:password`, for a registry that nobody asks.
fn login(index: u64) -> String {
    format!("robot:{}", values::letters(24, index))
}

fn docker_config(folder: &Path) -> String {
    let auth = STANDARD.encode(login(901));
    let file = folder.join("docker-config.json");
    let config = json!({"auths": {"operators.example": {"auth": auth}}});
    fs::write(&file, config.to_string()).unwrap();
    file.display().to_string()
}

/// How the builds are given secrets: as args, as mounts, as logins.
async fn save(gateway: &Gateway, registry: &Registry, server: &GitServer) {
    let by_name: BTreeMap<String, String> = (0..)
        .zip(values::all())
        .map(|(index, (_, value))| (values::arg_name(index), value))
        .collect();
    let request = v1::SaveBuildSecretsRequest {
        build_secrets: by_name,
        registry_credentials: [
            (registry.address().to_owned(), "pusher:only-for-tests".to_owned()),
            ("organizations.example".to_owned(), login(902)),
        ]
        .into(),
        git_credentials: Some(v1::GitCredentials {
            username: git_server::LOGIN.0.to_owned(),
            password: git_server::LOGIN.1.to_owned(),
            hosts: vec![server.address().to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let keeper = gateway.caller_of("acme", "secrets:write");
    keeper.grpc.clone().save_build_secrets(request).await.unwrap();
}

/// A step that needs the secrets and waits at the gate; `also`: what it does before.
fn dockerfile(registry: &Registry, gate: &Gate, also: &str) -> String {
    let args: String = (0..values::COUNT)
        .map(|index| format!("ARG {}\n", values::arg_name(index)))
        .collect();
    let mounts: String = (0..values::COUNT)
        .map(|index| format!("--mount=type=secret,id={} ", values::arg_name(index)))
        .collect();
    format!(
        "FROM {}\n{args}RUN {mounts}test -n \"$PLANTED_SECRET_00\" && test -s /run/secrets/PLANTED_SECRET_29 && {also} && {}\n",
        registry.busybox(),
        gate.command()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_stand_in_the_secret_of_their_run_alone_and_go_with_it() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("planted");
    let registry = Registry::guarded_on(cluster.host_address());
    registry.import_base_images();
    let server = GitServer::start_on(cluster.host_address());
    let mut gate = Gate::on(cluster.host_address()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::builder()
        .on_cluster(&cluster, namespace.name())
        .registry(&registry)
        .setting("registry_docker_config", docker_config(folder.path()))
        .setting("build_memory_bytes_max", "256MiB")
        .setting("build_cpu_millis_max", 300)
        .setting("log_level", "trace")
        .start();
    save(&gateway, &registry, &server).await;

    let caller = gateway.caller();
    let silent = dockerfile(&registry, &gate, "true");
    let telling = dockerfile(
        &registry,
        &gate,
        "printf '%s\\n' \"$PLANTED_SECRET_00\"; cat /run/secrets/*",
    );
    let repository = server.repository("private/app.git");
    repository.commit(&Context::new(&silent));
    let mut requests = [
        inline("archive", &Context::new(&silent)),
        git("repository", repository.url(), "main", ""),
        inline("telling", &Context::new(&telling)),
    ];
    let mut ids = Vec::new();
    for request in &mut requests {
        request.no_cache = true;
        ids.push(caller.create(request.clone()).await);
    }
    tokio::time::timeout(SOON, gate.until_waiting(ids.len()))
        .await
        .unwrap();

    // What the gateway itself gives a run, nobody planted.
    let secrets = secrets_of_runs(&cluster, namespace.name());
    assert_eq!(secrets.len(), ids.len());
    let grant = secrets.iter().find_map(|secret| decoded(secret, "context.json"));
    let grant: Value = serde_json::from_str(&grant.unwrap()).unwrap();
    let (planted, logins) = (values::all(), [login(901), login(902)]);
    let mut all: Vec<(&str, &str)> = planted
        .iter()
        .map(|(kind, value)| (*kind, value.as_str()))
        .collect();
    for (kind, login) in ["operator's login", "organization's login"]
        .into_iter()
        .zip(&logins)
    {
        all.push((kind, login.split_once(':').unwrap().1));
    }
    all.push(("context", grant["token"].as_str().unwrap()));
    all.push(("registry and git login", git_server::LOGIN.1));
    let mut look = Look {
        cluster: &cluster,
        search: Search::of(all.iter().copied()),
        findings: Findings::new(),
    };

    // They are there, so a look that did not find them would be a bad one.
    for secret in &secrets {
        let values = secret["data"].as_object().unwrap();
        let clear: String = values.keys().filter_map(|key| decoded(secret, key)).collect();
        for (kind, value) in &planted {
            assert!(
                clear.contains(value),
                "{kind} is not in {}",
                secret["metadata"]["name"]
            );
            assert!(!look.search.find(secret.to_string().as_bytes()).is_empty());
        }
        assert_eq!(secret["metadata"]["ownerReferences"][0]["kind"], "Pod");
    }
    look.at_objects();
    look.at_daemons();
    look.found_nothing();
    // What a build prints is in its container's log, on the node, for as long as the pod is.
    look.at_node();
    assert!(look.findings.keys().any(|file| file.contains("pod-logs")));
    gate.open().await;

    for id in &ids {
        let build = caller.wait_terminal(id).await;
        let log = caller.log(id).await;
        assert_eq!(build.status(), BuildStatus::Succeeded, "{build:?}\n{log}");
        look.at(
            &format!("the record and log of {}", build.name),
            format!("{build:?}\n{log}").as_bytes(),
        );
    }
    eventually("the Secrets to go", SOON, async || {
        secrets_of_runs(&cluster, namespace.name())
            .is_empty()
            .then_some(())
    })
    .await;
    // The kubelet takes away volumes and logs of a pod that is gone.
    eventually("the pods' files to go", SOON, async || {
        look.findings.clear();
        look.at_node();
        look.findings.is_empty().then_some(())
    })
    .await;
    look.at_objects();
    look.at_daemons();
    assert!(gateway.terminate().success());
    look.at("the daemon's log", gateway.log().as_bytes());
    let stored = look.search.files(&gateway.data_dir(), |_| false);
    look.findings.extend(stored);
    look.found_nothing();
}
