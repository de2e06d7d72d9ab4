//! The local executor against the real Kaniko, a real OCI runtime and a real registry.
//!
//! Kaniko's executor is taken from `IGNITE_TEST_KANIKO`; `docker-registry`, `busybox` (static) and `runc` or `crun` from
//! their Debian packages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use ignite_core::run::EndCause;
use ignite_server::executor::{
    Executor,
    conformance::{self, Fixture},
    local::{LocalConfig, LocalExecutor, UserNamespace},
};
use rustix::process::Signal;

use self::fixture::{Local, cgroups, kaniko, passable_dir, private_dirs, private_names, send, until_logged};

#[path = "executor_local/credentials.rs"]
mod credentials;
#[path = "executor_local/fixture.rs"]
mod fixture;
#[path = "executor_local/registry.rs"]
mod registry;
#[path = "executor_local/token_server.rs"]
mod token_server;

macro_rules! conformance {
    ($($case:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            let local = Local::start();
            if let Err(broken) = conformance::$case(&local).await {
                panic!("{broken}");
            }
        }
    )*};
}

ignite_server::conformance_cases!(conformance);

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_root_is_nobody_on_the_machine() {
    const UID_BASE: u32 = 300_000;
    let local = Local::with(|config| {
        config.user_namespace = Some(UserNamespace {
            uid_base: UID_BASE,
            size: 65_536,
        });
    });
    let step = "/busybox touch /mine; /busybox id; /busybox cat /proc/self/uid_map; /busybox echo now-asleep; /busybox sleep 1000";
    let plan = local.plan_with(
        &format!("FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"sh\", \"-c\", \"{step}\"]\n"),
        &[],
    );
    local.executor.ensure(&plan).await.unwrap();
    let mine = local.run_dir(plan.run).join("rootfs/mine");
    let start = Instant::now();
    while !mine.exists() {
        assert!(start.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(fs::metadata(&mine).unwrap().uid(), UID_BASE);
    assert_ne!(
        fs::metadata("/dev/null").unwrap().uid(),
        UID_BASE,
        "the sandbox was given the machine's device"
    );
    let private = private_dirs(plan.run);
    assert_eq!(private.len(), 1, "one private folder");
    for file in [
        local.run_dir(plan.run).join("fetch.json"),
        private[0].join("bundle/config.json"),
    ] {
        assert!(!file.exists(), "{} is gone once Kaniko runs", file.display());
    }
    local.executor.forget(plan.run).await.unwrap();
    assert!(!local.run_dir(plan.run).exists());
    assert_eq!(private_dirs(plan.run), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_hangs_on_nothing_of_the_daemons() {
    let local = Local::start();
    let plan = local.plan_with("FROM scratch\n", &["fetch-sleeps"]);
    local.executor.ensure(&plan).await.unwrap();
    until_logged(&local, plan.run, "asleep").await;
    let supervisor = local.supervisor(plan.run);
    let stat = fs::read_to_string(format!("/proc/{supervisor}/stat")).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
    assert_eq!(session, supervisor.to_string(), "it leads a session of its own");
    for (fd, to) in [(0, "/dev/null"), (1, "/dev/null"), (2, "supervisor.log")] {
        let open = fs::read_link(format!("/proc/{supervisor}/fd/{fd}")).unwrap();
        assert!(open.ends_with(to), "{fd} is {open:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_killed_at_any_moment_leaves_nothing_and_runs_nothing_twice() {
    let local = Local::start();
    let dockerfile =
        "FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"echo\", \"hello-from-a-step\"]\n";
    for millis in (0..400).step_by(16) {
        let plan = local.plan(dockerfile).await;
        local.executor.ensure(&plan).await.unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        if let Some(supervisor) = local.find_supervisor(plan.run) {
            send(supervisor, Signal::KILL);
        }
        let story = conformance::run(&local, &plan).await.unwrap();
        local.tidied(plan.run).await;
        assert_eq!(cgroups(plan.run), 0, "killed after {millis} ms: {:?}", story.end);
        let steps = String::from_utf8_lossy(&story.log)
            .matches("hello-from-a-step\n")
            .count();
        let lost = matches!(story.end.cause, EndCause::Lost { .. });
        assert!(
            steps == 1 || lost && steps == 0,
            "killed after {millis} ms: {:?}",
            story.end
        );
        local.executor.forget(plan.run).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_work_without_a_user_namespace() {
    let local = Local::with(|config| config.user_namespace = None);
    conformance::a_build_is_fetched_logged_and_pushed(&local)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_log_and_the_end_stay_of_an_ended_run() {
    let local = Local::start();
    let plan = local.plan("FROM scratch\nCOPY busybox /busybox\n").await;
    conformance::run(&local, &plan).await.unwrap();
    local.tidied(plan.run).await;
    let mut left: Vec<_> = fs::read_dir(local.run_dir(plan.run))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    for gone in ["etc", "fetch.json", "private", "rootfs", "workspace"] {
        assert!(!left.contains(&gone.to_owned()), "{left:?}");
    }
    assert!(left.contains(&"log".to_owned()) && left.contains(&"end.json".to_owned()));
    assert_eq!(cgroups(plan.run), 0);
    assert_eq!(private_names(plan.run), ["log.key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_killed_while_fetching_takes_the_fetch_step_along() {
    let local = Local::start();
    let plan = local.plan_with("FROM scratch\n", &["fetch-sleeps"]);
    local.executor.ensure(&plan).await.unwrap();
    until_logged(&local, plan.run, "asleep").await;
    local.lose(plan.run).await;
    let end = conformance::run(&local, &plan).await.unwrap().end;
    assert!(matches!(end.cause, EndCause::Lost { .. }), "{end:?}");
    local.tidied(plan.run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_and_deadline_reach_the_fetch_step_and_its_children() {
    let local = Local::start();
    let mut timed = local.plan_with("FROM scratch\n", &["fetch-sleeps"]);
    timed.timeout = Duration::from_secs(1);
    let end = conformance::run(&local, &timed).await.unwrap().end;
    assert_eq!(end.cause, EndCause::TimedOut);
    local.tidied(timed.run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_nobody_asked_for_is_a_loss_not_a_stop() {
    let local = Local::start();
    let plan = local.plan_with("FROM scratch\n", &["fetch-sleeps"]);
    local.executor.ensure(&plan).await.unwrap();
    until_logged(&local, plan.run, "asleep").await;
    send(local.supervisor(plan.run), Signal::TERM);
    let end = conformance::run(&local, &plan).await.unwrap().end;
    assert!(matches!(end.cause, EndCause::Lost { .. }), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_run_whose_daemon_died_is_carried_on_with_by_the_next() {
    let local = Local::start();
    let plan = local.plan("FROM scratch\nCOPY busybox /busybox\n").await;
    // A daemon that dies before it starts the supervisor, played by one that has none to start.
    let mut config = local.config.clone();
    config.program = PathBuf::from("/nowhere/ignited");
    let dying = LocalExecutor::new(config).unwrap();
    assert!(dying.ensure(&plan).await.is_err());
    let next = local.restarted().await;
    // As the driver does with every run that it takes up: the dead daemon was all that knew the secrets.
    next.ensure(&plan).await.unwrap();
    let story = conformance::follow(&next, plan.run, Default::default())
        .await
        .unwrap();
    assert_eq!(story.end.cause, EndCause::Exited { code: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_run_whose_secrets_are_gone_can_still_be_stopped() {
    let local = Local::start();
    let plan = local.plan("FROM scratch\nCOPY busybox /busybox\n").await;
    let mut config = local.config.clone();
    config.program = PathBuf::from("/nowhere/ignited");
    assert!(LocalExecutor::new(config).unwrap().ensure(&plan).await.is_err());
    let next = local.restarted().await;
    next.stop(plan.run).await.unwrap();
    let story = conformance::follow(&next, plan.run, Default::default())
        .await
        .unwrap();
    assert_eq!(story.end.cause, EndCause::Stopped);
    next.forget(plan.run).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_never_starts_is_given_up() {
    let local = Local::start();
    let plan = local.plan("FROM scratch\n").await;
    let mut config = local.config.clone();
    config.program = PathBuf::from("/bin/false");
    let broken: Arc<dyn Executor> = Arc::new(LocalExecutor::new(config).unwrap());
    broken.ensure(&plan).await.unwrap();
    let story = conformance::follow(&broken, plan.run, Default::default())
        .await
        .unwrap();
    assert!(
        matches!(story.end.cause, EndCause::Lost { .. }),
        "{:?}",
        story.end
    );
}

#[test]
fn what_is_missing_is_named() {
    let data = passable_dir();
    let new = |change: &dyn Fn(&mut LocalConfig)| {
        let mut config = LocalConfig::new(data.path().to_owned(), kaniko()).unwrap();
        change(&mut config);
        LocalExecutor::new(config).unwrap_err().to_string()
    };
    let no_kaniko = new(&|config| config.kaniko = PathBuf::from("/nowhere/executor"));
    assert!(
        no_kaniko.contains("deploy/kaniko") && no_kaniko.contains("/nowhere/executor"),
        "{no_kaniko}"
    );
    let no_runtime = new(&|config| config.runtime = Some(PathBuf::from("/bin/false")));
    assert!(no_runtime.contains("/bin/false"), "{no_runtime}");
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let not_passable = new(&|_| {});
    assert!(
        not_passable.contains(data.path().to_str().unwrap()),
        "{not_passable}"
    );
    assert_eq!(
        fs::read_dir(data.path().join("runs")).unwrap().count(),
        0,
        "the probe leaves nothing"
    );
}
