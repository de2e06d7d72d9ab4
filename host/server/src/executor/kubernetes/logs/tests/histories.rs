//! Random histories: what comes out is what was printed, each byte once, or says how much is missing; and that only where a file was
//! rotated away.

use std::time::Duration;

use futures::StreamExt as _;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng as _, rngs::StdRng};
use tokio::{sync::watch, time::sleep};

use super::{
    super::{Item, Options, Place, Standing, follow},
    kubelet::{Kubelet, NANOS_IN_SECOND},
};
use crate::executor::RawCursor;

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
    /// Its container is killed before it has printed its last line.
    is_killed: bool,
}

fn manners() -> impl Strategy<Value = Manner> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let cuts = prop_oneof![Just(0), 2..30_u32];
    (any::<u64>(), 1..120_usize, flags, 0..8_usize, cuts).prop_map(
        |(seed, steps, (rotates, sets_back, is_killed), restarts, cuts)| Manner {
            seed,
            steps,
            rotates,
            sets_back,
            restarts,
            cuts,
            is_killed,
        },
    )
}

/// Text like no other, even in its parts.
fn text(random: &mut StdRng, n: usize) -> String {
    let len = match random.random_range(0..40) {
        0 => random.random_range(60_000..300_000),
        1..4 => random.random_range(10_000..50_000),
        4..8 => 0,
        _ => random.random_range(1..100),
    };
    let mut text = format!("<{n}>");
    while text.len() < len {
        text += &format!("{n}.{} ", text.len());
    }
    // What a build prints may look like a line of the API, and like one of ours.
    match len % 7 {
        3 => format!("2031-01-01T00:00:00.000000000Z .7 {text}"),
        4 => format!(".7 {text}"),
        _ => text,
    }
}

async fn write(kubelet: Kubelet, manner: Manner, standing: watch::Sender<Standing>) {
    let mut random = StdRng::seed_from_u64(manner.seed);
    let mut stamp = 1_700_000_000 * NANOS_IN_SECOND + random.random_range(0..NANOS_IN_SECOND);
    sleep(Duration::from_millis(random.random_range(0..50))).await;
    standing.send_replace(Standing::Running);
    for n in 0..manner.steps {
        let pause = match random.random_range(0..30) {
            0 => random.random_range(0..200_000),
            1..5 => random.random_range(0..3000),
            5..15 => random.random_range(0..5),
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
        if manner.rotates && random.random_range(0..12) == 0 {
            kubelet.rotate();
        }
        let text = text(&mut random, n);
        kubelet.print(stamp, &text, random.random_range(0..4) > 0);
    }
    if !manner.is_killed {
        kubelet.print_end(stamp);
    }
    kubelet.end();
    sleep(Duration::from_millis(random.random_range(0..2000))).await;
    standing.send_replace(Standing::Over {
        was_killed: manner.is_killed,
    });
    // As long as the pod is watched.
    standing.closed().await;
}

/// Follows to the end, through restarts from whatever position was heard of; how many gaps there were.
async fn read(
    kubelet: &Kubelet,
    manner: Manner,
    standing: &watch::Receiver<Standing>,
) -> Result<usize, TestCaseError> {
    let mut random = StdRng::seed_from_u64(manner.seed ^ 1);
    let mut gaps = 0;
    let mut from = RawCursor::START;
    'restarts: loop {
        let mut items = follow(kubelet.clone(), standing.clone(), from, Options::default());
        let mut left = match manner.restarts {
            0 => usize::MAX,
            most => random.random_range(1..=most),
        };
        while let Some(item) = items.next().await {
            let (before, end) = match &item {
                Item::Output { end, .. } | Item::Gap { end, .. } => (Place::of(from), *end),
                Item::Fetched(_) => panic!("it is no fetch step"),
            };
            prop_assert!(end > from, "cursors rise");
            match item {
                Item::Gap { bytes, .. } => {
                    gaps += 1;
                    let missing = bytes.map(|bytes| before.bytes + bytes);
                    prop_assert!(missing.is_none_or(|at| at == Place::of(end).bytes));
                    prop_assert_eq!(missing.is_none(), Place::of(end).is_end());
                }
                Item::Output { bytes, .. } => {
                    let log = &kubelet.state.lock().unwrap().log;
                    let start = usize::try_from(before.bytes).unwrap();
                    let expected = log.get(start..start + bytes.len());
                    prop_assert!(expected == Some(&bytes[..]), "{:?} is not at {}", bytes, start);
                    // The log's pipeline may have stored a part of it.
                    if left == 1 && random.random_range(0..2) == 0 {
                        from = from.plus(random.random_range(0..=bytes.len() as u64));
                        continue 'restarts;
                    }
                    prop_assert_eq!(Place::of(end).bytes, before.bytes + bytes.len() as u64);
                }
                Item::Fetched(_) => {}
            }
            from = end;
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
    let end = Place::of(from);
    // Of a container that was killed, nobody knows what its last words were.
    let may_miss = manner.is_killed && state.rotations > 0;
    let is_whole = end.is_end() || end.bytes == state.log.len() as u64;
    prop_assert!(is_whole || may_miss, "{:?} of {} came", end, state.log.len());
    Ok(gaps)
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
