//! What an organization keeps for its builds reaches who needs it, and nobody else.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use ignite_core::{
    build::FailureReason,
    dockerfile,
    ids::RunId,
    kaniko::{self, Facts, LogReader, Verdict},
    secrets::{GitHttpsLogin, GitLogin, RegistryLogin, SecretText},
    spec::{ArgValue, GitSource},
};
use ignite_server::executor::{
    Executor as _, RunPlan, RunSource,
    conformance::{self, Fixture as _},
};
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use crate::{
    fixture::{Local, private_dirs, private_names, until_logged},
    registry::{self, Registry},
    token_server,
};

const BASE: &str = "FROM scratch\nCOPY busybox /busybox\n";
const SECRET: &str = "s3cret-of-the-build";

fn secret(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

fn log_in(plan: &mut RunPlan, registry: &Registry, login: (&str, &str)) {
    let login = RegistryLogin {
        username: login.0.to_owned(),
        password: secret(login.1),
    };
    plan.secrets.registries.insert(registry.address(), login);
}

/// Runs it; `None` if it ended well. No part of the log has a password in it.
async fn outcome(local: &Local, plan: &RunPlan) -> Option<(FailureReason, String)> {
    let story = conformance::run(local, plan).await.unwrap();
    let log = String::from_utf8_lossy(&story.log);
    for login in plan.secrets.registries.values() {
        assert!(!log.contains(login.password.reveal()), "{log}");
    }
    let mut reader = LogReader::new(Vec::new());
    reader.push(&story.log, 0);
    reader.finish(0);
    let facts = Facts {
        dockerfile: "Dockerfile",
        timeout: plan.timeout,
        memory_bytes_max: None,
        disk_bytes_max: None,
        cancel_requested: false,
    };
    local.tidied(plan.run).await;
    assert_eq!(private_names(plan.run), ["log.key"], "its secrets are gone");
    match kaniko::classify(&story.end, &reader, &facts) {
        Verdict::Pushed { .. } => None,
        Verdict::Failed { failure, .. } => Some((failure.reason, failure.message)),
        other => panic!("{other:?}\n{log}"),
    }
}

#[track_caller]
fn refused(outcome: Option<(FailureReason, String)>, reason: FailureReason) {
    let (found, message) = outcome.expect("it was refused");
    assert_eq!(found, reason, "{message}");
    assert!(message.contains("store a login"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_pulled_from_and_pushed_to_with_the_organizations_login() {
    let local = Local::at(Registry::guarded(), |_| {});
    let mut base = local.plan(BASE).await;
    log_in(&mut base, &local.registry, registry::LOGIN);
    assert_eq!(outcome(&local, &base).await, None);

    let dockerfile = format!(
        "FROM {}/{}:latest\nRUN [\"/busybox\", \"true\"]\n",
        local.registry.address(),
        base.run
    );
    let mut derived = local.plan(&dockerfile).await;
    log_in(&mut derived, &local.registry, registry::LOGIN);
    assert_eq!(outcome(&local, &derived).await, None);

    // A base that may not be read, for an image that may be pushed.
    let open = Local::start();
    let mut stranger = open.plan(&dockerfile).await;
    refused(outcome(&open, &stranger).await, FailureReason::BaseImagePull);
    stranger = open.plan(&dockerfile).await;
    log_in(&mut stranger, &local.registry, ("pusher", "wrong-password"));
    refused(outcome(&open, &stranger).await, FailureReason::BaseImagePull);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_without_the_right_login_is_denied() {
    let local = Local::at(Registry::guarded(), |_| {});
    let anonymous = local.plan(BASE).await;
    refused(outcome(&local, &anonymous).await, FailureReason::PushDenied);
    let mut wrong = local.plan(BASE).await;
    log_in(&mut wrong, &local.registry, ("pusher", "wrong-password"));
    refused(outcome(&local, &wrong).await, FailureReason::PushDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organizations_login_comes_before_the_operators() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let registry = Registry::guarded();
    let operators = |login: (&str, &str)| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let auth = STANDARD.encode(format!("{}:{}", login.0, login.1));
        format!(
            r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#,
            registry.address()
        )
    };
    let (right, wrong) = (operators(registry::LOGIN), operators(("pusher", "not-any-more")));
    fs::write(&file, &right).unwrap();
    let local = Local::at(registry, |config| config.docker_config = Some(file.clone()));
    let by_operator = local.plan(BASE).await;
    assert_eq!(outcome(&local, &by_operator).await, None);
    fs::write(&file, &wrong).unwrap();
    let refused_too = local.plan(BASE).await;
    refused(outcome(&local, &refused_too).await, FailureReason::PushDenied);
    let mut by_organization = local.plan(BASE).await;
    log_in(&mut by_organization, &local.registry, registry::LOGIN);
    assert_eq!(outcome(&local, &by_organization).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_a_login_service_takes_right_logins_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let auth = token_server::start(folder.path()).await;
    let local = Local::at(Registry::with_auth(|_| auth), |_| {});
    for (login, reason) in [
        (token_server::LOGIN, None),
        (("builder", "wrong-password"), Some(FailureReason::PushDenied)),
        (token_server::EXPIRED, Some(FailureReason::PushDenied)),
    ] {
        let mut plan = local.plan(BASE).await;
        log_in(&mut plan, &local.registry, login);
        match (outcome(&local, &plan).await, reason) {
            (found, Some(reason)) => refused(found, reason),
            (found, None) => assert_eq!(found, None),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_secret_is_in_its_step_and_in_no_layer() {
    // The real fetch step reports the Dockerfile, which says what is mounted.
    let local = Local::with(|config| config.fetch_program = None);
    let dockerfile = "FROM scratch\nCOPY busybox /busybox\n\
        RUN --mount=type=secret,id=npm.token [\"/busybox\", \"sh\", \"-c\", \
        \"/busybox wc -c < /run/secrets/npm.token > /length; /busybox tr '\\\\\\\\0' ' ' < /proc/1/environ | /busybox grep -c other-value; true\"]\n\
        RUN --mount=type=secret,id=npm.token,env=TOKEN [\"/busybox\", \"sh\", \"-c\", \"/busybox echo length ${#TOKEN}\"]\n\
        RUN [\"/busybox\", \"sh\", \"-c\", \"/busybox ls /run/secrets || /busybox echo none-left\"]\n";
    let mut plan = local.plan(dockerfile).await;
    if let RunSource::Archive { path, sha256 } = &mut plan.source {
        *sha256 = hex::encode(Sha256::digest(fs::read(path).unwrap()));
    }
    let mounts = &mut plan.secrets.mounts;
    mounts.insert("npm.token".to_owned(), secret(SECRET));
    mounts.insert("other".to_owned(), secret("other-value"));
    let story = conformance::run(&local, &plan).await.unwrap();
    let log = String::from_utf8_lossy(&story.log);
    assert_eq!(
        story.end.cause,
        ignite_core::run::EndCause::Exited { code: 0 },
        "{log}"
    );
    assert!(log.contains(&format!("length {}", SECRET.len())), "{log}");
    assert!(log.contains("none-left"), "{log}");
    assert!(
        log.contains("\n0\n"),
        "what no step mounts is not handed over: {log}"
    );
    assert!(!log.contains(SECRET), "{log}");
    assert!(
        local.registry.stores(format!("{}\n", SECRET.len()).as_bytes()),
        "the step has read it"
    );
    assert!(!local.registry.stores(SECRET.as_bytes()));
}

/// What the warnings of secret build args say, against what Kaniko pushes.
#[tokio::test(flavor = "multi_thread")]
async fn secret_args_end_in_the_image_where_it_is_said_and_nowhere_else() {
    for instruction in [
        "ENV A=$TOKEN",
        "ENV A x-${TOKEN:-none}",
        "ENV A=${TOKEN:+set}",
        "ENV A='$TOKEN'",
        "LABEL a=$TOKEN",
        "WORKDIR /$TOKEN",
        "USER $TOKEN",
        "VOLUME /$TOKEN",
        "COPY Dockerfile /$TOKEN",
        "ARG URL=https://$TOKEN@host\nLABEL a=$URL",
        "CMD [\"$TOKEN\"]",
        "ENTRYPOINT $TOKEN",
        "HEALTHCHECK CMD $TOKEN",
        "RUN [\"/busybox\", \"sh\", \"-c\", \"test -n $TOKEN\"]",
        "COPY <<EOF /file\n$TOKEN\nEOF",
    ] {
        let local = Local::start();
        let text = format!("FROM scratch\nARG TOKEN\nCOPY busybox /busybox\n{instruction}\n");
        let mut plan = local.plan(&text).await;
        plan.build_args
            .insert("TOKEN".to_owned(), ArgValue::new(SECRET.to_owned(), true));
        plan.kaniko_args.push("--build-arg=TOKEN".to_owned());
        let story = conformance::run(&local, &plan).await.unwrap();
        let log = String::from_utf8_lossy(&story.log);
        assert_eq!(
            story.end.cause,
            ignite_core::run::EndCause::Exited { code: 0 },
            "{instruction}: {log}"
        );
        let parsed = dockerfile::parse(&text, &plan.build_args).unwrap();
        let said = parsed.secret_uses(&[("TOKEN".to_owned(), true)].into());
        assert_eq!(
            local.registry.stores(SECRET.as_bytes()),
            !said.is_empty(),
            "{instruction}: {said:?}"
        );
    }
}

/// A plan with a secret of each kind, all of them [`SECRET`].
fn with_all_secrets(local: &Local, mut plan: RunPlan) -> RunPlan {
    log_in(&mut plan, &local.registry, ("acme", SECRET));
    plan.secrets.mounts.insert("mounted".to_owned(), secret(SECRET));
    plan.secrets.git = Some(GitLogin {
        hosts: Vec::new(),
        https: Some(GitHttpsLogin {
            username: "git".to_owned(),
            password: secret(SECRET),
        }),
        ssh: None,
    });
    plan.build_args
        .insert("TOKEN".to_owned(), ArgValue::new(SECRET.to_owned(), true));
    plan.kaniko_args.push("--build-arg=TOKEN".to_owned());
    plan
}

fn holds(bytes: &[u8]) -> bool {
    bytes
        .windows(SECRET.len())
        .any(|window| window == SECRET.as_bytes())
}

fn files_with_the_secret(folder: &Path) -> Vec<String> {
    let files = WalkDir::new(folder).into_iter().flatten();
    files
        .filter(|entry| entry.file_type().is_file())
        .filter(|entry| fs::read(entry.path()).is_ok_and(|bytes| holds(&bytes)))
        .map(|entry| entry.path().display().to_string())
        .collect()
}

/// Of the run's processes: those that show the secret. The environment of what is in the sandbox is left out.
fn processes_with_the_secret(local: &Local, run: RunId) -> Vec<String> {
    let pids = local.pids(run);
    assert!(!pids.is_empty());
    let shows =
        |pid: &u32, file: &str| fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| holds(&bytes));
    let is_inside = |pid: &u32| {
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        cgroup.contains("/ignite/")
    };
    pids.into_iter()
        .filter(|pid| shows(pid, "cmdline") || !is_inside(pid) && shows(pid, "environ"))
        .map(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_argument_or_environment_outside_the_sandbox_shows_a_secret() {
    let local = Local::start();
    let fetching = with_all_secrets(&local, local.plan_with("FROM scratch\n", &["fetch-sleeps"]));
    local.executor.ensure(&fetching).await.unwrap();
    until_logged(&local, fetching.run, "asleep").await;
    let building = local.plan_with(
        "FROM scratch\nCOPY busybox /busybox\nRUN --mount=type=secret,id=mounted [\"/busybox\", \"sh\", \"-c\", \
         \"/busybox cat /run/secrets/mounted; /busybox echo now-asleep; /busybox sleep 1000\"]\n",
        &[],
    );
    let building = with_all_secrets(&local, building);
    local.executor.ensure(&building).await.unwrap();
    until_logged(&local, building.run, "now-asleep\n").await;
    for run in [fetching.run, building.run] {
        assert_eq!(processes_with_the_secret(&local, run), Vec::<String>::new());
        for private in private_dirs(run) {
            let mut files = files_with_the_secret(&private);
            // One runtime of the two keeps a copy of the configuration there.
            files.retain(|file| !file.contains("/state/"));
            assert_eq!(files, Vec::<String>::new());
        }
    }
    // But for the step's own file, for as long as the step runs: it is in the build's root.
    let mounted = local.run_dir(building.run).join("rootfs/run/secrets/mounted");
    assert_eq!(
        files_with_the_secret(&local.config.data_dir),
        [mounted.display().to_string()]
    );
    for run in [fetching.run, building.run] {
        local.executor.forget(run).await.unwrap();
        assert!(private_dirs(run).is_empty());
    }
    assert_eq!(
        files_with_the_secret(&local.config.data_dir),
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_in_memory_is_swept() {
    let local = Local::start();
    let plan = local.plan_with(
        "FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"sh\", \"-c\", \"/busybox echo now-asleep; /busybox sleep 1000\"]\n",
        &[],
    );
    let plan = with_all_secrets(&local, plan);
    local.executor.ensure(&plan).await.unwrap();
    until_logged(&local, plan.run, "now-asleep\n").await;
    assert_eq!(private_dirs(plan.run).len(), 1);
    local.lose(plan.run).await;
    let next = local.restarted().await;
    next.observe().await.unwrap();
    assert_eq!(private_names(plan.run), ["log.key"]);
    local.tidied(plan.run).await;
}

/// Writes down what it is given and gives up.
const TELLING_FETCH: &str = "#!/bin/sh -e\ncat > \"$2/given\"\n\
    echo '{\"failure\":\"auth\",\"message\":\"told\"}' > \"$2/fetch-failed.json\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_git_login_is_for_the_fetch_step_of_a_git_source_only() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("fetch");
    fs::write(&program, TELLING_FETCH).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let local = Local::with(|config| config.fetch_program = Some(program));
    for is_git in [true, false] {
        let mut plan = with_all_secrets(&local, local.plan(BASE).await);
        if is_git {
            plan.source = RunSource::Git(GitSource {
                url: "https://git.example.com/a".to_owned(),
                reference: "main".to_owned(),
                context_dir: String::new(),
            });
        }
        conformance::run(&local, &plan).await.unwrap();
        let given = fs::read(local.run_dir(plan.run).join("given")).unwrap();
        let login = serde_json::from_slice::<GitLogin>(&given).ok();
        assert_eq!(login, plan.secrets.git.filter(|_| is_git));
    }
}
