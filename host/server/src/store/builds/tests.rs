use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::{DataDir, StoreOptions, database::ReadError, table::KeyRange};

pub(crate) fn build(org: &str, created_at_ms: u64, random: u128) -> Build {
    let id = BuildId::new(created_at_ms, random);
    Build {
        id,
        org: org.parse().unwrap(),
        name: "web/app".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        tags: vec!["latest".to_owned()],
        build_args: BTreeMap::new(),
        labels: BTreeMap::new(),
        platform: None,
        context: None,
        priority: 0,
        created_at_ms: i64::try_from(created_at_ms).unwrap(),
        created_by: "someone".to_owned(),
        status: Status::Pending,
        generation: 1,
        cancel_requested: false,
        runs: Vec::new(),
        started_at_ms: None,
        completed_at_ms: None,
        not_before_ms: 0,
        resolved_commit: None,
        context_size_bytes: 0,
        steps: Vec::new(),
        failure: None,
        image: None,
        image_refs: Vec::new(),
        cache_used: false,
        log_bytes: 0,
        policy_revision: None,
        hook_reports: Vec::new(),
        hold: None,
        approved_by: None,
        inspected: None,
        waiting: None,
    }
}

/// A row as the first release wrote it, before a build's record said anything of policies.
const OLD_BUILD_ROW: &[&str] = &[
    "01de001ba26964be626c645f3030303030303035303030303030303030303030303030303058a36f7267a461636d65a46e61",
    "6d65a77765622f617070aa646f636b657266696c65aa446f636b657266696c65a47461677391a66c6174657374aa6275696c",
    "645f6172677381a141a131a66c6162656c7380a8706c6174666f726dc0a7636f6e74657874c0a87072696f7269747900ad63",
    "7265617465645f61745f6d73cf0000019714305000aa637265617465645f6279a7736f6d656f6e65a6737461747573a77275",
    "6e6e696e67aa67656e65726174696f6e02b063616e63656c5f726571756573746564c2a472756e739183a26964d924626c64",
    "2d30303030303030353030303030303030303030303030303030782d70302d6131ad737461727465645f61745f6d73cf0000",
    "019714305001ab656e6465645f61745f6d73c0ad737461727465645f61745f6d73cf0000019714305001af636f6d706c6574",
    "65645f61745f6d73c0ad6e6f745f6265666f72655f6d7300af7265736f6c7665645f636f6d6d6974c0b2636f6e746578745f",
    "73697a655f627974657307a5737465707390a76661696c757265c0a5696d616765c0aa696d6167655f7265667390aa636163",
    "68655f75736564c2a96c6f675f627974657300",
];

#[test]
fn records_of_the_time_before_policies_read_on() {
    let row = hex::decode(OLD_BUILD_ROW.concat()).unwrap();
    let read = <Build as crate::store::codec::Value>::decode(&row).unwrap();
    assert_eq!(read.status, Status::Running);
    assert_eq!(read.name, "web/app");
    assert_eq!(read.context_size_bytes, 7);
    assert_eq!(read.runs.len(), 1);
    assert!(!read.runs[0].held);
    assert_eq!(
        (read.policy_revision, &read.hold, &read.approved_by),
        (None, &None, &None)
    );
    assert_eq!((read.hook_reports.len(), &read.inspected), (0, &None));
}

pub(crate) fn open(dir: &tempfile::TempDir) -> (DataDir, Store) {
    let data = DataDir::open(dir.path()).unwrap();
    let options = StoreOptions {
        cache_bytes: 8 << 20,
        builds_cached: 4,
    };
    let store = Store::open(&data, options).unwrap();
    (data, store)
}

async fn create(store: &Store, build: &Build) -> Created {
    store
        .create_build(Arc::new(build.clone()), b"sealed".to_vec(), None)
        .await
        .unwrap()
}

fn given(key: &str, fingerprint: u8) -> Option<Idempotency> {
    Some(Idempotency {
        key: key.to_owned(),
        fingerprint: [fingerprint; 32],
    })
}

/// What the index tables hold, against what they should by the records.
fn index_rows(store: &Store) -> Result<(Vec<StatusKey>, Vec<StatusKey>), ReadError> {
    let rows = store.db.scan(&BUILDS_BY_STATUS, KeyRange::all())?;
    let indexed = rows
        .map(|row| row.map(|row| row.0))
        .collect::<Result<Vec<_>, _>>()?;
    let records = store.db.scan(&BUILDS, KeyRange::all())?;
    let mut expected = records
        .map(|row| row.map(|(_, build)| StatusKey::of(&build, build.status)))
        .collect::<Result<Vec<_>, _>>()?;
    expected.sort_by_key(super::super::codec::Key::encode);
    Ok((indexed, expected))
}

#[tokio::test]
async fn a_build_is_there_after_reopening_with_its_spec() {
    let dir = tempfile::tempdir().unwrap();
    let mut mine = build("acme", 1000, 1);
    // Large enough to be split.
    mine.labels = (0..400).map(|i| (format!("label-{i}"), "x".repeat(40))).collect();
    let spec = vec![9; 300 << 10];
    {
        let (_data, store) = open(&dir);
        let created = store
            .create_build(Arc::new(mine.clone()), spec.clone(), None)
            .await
            .unwrap();
        assert_eq!(created, Created::New);
        store.shutdown().await;
    }
    let (_data, store) = open(&dir);
    assert_eq!(
        store.get_build(&mine.org, mine.id).await.unwrap().as_deref(),
        Some(&mine)
    );
    assert_eq!(store.spec(mine.id).await.unwrap(), Some(spec));
    assert_eq!(store.live_builds().await.unwrap(), [Arc::new(mine.clone())]);
    let error = store
        .create_build(Arc::new(mine), Vec::new(), None)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Exists(_)));
    assert_eq!(
        std::fs::read_dir(store.db.path().join("blobs")).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn another_organization_sees_nothing_cached_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let (_data, store) = open(&dir);
    let mine = build("acme", 1000, 1);
    let other: OrgId = "acme-2".parse().unwrap();
    create(&store, &mine).await;
    for _ in 0..2 {
        assert_eq!(store.get_build(&other, mine.id).await.unwrap(), None);
        store.cache.clear();
    }
    assert!(store.get_build(&mine.org, mine.id).await.unwrap().is_some());
    assert_eq!(store.get_build(&other, mine.id).await.unwrap(), None);
    let page = store
        .list_builds(&other, BuildFilter::default(), None, 10)
        .await
        .unwrap();
    assert!(page.builds.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_equal_requests_under_one_key_one_creates() {
    let dir = tempfile::tempdir().unwrap();
    let (_data, store) = open(&dir);
    let store = Arc::new(store);
    let tasks: Vec<_> = (0..32)
        .map(|i| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let build = Arc::new(build("acme", 1000, i));
                (
                    build.id,
                    store
                        .create_build(build, Vec::new(), given("key", 1))
                        .await
                        .unwrap(),
                )
            })
        })
        .collect();
    let mut new = Vec::new();
    let mut replayed = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            (id, Created::New) => new.push(id),
            (_, Created::Replayed(id)) => replayed.push(id),
            (_, Created::KeyReused) => panic!("equal requests are no reuse"),
        }
    }
    assert_eq!((new.len(), replayed.len()), (1, 31));
    assert!(replayed.iter().all(|id| new.contains(id)));
    let reused = store
        .create_build(Arc::new(build("acme", 1000, 99)), Vec::new(), given("key", 2))
        .await;
    assert_eq!(reused.unwrap(), Created::KeyReused);
    let elsewhere = store
        .create_build(Arc::new(build("other", 1000, 99)), Vec::new(), given("key", 2))
        .await;
    assert_eq!(elsewhere.unwrap(), Created::New);
    assert_eq!(store.live_builds().await.unwrap().len(), 2);
}

#[tokio::test]
async fn old_idempotency_keys_go_a_few_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (_data, store) = open(&dir);
    for i in 1..=5 {
        let build = Arc::new(build("acme", 1000 * i, u128::from(i)));
        let key = given(&format!("key-{i}"), 1);
        store.create_build(build, Vec::new(), key).await.unwrap();
    }
    assert_eq!(store.expire_idempotency(4000, 2).await.unwrap(), 2);
    assert_eq!(store.expire_idempotency(4000, 2).await.unwrap(), 1);
    assert_eq!(store.expire_idempotency(4000, 2).await.unwrap(), 0);
    let org = "acme".parse().unwrap();
    for i in 1..=5 {
        let key = given(&format!("key-{i}"), 1).unwrap();
        let replayed = store.replayed(&org, &key).await.unwrap();
        assert_eq!(replayed.is_some(), i >= 4, "key-{i}");
    }
}

#[tokio::test]
async fn an_older_record_never_replaces_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let (_data, store) = open(&dir);
    let first = build("acme", 1000, 1);
    create(&store, &first).await;
    let second = Arc::new(Build {
        generation: 2,
        status: Status::Running,
        ..first.clone()
    });
    store.update_build(Arc::clone(&second), Live::Keep).await.unwrap();
    for stale in [Arc::clone(&second), Arc::new(first.clone())] {
        let error = store.update_build(stale, Live::Keep).await.unwrap_err();
        assert!(matches!(error, StoreError::Stale(id) if id == first.id));
    }
    let missing = build("acme", 1000, 2);
    let error = store
        .update_build(Arc::new(missing), Live::Keep)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Stale(_)));
    assert_eq!(store.get_build(&first.org, first.id).await.unwrap(), Some(second));
}

#[tokio::test]
async fn what_is_retired_is_no_longer_live() {
    let dir = tempfile::tempdir().unwrap();
    let (_data, store) = open(&dir);
    let builds: Vec<_> = (1..4).map(|i| build("acme", 1000, i)).collect();
    for build in &builds {
        create(&store, build).await;
    }
    let ended = Build {
        generation: 2,
        status: Status::Failed,
        ..builds[0].clone()
    };
    store.update_build(Arc::new(ended), Live::Retire).await.unwrap();
    store.retire(builds[1].id).await.unwrap();
    store.retire(builds[1].id).await.unwrap();
    assert_eq!(store.live_builds().await.unwrap(), [Arc::new(builds[2].clone())]);
    assert!(
        store
            .get_build(&builds[1].org, builds[1].id)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_complete_and_in_order_while_builds_come_in() {
    let dir = tempfile::tempdir().unwrap();
    let (_data, store) = open(&dir);
    let store = Arc::new(store);
    let org: OrgId = "acme".parse().unwrap();
    let mut expected: Vec<BuildId> = Vec::new();
    for i in 0..103_u64 {
        let mut newest = build("acme", 1000 + i / 3, u128::from(i));
        if i % 2 == 0 {
            newest.labels.insert("team".to_owned(), "a".to_owned());
        }
        newest.status = if i % 4 == 0 {
            Status::Failed
        } else {
            Status::Pending
        };
        create(&store, &newest).await;
        create(&store, &build("acme-2", 1000 + i, 7)).await;
        expected.push(newest.id);
    }
    expected.reverse();
    let newcomers = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for i in 0..200 {
                create(&store, &build("acme", 1_000_000 + i, 1)).await;
            }
        })
    };
    let label = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    let cases = [
        (BuildFilter::default(), 1),
        (
            BuildFilter {
                labels: label.clone(),
                ..BuildFilter::default()
            },
            2,
        ),
        (
            BuildFilter {
                status: Some(Status::Failed),
                labels: label,
                ..BuildFilter::default()
            },
            4,
        ),
        (
            BuildFilter {
                name: Some("none".to_owned()),
                ..BuildFilter::default()
            },
            1000,
        ),
    ];
    for (filter, step) in cases {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = store.list_builds(&org, filter.clone(), before, 7).await.unwrap();
            seen.extend(page.builds.iter().map(|build| build.id));
            before = page.next;
            if before.is_none() {
                break;
            }
            assert_eq!(page.builds.len(), 7);
        }
        assert!(seen.is_sorted_by(|a, b| a > b), "newest first, each once");
        seen.retain(|id| id.created_at_ms() < 1_000_000);
        let wanted: Vec<_> = expected.iter().rev().step_by(step).rev().copied().collect();
        assert_eq!(seen, if step == 1000 { Vec::new() } else { wanted });
    }
    newcomers.await.unwrap();
}

#[derive(Debug, Clone)]
enum Action {
    Create(u8),
    Update(u8, Status, bool),
    Get(u8),
    Forget,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let status = prop::sample::select(STATUSES.to_vec());
    let action = prop_oneof![
        2 => (0..8_u8).prop_map(Action::Create),
        4 => (0..8_u8, status, any::<bool>()).prop_map(|(i, status, retire)| Action::Update(i, status, retire)),
        2 => (0..8_u8).prop_map(Action::Get),
        1 => Just(Action::Forget),
    ];
    prop::collection::vec(action, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn indexes_and_cache_always_agree_with_the_records(actions in actions()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (_data, store) = open(&dir);
        let mut model: BTreeMap<u8, (Build, bool)> = BTreeMap::new();
        runtime.block_on(async {
            for action in actions {
                match action {
                    Action::Create(i) => {
                        let build = build(if i % 2 == 0 { "a" } else { "b" }, 1000 + u64::from(i), 0);
                        let created = store.create_build(Arc::new(build.clone()), Vec::new(), None).await;
                        prop_assert_eq!(created.is_ok(), !model.contains_key(&i));
                        model.entry(i).or_insert((build, true));
                    }
                    Action::Update(i, status, retire) => {
                        let Some((build, live)) = model.get_mut(&i) else { continue };
                        build.generation += 1;
                        build.status = status;
                        build.context_size_bytes += 1;
                        *live &= !retire;
                        let keep = if retire { Live::Retire } else { Live::Keep };
                        store.update_build(Arc::new(build.clone()), keep).await.unwrap();
                    }
                    Action::Get(i) => {
                        let id = BuildId::new(1000 + u64::from(i), 0);
                        let org: OrgId = (if i % 2 == 0 { "a" } else { "b" }).parse().unwrap();
                        let found = store.get_build(&org, id).await.unwrap();
                        prop_assert_eq!(found.as_deref(), model.get(&i).map(|(build, _)| build));
                    }
                    Action::Forget => store.cache.clear(),
                }
                let (indexed, expected) = index_rows(&store).unwrap();
                prop_assert_eq!(indexed, expected);
                let live: Vec<Build> = store.live_builds().await.unwrap().iter().map(|b| (**b).clone()).collect();
                let expected: Vec<Build> = model.values().filter(|(_, live)| *live).map(|(b, _)| b.clone()).collect();
                prop_assert_eq!(live, expected);
            }
            Ok(())
        })?;
    }
}
