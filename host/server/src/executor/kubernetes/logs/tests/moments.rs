//! Moments that random histories meet too rarely.

use std::time::Duration;

use futures::StreamExt as _;
use tokio::{sync::watch, time::Instant};

use super::{
    super::{Item, Options, Place, SourceError, Standing, follow, stamp::NANOS_IN_SECOND},
    kubelet::Kubelet,
};
use crate::executor::RawCursor;

const SECOND: u64 = NANOS_IN_SECOND;
const RUNNING: Standing = Standing::Running { started_ms: None };
const OVER: Standing = Standing::Over { started_ms: None };

fn text(items: &[Item]) -> String {
    let text = items.iter().map(|item| match item {
        Item::Output { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
        Item::Gap {
            after_ms, before_ms, ..
        } => format!("[{after_ms:?} {before_ms:?}]"),
    });
    text.collect()
}

async fn all(kubelet: &Kubelet, standing: Standing, from: RawCursor) -> Vec<Item> {
    let (_sender, standing) = watch::channel(standing);
    follow(kubelet.clone(), standing, from, Options::default())
        .collect()
        .await
}

fn last(items: &[Item]) -> RawCursor {
    match items.last() {
        Some(Item::Output { end, .. } | Item::Gap { end, .. }) => *end,
        None => RawCursor::START,
    }
}

fn gone() -> SourceError {
    SourceError::Refused {
        code: 404,
        message: "pods \"a\" not found".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_leaves_a_gap_once() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.write(5 * SECOND, b"one\n");
    let (sender, standing) = watch::channel(RUNNING);
    let mut items = follow(kubelet.clone(), standing, RawCursor::START, Options::default());
    let mut seen = vec![items.next().await.unwrap(), items.next().await.unwrap()];
    assert_eq!(text(&seen), "one\n");
    for _ in 0..1000 {
        kubelet.refuse(gone());
    }
    kubelet.end();
    sender.send_replace(OVER);
    let began = Instant::now();
    while let Some(item) = items.next().await {
        seen.push(item);
    }
    assert_eq!(text(&seen), "one\n[Some(5000) None]");
    assert!(began.elapsed() >= Options::default().patience);
    assert_eq!(text(&all(&kubelet, OVER, last(&seen)).await), "");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_is_waited_for() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.write(5 * SECOND, b"one\n");
    kubelet.end();
    for _ in 0..200 {
        kubelet.refuse(SourceError::Unreachable("connection refused".to_owned()));
    }
    assert_eq!(text(&all(&kubelet, OVER, RawCursor::START).await), "one\n");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_never_runs_has_no_log() {
    let kubelet = Kubelet::new(1, 0);
    let (sender, standing) = watch::channel(Standing::Waiting);
    let items = follow(kubelet.clone(), standing, RawCursor::START, Options::default());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1000)).await;
        sender.send_replace(Standing::Never);
    });
    assert_eq!(text(&items.collect::<Vec<_>>().await), "");
    assert!(kubelet.state.lock().unwrap().questions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_rotated_before_anybody_came_says_so() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.write(5 * SECOND, b"one\n");
    kubelet.rotate();
    kubelet.write(90 * SECOND, b"two\n");
    kubelet.end();
    let over = Standing::Over {
        started_ms: Some(4900),
    };
    assert_eq!(
        text(&all(&kubelet, over, RawCursor::START).await),
        "[None Some(90000)]two\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_an_end_of_file_that_is_still_there_shows_no_gap() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.write(5 * SECOND, b"one\n");
    kubelet.write(5 * SECOND, b"two\n");
    kubelet.end();
    let seen = all(&kubelet, OVER, RawCursor::START).await;
    assert_eq!(text(&seen), "one\ntwo\n");
    assert_eq!(Place::of(last(&seen)).lines, 2);
    kubelet.write(6 * SECOND, b"three, and no newline");
    let seen = all(&kubelet, OVER, last(&seen)).await;
    assert_eq!(text(&seen), "three, and no newline");
    assert_eq!(text(&all(&kubelet, OVER, last(&seen)).await), "");
    kubelet.rotate();
    kubelet.write(7 * SECOND, b"may have been taken: as long as what was\n");
    kubelet.write(8 * SECOND, b"four\n");
    let seen = all(&kubelet, OVER, last(&seen)).await;
    assert_eq!(text(&seen), "[Some(6000) Some(8000)]four\n");
    // Rotated once more, with nothing behind it.
    kubelet.rotate();
    assert_eq!(text(&all(&kubelet, OVER, last(&seen)).await), "[Some(8000) None]");
}

#[tokio::test(start_paused = true)]
async fn who_is_slow_gets_many_lines_at_once() {
    let kubelet = Kubelet::new(1, 0);
    for n in 0..5000_u64 {
        kubelet.write(5 * SECOND + n, b"a line\n");
    }
    kubelet.end();
    let (_sender, standing) = watch::channel(OVER);
    let mut items = follow(kubelet, standing, RawCursor::START, Options::default());
    let mut seen = Vec::new();
    while let Some(item) = items.next().await {
        seen.push(item);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(text(&seen).len(), 5000 * "a line\n".len());
    assert!(seen.len() < 10, "{} items", seen.len());
}

/// However late the cluster tells of the end.
#[tokio::test(start_paused = true)]
async fn a_container_that_ends_costs_one_question_more() {
    for late in [Duration::ZERO, Duration::from_secs(2)] {
        let kubelet = Kubelet::new(1, 0);
        kubelet.write(5 * SECOND, b"one\n");
        let (sender, standing) = watch::channel(RUNNING);
        let items = follow(kubelet.clone(), standing, RawCursor::START, Options::default());
        let writer = kubelet.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            writer.write(6 * SECOND, b"two\n");
            writer.end();
            tokio::time::sleep(late).await;
            sender.send_replace(OVER);
        });
        assert_eq!(text(&items.collect::<Vec<_>>().await), "one\ntwo\n");
        let follows: Vec<bool> = kubelet
            .state
            .lock()
            .unwrap()
            .questions
            .iter()
            .map(|it| it.follow)
            .collect();
        assert_eq!(follows, [true, false], "{late:?}");
    }
}

/// A quiet log costs few questions, and none of them is for all of it but where a clock may have been set back.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_hides_nothing() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.write(5000 * SECOND, b"one\n");
    let (sender, standing) = watch::channel(RUNNING);
    let mut items = follow(
        kubelet.clone(),
        standing.clone(),
        RawCursor::START,
        Options::default(),
    );
    let mut seen = vec![items.next().await.unwrap(), items.next().await.unwrap()];
    drop(items);
    kubelet.write(100 * SECOND, b"two\n");
    let mut items = follow(kubelet.clone(), standing, last(&seen), Options::default());
    seen.push(items.next().await.unwrap());
    kubelet.write(101 * SECOND, b"three\n");
    seen.push(items.next().await.unwrap());
    assert_eq!(text(&seen), "one\ntwo\nthree\n");
    assert!(seen.windows(2).all(|pair| last(&pair[..1]) <= last(pair)));
    drop(sender);
}
