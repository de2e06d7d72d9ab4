//! Cancelled at every moment of its life, a build ends once, as it must, and nothing of it goes on.

use ignite_proto::v1::FailureReason;

use super::*;

fn assert_cancelled(build: &v1::Build) {
    assert_eq!(
        (build.status(), build.failure_reason()),
        (BuildStatus::Cancelled, FailureReason::Cancelled),
        "{build:#?}"
    );
}

#[tokio::test]
async fn pending() {
    let scene = Scene::start(&[("builds_running_max", "1")]).await;
    let busy = scene.create().await;
    scene.started(busy, 1).await;
    let (waiting, behind) = (scene.create().await, scene.create().await);
    assert_eq!(scene.get(behind).await.queue_position, 2);
    assert_eq!(scene.cancel(waiting).await, BuildStatus::Cancelled);
    assert_eq!(scene.get(behind).await.queue_position, 1);
    assert_cancelled(&scene.ended(waiting).await);
    assert_eq!(scene.log(waiting).await, "");
    assert_eq!(scene.cancel(busy).await, BuildStatus::Cancelled);
    scene.started(behind, 1).await;
    assert!(scene.executor.starts().iter().all(|run| run.build != waiting));
}

#[tokio::test(flavor = "multi_thread")]
async fn between_the_queue_and_its_run() {
    let scene = Scene::start(&[]).await;
    for pause_us in 0..60 {
        let id = scene.create().await;
        tokio::time::sleep(Duration::from_micros(pause_us * 100)).await;
        assert_eq!(scene.cancel(id).await, BuildStatus::Cancelled);
        assert_cancelled(&scene.ended(id).await);
    }
    assert!(scene.executor.known().is_empty());
    // No place in the queue was lost over it.
    let last: Vec<_> = futures::future::join_all((0..4).map(|_| scene.create())).await;
    for id in last {
        scene.started(id, 1).await;
    }
}

#[test]
fn before_the_executor_hears_of_it_it_never_does() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // The one thread that reads the store is kept busy, so that nothing goes on between the record and the run.
    let runtime = runtime.max_blocking_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let scene = Scene::start(&[]).await;
        scene.know_organization().await;
        let (release, held) = std::sync::mpsc::channel::<()>();
        let reading = tokio::task::spawn_blocking(move || held.recv());
        let id = scene.create().await;
        scene
            .until(id, |build| build.status() == BuildStatus::Running)
            .await;
        let driver = &scene.app().driver;
        driver.cancel(&scene.live(id), Duration::ZERO).await.unwrap();
        drop(release);
        assert!(reading.await.unwrap().is_err());
        assert_cancelled(&scene.ended(id).await);
        assert!(scene.executor.starts().is_empty());
    });
}

#[tokio::test]
async fn while_its_run_starts() {
    let scene = Scene::start(&[]).await;
    scene.executor.hold_starts(true);
    let id = scene.create().await;
    scene
        .until(id, |build| build.status() == BuildStatus::Running)
        .await;
    let service = Arc::clone(scene.service());
    let cancelling = tokio::spawn(async move {
        let request = v1::CancelBuildRequest {
            build_id: id.to_string(),
        };
        service.cancel_build(&acme(), request).await.unwrap().status()
    });
    eventually("the request", async || {
        scene.live(id).current().cancel_requested.then_some(())
    })
    .await;
    scene.executor.hold_starts(false);
    assert_eq!(cancelling.await.unwrap(), BuildStatus::Cancelled);
    assert_cancelled(&scene.ended(id).await);
}

#[tokio::test]
async fn while_its_run_does_not_start() {
    let scene = Scene::start(&[]).await;
    for _ in 0..5 {
        scene.executor.refuse_start(ExecutorError::Other("no".to_owned()));
    }
    let id = scene.create().await;
    scene
        .until(id, |build| build.status() == BuildStatus::Running)
        .await;
    assert_eq!(scene.cancel(id).await, BuildStatus::Cancelled);
    assert_cancelled(&scene.ended(id).await);
    assert!(scene.executor.starts().is_empty());
}

#[tokio::test]
async fn while_it_runs() {
    let scene = Scene::start(&[]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.print(run, "so far\nso ");
    scene.logged(id, 10).await;
    assert_eq!(scene.cancel(id).await, BuildStatus::Cancelled);
    let build = scene.ended(id).await;
    assert_cancelled(&build);
    assert_eq!(build.log_bytes, 10);
    assert_eq!(scene.log(id).await, "so far\nso ");
    // Again, it stays as it is.
    assert_eq!(scene.cancel(id).await, BuildStatus::Cancelled);
    assert_eq!(scene.get(id).await, build);
}

#[tokio::test]
async fn while_its_image_is_looked_up_it_has_succeeded() {
    let scene = Scene::start(&[]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene
        .executor
        .end_with(run, EndCause::Exited { code: 0 }, Some(DIGEST.to_owned()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        scene.get(id).await.status(),
        BuildStatus::Running,
        "the look-up was too quick for this test"
    );
    assert_eq!(scene.cancel(id).await, BuildStatus::Succeeded);
    let build = scene.ended(id).await;
    assert_eq!((build.image_digest.as_str(), build.error.as_str()), (DIGEST, ""));
}

#[tokio::test]
async fn while_it_waits_for_another_attempt() {
    let scene = Scene::start(&[("retry_backoff", "1h"), ("retry_backoff_max", "1h")]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.end(run, lost());
    scene
        .until(id, |build| build.status() == BuildStatus::Pending)
        .await;
    assert_eq!(scene.cancel(id).await, BuildStatus::Cancelled);
    assert_cancelled(&scene.ended(id).await);
    eventually("the queue to be empty", async || {
        scene.app().driver.queue().is_empty().then_some(())
    })
    .await;
    assert_eq!(scene.app().driver.queue().running(), 0);
}

#[tokio::test]
async fn by_a_caller_that_does_not_wait() {
    let scene = Scene::start(&[]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.print(run, "hello\n");
    scene.logged(id, 6).await;
    begin_and_leave(scene.app().driver.cancel(&scene.live(id), Duration::ZERO));
    let build = scene.ended(id).await;
    assert_cancelled(&build);
    assert_eq!(build.log_bytes, 6);
}

#[tokio::test]
async fn though_the_executor_will_not_stop_it() {
    let scene = Scene::start(&[]).await;
    let id = scene.create().await;
    scene.started(id, 1).await;
    scene.executor.refuse_stops(true);
    assert_eq!(scene.cancel(id).await, BuildStatus::Cancelled);
    assert_cancelled(&scene.ended(id).await);
}
