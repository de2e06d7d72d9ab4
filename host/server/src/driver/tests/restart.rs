//! The daemon ends at any moment and another takes over: nothing is lost, started twice, or brought back.

use ignite_core::build::Status;

use super::*;

const SECRET: &str = "s3cr3t-value";

fn secretive() -> v1::CreateBuildRequest {
    v1::CreateBuildRequest {
        build_args: [("API_TOKEN".to_owned(), SECRET.to_owned())].into(),
        ..request("web")
    }
}

/// One build from its request to its end, with a restart behind every moment that `at` names.
async fn life(at: &[usize]) {
    let mut scene = Scene::start(&[("builds_running_max", "1")]).await;
    let (halves, whole) = (SECRET.split_at(5), format!("a {SECRET} b\n"));
    scene.executor.hold_starts(true);
    let id = scene.create_as(secretive()).await.unwrap();
    let run = RunId {
        build: id,
        platform: 0,
        attempt: 1,
    };
    for moment in 0..=7 {
        match moment {
            0 => {
                scene
                    .until(id, |build| build.status() == BuildStatus::Running)
                    .await;
            }
            1 => {
                scene.executor.hold_starts(false);
                scene.started(id, 1).await;
            }
            2 => scene.executor.print(run, &whole),
            3 => scene.executor.print(run, &format!("half {}", halves.0)),
            4 => scene.executor.print(run, &format!("{}\n", halves.1)),
            5 => scene.logged(id, "a *** b\nhalf ***\n".len()).await,
            6 => scene
                .executor
                .end_with(run, EndCause::Exited { code: 0 }, Some(DIGEST.to_owned())),
            _ => tokio::time::sleep(Duration::from_millis(30)).await,
        }
        if at.contains(&moment) {
            scene.restart().await;
        }
    }
    let build = scene.ended(id).await;
    assert_eq!(
        (build.status(), build.attempts),
        (BuildStatus::Succeeded, 1),
        "{at:?}"
    );
    assert_eq!(scene.log(id).await, "a *** b\nhalf ***\n", "{at:?}");
    assert_eq!(build.log_bytes, 17, "{at:?}");
    assert_eq!(scene.executor.starts(), [run], "{at:?}");
    scene.restart().await;
    assert_eq!(scene.get(id).await, build);
    assert_eq!(scene.log(id).await, "a *** b\nhalf ***\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_each_moment_of_a_build() {
    let mut lives: Vec<Vec<usize>> = (0..=7).map(|moment| vec![moment]).collect();
    lives.push((0..=7).collect());
    futures::future::join_all(lives.iter().map(|at| life(at))).await;
}

#[tokio::test]
async fn queued_builds_keep_their_order() {
    let mut scene = Scene::start(&[("builds_running_max", "1")]).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(scene.create().await);
    }
    let mut sorted = ids.clone();
    sorted.sort();
    assert_eq!(ids, sorted, "ids sort by creation");
    scene.started(ids[0], 1).await;
    scene.restart().await;
    for (n, id) in ids.iter().enumerate() {
        let run = scene.started(*id, 1).await;
        assert_eq!(scene.executor.starts().len(), n + 1, "one at a time");
        scene.executor.end(run, EndCause::Exited { code: 1 });
    }
    scene.ended(ids[4]).await;
}

#[tokio::test]
async fn a_build_that_waits_for_its_next_attempt_goes_on_waiting() {
    let mut scene = Scene::start(&[("retry_backoff", "1s")]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.end(run, lost());
    scene
        .until(id, |build| build.status() == BuildStatus::Pending)
        .await;
    let before = tokio::time::Instant::now();
    scene.restart().await;
    scene.started(id, 2).await;
    assert!(before.elapsed() > Duration::from_millis(500));
}

#[tokio::test]
async fn a_cancellation_that_was_accepted_is_carried_out() {
    let mut scene = Scene::start(&[]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.print(run, "here\n");
    scene.logged(id, 5).await;
    // Recorded, and the daemon gone before it could act on it.
    let live = scene.live(id);
    let retry = scene.app().driver.settings.retry;
    live.apply(
        &scene.app().store,
        &scene.app().outbox,
        Event::CancelRequested,
        clock::now_ms(),
        &retry,
    )
    .await
    .unwrap();
    scene.restart().await;
    assert_eq!(scene.ended(id).await.status(), BuildStatus::Cancelled);
    assert_eq!(scene.log(id).await, "here\n");
}

#[tokio::test]
async fn a_run_that_the_machine_lost_is_not_started_again_but_followed_by_another() {
    let mut scene = Scene::start(&[]).await;
    let (spoke, cancelled) = (scene.create().await, scene.create().await);
    for id in [spoke, cancelled] {
        let run = scene.started(id, 1).await;
        scene.executor.print(run, "here\n");
        scene.logged(id, 5).await;
    }
    scene.executor.refuse_stops(true);
    scene.stop().await;
    scene.executor.lose(RunId {
        build: spoke,
        platform: 0,
        attempt: 1,
    });
    scene.open().await;
    let second = scene.started(spoke, 2).await;
    scene.executor.end(second, EndCause::Exited { code: 1 });
    assert_eq!(scene.ended(spoke).await.attempts, 2);
    let log = "here\n[ignite] attempt 1 failed: the machine lost the build's run\n";
    assert_eq!(scene.log(spoke).await, log);

    let live = scene.live(cancelled);
    let retry = scene.app().driver.settings.retry;
    live.apply(
        &scene.app().store,
        &scene.app().outbox,
        Event::CancelRequested,
        clock::now_ms(),
        &retry,
    )
    .await
    .unwrap();
    scene.stop().await;
    scene.executor.lose(RunId {
        build: cancelled,
        platform: 0,
        attempt: 1,
    });
    scene.open().await;
    assert_eq!(scene.ended(cancelled).await.status(), BuildStatus::Cancelled);
    assert_eq!(scene.log(cancelled).await, "here\n");
    let starts = scene.executor.starts();
    assert_eq!(starts.len(), 3, "{starts:?}");
}

#[tokio::test]
async fn runs_of_nobody_are_cleared_away() {
    let mut scene = Scene::start(&[]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.end(run, EndCause::Exited { code: 1 });
    let build = scene.ended(id).await;
    scene.stop().await;
    // As if the daemon had ended before it forgot the run.
    scene.executor.revive(run);
    scene.open().await;
    eventually("the run to go", async || {
        scene.executor.known().is_empty().then_some(())
    })
    .await;
    assert_eq!(scene.get(id).await, build);
}

#[tokio::test]
async fn what_has_moved_on_since_the_reconciler_looked_is_left_alone() {
    let scene = Scene::start(&[("retry_backoff", "1h"), ("retry_backoff_max", "1h")]).await;
    let driver = &scene.app().driver;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    let running = scene.live(id).current();
    assert_eq!(running.status, Status::Running);
    scene.executor.end(run, lost());
    scene
        .until(id, |build| build.status() == BuildStatus::Pending)
        .await;
    eventually("the driver to let go", async || {
        (!scene.live(id).is_driven()).then_some(())
    })
    .await;
    let builds = HashMap::from([(id, Arc::clone(&running))]);
    for action in [Action::Adopt(run), Action::Recover(run), Action::ReportLost(run)] {
        driver.carry_out(action, &builds).await.unwrap();
        assert!(
            !scene.live(id).is_driven(),
            "{action:?} broke into the pause between attempts"
        );
    }
    assert_eq!(driver.queue().len(), 1);

    scene.cancel(id).await;
    for action in [
        Action::Enqueue(id),
        Action::Adopt(run),
        Action::Recover(run),
        Action::ReportLost(run),
    ] {
        driver.carry_out(action, &builds).await.unwrap();
        assert!(
            driver.live(id).is_none(),
            "{action:?} brought back what had ended"
        );
    }
    assert!(driver.queue().is_empty());
    assert_eq!(driver.queue().running(), 0);
}

#[tokio::test]
async fn a_build_whose_caller_did_not_wait_is_built_all_the_same() {
    let scene = Scene::start(&[]).await;
    scene.know_organization().await;
    begin_and_leave(scene.service().create_build(&acme(), request("left")));
    let run = eventually("a run", async || scene.executor.starts().first().copied()).await;
    assert_eq!(scene.get(run.build).await.name, "left");
}
