//! Random histories: what comes out is the log, each byte once, or says that something is missing; and that only where a
//! file was rotated away.

use std::time::Duration;

use futures::StreamExt as _;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    super::{Item, Options, Place, Standing, follow, stamp::NANOS_IN_SECOND},
    kubelet::{ENTRY_BYTES, Kubelet},
};
use crate::executor::RawCursor;

/// The kubelet looks for logs to rotate each 10 s: no log is rotated the moment its container starts.
const ROTATED_AFTER_MS: u64 = 10_000;

#[derive(Debug, Clone, Copy)]
struct Manner {
    seed: u64,
    steps: usize,
    rotates: bool,
    sets_back: bool,
    /// The gateway starts again after so many items; 0 for never.
    restarts: usize,
    /// See [`Kubelet::cuts`].
    cuts: u32,
    ends_line: bool,
}

fn manners() -> impl Strategy<Value = Manner> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (
        any::<u64>(),
        1..120_usize,
        flags,
        0..8_usize,
        prop_oneof![Just(0), 2..30_u32],
    )
        .prop_map(
            |(seed, steps, (rotates, sets_back, ends_line), restarts, cuts)| Manner {
                seed,
                steps,
                rotates,
                sets_back,
                restarts,
                cuts,
                ends_line,
            },
        )
}

/// A line that is like no other, even in its parts.
fn line(random: &mut StdRng, n: usize) -> Vec<u8> {
    let len = match random.random_range(0..40) {
        0 => random.random_range(60_000..300_000),
        1..4 => random.random_range(ENTRY_BYTES - 2..3 * ENTRY_BYTES),
        4..8 => 0,
        _ => random.random_range(1..100),
    };
    let mut text = format!("<{n}>").into_bytes();
    while text.len() < len {
        text.extend(format!("{n}.{} ", text.len()).into_bytes());
    }
    // What a build prints may look like a line of the API.
    if len % 7 == 3 {
        text.splice(0..0, b"2031-01-01T00:00:00.000000000Z ".iter().copied());
    }
    text.push(b'\n');
    text
}

async fn write(kubelet: Kubelet, manner: Manner, standing: watch::Sender<Standing>) {
    let mut random = StdRng::seed_from_u64(manner.seed);
    let mut stamp = 1_700_000_000 * NANOS_IN_SECOND + random.random_range(0..NANOS_IN_SECOND);
    let started_ms = i64::try_from(stamp / 1_000_000).ok();
    sleep(Duration::from_millis(random.random_range(0..50))).await;
    standing.send_replace(Standing::Running { started_ms });
    let began = Instant::now();
    for n in 0..manner.steps {
        let pause = match random.random_range(0..30) {
            0 => random.random_range(0..200_000),
            1..5 => random.random_range(0..3000),
            5..15 => random.random_range(0..5),
            _ if manner.rotates && n == manner.steps / 4 => ROTATED_AFTER_MS,
            _ => 0,
        };
        if pause > 0 {
            sleep(Duration::from_millis(pause)).await;
        }
        stamp += pause * 1_000_000;
        stamp += match random.random_range(0..3) {
            0 => 0,
            _ => random.random_range(1..100_000),
        };
        if manner.sets_back && random.random_range(0..25) == 0 {
            stamp -= random.random_range(1..500) * NANOS_IN_SECOND;
        }
        let may_rotate = manner.rotates && began.elapsed() >= Duration::from_millis(ROTATED_AFTER_MS);
        if may_rotate && random.random_range(0..12) == 0 {
            kubelet.rotate();
            // It takes its time.
            stamp += 1_000_000;
        }
        let mut text = line(&mut random, n);
        if n + 1 == manner.steps && !manner.ends_line {
            text.pop();
        }
        kubelet.write(stamp, &text);
        // The parts of a long line take their time.
        stamp += (text.len() / ENTRY_BYTES) as u64;
    }
    kubelet.end();
    sleep(Duration::from_millis(random.random_range(0..2000))).await;
    standing.send_replace(Standing::Over { started_ms });
    // As long as the pod is watched.
    standing.closed().await;
}

/// Follows to the end, through restarts from whatever position was heard of.
async fn read(
    kubelet: &Kubelet,
    manner: Manner,
    standing: &watch::Receiver<Standing>,
) -> Result<usize, TestCaseError> {
    let mut random = StdRng::seed_from_u64(manner.seed ^ 1);
    let mut gaps = 0;
    let mut told_without_need = 0;
    // How much of the log came, and where that is; none behind a gap until something comes.
    let mut at = Some(0);
    let mut passed = 0;
    let mut from = RawCursor::START;
    'restarts: loop {
        let mut items = follow(kubelet.clone(), standing.clone(), from, Options::default());
        let mut left = match manner.restarts {
            0 => usize::MAX,
            most => random.random_range(1..=most),
        };
        while let Some(item) = items.next().await {
            match item {
                Item::Gap { after_ms, end, .. } => {
                    prop_assert!(end >= from, "cursors rise");
                    from = end;
                    gaps += 1;
                    // A first line that comes late, and was missed once, may not be the first.
                    told_without_need += usize::from(after_ms.is_none() && manner.cuts > 0);
                    let place = Place::of(end);
                    let lines = &kubelet.state.lock().unwrap().lines;
                    let mut same = lines.iter().filter(|(stamp, _)| *stamp == place.stamp);
                    at = same.nth(usize::try_from(place.lines).unwrap()).map(|(_, at)| *at);
                    prop_assert_eq!(at.is_none(), place == Place::end_of(0), "it goes on at a line");
                    prop_assert!(at.is_none_or(|at| at >= passed), "nothing comes twice");
                }
                Item::Output { bytes, end } => {
                    prop_assert!(
                        end >= from,
                        "cursors rise: {:?} {:?}",
                        Place::of(from),
                        Place::of(end)
                    );
                    let log = &kubelet.state.lock().unwrap().log;
                    if let Some(start) = at {
                        let come = start + bytes.len();
                        let expected = log.get(start..come);
                        prop_assert!(expected == Some(&bytes[..]), "{:?} is not at {}", bytes, start);
                        passed = passed.max(come);
                        // The log's pipeline may have stored a part of it.
                        if left == 1 && random.random_range(0..2) == 0 {
                            let part = random.random_range(0..=bytes.len());
                            (at, passed) = (Some(start + part), start + part);
                            if part < bytes.len() {
                                from = from.plus(part as u64);
                                continue 'restarts;
                            }
                        } else {
                            at = Some(come);
                        }
                    }
                    from = end;
                }
            }
            left = left.saturating_sub(1);
            if left == 0 {
                if random.random_range(0..10) == 0 {
                    sleep(Duration::from_secs(random.random_range(0..600))).await;
                }
                continue 'restarts;
            }
        }
        break;
    }
    let state = kubelet.state.lock().unwrap();
    let whole = at == Some(state.log.len());
    prop_assert!(whole || gaps > 0, "{:?} of {} came", at, state.log.len());
    Ok(gaps - told_without_need)
}

fn plays(manner: Manner) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let kubelet = Kubelet::new(manner.seed, manner.cuts);
        let (standing, watched) = watch::channel(Standing::Waiting);
        let writer = tokio::spawn(write(kubelet.clone(), manner, standing));
        let read = read(&kubelet, manner, &watched);
        let gaps = tokio::time::timeout(Duration::from_secs(100_000), read).await;
        writer.abort();
        let gaps = gaps.map_err(|_| TestCaseError::fail("it does not end"))??;
        let rotations = kubelet.state.lock().unwrap().rotations;
        prop_assert!(
            rotations > 0 || gaps == 0,
            "{} gaps, and nothing was rotated",
            gaps
        );
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_byte_comes_once_or_its_loss_is_told(manner in manners()) {
        plays(manner)?;
    }
}
