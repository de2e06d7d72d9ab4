//! The chart's roles: with them everything works, and without any one verb of theirs something does not.

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use ignite_proto::v1::BuildStatus;
use ignite_tests::{
    caller::{Caller, inline, is_terminal},
    cluster::Cluster,
    command,
    context::Context,
    gateway::Gateway,
    release::{CHART, helm},
};
use serde_json::{Value, json};

/// For everything with all rights; what takes half as long again does not work.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// The chart's role for builds, which can be changed, and a kubeconfig of whoever has it.
struct Rights<'a> {
    cluster: &'a Cluster,
    /// Where the account is.
    namespace: &'a str,
    /// `role/…` or `clusterrole/…`.
    object: String,
    /// As the chart has them, but each resource in a rule of its own.
    rules: Vec<Value>,
    kubeconfig: tempfile::NamedTempFile,
}

// === impl Rights ===

impl<'a> Rights<'a> {
    /// For builds in this namespace, or, `per_org`, in the whole cluster.
    fn new(cluster: &'a Cluster, namespace: &'a str, per_org: bool) -> Self {
        let home = tempfile::tempdir().unwrap();
        let rendered = command::run(
            helm(home.path())
                .args(["template", "ignite", CHART, "--namespace", namespace])
                .args(["--show-only", "templates/rbac.yaml", "--set"])
                .arg(format!(
                    "builds.namespace={namespace},builds.namespacePerOrg={per_org}"
                )),
        );
        cluster.apply(namespace, &rendered);
        let object = if per_org {
            format!("clusterrole/{namespace}-ignite")
        } else {
            "role/ignite".to_owned()
        };
        let role = cluster.get(&[&object, "--namespace", namespace]);
        let whose = ["--namespace", namespace, "--duration=1h"];
        let token = cluster.kubectl(&[&["create", "token", "ignite"], &whose[..]].concat());
        let text = cluster.kubectl(&["config", "view", "--raw", "--output=json"]);
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["users"][0]["user"] = json!({"token": token.trim()});
        let kubeconfig = tempfile::NamedTempFile::new().unwrap();
        fs::write(kubeconfig.path(), config.to_string()).unwrap();
        Self {
            cluster,
            namespace,
            object,
            rules: role["rules"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(by_resource)
                .collect(),
            kubeconfig,
        }
    }

    /// Every verb of every rule, by their positions, and in words.
    fn verbs(&self) -> Vec<(usize, usize, String)> {
        let verbs = |(at, rule): (usize, &Value)| {
            let verbs = rule["verbs"].as_array().unwrap().iter().enumerate();
            let named = verbs.map(|(which, verb)| (at, which, format!("{verb} {}", rule["resources"])));
            named.collect::<Vec<_>>()
        };
        self.rules.iter().enumerate().flat_map(verbs).collect()
    }

    fn put(&self, without: Option<(usize, usize)>) {
        let mut rules = self.rules.clone();
        if let Some((rule, verb)) = without {
            rules[rule]["verbs"].as_array_mut().unwrap().remove(verb);
            // One without verbs would be refused.
            rules.retain(|rule| rule["verbs"] != json!([]));
        }
        let rules = json!({"rules": rules}).to_string();
        let patch = ["patch", &self.object, "--type=merge", "--patch", &rules];
        self.cluster
            .kubectl(&[&patch[..], &["--namespace", self.namespace]].concat());
    }

    fn gateway(&self, namespace: &str, per_org: bool) -> Gateway {
        Gateway::builder()
            .on_cluster(self.cluster, namespace)
            .setting("kubernetes_kubeconfig", self.kubeconfig.path().display())
            .setting("kubernetes_namespace_per_org", per_org)
            .setting("builds_running_max", 1)
            .setting("attempts_max", 1)
            .start()
    }

    fn pods_and_secrets(&self) -> Vec<Value> {
        let left = self.cluster.get(&["pods,secrets", "--namespace", self.namespace]);
        left["items"].as_array().unwrap().clone()
    }

    /// Takes away whatever a gateway without all its rights has left.
    fn clear(&self) {
        self.put(None);
        let free = r#"{"metadata":{"finalizers":null}}"#;
        for item in self.pods_and_secrets() {
            let kind = item["kind"].as_str().unwrap().to_lowercase();
            let name = item["metadata"]["name"].as_str().unwrap();
            let whose = ["--namespace", self.namespace, &kind, name];
            let patch: Vec<&str> = ["patch", "--type=merge", "--patch", free]
                .into_iter()
                .chain(whose)
                .collect();
            let _free = self.cluster.try_kubectl(&patch);
            let delete: Vec<&str> = ["delete", "--now", "--ignore-not-found"]
                .into_iter()
                .chain(whose)
                .collect();
            let _gone = self.cluster.try_kubectl(&delete);
        }
    }
}

fn by_resource(rule: &Value) -> Vec<Value> {
    let alone = |resource: &Value| {
        let mut rule = rule.clone();
        rule["resources"] = json!([resource]);
        rule
    };
    rule["resources"].as_array().unwrap().iter().map(alone).collect()
}

/// Makes a gateway, from which one verb is taken once it is up, use all that it may do; says what did not come about.
///
/// One build runs, goes on while the gateway is killed and started again, and is cancelled. The next finds a Secret of its name
/// that is not its own, and succeeds. The last finds such a pod, and says so. Afterwards nothing is left.
async fn everything_works(
    rights: &Rights<'_>,
    without: Option<(usize, usize)>,
    patience: Duration,
) -> Result<(), String> {
    let mut gateway = rights.gateway(rights.namespace, false);
    rights.put(without);
    let caller = gateway.caller();
    let started = Instant::now();
    let busybox = rights.cluster.registry().busybox();
    let slow = Context::new(&format!("FROM {busybox}\nRUN echo begun; sleep 600\n"));
    let quick = Context::new(&format!("FROM {busybox}\nRUN echo hello > /hello\n"));

    let first = caller.create(inline("first", &slow)).await;
    let second = caller.create(inline("second", &quick)).await;
    let third = caller.create(inline("third", &quick)).await;
    let whose = ["--namespace", rights.namespace];
    let secret = ["create", "secret", "generic", &run_of(&second)];
    rights.cluster.kubectl(&[&secret[..], &whose].concat());
    let (stranger, image) = (run_of(&third), format!("--image={busybox}"));
    let pod = ["run", &stranger, &image, "--restart=Never", "--", "sleep", "600"];
    rights.cluster.kubectl(&[&whose[..], &pod].concat());

    let left = || patience.saturating_sub(started.elapsed());
    let outcome = async {
        soon("the first build's log", left(), async || {
            caller.log_so_far(&first).await.contains("begun")
        })
        .await?;
        gateway.kill9();
        gateway.try_restart()?;
        let caller = caller.reconnected();
        soon("the gateway to answer", left(), async || {
            caller.try_get(&first).await.is_ok()
        })
        .await?;
        caller.cancel(&first).await;
        ended(&caller, &first, BuildStatus::Cancelled, left()).await?;
        ended(&caller, &second, BuildStatus::Succeeded, left()).await?;
        if !caller.log_so_far(&second).await.contains("echo hello") {
            return Err("the second build's log is not whole".to_owned());
        }
        ended(&caller, &third, BuildStatus::Failed, left()).await?;
        let error = caller.get(&third).await.error;
        if !error.contains("not this gateway's") {
            return Err(format!("{third} failed for another reason: {error}"));
        }
        let remove = ["delete", "pod", &stranger, "--now"];
        rights.cluster.kubectl(&[&remove[..], &whose].concat());
        soon("pods and secrets to go", left(), async || {
            rights.pods_and_secrets().is_empty()
        })
        .await
    }
    .await;
    // What cannot be taken off the cluster now would hold the gateway up.
    rights.clear();
    gateway.kill9_if_running();
    outcome
}

/// The name of the build's first run, which is that of its pod and of its Secret.
fn run_of(build: &str) -> String {
    let run = build.replace("bld_", "bld-").to_lowercase();
    format!("{run}-p0-a1")
}

async fn ended(caller: &Caller, id: &str, how: BuildStatus, patience: Duration) -> Result<(), String> {
    let end = async || is_terminal(caller.get(id).await.status());
    soon(&format!("{id} to end"), patience, end).await?;
    let build = caller.get(id).await;
    let problem = || format!("{id} is {:?}, not {how:?}: {}", build.status(), build.error);
    (build.status() == how).then_some(()).ok_or_else(problem)
}

async fn soon(what: &str, patience: Duration, mut ask: impl AsyncFnMut() -> bool) -> Result<(), String> {
    let start = Instant::now();
    while !ask().await {
        if start.elapsed() > patience {
            return Err(format!("waited in vain for {what}"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verb_of_the_charts_role_is_one_too_many() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("rights");
    let rights = Rights::new(&cluster, namespace.name(), false);
    let start = Instant::now();
    everything_works(&rights, None, PATIENCE).await.unwrap();
    let patience = (start.elapsed() * 3 / 2).clamp(Duration::from_secs(20), PATIENCE);

    let mut needless = Vec::new();
    for (rule, verb, what) in rights.verbs() {
        match everything_works(&rights, Some((rule, verb)), patience).await {
            Ok(()) => needless.push(what),
            Err(problem) => eprintln!("without {what}: {problem}"),
        }
    }
    assert!(needless.is_empty(), "nothing fails without {needless:?}");
}

/// Whether a build succeeds in an organization's namespace that is not there yet.
async fn a_namespace_is_made(rights: &Rights<'_>, patience: Duration) -> Result<(), String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("{}-{}", rights.namespace, COUNT.fetch_add(1, Ordering::Relaxed));
    let mut gateway = rights.gateway(&prefix, true);
    let caller = gateway.caller();
    let busybox = rights.cluster.registry().busybox();
    let context = Context::new(&format!("FROM {busybox}\nRUN echo hello > /hello\n"));
    let id = caller.create(inline("first", &context)).await;
    let outcome = ended(&caller, &id, BuildStatus::Succeeded, patience).await;
    rights.put(None);
    if outcome.is_ok() {
        gateway.terminate();
    } else {
        gateway.kill9();
    }
    let _gone =
        rights
            .cluster
            .try_kubectl(&["delete", "namespace", "--wait=false", &format!("{prefix}-acme")]);
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verb_that_makes_namespaces_is_one_too_many() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("rights");
    let rights = Rights::new(&cluster, namespace.name(), true);
    let start = Instant::now();
    a_namespace_is_made(&rights, PATIENCE).await.unwrap();
    let patience = (start.elapsed() * 3 / 2).clamp(Duration::from_secs(15), PATIENCE);

    // The other rules are the role's: see above.
    let builds = ["pods", "pods/log", "secrets"].map(|resource| json!([resource]));
    let mut needless = Vec::new();
    for (rule, verb, what) in rights.verbs() {
        if builds.contains(&rights.rules[rule]["resources"]) {
            continue;
        }
        rights.put(Some((rule, verb)));
        match a_namespace_is_made(&rights, patience).await {
            Ok(()) => needless.push(what),
            Err(problem) => eprintln!("without {what}: {problem}"),
        }
    }
    let binding = rights.object.replace("clusterrole/", "clusterrolebinding/");
    cluster.kubectl(&["delete", &rights.object, &binding]);
    assert!(needless.is_empty(), "nothing fails without {needless:?}");
}
