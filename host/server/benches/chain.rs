//! What do plugins cost a caller? CreateBuild of 64 clients, durable: an organization whose policy has a chain of three Rust
//! plugins, two that rewrite and one that validates, against one without a policy. Both are asked in turn, several rounds; the
//! median round counts.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run should stop"
)]

use std::process::ExitCode;

mod common;
use common::{Gateway, ROUNDS, bearer, connect_all, create, rate, verdict};

const CLIENTS: usize = 64;
const LATENCY_RATIO_MAX: f64 = 1.25;
const CHAIN: [(&str, &str); 3] = [
    (
        "build-args",
        "[plugin.config.defaults]\nGOPROXY = 'https://proxy.example'",
    ),
    ("tag-rules", "[[plugin.config.rules]]\ntags = ['{branch}-build']"),
    ("required-labels", "[plugin.config]\nname = '[a-z]+'"),
];

fn main() -> ExitCode {
    common::main(run)
}

async fn run() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let (gateway, tokens) = Gateway::start(directory.path(), &["acme", "plain"]).await;
    gateway.put_policy("acme", &CHAIN).await;
    let channels = connect_all(gateway.address, CLIENTS).await;
    let creates = |token: &str| {
        let (channels, token) = (channels.clone(), bearer(token));
        async move {
            rate(CLIENTS, |client| {
                let (channel, token) = (channels[client].clone(), token.clone());
                move || {
                    let call = create(channel.clone(), token.clone());
                    async move {
                        call.await;
                    }
                }
            })
            .await
        }
    };
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let plain = creates(&tokens[1]).await;
        let judged = creates(&tokens[0]).await;
        let ratio = judged.p50.as_secs_f64() / plain.p50.as_secs_f64();
        ratios.push(ratio);
        eprintln!("CreateBuild with three plugins {judged}   without {plain}   latency ratio {ratio:.2}");
    }
    let wanted = format!("at most {LATENCY_RATIO_MAX:.2}");
    verdict("CreateBuild, three plugins / none", ratios, &wanted, |ratio| {
        ratio <= LATENCY_RATIO_MAX
    })
}
