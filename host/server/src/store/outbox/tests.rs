use ignite_core::build::Status;

use super::*;
use crate::store::{
    Live,
    builds::tests::{build, open},
};

fn entry(build: &Build, index: u16, next_at_ms: i64, state: OutboxState) -> OutboxEntry {
    let key = OutboxKey {
        org: build.org.clone(),
        id: NotificationId {
            build: build.id,
            entry: index,
        },
    };
    let row = OutboxRow {
        policy_revision: 1,
        plugin: "webhook".to_owned(),
        digest: PluginDigest::from_sha256([1; 32]),
        attempts: 0,
        since_ms: 0,
        next_at_ms,
        state,
        last_error: String::new(),
    };
    (key, row)
}

fn report(micros: u64) -> HookReport {
    HookReport {
        plugin: "webhook".to_owned(),
        digest: PluginDigest::from_sha256([1; 32]),
        hook: ignite_core::hook::Hook::Notify,
        monitored: false,
        verdict: ignite_core::hook::ReportVerdict::Delivered,
        changes: Vec::new(),
        messages: Vec::new(),
        micros,
    }
}

/// A build that is stored and has ended with these announcements, each due at its time.
async fn ended(store: &Store, org: &str, random: u128, due_ms: &[i64]) -> (Build, Vec<OutboxEntry>) {
    let mut build = build(org, 1000, random);
    store
        .create_build(Arc::new(build.clone()), b"sealed".to_vec(), None)
        .await
        .unwrap();
    build.status = Status::Failed;
    build.generation += 1;
    let rows: Vec<_> = (0..)
        .zip(due_ms)
        .map(|(index, at_ms)| entry(&build, index, *at_ms, OutboxState::Pending))
        .collect();
    store
        .update_build_and_announce(Arc::new(build.clone()), Live::Retire, &rows)
        .await
        .unwrap();
    (build, rows)
}

#[tokio::test]
async fn announcements_are_written_with_the_record_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (_data, store) = open(&dir);
    let (mut build, _) = ended(&store, "acme", 1, &[]).await;
    let row = entry(&build, 0, 5, OutboxState::Pending);
    let stale = Arc::new(build.clone());
    let refused = store
        .update_build_and_announce(stale, Live::Retire, std::slice::from_ref(&row))
        .await;
    assert!(matches!(refused, Err(StoreError::Stale(_))));
    assert_eq!(store.due_notifications(10, 9).await.unwrap(), Due::default());
    build.generation += 1;
    store
        .update_build_and_announce(Arc::new(build), Live::Retire, std::slice::from_ref(&row))
        .await
        .unwrap();
    assert_eq!(store.due_notifications(10, 9).await.unwrap().by_org[0].1, [row]);
}

#[tokio::test]
async fn what_is_due_comes_by_organization_the_longest_due_first_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (_data, store) = open(&dir);
    let (_, big) = ended(&store, "acme", 1, &[300, 100, 200, 900]).await;
    let (_, other) = ended(&store, "acme-2", 2, &[400]).await;
    ended(&store, "zeta", 3, &[800]).await;
    let due = store.due_notifications(500, 2).await.unwrap();
    assert_eq!(due.by_org.len(), 2);
    assert_eq!(due.by_org[0].1, [big[1].clone(), big[2].clone()]);
    assert_eq!(due.by_org[1].1, [other[0].clone()]);
    assert_eq!(due.next_at_ms, Some(800));
    let due = store.due_notifications(500, 9).await.unwrap();
    assert_eq!(due.by_org[0].1.len(), 3);
    assert_eq!(due.next_at_ms, Some(800));
}

#[tokio::test]
async fn a_settled_row_moves_or_goes_with_its_report_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let (_data, store) = open(&dir);
    let (build, rows) = ended(&store, "acme", 1, &[100, 100]).await;
    let (key, before) = &rows[0];
    let later = OutboxRow {
        attempts: 1,
        next_at_ms: 700,
        ..before.clone()
    };
    assert!(
        store
            .settle_notification(key, before, Some(&later), None)
            .await
            .unwrap()
    );
    assert!(!store.settle_notification(key, before, None, None).await.unwrap());
    let due = store.due_notifications(500, 9).await.unwrap();
    assert_eq!(
        (due.by_org[0].1.len(), due.next_at_ms),
        (1, Some(700)),
        "no stale index row"
    );

    let report = report(1);
    assert!(
        store
            .settle_notification(key, &later, None, Some(&report))
            .await
            .unwrap()
    );
    let stored = store.get_build(&build.org, build.id).await.unwrap().unwrap();
    assert_eq!(
        (stored.generation, &stored.hook_reports),
        (build.generation + 1, &vec![report])
    );
    assert_eq!(store.notification(key).await.unwrap(), None);
}

#[tokio::test]
async fn reports_of_announcements_are_kept_within_bounds_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let (_data, store) = open(&dir);
    let (build, rows) = ended(&store, "acme", 1, &[100]).await;
    let (key, row) = &rows[0];
    for micros in 0..70 {
        let report = report(micros);
        assert!(
            store
                .settle_notification(key, row, Some(row), Some(&report))
                .await
                .unwrap()
        );
    }
    let stored = store.get_build(&build.org, build.id).await.unwrap().unwrap();
    let kept: Vec<_> = stored.hook_reports.iter().map(|report| report.micros).collect();
    assert_eq!(kept, (6..70).collect::<Vec<_>>());
}

#[tokio::test]
async fn pages_hold_an_organizations_own_and_only_the_dead_expire() {
    let dir = tempfile::tempdir().unwrap();
    let (_data, store) = open(&dir);
    let (build, rows) = ended(&store, "acme", 1, &[1, 2, 3]).await;
    ended(&store, "acme-2", 2, &[1]).await;
    let page = store.list_notifications(&build.org, None, 2).await.unwrap();
    assert_eq!(page.entries, [rows[2].clone(), rows[1].clone()]);
    let rest = store.list_notifications(&build.org, page.next, 2).await.unwrap();
    assert_eq!((rest.entries, rest.next), (vec![rows[0].clone()], None));

    let (key, before) = &rows[0];
    let dead = OutboxRow {
        state: OutboxState::Dead,
        next_at_ms: 50,
        ..before.clone()
    };
    assert!(
        store
            .settle_notification(key, before, Some(&dead), None)
            .await
            .unwrap()
    );
    assert_eq!(store.expire_notifications(50, 10).await.unwrap(), 0);
    assert_eq!(store.expire_notifications(51, 10).await.unwrap(), 1);
    let left = store
        .list_notifications(&build.org, None, 9)
        .await
        .unwrap()
        .entries;
    assert_eq!(left, [rows[2].clone(), rows[1].clone()]);
}
