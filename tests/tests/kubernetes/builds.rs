//! A gateway whose builds are pods, through its API.

use std::{fs, time::Duration};

use ignite_proto::v1::{self, BuildStatus, FailureReason};
use ignite_tests::{
    caller::{git, inline},
    cluster::Cluster,
    context::Context,
    gateway::{Builder, Gateway},
    git_server::GitServer,
    wait::eventually,
};
use serde_json::Value;

use super::calls::Calls;

const SECRET: &str = "hunter2-hunter2-hunter2";
const SOON: Duration = Duration::from_secs(60);

/// Small enough for many at once.
pub(super) fn on_cluster(cluster: &Cluster, namespace: &str) -> Builder {
    Gateway::builder()
        .on_cluster(cluster, namespace)
        .setting("build_memory_bytes_max", "256MiB")
        .setting("build_cpu_millis_max", 400)
        .setting("build_disk_bytes_max", "1GiB")
        .setting("retry_backoff", "200ms")
}

pub(super) fn dockerfile(cluster: &Cluster, lines: &str) -> Context {
    Context::new(&format!("FROM {}\n{lines}", cluster.registry().busybox()))
}

fn sleeper(cluster: &Cluster, name: &str) -> v1::CreateBuildRequest {
    v1::CreateBuildRequest {
        no_cache: true,
        ..inline(name, &dockerfile(cluster, "RUN echo asleep; sleep 600\n"))
    }
}

pub(super) fn pods(cluster: &Cluster, namespace: &str) -> Vec<Value> {
    let pods = cluster.get(&["pods", "--namespace", namespace]);
    pods["items"].as_array().unwrap().clone()
}

/// Nothing of any run is left.
pub(super) async fn tidied(cluster: &Cluster, namespace: &str) {
    eventually("pods and secrets to go", SOON, async || {
        let left = cluster.get(&["pods,secrets", "--namespace", namespace]);
        left["items"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_and_repositories_are_built_with_secrets_and_leave_nothing() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("builds");
    let gateway = on_cluster(&cluster, namespace.name()).start();
    let operator = gateway.cli_of("operator", "secrets:read,secrets:write");
    let file = gateway.data_dir().with_file_name("token");
    fs::write(&file, SECRET).unwrap();
    let from_file = format!("npm={}", file.display());
    operator.run(&["build", "secrets", "set", "--from-file", &from_file]);
    let caller = gateway.caller();
    let lines = "ARG API_TOKEN\nRUN echo \"arg $API_TOKEN of ${#API_TOKEN}\"\n\
                 RUN --mount=type=secret,id=npm echo \"mounted $(cat /run/secrets/npm) of $(wc -c < /run/secrets/npm)\"\n";
    let request = v1::CreateBuildRequest {
        no_cache: true,
        build_args: [("API_TOKEN".to_owned(), "argument-of-hunters".to_owned())].into(),
        ..inline("archive", &dockerfile(&cluster, lines))
    };
    let build = caller.succeed(request).await;
    assert!(cluster.registry().has(&build.image_refs[0]));
    assert_eq!(
        cluster.registry().digest(&build.image_refs[0]),
        build.image_digest
    );
    let log = caller.log(&build.id).await;
    assert!(
        log.contains("arg *** of 19") && log.contains("mounted *** of 23"),
        "{log}"
    );

    let server = GitServer::start_on(cluster.host_address());
    let repository = server.repository("app.git");
    let commit = repository.commit(&dockerfile(&cluster, "RUN echo from-git\n"));
    let build = caller.succeed(git("repository", repository.url(), "", "")).await;
    assert_eq!(build.resolved_commit, commit);
    tidied(&cluster, namespace.name()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_are_cancelled_and_time_out() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("builds");
    let gateway = on_cluster(&cluster, namespace.name()).start();
    let caller = gateway.caller();
    let id = caller.create(sleeper(&cluster, "cancelled")).await;
    caller.wait_logged(&id, "asleep\n").await;
    caller.cancel(&id).await;
    let build = caller.wait_terminal(&id).await;
    assert_eq!(build.status(), BuildStatus::Cancelled, "{build:?}");
    assert!(caller.log(&id).await.ends_with("asleep\n"));

    let timed = v1::CreateBuildRequest {
        timeout_secs: 15,
        ..sleeper(&cluster, "timed-out")
    };
    let (build, log) = caller.fail(timed, FailureReason::Timeout).await;
    assert!(log.contains("asleep\n"), "{log}");
    assert_eq!(build.attempts, 1);
    tidied(&cluster, namespace.name()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_takes_its_builds_up_again() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("builds");
    let mut gateway = on_cluster(&cluster, namespace.name()).start();
    let step = "i=0; while [ $i -lt 100 ]; do echo line-$i-; i=$((i+1)); sleep 0.1; done";
    let request = v1::CreateBuildRequest {
        no_cache: true,
        ..inline("restarted", &dockerfile(&cluster, &format!("RUN {step}\n")))
    };
    let id = gateway.caller().create(request).await;
    gateway.caller().wait_logged(&id, "\nline-20-\n").await;
    gateway.kill9();
    tokio::time::sleep(Duration::from_secs(2)).await;
    gateway.restart();
    let caller = gateway.caller();
    let build = caller.wait_terminal(&id).await;
    let log = caller.log(&id).await;
    assert_eq!(build.status(), BuildStatus::Succeeded, "{build:?}\n{log}");
    assert_eq!(build.attempts, 1);
    for line in 0..100 {
        assert_eq!(
            log.matches(&format!("\nline-{line}-\n")).count(),
            1,
            "{line}: {log}"
        );
    }
    tidied(&cluster, namespace.name()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_somebody_deletes_is_followed_by_another_attempt() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("builds");
    let gateway = on_cluster(&cluster, namespace.name()).start();
    let caller = gateway.caller();
    let lines = "RUN echo begun; sleep 8\n";
    let request = v1::CreateBuildRequest {
        no_cache: true,
        ..inline("deleted", &dockerfile(&cluster, lines))
    };
    let id = caller.create(request).await;
    caller.wait_logged(&id, "\nbegun\n").await;
    let pod = pods(&cluster, namespace.name())[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    cluster.kubectl(&[
        "delete",
        "pod",
        "--namespace",
        namespace.name(),
        "--wait=false",
        &pod,
    ]);
    let build = caller.wait_terminal(&id).await;
    let log = caller.log(&id).await;
    assert_eq!(
        (build.status(), build.attempts),
        (BuildStatus::Succeeded, 2),
        "{build:?}\n{log}"
    );
    assert!(
        log.contains("[ignite] attempt 1 failed: the build's pod was deleted, and not by the gateway"),
        "{log}"
    );
    tidied(&cluster, namespace.name()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_build_waits_for_is_told_until_it_begins() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("builds");
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("pod.yaml");
    fs::write(&template, "nodeSelector: {ignite.test/nowhere: \"true\"}\n").unwrap();
    let gateway = on_cluster(&cluster, namespace.name())
        .setting("kubernetes_pod_template", template.display())
        .setting("attempts_max", 1)
        .start();
    let caller = gateway.caller();
    let request = |timeout_secs| v1::CreateBuildRequest {
        timeout_secs,
        ..inline("waiting", &dockerfile(&cluster, "RUN true\n"))
    };
    let id = caller.create(request(300)).await;
    let build = eventually("the scheduler's reason", SOON, async || {
        let build = caller.get(&id).await;
        (!build.error.is_empty()).then_some(build)
    })
    .await;
    assert_eq!(build.status(), BuildStatus::Running);
    assert!(
        build.error.contains("waiting for a node") && build.error.contains("node"),
        "{}",
        build.error
    );
    caller.cancel(&id).await;
    assert_eq!(caller.wait_terminal(&id).await.status(), BuildStatus::Cancelled);
    // It gives up when the build could have been over.
    let (build, _) = caller.fail(request(3), FailureReason::Internal).await;
    assert!(build.error.starts_with("gave up after "), "{}", build.error);
    tidied(&cluster, namespace.name()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_has_a_namespace_of_its_own_with_limits() {
    let cluster = Cluster::shared();
    let home = format!("orgs-{}", std::process::id());
    let gateway = on_cluster(&cluster, &home)
        .setting("kubernetes_namespace_per_org", true)
        .start();
    let caller = gateway.caller();
    caller
        .succeed(inline("alone", &dockerfile(&cluster, "RUN true\n")))
        .await;
    let namespace = format!("{home}-acme");
    let kinds = "resourcequota,limitrange,networkpolicy,serviceaccount";
    let there = cluster.get(&[kinds, "--namespace", &namespace]);
    let names = there["items"].as_array().unwrap();
    let ours = names
        .iter()
        .filter(|object| object["metadata"]["name"] == "ignite")
        .count();
    assert_eq!(ours, 4, "{there}");
    tidied(&cluster, &namespace).await;
    drop(gateway);
    cluster.kubectl(&["delete", "namespace", "--wait=false", &namespace]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_takes_the_same_few_calls_however_many_run() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("builds");
    let calls = Calls::of(&cluster);
    let gateway = on_cluster(&cluster, namespace.name())
        .setting("kubernetes_kubeconfig", calls.kubeconfig().display())
        .setting("builds_running_max", 20)
        .setting("builds_running_per_org_max", 20)
        .setting("build_cpu_millis_max", 100)
        .start();
    let caller = gateway.caller();
    let one = |name: String| {
        let request = inline(&name, &dockerfile(&cluster, "RUN sleep 3\n"));
        caller.succeed(v1::CreateBuildRequest {
            no_cache: true,
            ..request
        })
    };
    let count = async |builds: usize| {
        let before = calls.count();
        futures::future::join_all((0..builds).map(|at| one(format!("of-{builds}-{at}")))).await;
        tidied(&cluster, namespace.name()).await;
        calls.count().since(&before)
    };
    let alone = count(1).await;
    let many = count(8).await;
    println!("calls for one build: {alone:?}; for eight at once: {many:?}");
    for (verb, calls) in &many.by_kind {
        // Watches are renewed by the clock.
        if verb.contains("watch=true") {
            continue;
        }
        let each = alone.by_kind.get(verb).copied().unwrap_or_default();
        assert!(*calls <= 8 * each, "{verb}: {calls} for eight, {each} for one");
    }
}
