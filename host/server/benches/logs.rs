//! How fast does a build's log go from the executor to a follower? Raw bytes in pieces as the executor reads them, redacted of
//! twenty secrets, cut into frames, on disk, then read by a follower; against a plain write and fdatasync of the same pieces.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    missing_debug_implementations,
    reason = "a benchmark that cannot run should stop"
)]

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use ignite_core::{
    ids::{BuildId, RunId},
    kaniko::LogReader,
    redact::Redactor,
};
use ignite_server::{
    executor::RawCursor,
    logs::{LogHub, Pipeline, follow},
    store::{
        DataDir,
        logs::{LogOptions, LogStore},
    },
};

const PIECE_BYTES: usize = 64 << 10;
const LOG_BYTES: usize = 64 << 20;
const SECRETS: usize = 20;
/// One line in so many says a secret.
const SECRET_EVERY: usize = 1000;
const ROUNDS: usize = 3;
/// Real time that is no build's.
const CREATED_MS: u64 = 1_700_000_000_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let secrets: Vec<String> = (0..SECRETS)
        .map(|n| format!("s3cret-{n:02}-{:016x}", n * 7_919 + 104_729))
        .collect();
    let raw = log(&secrets);
    let mut rates = Vec::new();
    for round in 0..ROUNDS {
        let plain = rate(&raw, write_plainly(&directory.path().join("plain"), &raw));
        let path = directory.path().join(format!("round-{round}"));
        let took = runtime.block_on(async {
            tokio::spawn(through_the_pipeline(path, raw.clone(), secrets.clone()))
                .await
                .unwrap()
        });
        let piped = rate(&raw, took);
        eprintln!("log: {piped:.0} MB/s through the pipeline, {plain:.0} MB/s written plainly");
        rates.push((piped, piped / plain));
    }
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((piped, ratio)) = rates.get(ROUNDS / 2) {
        println!(
            "log pipeline: {piped:.0} MB/s from raw bytes to a follower, redacting {SECRETS} secrets: {ratio:.2} of a plain \
             durable write (median of {ROUNDS})"
        );
    }
}

fn rate(raw: &[u8], took: Duration) -> f64 {
    raw.len() as f64 / 1e6 / took.as_secs_f64()
}

fn log(secrets: &[String]) -> Arc<[u8]> {
    let mut log = Vec::with_capacity(LOG_BYTES + 256);
    let mut secrets = secrets.iter().cycle();
    for line in 0.. {
        if log.len() >= LOG_BYTES {
            break;
        }
        if line % SECRET_EVERY == 0 {
            writeln!(log, "fetching with token {}", secrets.next().unwrap()).unwrap();
        } else {
            writeln!(log, "Get:{line} http://deb.example/debian bookworm/main amd64 package-{line} amd64 1.2.{line} [12.3 kB]").unwrap();
        }
    }
    log.into()
}

fn write_plainly(path: &Path, raw: &[u8]) -> Duration {
    let mut file = File::create(path).unwrap();
    let start = Instant::now();
    for piece in raw.chunks(PIECE_BYTES) {
        file.write_all(piece).unwrap();
        file.sync_data().unwrap();
    }
    start.elapsed()
}

/// From the first raw byte until the follower has had the last redacted one.
async fn through_the_pipeline(path: std::path::PathBuf, raw: Arc<[u8]>, secrets: Vec<String>) -> Duration {
    let data = DataDir::open(&path).unwrap();
    let store = Arc::new(LogStore::open(&data, LogOptions::default()).unwrap());
    let run = RunId {
        build: BuildId::new(CREATED_MS, rand::random()),
        platform: 0,
        attempt: 1,
    };
    let hub = Arc::new(LogHub::new(0));
    let redactor = Redactor::new(secrets.iter().map(String::as_str));
    let resumed = Pipeline::resume(
        Arc::clone(&store),
        Arc::clone(&hub),
        run,
        redactor,
        LogReader::new(Vec::new()),
        2 * LOG_BYTES as u64,
    );
    let (mut pipeline, _) = resumed.await.unwrap();
    let mut followed = follow(store, Arc::clone(&hub), run.build, 0);

    let start = Instant::now();
    let follower = tokio::spawn(async move {
        let mut bytes = 0;
        while let Some(chunk) = followed.next().await {
            bytes += chunk.unwrap().data.len();
        }
        (bytes, start.elapsed())
    });
    let mut end = 0;
    for piece in raw.chunks(PIECE_BYTES) {
        end += piece.len() as u64;
        pipeline.push(piece, RawCursor::START.plus(end), 0).await.unwrap();
    }
    pipeline.finish(0).await.unwrap();
    hub.close();
    let (bytes, took) = follower.await.unwrap();
    assert_eq!(bytes as u64, pipeline.end_offset());
    took
}
