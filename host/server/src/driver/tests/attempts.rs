//! What is ours is tried again, what is the user's is not, and each attempt runs once.

use ignite_core::run::FetchFailure;
use ignite_proto::v1::FailureReason;

use super::*;

fn attempts(scene: &Scene) -> Vec<u32> {
    scene.executor.starts().iter().map(|run| run.attempt).collect()
}

#[tokio::test]
async fn a_lost_run_is_followed_by_another_and_its_log_stays() {
    let scene = Scene::start(&[]).await;
    let id = scene.create().await;
    let first = scene.started(id, 1).await;
    let follower = tokio::spawn(joined(scene.follow(id, true, 0).await.unwrap(), 0));
    scene.executor.print(first, "first\nhalf a li");
    scene.executor.end(first, lost());
    let second = scene.started(id, 2).await;
    scene.executor.print(second, "second\n");
    scene
        .executor
        .end_with(second, EndCause::Exited { code: 0 }, Some(DIGEST.to_owned()));
    let build = scene.ended(id).await;
    assert_eq!((build.status(), build.attempts), (BuildStatus::Succeeded, 2));
    let expected = "first\nhalf a li\n[ignite] attempt 1 failed: the machine went away\nsecond\n";
    assert_eq!(
        follower.await.unwrap(),
        expected,
        "who followed got both attempts"
    );
    assert_eq!(scene.log(id).await, expected);
    assert_eq!(build.log_bytes, expected.len() as u64);
    assert_eq!(attempts(&scene), [1, 2]);
}

#[tokio::test]
async fn what_a_run_waits_for_is_told_while_it_waits() {
    let scene = Scene::start(&[]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene
        .executor
        .wait(run, Some("waiting for a node: none has room"));
    scene
        .until(id, |build| build.error == "waiting for a node: none has room")
        .await;
    scene.executor.wait(run, None);
    scene.until(id, |build| build.error.is_empty()).await;
    scene
        .executor
        .wait(run, Some("waiting for a node: none has room"));
    scene.executor.end(run, EndCause::Exited { code: 7 });
    let build = scene.ended(id).await;
    assert!(build.error.contains("exit code 7"), "{}", build.error);
}

#[tokio::test]
async fn attempts_have_an_end_and_a_pause_that_grows() {
    let scene = Scene::start(&[("attempts_max", "3"), ("retry_backoff", "150ms")]).await;
    let id = scene.create().await;
    let mut ended_at = Vec::new();
    for attempt in 1..=3 {
        let run = scene.started(id, attempt).await;
        if let Some(before) = ended_at.last() {
            let pause = tokio::time::Instant::now().duration_since(*before);
            let expected = Duration::from_millis(150 << (attempt - 2));
            assert!(pause >= expected, "attempt {attempt} came after {pause:?}");
        }
        ended_at.push(tokio::time::Instant::now());
        scene.executor.end(run, lost());
    }
    let build = scene.ended(id).await;
    assert_eq!(
        (build.status(), build.failure_reason()),
        (BuildStatus::Failed, FailureReason::Internal)
    );
    assert_eq!((build.attempts, attempts(&scene)), (3, vec![1, 2, 3]));
}

#[tokio::test]
async fn a_users_failure_is_not_tried_again_and_tells_no_secret() {
    let scene = Scene::start(&[]).await;
    let secret = "n0t-to-be-seen";
    let build_args = [("API_TOKEN".to_owned(), secret.to_owned())].into();
    let id = scene
        .create_as(v1::CreateBuildRequest {
            build_args,
            ..request("web")
        })
        .await
        .unwrap();
    let run = scene.started(id, 1).await;
    let message = format!("https://example.com/{secret} is not there");
    scene.executor.end(
        run,
        EndCause::FetchFailed {
            failure: FetchFailure::Source,
            message,
        },
    );
    let build = scene.ended(id).await;
    assert_eq!(
        (build.status(), build.failure_reason()),
        (BuildStatus::Failed, FailureReason::SourceFetch)
    );
    assert_eq!(build.error, "https://example.com/*** is not there");
    assert_eq!(build.build_args["API_TOKEN"], "***");
    assert_eq!(attempts(&scene), [1]);
}

#[tokio::test]
async fn a_start_that_fails_for_the_moment_costs_no_attempt() {
    let scene = Scene::start(&[]).await;
    scene
        .executor
        .refuse_start(ExecutorError::Other("too busy".to_owned()));
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.end(run, EndCause::Exited { code: 3 });
    assert_eq!(scene.ended(id).await.attempts, 1);
}

#[tokio::test]
async fn a_start_that_fails_for_good_ends_the_attempt_at_once() {
    let scene = Scene::start(&[("attempts_max", "2")]).await;
    for _ in 0..2 {
        scene
            .executor
            .refuse_start(ExecutorError::Unsupported("no sandbox".to_owned()));
    }
    let id = scene.create().await;
    let build = scene.ended(id).await;
    assert_eq!((build.status(), build.attempts), (BuildStatus::Failed, 2));
    assert!(build.error.contains("no sandbox"), "{}", build.error);
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_where_it_broke() {
    let scene = Scene::start(&[]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.print(run, "one\n");
    scene.logged(id, 4).await;
    scene.executor.break_streams(run);
    scene.executor.print(run, "two\n");
    scene.executor.end(run, EndCause::Exited { code: 1 });
    let build = scene.ended(id).await;
    assert_eq!((build.attempts, scene.log(id).await.as_str()), (1, "one\ntwo\n"));
}

#[tokio::test]
async fn a_watcher_sees_every_state_in_order_and_then_the_end() {
    let scene = Scene::start(&[("attempts_max", "2")]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    let request = v1::WatchBuildRequest {
        build_id: id.to_string(),
    };
    let mut early = scene.service().watch_build(&acme(), request).await.unwrap();
    assert_eq!(
        early.try_next().await.unwrap().unwrap().status(),
        BuildStatus::Running
    );
    let watching = tokio::spawn(early.try_collect::<Vec<_>>());
    scene.executor.print(
        run,
        "time=\"x\" level=info msg=\"Building stage 'scratch' [idx: '0']\"\n",
    );
    scene.until(id, |build| build.steps.len() == 1).await;
    scene.executor.end(run, lost());
    let run = scene.started(id, 2).await;
    scene.executor.end(run, EndCause::OutOfMemory);
    let ended = scene.ended(id).await;
    let states = tokio::time::timeout(DEADLINE, watching)
        .await
        .expect("no end")
        .unwrap()
        .unwrap();
    let seen: Vec<_> = states
        .iter()
        .map(|build| (build.status(), build.steps.len(), build.attempts))
        .collect();
    assert_eq!(
        seen,
        [
            (BuildStatus::Running, 1, 1),
            // The end of the log completed the step.
            (BuildStatus::Running, 1, 1),
            (BuildStatus::Pending, 1, 1),
            (BuildStatus::Running, 0, 2),
            (BuildStatus::Failed, 0, 2)
        ]
    );
    assert_eq!(*states.last().unwrap(), ended);
    assert_eq!(
        scene.watch(id).await,
        [ended],
        "afterwards there is the end alone"
    );
}
