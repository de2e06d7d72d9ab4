use std::io::Write as _;

use object_store::{
    memory::InMemory,
    throttle::{ThrottleConfig, ThrottledStore},
};

use super::*;
use crate::{clock, sources::contexts::ContextStore, store::ContextRow};

fn archive(content: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("Dockerfile", zip::write::SimpleFileOptions::default())
        .unwrap();
    zip.write_all(content.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

fn inline(content: &str) -> v1::CreateBuildRequest {
    v1::CreateBuildRequest {
        source: Some(Source::ZippedCode(archive(content).into())),
        ..request("web")
    }
}

/// Keeps nothing longer than it must but idempotency keys.
fn maintenance(scene: &Scene) -> Maintenance {
    Maintenance {
        retention: Retention {
            context_ttl: Duration::ZERO,
            log_days: 0,
            idempotency_ttl: Duration::MAX,
            notification_ttl: Duration::MAX,
        },
        store: Arc::clone(&scene.app().store),
        logs: Arc::clone(&scene.app().logs),
        contexts: Arc::clone(&scene.service().contexts),
        plugins: Arc::clone(&scene.service().plugins),
        runtime: Arc::clone(scene.service().policies.runtime()),
    }
}

async fn one_round(maintenance: Maintenance) {
    // Expiry is a matter of milliseconds.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    maintenance.run(stop).await;
}

async fn maintain(scene: &Scene) {
    one_round(maintenance(scene)).await;
}

async fn contexts(scene: &Scene) -> usize {
    let listed = scene.service().contexts.list().await.unwrap();
    let rows = scene.app().store.count_contexts(&acme().org).await.unwrap().0;
    assert_eq!(rows, listed.len() as u64, "rows and files differ");
    listed.len()
}

async fn retry(scene: &Scene, id: BuildId, key: &str) -> Result<String> {
    let request = v1::RetryBuildRequest {
        build_id: id.to_string(),
        idempotency_key: key.to_owned(),
    };
    Ok(scene.service().retry_build(&acme(), request).await?.build_id)
}

#[tokio::test]
async fn a_context_is_kept_while_a_live_build_may_need_it() {
    let scene = Scene::start(&[("builds_running_max", "1"), ("retry_backoff", "300ms")]).await;
    let running = scene.create_as(inline("FROM scratch")).await.unwrap();
    let run = scene.started(running, 1).await;
    let queued = scene.create_as(inline("FROM scratch\n# queued")).await.unwrap();
    assert_eq!(contexts(&scene).await, 2);
    maintain(&scene).await;
    assert_eq!(contexts(&scene).await, 2);

    scene.executor.end(run, lost());
    let second = eventually("either to go on", async || {
        scene.executor.starts().get(1).copied()
    })
    .await;
    maintain(&scene).await;
    assert_eq!(contexts(&scene).await, 2, "between two attempts");
    scene.executor.end(second, EndCause::Exited { code: 1 });
    let third = eventually("the other", async || scene.executor.starts().get(2).copied()).await;
    scene.executor.end(third, EndCause::Exited { code: 1 });
    scene.ended(running).await;
    scene.ended(queued).await;
    maintain(&scene).await;
    assert_eq!(contexts(&scene).await, 0);
}

#[tokio::test]
async fn bytes_that_have_just_come_wait_for_their_row() {
    let scene = Scene::start(&[]).await;
    let (service, bytes) = (scene.service(), archive("FROM scratch"));
    for has_an_old_row in [false, true] {
        let again = async || {
            service
                .contexts
                .put_inline(&acme().org, bytes.clone().into(), &service.upload_limits)
                .await
                .unwrap()
        };
        if has_an_old_row {
            let stored = again().await;
            service
                .record_context(&acme(), &stored, "old".to_owned())
                .await
                .unwrap();
        }
        let stored = again().await;
        let round = tokio::spawn(one_round(maintenance(&scene)));
        tokio::time::sleep(Duration::from_millis(200)).await;
        service
            .record_context(&acme(), &stored, "new".to_owned())
            .await
            .unwrap();
        drop(stored);
        round.await.unwrap();
        assert_eq!(contexts(&scene).await, 1, "with an old row: {has_an_old_row}");
        maintain(&scene).await;
        assert_eq!(contexts(&scene).await, 0);
    }
}

#[tokio::test]
async fn what_comes_again_while_it_is_removed_is_kept() {
    let scene = Scene::start(&[]).await;
    let (store, limits) = (&scene.app().store, &scene.service().upload_limits);
    let slow = ThrottleConfig {
        wait_delete_per_call: Duration::from_millis(300),
        ..ThrottleConfig::default()
    };
    let bytes = Arc::new(ThrottledStore::new(InMemory::new(), slow));
    let contexts = Arc::new(ContextStore::remote(bytes, scene.directory().join("staging")).unwrap());
    let upload = async || {
        let archive = archive("FROM scratch").into();
        let stored = contexts.put_inline(&acme().org, archive, limits).await.unwrap();
        let row = ContextRow {
            name: "src".to_owned(),
            size_bytes: stored.size_bytes,
            created_at_ms: clock::now_ms(),
            last_used_at_ms: clock::now_ms(),
        };
        store.put_context(&acme().org, &stored.id, row).await.unwrap();
        stored.id.clone()
    };
    let id = upload().await;
    let round = tokio::spawn(one_round(Maintenance {
        contexts: Arc::clone(&contexts),
        ..maintenance(&scene)
    }));
    eventually("the row to go", async || {
        let row = store.context(&acme().org, &id).await.unwrap();
        row.is_none().then_some(())
    })
    .await;
    assert_eq!(upload().await, id);
    round.await.unwrap();
    assert!(store.context(&acme().org, &id).await.unwrap().is_some());
    assert!(contexts.exists(&acme().org, &id).await.unwrap());
}

#[tokio::test]
async fn bytes_without_a_row_are_swept() {
    let scene = Scene::start(&[]).await;
    let service = scene.service();
    let kept = scene.create_as(inline("FROM scratch")).await.unwrap();
    scene.started(kept, 1).await;
    let (org, left) = (acme().org, archive("FROM left").into());
    let upload = service.contexts.put_inline(&org, left, &service.upload_limits);
    drop(upload.await.unwrap());
    assert_eq!(service.contexts.list().await.unwrap().len(), 2);
    maintain(&scene).await;
    assert_eq!(contexts(&scene).await, 1);
}

#[tokio::test]
async fn a_build_is_retried_as_long_as_its_context_is_there() {
    let scene = Scene::start(&[]).await;
    let request = v1::CreateBuildRequest {
        idempotency_key: "first".to_owned(),
        ..inline("FROM scratch")
    };
    let first = scene.create_as(request.clone()).await.unwrap();
    let run = scene.started(first, 1).await;
    scene.executor.end(run, EndCause::Exited { code: 1 });
    let failed = scene.ended(first).await;

    let second = retry(&scene, first, "again").await.unwrap();
    let second_id: BuildId = second.parse().unwrap();
    let run = scene.started(second_id, 1).await;
    scene.executor.end(run, EndCause::Exited { code: 1 });
    let build = scene.ended(second_id).await;
    assert_eq!(
        (build.name, build.dockerfile, build.tags),
        (failed.name, failed.dockerfile, failed.tags)
    );

    maintain(&scene).await;
    assert_eq!(
        reason(&retry(&scene, first, "").await.unwrap_err()),
        "CONTEXT_EXPIRED"
    );
    // Requests that were answered before are answered the same.
    assert_eq!(retry(&scene, first, "again").await.unwrap(), second);
    assert_eq!(scene.create_as(request).await.unwrap(), first);
    let other = v1::CreateBuildRequest {
        idempotency_key: "first".to_owned(),
        ..inline("FROM other")
    };
    assert_eq!(
        reason(&scene.create_as(other).await.unwrap_err()),
        "IDEMPOTENCY_KEY_REUSED"
    );
    let gone = v1::CreateBuildRequest {
        source: Some(Source::ContextId(
            ignite_core::ids::ContextId::from_sha256([7; 32]).to_string(),
        )),
        ..super::request("web")
    };
    assert!(matches!(
        scene.create_as(gone).await,
        Err(Error::NotFound { kind: "context", .. })
    ));
}

#[tokio::test]
async fn an_idempotency_key_is_forgotten_in_the_end() {
    let scene = Scene::start(&[]).await;
    let keyed = |name: &str| v1::CreateBuildRequest {
        idempotency_key: "key".to_owned(),
        ..request(name)
    };
    let first = scene.create_as(keyed("web")).await.unwrap();
    assert_eq!(scene.create_as(keyed("web")).await.unwrap(), first);
    assert_eq!(
        reason(&scene.create_as(keyed("other")).await.unwrap_err()),
        "IDEMPOTENCY_KEY_REUSED"
    );
    let mut round = maintenance(&scene);
    round.retention.idempotency_ttl = Duration::from_secs(3600);
    one_round(round).await;
    assert_eq!(scene.create_as(keyed("web")).await.unwrap(), first);

    let mut round = maintenance(&scene);
    round.retention.idempotency_ttl = Duration::ZERO;
    one_round(round).await;
    let second = scene.create_as(keyed("other")).await.unwrap();
    assert_ne!(second, first);
    assert_eq!(scene.get(first).await.name, "web");
}

#[tokio::test]
async fn the_log_of_a_live_build_is_kept() {
    let scene = Scene::start(&[]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.print(run, "kept\n");
    scene.logged(id, 5).await;
    let maintenance = maintenance(&scene);
    let later = clock::now_ms() + 2 * 86_400_000;
    maintenance.drop_logs(later).await.unwrap();
    scene.executor.end(run, EndCause::Exited { code: 1 });
    scene.ended(id).await;
    assert_eq!(scene.log(id).await, "kept\n");
    maintenance.drop_logs(later).await.unwrap();
    assert_eq!(scene.log(id).await, "");
    assert_eq!(scene.get(id).await.status(), BuildStatus::Failed);
}
