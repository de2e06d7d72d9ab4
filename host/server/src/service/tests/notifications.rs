use ignite_core::{
    ids::{OrgId, PluginDigest},
    notification::NotificationId,
};

use super::*;
use crate::{
    principal::Scope,
    store::{OutboxKey, OutboxRow, OutboxState},
};

/// Rows of a build that ended, given up but for the first.
async fn given_up(scene: &Scene, org: &OrgId, id: BuildId, count: u16) -> Vec<String> {
    let store = &scene.app().store;
    let mut build = ignite_core::build::Build::clone(&store.get_build(org, id).await.unwrap().unwrap());
    build.generation += 1;
    let rows: Vec<_> = (0..count)
        .map(|entry| {
            let key = OutboxKey {
                org: org.clone(),
                id: NotificationId { build: id, entry },
            };
            let row = OutboxRow {
                policy_revision: 2,
                plugin: "webhook".to_owned(),
                digest: PluginDigest::from_sha256([1; 32]),
                attempts: 1,
                since_ms: 1,
                next_at_ms: 7,
                state: if entry == 0 {
                    OutboxState::Pending
                } else {
                    OutboxState::Dead
                },
                last_error: "no such channel".to_owned(),
            };
            (key, row)
        })
        .collect();
    store
        .update_build_and_announce(Arc::new(build), crate::store::Live::Retire, &rows)
        .await
        .unwrap();
    rows.iter().map(|(key, _)| key.id.to_string()).collect()
}

async fn list(scene: &Scene, limit: i32, cursor: &str) -> v1::ListNotificationsResponse {
    let request = v1::ListNotificationsRequest {
        limit,
        cursor: cursor.to_owned(),
    };
    scene
        .service()
        .list_notifications(&acme(), request)
        .await
        .unwrap()
}

fn replay(id: &str) -> v1::ReplayNotificationRequest {
    v1::ReplayNotificationRequest {
        notification_id: id.to_owned(),
    }
}

#[tokio::test]
async fn what_was_given_up_is_listed_and_replayed_by_its_own_organization_only() {
    let scene = Scene::start(&[]).await;
    let build = scene.create().await;
    scene.cancel(build).await;
    let ids = given_up(&scene, &acme().org, build, 3).await;

    let page = list(&scene, 2, "").await;
    let listed: Vec<_> = page.notifications.iter().map(|one| one.id.clone()).collect();
    assert_eq!(listed, [ids[2].clone(), ids[1].clone()]);
    let dead = &page.notifications[0];
    assert_eq!(
        (dead.state(), dead.dead_at_ms, dead.next_attempt_at_ms),
        (v1::NotificationState::Dead, 7, 0)
    );
    assert_eq!(
        (dead.last_error.as_str(), dead.build_id.clone()),
        ("no such channel", build.to_string())
    );
    let rest = list(&scene, 2, &page.next_cursor).await;
    assert_eq!(
        (rest.notifications[0].id.as_str(), rest.next_cursor.as_str()),
        (ids[0].as_str(), "")
    );
    assert_eq!(rest.notifications[0].state(), v1::NotificationState::Pending);

    let service = scene.service();
    for (who, id) in [
        (principal("other"), ids[2].as_str()),
        (acme(), "bld_x.0"),
        (acme(), "x"),
    ] {
        let refused = service.replay_notification(&who, replay(id)).await.unwrap_err();
        assert!(
            matches!(
                refused,
                Error::NotFound {
                    kind: "notification",
                    ..
                }
            ),
            "{refused:?}"
        );
    }
    let replayed = service
        .replay_notification(&acme(), replay(&ids[2]))
        .await
        .unwrap();
    let fresh = replayed.notification.unwrap();
    assert_eq!(
        (fresh.state(), fresh.attempts),
        (v1::NotificationState::Pending, 0)
    );
    assert_eq!(fresh.id, ids[2]);
}

#[tokio::test]
async fn notifications_need_the_policies_scopes() {
    let scene = Scene::start(&[]).await;
    let with = |scope| {
        let mut who = acme();
        who.scopes = BTreeSet::from([scope]);
        who
    };
    let service = scene.service();
    let refused = service
        .replay_notification(&with(Scope::PoliciesRead), replay("x"))
        .await;
    assert!(matches!(
        refused,
        Err(Error::PermissionDenied {
            scope: "policies:write"
        })
    ));
    let refused = service
        .list_notifications(
            &with(Scope::PoliciesWrite),
            v1::ListNotificationsRequest::default(),
        )
        .await;
    assert!(matches!(
        refused,
        Err(Error::PermissionDenied {
            scope: "policies:read"
        })
    ));
}
