//! Moments that random histories meet too rarely.

use std::time::Duration;

use futures::{StreamExt as _, stream::BoxStream};
use tokio::{sync::watch, time::Instant};

use super::{
    super::{Item, Options, SourceError, Standing, follow},
    kubelet::{Kubelet, NANOS_IN_SECOND as SECOND},
};
use crate::executor::RawCursor;

const OVER: Standing = Standing::Over { was_killed: true };

fn text(items: &[Item]) -> String {
    let text = items.iter().map(|item| match item {
        Item::Output { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
        Item::Gap {
            bytes,
            after_ms,
            before_ms,
            ..
        } => format!("[{bytes:?} {after_ms:?} {before_ms:?}]"),
        Item::Fetched(result) => format!("{result:?}"),
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
        Some(Item::Fetched(_)) | None => RawCursor::START,
    }
}

fn gone() -> SourceError {
    SourceError::Refused {
        code: 404,
        message: "pods \"a\" not found".to_owned(),
    }
}

fn running(kubelet: &Kubelet, from: RawCursor) -> (watch::Sender<Standing>, BoxStream<'static, Item>) {
    let (sender, standing) = watch::channel(Standing::Running);
    let items = follow(kubelet.clone(), standing, from, Options::default());
    (sender, items)
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_leaves_a_gap_once() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.print(5 * SECOND, "one", true);
    let (sender, mut items) = running(&kubelet, RawCursor::START);
    let mut seen = vec![items.next().await.unwrap()];
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
    assert_eq!(text(&seen), "one\n[None Some(5000) None]");
    assert!(began.elapsed() >= Options::default().patience);
    assert_eq!(text(&all(&kubelet, OVER, last(&seen)).await), "");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_is_waited_for() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.print(5 * SECOND, "one", true);
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
async fn what_was_rotated_before_anybody_came_is_told_to_the_byte() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.print(5 * SECOND, "one", true);
    kubelet.rotate();
    kubelet.print(90 * SECOND, "two", true);
    kubelet.end();
    let seen = all(&kubelet, OVER, RawCursor::START).await;
    assert_eq!(text(&seen), "[Some(4) None Some(90000)]two\n");
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_at_the_very_end_is_told() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.print(5 * SECOND, "one", true);
    let (_sender, mut items) = running(&kubelet, RawCursor::START);
    let seen = vec![items.next().await.unwrap()];
    drop(items);
    kubelet.print(6 * SECOND, "two", true);
    kubelet.rotate();
    kubelet.print_end(7 * SECOND);
    kubelet.end();
    let seen = all(&kubelet, OVER, last(&seen)).await;
    assert_eq!(text(&seen), "[Some(4) Some(5000) Some(7000)]");
    assert_eq!(text(&all(&kubelet, OVER, last(&seen)).await), "");
}

#[tokio::test(start_paused = true)]
async fn who_is_slow_gets_many_lines_at_once() {
    let kubelet = Kubelet::new(1, 0);
    for n in 0..5000_u64 {
        kubelet.print(5 * SECOND + n, "a line", true);
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

/// One question is enough, and the container's last line ends it: the stream itself may go on.
#[tokio::test(start_paused = true)]
async fn a_log_costs_one_question() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.print(5 * SECOND, "one", true);
    let (_sender, mut items) = running(&kubelet, RawCursor::START);
    let mut seen = vec![items.next().await.unwrap()];
    kubelet.print(6 * SECOND, "two", false);
    seen.push(items.next().await.unwrap());
    kubelet.print_end(6 * SECOND);
    assert_eq!(items.next().await, None);
    assert_eq!(text(&seen), "one\ntwo");
    assert_eq!(kubelet.state.lock().unwrap().questions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_fetch_steps_result_is_its_last_word() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.print(5 * SECOND, "cloning", true);
    let json = "{\"resolved_commit\":null,\"context_size_bytes\":7,\"dockerfile\":null}";
    kubelet.write(5 * SECOND, format!("R8 {json}\n").as_bytes());
    let (_sender, items) = running(&kubelet, RawCursor::START);
    let seen: Vec<_> = items.collect().await;
    assert!(
        matches!(&seen[..], [Item::Output { .. }, Item::Fetched(Ok(report))] if report.context_size_bytes == 7)
    );
    // Once more to whoever begins behind it.
    let (_sender, items) = running(&kubelet, last(&seen[..1]));
    let again: Vec<_> = items.collect().await;
    assert_eq!(again, seen[1..]);
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_container_had_begun_to_print_comes() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.print(5 * SECOND, "one", true);
    kubelet.write(6 * SECOND, b".4 tw");
    kubelet.end();
    let seen = all(&kubelet, OVER, RawCursor::START).await;
    assert_eq!(text(&seen), "one\ntw");
    assert_eq!(text(&all(&kubelet, OVER, last(&seen)).await), "");
}

/// As when it ends while its runtime is away.
#[tokio::test(start_paused = true)]
async fn a_container_that_ended_by_itself_and_has_no_last_line_has_lost_some() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.print(5 * SECOND, "one", true);
    kubelet.end();
    let ended = Standing::Over { was_killed: false };
    let seen = all(&kubelet, ended, RawCursor::START).await;
    assert_eq!(text(&seen), "one\n[None Some(5000) None]");
    kubelet.print_end(6 * SECOND);
    assert_eq!(text(&all(&kubelet, ended, last(&seen[..1])).await), "");
}

#[tokio::test(start_paused = true)]
async fn a_line_of_the_runtimes_own_is_passed_over() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.print(5 * SECOND, "one", true);
    kubelet.write(5 * SECOND, b"exec failed: no such file\n");
    kubelet.print(5 * SECOND, "two", true);
    kubelet.print_end(5 * SECOND);
    kubelet.end();
    let seen = all(&kubelet, OVER, RawCursor::START).await;
    assert_eq!(text(&seen), "one\ntwo\n");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_hides_nothing() {
    let kubelet = Kubelet::new(1, 0);
    kubelet.print(5000 * SECOND, "one", true);
    let (_sender, mut items) = running(&kubelet, RawCursor::START);
    let mut seen = vec![items.next().await.unwrap()];
    drop(items);
    kubelet.print(100 * SECOND, "two", true);
    let (_sender, mut items) = running(&kubelet, last(&seen));
    seen.push(items.next().await.unwrap());
    kubelet.print(101 * SECOND, "three", true);
    seen.push(items.next().await.unwrap());
    assert_eq!(text(&seen), "one\ntwo\nthree\n");
    assert!(seen.windows(2).all(|pair| last(&pair[..1]) <= last(pair)));
}
