use std::{
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::store::{
    rows::RECORD_BYTES_MAX,
    schema::{Blob, MetaKey},
    table::{KeyRange, Table},
};

const SMALL: Table<MetaKey, Blob> = Table::small("small");
const LARGE: Table<MetaKey, Blob> = Table::large("large");
const CACHE_BYTES: u64 = 8 << 20;

fn open(path: &Path) -> Arc<Database> {
    Arc::new(Database::open(path, CACHE_BYTES, &[SMALL.info, LARGE.info]).unwrap())
}

fn start(db: &Arc<Database>) -> Committer {
    Committer::start(Arc::clone(db), CommitterOptions::default()).unwrap()
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "reads better with numbers and names alike"
)]
fn key(name: impl ToString) -> MetaKey {
    MetaKey(name.to_string())
}

fn put(table: &Table<MetaKey, Blob>, name: impl ToString, value: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(table, &key(name), &Blob(value.to_vec())).unwrap();
    batch
}

fn blobs(path: &Path) -> usize {
    std::fs::read_dir(path.join("blobs")).unwrap().count()
}

/// A committer whose first sync waits until told, so that what is sent meanwhile is one group.
fn start_held(db: &Arc<Database>) -> (Committer, std::sync::mpsc::Sender<()>, Arc<AtomicUsize>) {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&syncs);
    let sync = move |db: &Database| {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = held.recv();
        db.sync()
    };
    let committer =
        Committer::start_with(Arc::clone(db), CommitterOptions::default(), Box::new(sync)).unwrap();
    (committer, release, syncs)
}

#[tokio::test]
async fn a_condition_sees_the_earlier_batches_of_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let (committer, release, syncs) = start_held(&db);
    let mut first = std::pin::pin!(committer.commit(put(&SMALL, "hold", b"")));
    while syncs.load(Ordering::SeqCst) == 0 {
        let _ = tokio::time::timeout(Duration::from_millis(1), &mut first).await;
    }
    let claim = |value: &'static [u8]| {
        let mut batch = put(&SMALL, "claimed", value);
        batch.require_absent(&SMALL, &key("claimed"));
        batch
    };
    let mut follows = put(&SMALL, "follows", b"");
    follows
        .require_equals(&SMALL, &key("claimed"), &Blob(b"one".to_vec()))
        .unwrap();
    let mut deleted = Batch::new();
    deleted.delete(&SMALL, &key("claimed"));
    // Polled last: the group has gathered behind the first commit's sync.
    let free = async { drop(release) };
    let (hold, one, two, follows, deleted, three, ()) = tokio::join!(
        biased;
        first,
        committer.commit(claim(b"one")),
        committer.commit(claim(b"two")),
        committer.commit(follows),
        committer.commit(deleted),
        committer.commit(claim(b"three")),
        free
    );
    assert_eq!(
        (hold, one, follows, deleted, three),
        (Ok(()), Ok(()), Ok(()), Ok(()), Ok(()))
    );
    let expected = "absent";
    assert_eq!(
        two,
        Err(CommitError::Rejected {
            table: "small",
            expected
        })
    );
    assert_eq!(
        db.get(&SMALL, &key("claimed")).unwrap(),
        Some(Blob(b"three".to_vec()))
    );
    assert_eq!(syncs.load(Ordering::SeqCst), 2, "the rest was not one group");
}

#[tokio::test]
async fn nothing_of_a_rejected_batch_is_written_and_nobody_is_told_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let committer = start(&db);
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    let mut batch = put(&SMALL, "a", b"1");
    batch.require(&SMALL, &key("b"), "there", |value| value.is_some());
    batch.when_committed(move || tell.store(true, Ordering::SeqCst));
    assert!(matches!(
        committer.commit(batch).await,
        Err(CommitError::Rejected { .. })
    ));
    assert_eq!(db.get(&SMALL, &key("a")).unwrap(), None);
    assert!(!told.load(Ordering::SeqCst));
}

#[tokio::test]
async fn after_a_failed_sync_every_commit_fails() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let failing = |_: &Database| Err(io::Error::from_raw_os_error(5));
    let committer =
        Committer::start_with(Arc::clone(&db), CommitterOptions::default(), Box::new(failing)).unwrap();
    committer.health().unwrap();
    for _ in 0..3 {
        let error = committer.commit(put(&SMALL, "a", b"1")).await.unwrap_err();
        assert!(
            matches!(&error, CommitError::Failed(cause) if cause.contains("os error 5")),
            "{error}"
        );
    }
    assert!(committer.health().is_err());
    committer.shutdown().await;
}

#[tokio::test]
async fn nothing_is_written_and_nothing_acknowledged_once_the_tenure_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let options = |tenure| CommitterOptions {
        tenure,
        ..CommitterOptions::default()
    };
    let held = Tenure::until(Tenure::now() + Duration::from_secs(60));
    let held = Committer::start(Arc::clone(&db), options(held)).unwrap();
    held.commit(put(&SMALL, "held", b"1")).await.unwrap();

    let short = Tenure::until(Tenure::now() + Duration::from_millis(50));
    #[allow(clippy::disallowed_methods, reason = "on the writing thread")]
    let slow_disk = |db: &Database| {
        db.sync()?;
        std::thread::sleep(Duration::from_millis(100));
        Ok(())
    };
    let losing = Committer::start_with(Arc::clone(&db), options(short), Box::new(slow_disk)).unwrap();
    let lost = |result: Result<(), CommitError>| matches!(&result, Err(CommitError::Failed(cause)) if cause.contains("lease"));
    assert!(
        lost(losing.commit(put(&SMALL, "begun", b"1")).await),
        "not acknowledged"
    );
    assert!(lost(losing.commit(put(&SMALL, "late", b"1")).await));
    assert_eq!(db.get(&SMALL, &key("late")).unwrap(), None);
    assert!(losing.health().is_err());
    for committer in [held, losing] {
        committer.shutdown().await;
    }
}

#[tokio::test]
async fn shutdown_commits_what_was_sent_and_refuses_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let committer = Arc::new(start(&db));
    let sent: Vec<_> = (0..200)
        .map(|i| {
            let committer = Arc::clone(&committer);
            tokio::spawn(async move { committer.commit(put(&SMALL, i, b"x")).await })
        })
        .collect();
    tokio::task::yield_now().await;
    committer.shutdown().await;
    for (i, commit) in sent.into_iter().enumerate() {
        let stored = db.get(&SMALL, &key(i)).unwrap().is_some();
        match commit.await.unwrap() {
            Ok(()) => assert!(stored),
            Err(error) => assert!(error == CommitError::Stopped && !stored),
        }
    }
    assert_eq!(
        committer.commit(put(&SMALL, "late", b"")).await,
        Err(CommitError::Stopped)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_values_leave_no_blob_files() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let committer = Arc::new(start(&db));
    let row = vec![7; rows::ROW_PAYLOAD_BYTES_MAX - 1];
    let record = vec![8; RECORD_BYTES_MAX - 1];
    for round in 0..4_u32 {
        let tasks: Vec<_> = (0..16_u32)
            .map(|writer| {
                let (committer, row, record) = (Arc::clone(&committer), row.clone(), record.clone());
                tokio::spawn(async move {
                    for i in 0..40_u32 {
                        // Neighbours in one leaf, written out of order and over again.
                        let name = format!("{:08}", i.wrapping_mul(2_654_435_761) % 97 + writer * 10);
                        committer.commit(put(&SMALL, name, &row)).await.unwrap();
                    }
                    let name = format!("{}-{}", writer % 5, round);
                    committer.commit(put(&LARGE, name, &record)).await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        // Merged leaves are the largest.
        for row in db
            .scan(&SMALL, KeyRange::all())
            .unwrap()
            .step_by(2)
            .collect::<Vec<_>>()
        {
            let mut batch = Batch::new();
            batch.delete(&SMALL, &row.unwrap().0);
            committer.commit(batch).await.unwrap();
        }
    }
    assert_eq!(blobs(dir.path()), 0);
    for (table, bytes) in [(&SMALL, row.len() + 1), (&LARGE, record.len() + 1)] {
        let error = committer
            .commit(put(table, "x", &vec![0; bytes]))
            .await
            .unwrap_err();
        assert!(matches!(error, CommitError::TooLarge { .. }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Sizes around the limits of a row, over and over on few keys: a value always reads back whole, and no part outlives it.
    #[test]
    fn values_of_any_size_replace_each_other(
        writes in prop::collection::vec((0..3_u8, prop::option::of(0..20_000_usize)), 1..40)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path());
        let committer = start(&db);
        let mut model = std::collections::BTreeMap::new();
        for (i, (name, size)) in writes.into_iter().enumerate() {
            let fill = u8::try_from(i).unwrap();
            let mut batch = Batch::new();
            match size {
                Some(size) => {
                    batch.put(&LARGE, &key(name), &Blob(vec![fill; size])).unwrap();
                    model.insert(name.to_string(), vec![fill; size]);
                }
                None => {
                    batch.delete(&LARGE, &key(name));
                    model.remove(&name.to_string());
                }
            }
            committer.commit_blocking(batch).unwrap();
        }
        let stored: std::collections::BTreeMap<_, _> = db
            .scan(&LARGE, KeyRange::all())
            .unwrap()
            .map(|row| row.map(|(key, value)| (key.0, value.0)).unwrap())
            .collect();
        let parts: usize = model.values().map(|v| rows::split(&[&[1], v.as_slice()].concat()).parts.len()).sum();
        prop_assert_eq!(stored, model);
        prop_assert_eq!(db.parts().len(), parts);
    }
}

/// Set for the process that [`what_was_acknowledged_survives_a_kill`] starts and kills.
const VICTIM: &str = "IGNITE_TEST_COMMITTER_VICTIM";

/// Not a test by itself: commits without end and says on stdout what was acknowledged.
#[test]
fn victim() {
    let Some(path) = std::env::var_os(VICTIM) else {
        return;
    };
    let db = open(Path::new(&path));
    let committer = Arc::new(start(&db));
    let stdout = Arc::new(Mutex::new(io::stdout()));
    for writer in 0..8 {
        let (committer, stdout) = (Arc::clone(&committer), Arc::clone(&stdout));
        std::thread::spawn(move || {
            for i in 0.. {
                let name = format!("{writer}-{i}");
                let mut batch = put(&SMALL, &name, name.as_bytes());
                batch
                    .put(&LARGE, &key(&name), &Blob(name.repeat(i % 3000).into_bytes()))
                    .unwrap();
                batch.delete(&SMALL, &key(format!("{writer}-{}", i - i % 7)));
                committer.commit_blocking(batch).unwrap();
                writeln!(stdout.lock().unwrap(), "committed {name}").unwrap();
            }
        });
    }
    loop {
        std::thread::park();
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..4_usize {
        let path = dir.path().join(round.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["store::committer::tests::victim", "--exact", "--nocapture"])
            .env(VICTIM, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        acknowledged.clear();
        for line in lines.by_ref() {
            if let Some(name) = line.unwrap().strip_prefix("committed ") {
                acknowledged.push(name.to_owned());
            }
            if acknowledged.len() == 150 * (round + 1) {
                child.kill().unwrap();
                break;
            }
        }
        acknowledged.extend(
            lines
                .map_while(Result::ok)
                .filter_map(|l| Some(l.strip_prefix("committed ")?.to_owned())),
        );
        child.wait().unwrap();

        let db = open(&path);
        for name in &acknowledged {
            let i: usize = name.split_once('-').unwrap().1.parse().unwrap();
            let large = db.get(&LARGE, &key(name)).unwrap();
            assert_eq!(
                large,
                Some(Blob(name.repeat(i % 3000).into_bytes())),
                "{name} was lost"
            );
        }
        // A batch is there as a whole or not at all.
        for row in db.scan(&LARGE, KeyRange::all()).unwrap() {
            let (MetaKey(name), _) = row.unwrap();
            let (writer, i) = name.split_once('-').unwrap();
            let i: usize = i.parse().unwrap();
            let deleted = db.get(&SMALL, &key(format!("{writer}-{}", i - i % 7))).unwrap();
            assert_eq!(deleted, None, "half of {name} is there");
        }
    }
}
