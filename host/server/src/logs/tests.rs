use std::sync::Arc;

use futures::TryStreamExt as _;
use ignite_core::{
    ids::{BuildId, RunId},
    kaniko::LogReader,
    redact::Redactor,
};
use tempfile::TempDir;

use super::{LogHub, Pipeline, follow, replay};
use crate::{
    executor::RawCursor,
    store::{
        DataDir,
        logs::{LogOptions, LogStore},
    },
};

const SECRET: &str = "s3cr3t-value";
const NOW_MS: i64 = 1_748_390_400_000;

struct Fixture {
    store: Arc<LogStore>,
    _data: DataDir,
    _directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let store = Arc::new(LogStore::open(&data, LogOptions::default()).unwrap());
        Self {
            store,
            _data: data,
            _directory: directory,
        }
    }

    async fn resume(&self, hub: &Arc<LogHub>, run: RunId, bytes_max: u64) -> (Pipeline, usize) {
        let (pipeline, from) = self.resume_at(hub, run, bytes_max).await;
        (pipeline, usize::try_from(from.behind()).unwrap())
    }

    async fn resume_at(&self, hub: &Arc<LogHub>, run: RunId, bytes_max: u64) -> (Pipeline, RawCursor) {
        let redactor = Redactor::new([SECRET]);
        let reader = LogReader::new(Vec::new());
        Pipeline::resume(
            Arc::clone(&self.store),
            Arc::clone(hub),
            run,
            redactor,
            reader,
            bytes_max,
        )
        .await
        .unwrap()
    }

    async fn stored(&self, build: BuildId) -> Vec<u8> {
        let chunks: Vec<_> = replay(Arc::clone(&self.store), build, 0)
            .try_collect()
            .await
            .unwrap();
        chunks.into_iter().flat_map(|chunk| chunk.data.to_vec()).collect()
    }
}

fn run(attempt: u32) -> RunId {
    RunId {
        build: BuildId::new(1_748_390_400_000, 7),
        platform: 0,
        attempt,
    }
}

fn raw_log(lines: usize) -> Vec<u8> {
    let line = |n: usize| match n % 5 {
        0 => format!("line {n}: the password is {SECRET}{SECRET} and so on\n"),
        1 => format!("line {n}: almost s3cr3t-valu\n"),
        _ => format!("line {n}: {}\n", "x".repeat(n % 97)),
    };
    (0..lines).flat_map(|n| line(n).into_bytes()).collect()
}

fn redacted(raw: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(raw.to_vec()).unwrap();
    text.replace(SECRET, "***").into_bytes()
}

#[tokio::test]
async fn a_log_cut_off_anywhere_goes_on_without_loss_doubling_or_leak() {
    let fixture = Fixture::new();
    let raw = raw_log(400);
    let hub = Arc::new(LogHub::new(0));
    // Chunks of odd sizes, and a crash after every third: whatever was not committed is forgotten.
    let mut chunk_bytes = 1;
    let mut at = 0;
    'crashes: loop {
        let (mut pipeline, from) = fixture.resume(&hub, run(1), u64::MAX).await;
        assert!(from <= at, "the cursor is never ahead of what was read");
        at = from;
        for _ in 0..3 {
            if at == raw.len() {
                pipeline.finish(NOW_MS).await.unwrap();
                break 'crashes;
            }
            let end = (at + chunk_bytes).min(raw.len());
            pipeline
                .push(&raw[at..end], RawCursor::START.plus(end as u64), NOW_MS)
                .await
                .unwrap();
            at = end;
            chunk_bytes = (chunk_bytes * 7 + 3) % 1999 + 1;
        }
    }
    assert_eq!(fixture.stored(run(1).build).await, redacted(&raw));
}

#[tokio::test]
async fn every_follower_gets_the_whole_log_whenever_it_comes() {
    let fixture = Fixture::new();
    let raw = raw_log(3000);
    let hub = Arc::new(LogHub::new(0));
    let (mut pipeline, _) = fixture.resume(&hub, run(1), u64::MAX).await;
    let mut followers = Vec::new();
    for (n, chunk) in raw.chunks(5000).enumerate() {
        let log = follow(Arc::clone(&fixture.store), Arc::clone(&hub), run(1).build, 0);
        followers.push(tokio::spawn(log.try_collect::<Vec<_>>()));
        let end = (n * 5000 + chunk.len()) as u64;
        pipeline
            .push(chunk, RawCursor::START.plus(end), NOW_MS)
            .await
            .unwrap();
    }
    pipeline.finish(NOW_MS).await.unwrap();
    hub.close();
    let expected = redacted(&raw);
    for follower in followers {
        let chunks = follower.await.unwrap().unwrap();
        let mut offset = 0;
        for chunk in &chunks {
            assert_eq!(chunk.offset, offset);
            assert!(chunk.data.len() <= 4096);
            offset += chunk.data.len() as u64;
        }
        let bytes: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.data.to_vec()).collect();
        assert!(bytes == expected, "a follower missed something");
    }
}

#[tokio::test]
async fn a_log_past_its_limit_keeps_head_and_tail_and_says_what_is_gone() {
    const LIMIT: u64 = 200_000;
    let fixture = Fixture::new();
    let raw = raw_log(20_000);
    let expected = redacted(&raw);
    assert!(expected.len() as u64 > 3 * LIMIT);
    let hub = Arc::new(LogHub::new(0));
    let (mut pipeline, _) = fixture.resume(&hub, run(1), LIMIT).await;
    let mut end = 0;
    for chunk in raw.chunks(9000) {
        end += chunk.len() as u64;
        pipeline
            .push(chunk, RawCursor::START.plus(end), NOW_MS)
            .await
            .unwrap();
    }
    pipeline.finish(NOW_MS).await.unwrap();

    let chunks: Vec<_> = replay(Arc::clone(&fixture.store), run(1).build, 0)
        .try_collect()
        .await
        .unwrap();
    let notice = chunks
        .iter()
        .position(|chunk| chunk.data.starts_with(b"\n[ignite]"))
        .expect("a notice");
    let kept: usize = chunks.iter().map(|chunk| chunk.data.len()).sum();
    assert!(kept as u64 <= LIMIT + 4096 && kept as u64 > LIMIT / 2, "{kept}");
    for (n, chunk) in chunks.iter().enumerate() {
        if n != notice {
            let at = usize::try_from(chunk.offset).unwrap();
            assert!(
                expected[at..].starts_with(&chunk.data),
                "chunk {n} is not the log's at its offset"
            );
        }
    }
    let last = chunks.last().unwrap();
    assert_eq!(last.offset + last.data.len() as u64, expected.len() as u64);
    // Resuming behind the notice goes on with the tail, as resuming behind any chunk does.
    let behind = chunks[notice].offset + chunks[notice].data.len() as u64;
    assert_eq!(behind, chunks[notice + 1].offset);
}

/// As an executor whose cursors are no byte offsets: a place for each line's start.
#[tokio::test]
async fn cursors_that_are_no_offsets_lead_back_to_the_byte() {
    let fixture = Fixture::new();
    let raw = raw_log(300);
    let hub = Arc::new(LogHub::new(0));
    let mut starts = vec![0];
    starts.extend(
        raw.iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .map(|(at, _)| at + 1),
    );
    // Places are far apart and say nothing of bytes.
    let cursor = |end: usize| {
        let line = starts.partition_point(|start| *start <= end) - 1;
        RawCursor::at((line as u128) << 70).plus((end - starts[line]) as u64)
    };
    let offset = |cursor: RawCursor| {
        let line = usize::try_from(cursor.place() >> 70).unwrap();
        starts[line] + usize::try_from(cursor.behind()).unwrap()
    };
    let mut chunk_bytes = 1;
    let mut at = 0;
    'crashes: loop {
        let (mut pipeline, from) = fixture.resume_at(&hub, run(1), u64::MAX).await;
        assert!(offset(from) <= at, "the cursor is never ahead of what was read");
        at = offset(from);
        for _ in 0..3 {
            if at == raw.len() {
                pipeline.finish(NOW_MS).await.unwrap();
                break 'crashes;
            }
            let end = (at + chunk_bytes).min(raw.len());
            pipeline.push(&raw[at..end], cursor(end), NOW_MS).await.unwrap();
            at = end;
            chunk_bytes = (chunk_bytes * 7 + 3) % 999 + 1;
        }
    }
    assert_eq!(fixture.stored(run(1).build).await, redacted(&raw));
}

#[tokio::test]
async fn a_gap_is_said_once_on_a_line_of_its_own() {
    let fixture = Fixture::new();
    let hub = Arc::new(LogHub::new(0));
    let behind = RawCursor::at(5);
    let (mut first, _) = fixture.resume_at(&hub, run(1), u64::MAX).await;
    // What may become a secret is held back, and let go where it can no longer.
    first
        .push(b"one\ns3cr3t", RawCursor::START.plus(10), NOW_MS)
        .await
        .unwrap();
    first
        .gap("lost part of the log here", behind, NOW_MS)
        .await
        .unwrap();
    let (mut again, from) = fixture.resume_at(&hub, run(1), u64::MAX).await;
    assert_eq!(from, behind);
    again
        .push(b"-value two\n", RawCursor::at(6), NOW_MS)
        .await
        .unwrap();
    again.finish(NOW_MS).await.unwrap();
    assert_eq!(
        String::from_utf8(fixture.stored(run(1).build).await).unwrap(),
        "one\ns3cr3t\n[ignite] lost part of the log here\n-value two\n"
    );
    let (_, from) = fixture.resume_at(&hub, run(1), u64::MAX).await;
    assert_eq!(from, RawCursor::at(6));
}

#[tokio::test]
async fn a_second_attempt_writes_behind_the_first() {
    let fixture = Fixture::new();
    let hub = Arc::new(LogHub::new(0));
    let (mut first, _) = fixture.resume(&hub, run(1), u64::MAX).await;
    first
        .push(b"one\n", RawCursor::START.plus(4), NOW_MS)
        .await
        .unwrap();
    first.finish(NOW_MS).await.unwrap();
    first.last_note("attempt 1 failed", NOW_MS).await.unwrap();
    // Cut off before the record of its end, the attempt comes to its end again.
    let (mut again, from) = fixture.resume(&hub, run(1), u64::MAX).await;
    assert_eq!(from, 4);
    again.finish(NOW_MS).await.unwrap();
    again.last_note("attempt 1 failed", NOW_MS).await.unwrap();
    let (mut second, from) = fixture.resume(&hub, run(2), u64::MAX).await;
    assert_eq!(from, 0);
    second
        .push(b"two\n", RawCursor::START.plus(4), NOW_MS)
        .await
        .unwrap();
    second.finish(NOW_MS).await.unwrap();
    assert_eq!(
        fixture.stored(run(1).build).await,
        b"one\n[ignite] attempt 1 failed\ntwo\n"
    );
}
