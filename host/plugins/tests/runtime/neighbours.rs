//! What one organization's plugins do to another's calls: as little as two cores allow.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ignite_plugins::{CallError, Plugin};

use crate::common::{PUPPET, Scene, VALIDATOR, caller, settings, spec};

const CALLS: usize = 2_000;
/// A shared machine has hiccups of its own, which a call of 50 microseconds feels.
const SLACK: Duration = Duration::from_micros(500);
/// What else the machine does may fall into the one half of a round: a neighbour would be felt in all.
const ROUNDS: usize = 3;

/// The 99th percentile.
async fn p99(plugin: &Plugin) -> Duration {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        plugin
            .validate(&settings("{}"), &caller("globex"), &spec())
            .await
            .unwrap();
        times.push(began.elapsed());
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    times.sort();
    times[CALLS * 99 / 100]
}

async fn hostile(plugin: Arc<Plugin>) {
    let mut settings = settings(r#"{"validate": "loop"}"#);
    settings.limits.timeout = Duration::from_millis(500);
    loop {
        let ended = plugin.validate(&settings, &caller("acme"), &spec()).await;
        assert!(
            matches!(ended, Err(CallError::Timeout(_) | CallError::Busy)),
            "{ended:?}"
        );
    }
}

/// Alone, and beside calls that all turn to their deadline.
async fn alone_and_beside(quick: &Plugin, puppet: &Arc<Plugin>) -> (Duration, Duration) {
    let alone = p99(quick).await;
    let tasks: Vec<_> = (0..32)
        .map(|_| tokio::spawn(hostile(Arc::clone(puppet))))
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let beside = p99(quick).await;
    for task in tasks {
        task.abort();
        assert!(
            task.await.unwrap_err().is_cancelled(),
            "a hostile call ended as it should not"
        );
    }
    println!("p99 alone {alone:?}, beside {beside:?}");
    (alone, beside)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_that_always_turns_to_its_deadline_slows_nobody_much() {
    let scene = Scene::new();
    let quick = scene.plugin(VALIDATOR).await;
    let puppet = scene.plugin(PUPPET).await;
    p99(&quick).await;
    for _ in 0..ROUNDS {
        let (alone, beside) = alone_and_beside(&quick, &puppet).await;
        if beside < alone * 2 + SLACK {
            return;
        }
    }
    panic!("slowed in each of {ROUNDS} rounds");
}
