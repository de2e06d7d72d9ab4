//! Many followers of one live build each get the whole log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use ignite_proto::v1;
use ignite_tests::{
    caller::{BUILD_DEADLINE, inline},
    context::Context,
    gateway::Gateway,
    raw_logs::RawLogs,
    registry::Registry,
    wait::eventually,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const FOLLOWERS: usize = 500;
/// Streams on one connection are limited by both sides.
const FOLLOWERS_PER_CONNECTION: usize = 50;
/// Every so many followers one reads slowly, so that it falls behind what is kept in memory.
const SLOW_ONE_IN: usize = 50;

/// Writes some, waits at the gate until everybody follows, then writes more than is kept in memory.
fn dockerfile(gate: &TcpListener) -> String {
    format!(
        "FROM {}\nRUN echo begin; seq 1 2000; wget -q -O - http://{}/; \
         for i in $(seq 1 20); do seq $((i * 100000)) $((i * 100000 + 9999)); sleep 0.1; done; echo end\n",
        Registry::shared().busybox(),
        gate.local_addr().unwrap(),
    )
}

async fn open(gate: &TcpListener) {
    let (mut visitor, _) = gate.accept().await.unwrap();
    let _request = visitor.read(&mut [0; 1024]).await.unwrap();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    visitor.write_all(answer).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_followers_each_get_every_byte() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let gate = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let raw_logs = RawLogs::keep(&gateway);
    let request = v1::CreateBuildRequest {
        no_cache: true,
        ..inline("followed", &Context::new(&dockerfile(&gate)))
    };
    let id = caller.create(request).await;
    caller.wait_logged(&id, "begin").await;

    let connections: Vec<_> = (0..FOLLOWERS / FOLLOWERS_PER_CONNECTION)
        .map(|_| caller.reconnected())
        .collect();
    let following = Arc::new(AtomicUsize::new(0));
    let followers = (0..FOLLOWERS).map(|n| {
        let (caller, id, following) = (
            connections[n % connections.len()].clone(),
            id.clone(),
            Arc::clone(&following),
        );
        tokio::spawn(async move {
            let mut chunks = caller.follow(&id, true, 0).await;
            let mut log = Vec::new();
            while let Some(chunk) = chunks.message().await.unwrap() {
                if log.is_empty() {
                    following.fetch_add(1, Ordering::Relaxed);
                }
                assert_eq!(chunk.offset, log.len() as u64, "a gap or an overlap");
                log.extend_from_slice(&chunk.data);
                if n.is_multiple_of(SLOW_ONE_IN) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            log
        })
    });
    let followers: Vec<_> = followers.collect();
    eventually("all to follow", BUILD_DEADLINE, async || {
        (following.load(Ordering::Relaxed) == FOLLOWERS).then_some(())
    })
    .await;
    assert_eq!(
        caller.get(&id).await.status(),
        v1::BuildStatus::Running,
        "it was not live for all of them"
    );
    open(&gate).await;
    let logs = join_all(followers).await;

    let build = caller.wait_terminal(&id).await;
    assert_eq!(build.status(), v1::BuildStatus::Succeeded, "{build:#?}");
    let written = raw_logs.of_only_run(&id);
    assert!(
        written.len() > 1 << 20,
        "too little was written: {}",
        written.len()
    );
    assert_eq!(build.log_bytes, written.len() as u64);
    for (n, log) in logs.into_iter().enumerate() {
        assert!(
            log.unwrap() == written,
            "follower {n} got another log than Kaniko wrote"
        );
    }
    assert!(caller.log(&id).await.as_bytes() == written);
}
