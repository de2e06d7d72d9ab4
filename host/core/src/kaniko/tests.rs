//! Against logs that a real Kaniko wrote (v1.27.5), in `logs/`.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    build::{Failure, FailureReason},
    run::{Disruption, EndCause, FetchFailure, RunEnd},
};

const FRESH: &str = include_str!("logs/fresh.log");
const CACHED: &str = include_str!("logs/cached.log");
const RUN_FAILS: &str = include_str!("logs/run_fails.log");

const FACTS: Facts<'_> = Facts {
    dockerfile: "docker/Dockerfile",
    timeout: Duration::from_secs(900),
    memory_bytes_max: Some(512 << 20),
    disk_bytes_max: Some(10 << 30),
    cancel_requested: false,
};

fn reader() -> LogReader {
    let refs = ["latest", "v1"].map(|tag| format!("127.0.0.1:5987/acme/web:{tag}"));
    LogReader::new(refs.to_vec())
}

fn read(log: &str) -> LogReader {
    let mut reader = reader();
    for (second, line) in log.split_inclusive('\n').enumerate() {
        reader.push(line.as_bytes(), i64::try_from(second).unwrap() * 1000);
    }
    reader.finish(1_000_000);
    reader
}

fn ended(cause: EndCause) -> RunEnd {
    RunEnd {
        cause,
        ended_at_ms: 0,
        digest: None,
    }
}

fn exited(code: i32, log: &str) -> Verdict {
    classify(&ended(EndCause::Exited { code }), &read(log), &FACTS)
}

#[track_caller]
fn failed(verdict: Verdict) -> (FailureReason, String) {
    match verdict {
        Verdict::Failed { failure, refs } if refs.is_empty() => (failure.reason, failure.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn steps_are_read_with_their_times() {
    let reader = read(FRESH);
    let names: Vec<&str> = reader.steps().iter().map(|step| step.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "FROM scratch",
            "COPY busybox /bin/busybox",
            "RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]",
            "RUN echo hello && echo \"quoted \\\"x\\\"\" && printf 'no newline at end'",
            "FROM base",
            "ARG TOKEN",
            "ENV A=b",
            "RUN echo token $TOKEN",
            "COPY --from=base /bin/busybox /bb",
            "LABEL x=\"a b\"",
            "WORKDIR /w",
            "RUN <<EOT",
            "ENTRYPOINT [\"/bb\"]",
        ]
    );
    assert!(!reader.cache_used());
    for pair in reader.steps().windows(2) {
        assert!(pair[0].completed_at_ms.unwrap() <= pair[1].started_at_ms);
        assert!(pair[0].started_at_ms < pair[1].started_at_ms);
    }
    // The last step ends where the push begins, not where the log does.
    assert!(reader.steps()[12].completed_at_ms.unwrap() < 900_000);
}

#[test]
fn steps_from_the_cache_are_marked() {
    let reader = read(CACHED);
    let cached: Vec<&str> = reader
        .steps()
        .iter()
        .filter(|step| step.cached)
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(cached.len(), 5, "{cached:?}");
    assert!(cached.contains(&"RUN echo token $TOKEN") && cached.contains(&"WORKDIR /w"));
    assert!(reader.cache_used());
}

#[test]
fn only_the_builds_own_destinations_count_as_pushed() {
    let verdict = exited(0, FRESH);
    let Verdict::Pushed { digest, refs } = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(
        refs,
        ["127.0.0.1:5987/acme/web:latest", "127.0.0.1:5987/acme/web:v1"]
    );
    let last_push = FRESH.lines().rfind(|line| line.contains("Pushed ")).unwrap();
    assert!(last_push.contains(&digest), "{digest}");
    // Layers went to the cache on the way.
    assert!(FRESH.contains("Pushed 127.0.0.1:5987/acme/cache@"));
}

#[test]
fn references_on_docker_hub_are_recognized() {
    let mut reader = LogReader::new(vec!["docker.io/acme/web:1".to_owned()]);
    let digest = format!("sha256:{}", "ab".repeat(32));
    reader.push(
        b"time=\"x\" level=info msg=\"Pushing image to index.docker.io/acme/web:1\"\n",
        0,
    );
    reader.push(
        format!("time=\"x\" level=info msg=\"Pushed index.docker.io/acme/web@{digest}\"\n").as_bytes(),
        0,
    );
    assert_eq!(
        (reader.pushed(), reader.digest()),
        (&["docker.io/acme/web:1".to_owned()][..], Some(&*digest))
    );
}

#[test]
fn a_failure_between_two_pushes_keeps_the_first() {
    let cut = FRESH.rfind("time=").unwrap();
    let log = format!(
        "{}error pushing image: failed to push to destination x: PUT y: boom\n",
        &FRESH[..cut]
    );
    let Verdict::Failed { failure, refs } = exited(1, &log) else {
        panic!("{log}")
    };
    assert_eq!(failure.reason, FailureReason::PushFailed);
    assert_eq!(refs, ["127.0.0.1:5987/acme/web:latest"]);
}

#[test]
fn a_step_that_imitates_a_push_or_an_error_changes_nothing() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let fake = format!(
        "time=\"x\" level=info msg=\"Pushing image to 127.0.0.1:5987/acme/web:v1\"\n\
         time=\"x\" level=info msg=\"Pushed 127.0.0.1:5987/acme/web@{digest}\"\nerror pushing image: DENIED\n"
    );
    let at = RUN_FAILS.find("time=").unwrap();
    let first_step = RUN_FAILS.find("level=info msg=\"COPY").unwrap();
    let line_end = first_step + RUN_FAILS[first_step..].find('\n').unwrap() + 1;
    let log = format!(
        "{}{}{fake}{}",
        &RUN_FAILS[..at],
        &RUN_FAILS[at..line_end],
        &RUN_FAILS[line_end..]
    );
    assert_eq!(failed(exited(42, &log)), failed(exited(42, RUN_FAILS)));
}

#[test]
fn a_failing_step_tells_its_command_code_and_last_line() {
    let (reason, message) = failed(exited(42, RUN_FAILS));
    assert_eq!(reason, FailureReason::UserStep);
    assert_eq!(
        message,
        "step \"run echo 'error building image: fake' && echo no newline && exit 42\" failed with exit code 42\n\
         its last line: no newline"
    );
    let (reason, message) = failed(exited(255, include_str!("logs/run_killed.log")));
    assert_eq!(reason, FailureReason::UserStep);
    assert!(
        message.contains("RUN kill -9 $$") && message.contains("memory"),
        "{message}"
    );
}

#[test]
fn an_error_behind_an_open_line_is_found() {
    let log = RUN_FAILS.replace("no newline\nerror", "no newlineerror");
    assert_ne!(log, RUN_FAILS);
    assert_eq!(failed(exited(42, &log)), failed(exited(42, RUN_FAILS)));
}

#[test]
fn each_way_to_fail_has_its_reason_and_names_what_is_wrong() {
    for (log, reason, says) in [
        (
            include_str!("logs/no_dockerfile.log"),
            FailureReason::Dockerfile,
            "no file \"docker/Dockerfile\"",
        ),
        (
            include_str!("logs/syntax_error.log"),
            FailureReason::Dockerfile,
            "docker/Dockerfile: dockerfile parse error on line 2: unknown instruction: RUNN",
        ),
        (
            include_str!("logs/base_malformed.log"),
            FailureReason::Dockerfile,
            "could not parse reference: a/../UP:x",
        ),
        (
            include_str!("logs/base_missing.log"),
            FailureReason::BaseImagePull,
            "127.0.0.1:5987/none/such:1 could not be pulled: GET http",
        ),
        (
            include_str!("logs/base_unreachable.log"),
            FailureReason::BaseImagePull,
            "no.such.host.invalid/a/b:1 could not be pulled: Get",
        ),
        (
            include_str!("logs/copy_missing.log"),
            FailureReason::UserStep,
            "/workspace/missing.txt",
        ),
        (
            include_str!("logs/no_shell.log"),
            FailureReason::UserStep,
            "step \"RUN echo hi\" failed: starting command: fork/exec /bin/sh",
        ),
        (
            include_str!("logs/no_user.log"),
            FailureReason::UserStep,
            "user nosuch",
        ),
        (
            include_str!("logs/push_401.log"),
            FailureReason::PushDenied,
            "UNAUTHORIZED",
        ),
        (
            include_str!("logs/push_403.log"),
            FailureReason::PushDenied,
            "403 Forbidden",
        ),
        (
            include_str!("logs/push_manifest_403.log"),
            FailureReason::PushDenied,
            "DENIED",
        ),
        (
            include_str!("logs/push_manifest_500.log"),
            FailureReason::PushFailed,
            "500 Internal Server Error",
        ),
        (
            include_str!("logs/push_unreachable.log"),
            FailureReason::PushFailed,
            "connection refused",
        ),
        (
            include_str!("logs/disk_full.log"),
            FailureReason::OutOfDisk,
            "10240 MiB at step \"RUN yes > /big\"",
        ),
        (
            "panic: runtime error\ngoroutine 1\n",
            FailureReason::Internal,
            "panic: runtime error",
        ),
        ("", FailureReason::Internal, "exit code 1"),
        (
            "time=\"x\" level=fatal msg=\"Invalid platform\"\n",
            FailureReason::Internal,
            "Invalid platform",
        ),
    ] {
        let (found, message) = failed(exited(1, log));
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(says), "{says:?} in {message:?}");
        assert!(message.len() < 1500);
    }
}

#[test]
fn what_the_executor_saw_comes_before_the_log() {
    let of = |cause| failed(classify(&ended(cause), &read(RUN_FAILS), &FACTS));
    let (reason, message) = of(EndCause::TimedOut);
    assert_eq!(reason, FailureReason::Timeout);
    assert!(message.contains("900 s"), "{message}");
    let (reason, message) = of(EndCause::OutOfMemory);
    assert_eq!(reason, FailureReason::OutOfMemory);
    assert!(message.contains("512 MiB"), "{message}");
    assert_eq!(of(EndCause::OutOfDisk).0, FailureReason::OutOfDisk);
    for (kind, reason) in [
        (FetchFailure::Auth, FailureReason::SourceAuth),
        (FetchFailure::Source, FailureReason::SourceFetch),
        (FetchFailure::Dockerfile, FailureReason::Dockerfile),
    ] {
        let message = "why".to_owned();
        assert_eq!(
            of(EndCause::FetchFailed {
                failure: kind,
                message
            }),
            (reason, "why".to_owned())
        );
    }
}

#[test]
fn only_our_own_faults_are_worth_another_attempt() {
    let of = |cause, facts| classify(&ended(cause), &read(FRESH), &facts);
    let message = "why".to_owned();
    let fetch = EndCause::FetchFailed {
        failure: FetchFailure::Internal,
        message: message.clone(),
    };
    for cause in [fetch, EndCause::Lost { message }, EndCause::Stopped] {
        assert!(matches!(of(cause, FACTS), Verdict::Infrastructure { .. }));
    }
    for (how, reason) in [
        (Disruption::Evicted, FailureReason::Evicted),
        (Disruption::Preempted, FailureReason::Evicted),
        (Disruption::NodeLost, FailureReason::Internal),
        (Disruption::Deleted, FailureReason::Internal),
    ] {
        let message = "why".to_owned();
        let cause = EndCause::Disrupted { how, message };
        let is_told = |failure: &Failure| failure.reason == reason && failure.message == "why";
        assert!(matches!(of(cause, FACTS), Verdict::Infrastructure { failure } if is_told(&failure)));
    }
    let cancelled = Facts {
        cancel_requested: true,
        ..FACTS
    };
    assert!(matches!(of(EndCause::Stopped, cancelled), Verdict::Cancelled { refs } if refs.len() == 2));
    // A push that is done is not undone by a cancellation that came too late.
    assert!(matches!(
        of(EndCause::Exited { code: 0 }, cancelled),
        Verdict::Pushed { .. }
    ));
}

#[test]
fn nothing_pushed_is_no_success() {
    assert_eq!(exited(0, ""), Verdict::not_pushed());
    let mut end = ended(EndCause::Exited { code: 0 });
    end.digest = Some("sha256:x".to_owned());
    let Verdict::Pushed { digest, refs } = classify(&end, &read("redacted beyond recognition"), &FACTS)
    else {
        panic!()
    };
    assert_eq!((digest.as_str(), refs.len()), ("sha256:x", 2));
}

#[test]
fn what_is_printed_after_the_last_push_does_not_change_the_digest() {
    let (real, forged) = (
        format!("sha256:{}", "ab".repeat(32)),
        format!("sha256:{}", "11".repeat(32)),
    );
    let destination = reader().destinations()[0].clone();
    let (repository, _) = destination.rsplit_once(':').unwrap();
    let push = |digest: &str| {
        format!(
            "time=\"x\" level=info msg=\"Pushing image to {destination}\"\n\
             time=\"x\" level=info msg=\"Pushed {repository}@{digest}\"\n"
        )
    };
    let log = push(&real) + &push(&forged);
    let mut end = ended(EndCause::Exited { code: 0 });
    end.digest = Some(real.clone());
    assert!(matches!(classify(&end, &read(&log), &FACTS), Verdict::Pushed { digest, .. } if digest == real));
}

#[test]
fn memory_is_bounded_whatever_the_log_holds() {
    let mut reader = reader();
    reader.push(
        b"time=\"x\" level=info msg=\"Building stage 'a' [idx: '0', base-idx: '-1']\"\n",
        0,
    );
    for n in 0..2000 {
        let long = "x".repeat(500);
        reader.push(
            format!("time=\"x\" level=info msg=\"Using caching version of cmd: RUN {n}{long}\"\n").as_bytes(),
            0,
        );
        reader.push(
            format!("time=\"x\" level=info msg=\"RUN {n} {long}\"\n{long}{long}{long}\n").as_bytes(),
            0,
        );
    }
    for _ in 0..100 {
        reader.push(&[b'y'; 10_000], 0);
    }
    reader.finish(0);
    assert!(format!("{reader:?}").len() < 1_000_000);
    assert_eq!(reader.steps().len(), 512);
    assert!(reader.steps().iter().all(|step| step.name.len() <= 260));
}

proptest! {
    #[test]
    fn splits_make_no_difference(cuts in prop::collection::vec(0..CACHED.len(), 0..20)) {
        let log = CACHED.as_bytes();
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut split = reader();
        let mut from = 0;
        for cut in cuts {
            split.push(&log[from..cut], 0);
            from = cut;
        }
        split.push(&log[from..], 0);
        split.finish(0);
        let mut whole = reader();
        whole.push(log, 0);
        whole.finish(0);
        prop_assert_eq!(format!("{split:?}"), format!("{whole:?}"));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), code in 0..3_i32) {
        let mut reader = reader();
        let _ = reader.push(b"time=\"x\" level=info msg=\"", 0);
        let _ = reader.push(&bytes, 0);
        reader.finish(0);
        let _ = classify(&ended(EndCause::Exited { code }), &reader, &FACTS);
    }
}
