use bytes::Bytes;
use ignite_core::ids::RunId;
use proptest::prelude::*;

use super::*;
use crate::{executor::RawCursor, store::codec};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const NOON_MS: u64 = 1_763_812_800_000;

fn open(dir: &tempfile::TempDir) -> LogStore {
    let data = DataDir::open(dir.path()).unwrap();
    let options = LogOptions {
        cache_bytes: 4 << 20,
        days_open_max: 2,
    };
    LogStore::open(&data, options).unwrap()
}

fn build(day: u64, random: u128) -> BuildId {
    BuildId::new(NOON_MS + day * DAY_MS, random)
}

fn head(build: BuildId, end_offset: u64) -> LogHead {
    LogHead {
        run: RunId {
            build,
            platform: 0,
            attempt: 1,
        },
        raw_cursor: RawCursor::START.plus(end_offset),
        run_start_offset: 0,
        end_offset,
        gap: None,
        lost: false,
        closed: false,
    }
}

fn frame(offset: u64, data: &[u8]) -> Frame {
    Frame {
        offset,
        timestamp_ms: i64::try_from(offset).unwrap() + 7,
        data: Bytes::copy_from_slice(data),
    }
}

/// Bytes that tell their offset.
fn text(range: Range<u64>) -> Vec<u8> {
    range
        .map(|offset| u8::try_from(offset * 31 % 251).unwrap())
        .collect()
}

fn concat(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.data.to_vec()).collect()
}

async fn append(store: &LogStore, build: BuildId, from: u64, sizes: &[u64]) -> u64 {
    let mut end = from;
    let frames = sizes
        .iter()
        .map(|size| {
            end += size;
            frame(end - size, &text(end - size..end))
        })
        .collect();
    store.append(build, frames, head(build, end), None).await.unwrap();
    end
}

#[test]
fn a_day_is_that_of_the_builds_creation_in_utc() {
    assert_eq!(LogDay::of(build(0, 1)).to_string(), "2025-11-22");
    assert_eq!(LogDay::of_time(1_763_769_599_999).to_string(), "2025-11-21");
    assert_eq!("2025-11-22".parse(), Ok(LogDay::of(build(0, 1))));
    assert!("dropped-2025-11-22".parse::<LogDay>().is_err());
    assert!(LogDay::of(BuildId::new((1 << 48) - 1, 0)) > LogDay::of(build(0, 0)));
}

#[tokio::test]
async fn logs_of_several_builds_and_days_stay_apart_and_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let builds: Vec<_> = (0..5)
        .flat_map(|day| (0..3).map(move |i| build(day, i)))
        .collect();
    {
        let store = open(&dir);
        for (i, build) in (0..).zip(&builds) {
            let end = append(&store, *build, 0, &[10 + i, 4096]).await;
            append(&store, *build, end, &[1]).await;
        }
        assert!(store.lock_days().len() <= 2, "idle days stay open");
        store.health().unwrap();
        store.shutdown().await;
    }
    let store = open(&dir);
    for (i, build) in (0..).zip(&builds) {
        let read = store.read(*build, 0, usize::MAX).await.unwrap().unwrap();
        assert_eq!(concat(&read.frames), text(0..10 + i + 4096 + 1));
        assert_eq!(Some(read.head), store.head(*build).await.unwrap());
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_made_by_looking() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    assert_eq!(store.head(build(0, 1)).await.unwrap(), None);
    assert_eq!(store.read(build(0, 1), 0, 1).await.unwrap(), None);
    assert!(store.lock_days().is_empty());
    assert!(day::days_in(&store.logs).unwrap().is_empty());
    append(&store, build(0, 1), 0, &[5]).await;
    assert_eq!(store.read(build(0, 2), 0, 1).await.unwrap(), None);
    assert!(store.head(build(0, 1)).await.unwrap().is_some());
}

#[tokio::test]
async fn frames_that_do_not_fit_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let id = build(0, 1);
    let large = vec![0; FRAME_BYTES_MAX + 1];
    let cases = [
        (vec![frame(0, b"")], 0),
        (vec![frame(0, &large)], large.len() as u64),
        (vec![frame(0, b"abc"), frame(4, b"d")], 5),
        (vec![frame(0, b"abc")], 4),
    ];
    for (frames, end) in cases {
        let error = store.append(id, frames, head(id, end), None).await.unwrap_err();
        assert!(matches!(error, LogError::NotContiguous(_)));
    }
    assert_eq!(store.head(id).await.unwrap(), None);
}

#[tokio::test]
async fn dropped_days_are_gone_and_the_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for day in 0..4 {
        append(&store, build(day, 1), 0, &[100]).await;
    }
    assert_eq!(store.drop_days_before(LogDay::of(build(2, 0))).await.unwrap(), 2);
    assert_eq!(store.drop_days_before(LogDay::of(build(2, 0))).await.unwrap(), 0);
    for day in 0..4 {
        let read = store.read(build(day, 1), 0, 1).await.unwrap();
        assert_eq!(read.is_some(), day >= 2);
    }
    assert_eq!(fs::read_dir(&store.logs).unwrap().count(), 2);
}

#[tokio::test]
async fn a_day_dropped_halfway_goes_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    append(&store, build(0, 1), 0, &[100]).await;
    let left = store.logs.join(format!("{DROPPED_PREFIX}2025-11-20"));
    fs::create_dir(&left).unwrap();
    fs::write(left.join("db"), "x").unwrap();
    store.shutdown().await;
    drop(store);
    let store = open(&dir);
    assert!(!left.exists());
    assert!(store.head(build(0, 1)).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_no_hole_while_a_gap_grows() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir));
    let id = build(0, 1);
    append(&store, id, 0, &[100; 10]).await;
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for i in 10..300_u64 {
                let (start, end) = (i * 100, (i + 1) * 100);
                let gap = 200..start - 300;
                let mut head = head(id, end);
                head.gap = Some(gap.clone());
                store
                    .append(id, vec![frame(start, &text(start..end))], head, Some(gap))
                    .await
                    .unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let read = store.read(id, 50, usize::MAX).await.unwrap().unwrap();
        let mut next = 50;
        for frame in &read.frames {
            if frame.offset != next {
                assert_eq!(Some(next..frame.offset), read.head.gap);
            }
            assert_eq!(frame.data, text(frame.offset..frame.end()));
            next = frame.end();
        }
    }
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_builds_append_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir));
    let tasks: Vec<_> = (0..16)
        .map(|i| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut end = 0;
                for _ in 0..16 {
                    end = append(&store, build(0, i), end, &[4096; 4]).await;
                }
                end
            })
        })
        .collect();
    let mut written = 0;
    for task in tasks {
        written += task.await.unwrap();
    }
    for i in 0..16 {
        let read = store.read(build(0, i), 0, usize::MAX).await.unwrap().unwrap();
        assert_eq!(concat(&read.frames), text(0..written / 16));
    }
    let day = store.day(build(0, 0), false).await.unwrap().unwrap();
    let db = &day.log.get().unwrap().db;
    println!(
        "{written} bytes of log are {} on disk",
        db.size_on_disk_bytes().unwrap()
    );
    assert_eq!(fs::read_dir(db.path().join("blobs")).unwrap().count(), 0);
}

#[derive(Debug, Clone)]
enum Action {
    Append(Vec<u64>),
    /// Widens the gap to these shares of the log, in percent.
    Drop(u64, u64),
    Read(u64, usize),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        3 => prop::collection::vec(1..=4096_u64, 0..5).prop_map(Action::Append),
        1 => (0..100_u64, 0..=100_u64).prop_map(|(a, b)| Action::Drop(a, b)),
        4 => (0..=110_u64, 1..20_000_usize).prop_map(|(from, bytes)| Action::Read(from, bytes)),
    ];
    prop::collection::vec(action, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn reading_anywhere_gives_what_was_written_there(actions in actions()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let id = build(0, 5);
        let mut now = head(id, 0);
        runtime.block_on(async {
            // Neighbours in key order, which must never be seen.
            append(&store, build(0, 4), 0, &[50]).await;
            append(&store, build(0, 6), 0, &[50]).await;
            store.append(id, Vec::new(), now.clone(), None).await.unwrap();
            for action in actions {
                match action {
                    Action::Append(sizes) => {
                        let mut frames = Vec::new();
                        for size in sizes {
                            let end = now.end_offset + size;
                            frames.push(frame(now.end_offset, &text(now.end_offset..end)));
                            now.end_offset = end;
                        }
                        store.append(id, frames, now.clone(), None).await.unwrap();
                    }
                    Action::Drop(a, b) => {
                        let (a, b) = (now.end_offset * a / 100, now.end_offset * b / 100);
                        let old = now.gap.clone().unwrap_or(a..b);
                        let gap = a.min(b).min(old.start)..a.max(b).max(old.end);
                        now.gap = Some(gap.clone());
                        store.append(id, Vec::new(), now.clone(), Some(gap)).await.unwrap();
                    }
                    Action::Read(from, bytes_max) => {
                        let from = now.end_offset * from / 100;
                        let read = store.read(id, from, bytes_max).await.unwrap().unwrap();
                        prop_assert_eq!(&read.head, &now);
                        let gap = now.gap.clone().unwrap_or(0..0);
                        let expected: Vec<u8> = (from..now.end_offset)
                            .filter(|offset| !gap.contains(offset))
                            .flat_map(|offset| text(offset..offset + 1))
                            .collect();
                        let found = concat(&read.frames);
                        prop_assert!(expected.starts_with(&found));
                        let full = found.len() == expected.len();
                        prop_assert!(full || found.len() + FRAME_BYTES_MAX > bytes_max);
                        prop_assert!(found.len() <= bytes_max || read.frames.len() == 1);
                        for frame in &read.frames {
                            prop_assert_eq!(&frame.data, &text(frame.offset..frame.end()));
                        }
                    }
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_head_of_before_opens_with_its_byte_offset() {
    #[derive(serde::Serialize)]
    struct Before {
        run: RunId,
        raw_cursor: u64,
        run_start_offset: u64,
        end_offset: u64,
        gap: Option<Range<u64>>,
        closed: bool,
    }
    let new = head(build(0, 1), 77);
    let before = Before {
        run: new.run,
        raw_cursor: 77,
        run_start_offset: new.run_start_offset,
        end_offset: new.end_offset,
        gap: None,
        closed: false,
    };
    let bytes = codec::encode_record(codec::FORMAT_1, &before).unwrap();
    assert_eq!(
        codec::decode_record::<LogHead>(codec::FORMAT_1, &bytes).unwrap(),
        new
    );
}
