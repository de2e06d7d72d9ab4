use super::*;

fn keyed(name: &str, key: &str) -> v1::CreateBuildRequest {
    v1::CreateBuildRequest {
        idempotency_key: key.to_owned(),
        ..request(name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_takes_no_more_however_many_ask_at_once() {
    let scene = Scene::start(&[("builds_running_max", "1"), ("queue_per_org_max", "5")]).await;
    let busy = scene.create_as(keyed("busy", "busy")).await.unwrap();
    scene.started(busy, 1).await;
    let answers = join_all((0..20).map(|n| scene.create_as(keyed("web", &format!("key-{n}"))))).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((accepted.len(), refused.len()), (5, 15));
    for refusal in refused {
        assert_eq!(reason(&refusal.unwrap_err()), "QUEUE_FULL");
    }
    // Asking again for what was accepted is no new build.
    assert_eq!(scene.create_as(keyed("busy", "busy")).await.unwrap(), busy);
    // Others have room of their own, and room comes back.
    scene
        .service()
        .create_build(&principal("other"), request("web"))
        .await
        .unwrap();
    scene.cancel(accepted.into_iter().next().unwrap().unwrap()).await;
    scene.create().await;
    assert_eq!(
        reason(&scene.create_as(request("web")).await.unwrap_err()),
        "QUEUE_FULL"
    );
}

#[tokio::test]
async fn organizations_take_turns() {
    let scene = Scene::start(&[("builds_running_max", "1")]).await;
    let mut orgs = std::collections::BTreeMap::new();
    for org in ["a", "a", "a", "a", "b", "b"] {
        let created = scene
            .service()
            .create_build(&principal(org), request("web"))
            .await
            .unwrap();
        orgs.insert(created.build_id.parse::<BuildId>().unwrap(), org);
    }
    let mut served = String::new();
    for n in 0..orgs.len() {
        let run = eventually("the next", async || scene.executor.starts().get(n).copied()).await;
        served.push_str(orgs[&run.build]);
        scene.executor.end(run, EndCause::Exited { code: 1 });
    }
    assert_eq!(served, "aababa");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_makes_one_build_however_often_and_whenever_it_is_used() {
    let mut scene = Scene::start(&[]).await;
    let answers = join_all((0..16).map(|_| scene.create_as(keyed("web", "key")))).await;
    let ids: BTreeSet<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.len(), 1);
    let id = *ids.first().unwrap();
    let run = scene.started(id, 1).await;
    assert_eq!(
        reason(&scene.create_as(keyed("other", "key")).await.unwrap_err()),
        "IDEMPOTENCY_KEY_REUSED"
    );
    scene.executor.end(run, EndCause::Exited { code: 1 });
    scene.ended(id).await;
    scene.restart().await;
    assert_eq!(scene.create_as(keyed("web", "key")).await.unwrap(), id);
    assert_eq!(scene.executor.starts(), [run]);
    // A key means nothing to another organization.
    let other = scene
        .service()
        .create_build(&principal("other"), keyed("web", "key"))
        .await
        .unwrap();
    assert_ne!(other.build_id, id.to_string());
}

#[tokio::test]
async fn builds_come_in_pages_newest_first() {
    let scene = Scene::start(&[("builds_running_max", "1")]).await;
    let mut ids = Vec::new();
    for n in 0..7 {
        let labels = [("parity".to_owned(), (n % 2).to_string())].into();
        let name = if n < 4 { "web" } else { "api" };
        ids.push(
            scene
                .create_as(v1::CreateBuildRequest {
                    labels,
                    ..request(name)
                })
                .await
                .unwrap(),
        );
    }
    scene.started(ids[0], 1).await;
    scene.cancel(ids[1]).await;
    ids.reverse();
    let list = async |request: v1::ListBuildsRequest| scene.service().list_builds(&acme(), request).await;
    let plain = v1::ListBuildsRequest::default();

    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = list(v1::ListBuildsRequest {
            limit: 3,
            cursor,
            ..plain.clone()
        })
        .await
        .unwrap();
        assert!(page.builds.len() <= 3);
        seen.extend(
            page.builds
                .iter()
                .map(|build| build.id.parse::<BuildId>().unwrap()),
        );
        cursor = page.next_cursor;
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ids);

    let count = async |request| list(request).await.unwrap().builds.len();
    let status = |status: BuildStatus| v1::ListBuildsRequest {
        status_filter: status.into(),
        ..plain.clone()
    };
    assert_eq!(count(status(BuildStatus::Running)).await, 1);
    assert_eq!(count(status(BuildStatus::Cancelled)).await, 1);
    assert_eq!(count(status(BuildStatus::Pending)).await, 5);
    assert_eq!(
        count(v1::ListBuildsRequest {
            name_filter: "api".to_owned(),
            ..plain.clone()
        })
        .await,
        3
    );
    let label_filter = [("parity".to_owned(), "1".to_owned())].into();
    assert_eq!(
        count(v1::ListBuildsRequest {
            label_filter,
            ..plain.clone()
        })
        .await,
        3
    );
    assert_eq!(
        scene
            .service()
            .list_builds(&principal("other"), plain.clone())
            .await
            .unwrap()
            .builds
            .len(),
        0
    );
    for wrong in [
        v1::ListBuildsRequest {
            limit: -1,
            ..plain.clone()
        },
        v1::ListBuildsRequest {
            cursor: "nonsense".to_owned(),
            ..plain.clone()
        },
        v1::ListBuildsRequest {
            status_filter: 99,
            ..plain.clone()
        },
    ] {
        assert!(matches!(list(wrong).await, Err(Error::InvalidArgument(_))));
    }
}

#[tokio::test]
async fn what_belongs_to_others_is_not_there() {
    let scene = Scene::start(&[]).await;
    let id = scene.create().await.to_string();
    let other = principal("other");
    let service = scene.service();
    let missing = |error: Error| {
        assert!(
            matches!(error, Error::NotFound { kind: "build", .. }),
            "{error:?}"
        );
    };
    missing(
        service
            .get_build(&other, v1::GetBuildRequest { build_id: id.clone() })
            .await
            .unwrap_err(),
    );
    missing(
        service
            .cancel_build(&other, v1::CancelBuildRequest { build_id: id.clone() })
            .await
            .unwrap_err(),
    );
    let retry = v1::RetryBuildRequest {
        build_id: id.clone(),
        ..Default::default()
    };
    missing(service.retry_build(&other, retry).await.unwrap_err());
    let logs = v1::StreamBuildLogsRequest {
        build_id: id.clone(),
        ..Default::default()
    };
    missing(service.stream_build_logs(&other, logs).await.err().unwrap());
    missing(
        service
            .watch_build(&other, v1::WatchBuildRequest { build_id: id })
            .await
            .err()
            .unwrap(),
    );
}
