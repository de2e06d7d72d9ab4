//! The fetch step as it runs in a pod: the real process, folders in the place of volumes, a gateway in this process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use ignite_core::{
    ids::RunId,
    run::FetchFailure,
    secrets::{GitHttpsLogin, GitLogin, SecretText},
    spec::GitSource,
};
use ignite_server::executor::RunSource;

use self::{
    gateway::{Gateway, Way, archive, now_ms},
    pod::{Ended, Pod},
};

#[path = "fetch_pod/gateway.rs"]
mod gateway;
#[path = "fetch_pod/git.rs"]
mod git;
#[path = "fetch_pod/pod.rs"]
mod pod;

/// Larger than what sockets hold.
const LARGE_BYTES: usize = 16 << 20;
const GO_AHEAD: &str = "ignite.dodil.io/go-ahead=\"true\"";

/// The step, while the gateway goes on beside it.
async fn fetch(pod: Pod) -> (Pod, Ended) {
    let work = move || {
        let ended = pod.fetch();
        (pod, ended)
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_comes_from_the_gateway() {
    let gateway = Gateway::start(archive(LARGE_BYTES)).await;
    let context = gateway.context(gateway.address());
    let (pod, ended) = fetch(Pod::for_archive(&gateway.sha256(), &context)).await;
    assert_eq!(
        ended.log,
        [
            "Downloading the context",
            "Unpacking the context (16.7 MB)",
            "Context: 2 files, 16.7 MB"
        ]
    );
    let report = ended.report();
    assert_eq!(report.dockerfile.as_deref(), Some("FROM scratch\nCOPY data /\n"));
    assert_eq!(report.context_size_bytes, LARGE_BYTES as u64 + 25);
    assert_eq!(pod.files(), ["Dockerfile", "data"]);
    pod.check_tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_was_uploaded_is_our_fault() {
    let gateway = Gateway::start(archive(1000)).await;
    let context = gateway.context(gateway.address());
    let (pod, ended) = fetch(Pod::for_archive(&"00".repeat(32), &context)).await;
    ended.check_failed(FetchFailure::Internal, "it is not what was uploaded");
    assert!(pod.files().is_empty());
    pod.check_tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_away_is_waited_for() {
    let gateway = Gateway::start(archive(1000)).await;
    let way = Way::new().await;
    let pod = Pod::for_archive(&gateway.sha256(), &gateway.context(way.address()));
    let (pod, mut step) = beside(|| {
        let mut step = pod.start();
        step.logs("[ignite] the context does not come");
        (pod, step)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!step.is_over());
    way.lead_to(Some(gateway.address()));
    let ended = beside(|| step.ended()).await;
    let told = ended.log.iter().filter(|line| line.contains("trying again"));
    assert_eq!(told.count(), 1, "told once: {:?}", ended.log);
    ended.report();
    assert_eq!(pod.files(), ["Dockerfile", "data"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_where_a_restart_of_the_gateway_cut_it_off() {
    let mut gateway = Gateway::start(archive(LARGE_BYTES)).await;
    let way = Way::new().await;
    way.cut_after(5 << 20);
    way.lead_to(Some(gateway.address()));
    let context = gateway.context(way.address());
    let pod = Pod::for_archive(&gateway.sha256(), &context);
    let step = beside(move || {
        let mut step = pod.start();
        step.logs("[ignite] the context does not come");
        (pod, step)
    })
    .await;
    gateway.stop().await;
    gateway.open().await;
    way.lead_to(Some(gateway.address()));
    let (pod, ended) = beside(move || {
        let ended = step.1.ended();
        (step.0, ended)
    })
    .await;
    ended.report();
    assert_eq!(pod.files(), ["Dockerfile", "data"]);
    let heads = way.heads();
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert!(!heads[0].contains("range:"));
    let range = heads[1].split("range: bytes=").nth(1).unwrap();
    let from: usize = range.split('-').next().unwrap().parse().unwrap();
    // The rest of what was let through is the head of the answer.
    assert!(((5 << 20) - 1000..5 << 20).contains(&from), "{from}");
    pod.check_tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_hold_ends_it_at_once() {
    let gateway = Gateway::start(archive(1000)).await;
    let run = gateway.run();
    let other = RunId { attempt: 2, ..run };
    let soon = now_ms() + 60_000;
    let mut wrong_path = gateway.context(gateway.address());
    wrong_path.url.push('x');
    let mut others = gateway.context_of(other, soon);
    others.url = gateway.context(gateway.address()).url;
    for (context, why) in [
        (gateway.context_of(run, now_ms() - 1), "the gateway answers 401"),
        (others, "the gateway answers 401"),
        (gateway.context_of(other, soon), "the gateway answers 404"),
        (wrong_path, "the gateway answers 404"),
    ] {
        let token = context.token.reveal().to_owned();
        let (_, ended) = fetch(Pod::for_archive(&gateway.sha256(), &context)).await;
        ended.check_failed(FetchFailure::Internal, why);
        assert!(!format!("{ended:?}").contains(&token));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stays_away_is_given_up_in_time() {
    let way = Way::new().await;
    let gateway = Gateway::start(archive(1000)).await;
    let pod = Pod::for_archive(&gateway.sha256(), &gateway.context(way.address()));
    pod.replan(|plan| plan.timeout = Duration::from_secs(2));
    let began = Instant::now();
    let (_, ended) = fetch(pod).await;
    ended.check_failed(FetchFailure::Internal, "longer than the build may take");
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gated_step_waits_for_its_annotation() {
    let gateway = Gateway::start(archive(1000)).await;
    let pod = Pod::for_archive(&gateway.sha256(), &gateway.context(gateway.address()));
    pod.replan(|plan| plan.gated = true);
    beside(move || {
        let mut step = pod.start();
        assert!(step.reports().dockerfile.is_some());
        for not_yet in [
            "ignite.dodil.io/go-ahead=\"false\"".to_owned(),
            "ignite.dodil.io/go-ahead=\"\"".to_owned(),
            format!("a=\"b\"\nforged=\"x\\n{GO_AHEAD}\\n\""),
            format!("x.{GO_AHEAD}"),
        ] {
            pod.annotate(&not_yet);
            thread::sleep(Duration::from_millis(250));
            assert!(!step.is_over(), "{not_yet}");
        }
        // It may be looked for while it is replaced.
        fs::remove_file(pod.path("pod/annotations")).unwrap();
        thread::sleep(Duration::from_millis(250));
        assert!(!step.is_over());
        pod.annotate(&format!("a=\"b\"\n{GO_AHEAD}\nz=\"1\""));
        let ended = step.ended();
        assert!(ended.status.success());
        assert!(ended.result.is_none(), "reported once");
        assert_eq!(pod.files(), ["Dockerfile", "data"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gated_step_that_gets_no_word_ends_in_time() {
    let gateway = Gateway::start(archive(1000)).await;
    let pod = Pod::for_archive(&gateway.sha256(), &gateway.context(gateway.address()));
    pod.replan(|plan| {
        plan.gated = true;
        plan.timeout = Duration::from_secs(3);
    });
    let (_, ended) = fetch(pod).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(matches!(ended.result, Some(Ok(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_at_once_wherever_it_waits() {
    let gateway = Gateway::start(archive(1000)).await;
    let way = Way::new().await;
    let away = Pod::for_archive(&gateway.sha256(), &gateway.context(way.address()));
    let gated = Pod::for_archive(&gateway.sha256(), &gateway.context(gateway.address()));
    gated.replan(|plan| plan.gated = true);
    beside(move || {
        let mut waiting = away.start();
        waiting.logs("[ignite] the context does not come");
        let mut reported = gated.start();
        reported.reports();
        for step in [waiting, reported] {
            let began = Instant::now();
            step.terminate();
            assert_eq!(step.ended().status.code(), Some(143));
            assert!(began.elapsed() < Duration::from_secs(2));
        }
    })
    .await;
}

#[test]
fn a_git_source_is_fetched_with_the_login_from_its_file() {
    let upstream = tempfile::tempdir().unwrap();
    let repository = upstream.path().join("app");
    fs::create_dir(&repository).unwrap();
    fs::write(repository.join("Dockerfile"), "FROM scratch\n").unwrap();
    for args in [
        &["init", "-q", "-b", "main"][..],
        &["add", "."],
        &[
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "commit",
            "-qm",
            "one",
        ],
    ] {
        assert!(
            Command::new("git")
                .args(args)
                .current_dir(&repository)
                .status()
                .unwrap()
                .success()
        );
    }
    let server = git::server::Server::start(upstream.path().to_owned());
    let source = |path: &str| {
        RunSource::Git(GitSource {
            url: format!("http://127.0.0.1:{}/{path}", server.port()),
            reference: "main".to_owned(),
            context_dir: String::new(),
        })
    };

    let pod = Pod::new();
    pod.plan(source("guarded/app"), |plan| plan.fetch.has_login = true);
    pod.log_in(&GitLogin {
        hosts: Vec::new(),
        https: Some(GitHttpsLogin {
            username: git::USER.to_owned(),
            password: SecretText::new(git::PASSWORD.to_owned()),
        }),
        ssh: None,
    });
    let ended = pod.fetch();
    assert!(!format!("{ended:?}").contains(git::PASSWORD));
    let report = ended.report();
    assert_eq!(report.resolved_commit.map(|commit| commit.len()), Some(40));
    assert_eq!(pod.files(), ["Dockerfile"]);
    pod.check_tidy();

    // The server says the login back.
    pod.plan(source("echo/app"), |plan| plan.fetch.has_login = true);
    let ended = pod.fetch();
    assert!(!format!("{ended:?}").contains(git::PASSWORD), "{ended:?}");
    ended.check_failed(FetchFailure::Source, "***");
    assert!(pod.files().is_empty());

    pod.plan(source("guarded/app"), |_| {});
    pod.fetch().check_failed(FetchFailure::Auth, "wants credentials");
    pod.plan(source("nothing"), |_| {});
    pod.fetch()
        .check_failed(FetchFailure::Source, "no such repository");

    fs::remove_file(pod.path("plan/git-login.json")).unwrap();
    pod.plan(source("guarded/app"), |plan| plan.fetch.has_login = true);
    pod.fetch()
        .check_failed(FetchFailure::Internal, "reading the git login");
    assert!(!server.logins().is_empty());
}

#[test]
fn what_is_missing_is_our_fault_and_said_in_a_frame() {
    let pod = Pod::new();
    pod.fetch()
        .check_failed(FetchFailure::Internal, "reading the plan of the fetch step");
    let source = RunSource::Archive {
        path: pod.path("run/context"),
        sha256: "00".repeat(32),
    };
    pod.plan(source, |_| {});
    pod.fetch()
        .check_failed(FetchFailure::Internal, "reading where the context is");
    pod.write(
        "plan/context.json",
        br#"{"url": "http://127.0.0.1:1", "token": hunter2}"#,
    );
    pod.fetch().check_failed(
        FetchFailure::Internal,
        "reading where the context is: it is damaged",
    );
    pod.write(
        "plan/context.json",
        br#"{"url": "no address", "token": "hunter2"}"#,
    );
    let ended = pod.fetch();
    ended.check_failed(FetchFailure::Internal, "downloading the context");
    assert!(!format!("{ended:?}").contains("hunter2"));
    fs::remove_file(pod.path("image/ignite-shim")).unwrap();
    pod.fetch()
        .check_failed(FetchFailure::Internal, "putting the shim in place");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_context_belongs_to_root_in_a_volume_of_a_group_too() {
    let gateway = Gateway::start(archive(1000)).await;
    let context = gateway.context(gateway.address());
    let pod = Pod::for_archive(&gateway.sha256(), &context);
    let run = pod.path("run");
    chown(&run, None, Some(4711)).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o2775)).unwrap();
    let (pod, ended) = fetch(pod).await;
    ended.report();
    for path in ["run/workspace", "run/workspace/data"] {
        let meta = fs::metadata(pod.path(path)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (0, 0), "{path}");
    }
}
