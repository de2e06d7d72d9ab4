//! Is the committer worth its thread? 64 writers of small durable rows: through one committer, against a transaction, a flush and an
//! fdatasync by each writer for itself.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::{
    fs::File,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use criterion::Criterion;
use ignite_server::store::{
    batch::Batch,
    committer::{Committer, CommitterOptions},
    database::Database,
    schema::{Blob, MetaKey},
    table::Table,
};
use sled::transaction::ConflictableTransactionError;

const WRITERS: u64 = 64;
const ROW_BYTES: usize = 600;
const CACHE_BYTES: u64 = 64 << 20;
const ROWS: Table<MetaKey, Blob> = Table::small("rows");
const INDEX: Table<MetaKey, Blob> = Table::small("index");

/// Time for at least `rows` rows, written by all writers together, for each row.
type Write<'a> = dyn FnMut(u64) -> Duration + 'a;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    let dir = tempfile::tempdir().unwrap();

    let mut each = writer_for_itself(&dir.path().join("each"));
    let each = measure(&mut criterion, "store/each_for_itself", &mut each);
    let mut committer = through_the_committer(&dir.path().join("committer"));
    let committer = measure(&mut criterion, "store/committer", &mut committer);
    criterion.final_summary();
    if let (Some(each), Some(committer)) = (each, committer) {
        let rate = |row: Duration| 1.0 / row.as_secs_f64();
        println!(
            "{WRITERS} writers: {:.0} rows/s through the committer, {:.0} rows/s each for itself: ratio {:.1}",
            rate(committer),
            rate(each),
            each.as_secs_f64() / committer.as_secs_f64()
        );
    }
}

/// The mean time of a row over all samples; none if the benchmark was filtered out.
fn measure(criterion: &mut Criterion, name: &str, write: &mut Write<'_>) -> Option<Duration> {
    let (mut rows, mut total) = (0, Duration::ZERO);
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let row = write(iterations);
            let sample = row * u32::try_from(iterations).unwrap_or(u32::MAX);
            rows += iterations;
            total += sample;
            sample
        });
    });
    (rows > 0).then(|| total.div_f64(rows as f64))
}

fn writer_for_itself(path: &Path) -> impl FnMut(u64) -> Duration + use<> {
    let db = sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .open()
        .unwrap();
    let trees = [db.open_tree("rows").unwrap(), db.open_tree("index").unwrap()];
    let file = Arc::new(File::open(path.join("db")).unwrap());
    let mut round = 0;
    move |rows| {
        round += 1;
        let each = rows.div_ceil(WRITERS);
        let started = Instant::now();
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (db, trees, file) = (&db, &trees, &file);
                scope.spawn(move || {
                    for i in 0..each {
                        let key = key(round, writer, i).0;
                        let write = |views: &Vec<sled::transaction::TransactionalTree>| {
                            for (view, len) in views.iter().zip([ROW_BYTES, 1]) {
                                view.insert(key.as_bytes(), vec![7; len])?;
                            }
                            Ok::<(), ConflictableTransactionError<()>>(())
                        };
                        sled::Transactional::transaction(trees.as_slice(), write).unwrap();
                        db.flush().unwrap();
                        file.sync_data().unwrap();
                    }
                });
            }
        });
        started.elapsed().div_f64((each * WRITERS) as f64)
    }
}

fn through_the_committer(path: &Path) -> impl FnMut(u64) -> Duration + use<> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let db = Arc::new(Database::open(path, CACHE_BYTES, &[ROWS.info, INDEX.info]).unwrap());
    let committer = Arc::new(Committer::start(db, CommitterOptions::default()).unwrap());
    let mut round = 0;
    move |rows| {
        round += 1;
        let each = rows.div_ceil(WRITERS);
        let started = Instant::now();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let committer = Arc::clone(&committer);
                    tokio::spawn(async move {
                        for i in 0..each {
                            let key = key(round, writer, i);
                            let mut batch = Batch::new();
                            batch.require_absent(&ROWS, &key);
                            batch.put(&ROWS, &key, &Blob(vec![7; ROW_BYTES])).unwrap();
                            batch.put(&INDEX, &key, &Blob(Vec::new())).unwrap();
                            committer.commit(batch).await.unwrap();
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        started.elapsed().div_f64((each * WRITERS) as f64)
    }
}

fn key(round: u64, writer: u64, i: u64) -> MetaKey {
    MetaKey(format!("{round:08}-{i:08}-{writer:02}"))
}
