//! What does judging a build cost? DryRunPolicy over HTTP with one trivial validator, a request of about 3 KB, 32 clients on one
//! connection each; against an axum handler that reads the same JSON and answers with it, in the same process and run.
//!
//! The gateway is the real one behind its real listener, with its log written to a file; the plugin is a real component
//! (`trivial.wasm` in the folder `IGNITE_TEST_PLUGINS`, or its subfolder `hostile`), called afresh for each request. The clients
//! speak the least of HTTP that does, so that they hide nothing. Both sides run one after the other, several rounds; the median
//! round counts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_debug_implementations,
    reason = "a benchmark that cannot run should stop"
)]

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use axum::{Json, Router, routing::post};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
};

mod common;
use common::{Gateway, ROUNDS, Rate, verdict};

const CLIENTS: usize = 32;
const RATIO_MIN: f64 = 0.6;
const REQUEST_BYTES: usize = 3 << 10;

fn main() -> ExitCode {
    common::main(run)
}

async fn run() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let (gateway, tokens) = Gateway::start(directory.path(), &["acme"]).await;
    gateway.put_policy("acme", &[("trivial", "")]).await;
    let echo = start_echo().await;
    let body = request();
    let dry_run = message("/v1/ignite/policy:dryRun", &tokens[0], &body);
    let echoed = message("/", &tokens[0], &body);

    let answer = Client::connect(gateway.address).await.call(&dry_run).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["decision"], "POLICY_DECISION_ALLOW", "{answer}");
    assert_eq!(answer["hookReports"].as_array().unwrap().len(), 1, "{answer}");

    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let plain = rate(echo, &echoed).await;
        let judged = rate(gateway.address, &dry_run).await;
        let ratio = judged.per_second / plain.per_second;
        ratios.push(ratio);
        eprintln!("DryRunPolicy {judged}   axum echo {plain}   ratio {ratio:.2}");
    }
    let wanted = format!("at least {RATIO_MIN:.2}");
    verdict("DryRunPolicy / axum JSON echo", ratios, &wanted, |ratio| {
        ratio >= RATIO_MIN
    })
}

/// Each client has a connection of its own.
async fn rate(address: SocketAddr, message: &Bytes) -> Rate {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Arc::new(Mutex::new(Client::connect(address).await)));
    }
    common::rate(CLIENTS, |number| {
        let (client, message) = (Arc::clone(&clients[number]), message.clone());
        move || {
            let (client, message) = (Arc::clone(&client), message.clone());
            async move {
                client.lock().await.call(&message).await;
            }
        }
    })
    .await
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::with_capacity(16 << 10),
        }
    }

    /// Sends a whole request and reads the body of its answer, which must be 200.
    async fn call(&mut self, message: &[u8]) -> Vec<u8> {
        self.stream.write_all(message).await.unwrap();
        self.buffer.clear();
        loop {
            assert!(
                self.stream.read_buf(&mut self.buffer).await.unwrap() > 0,
                "closed"
            );
            let Some(head) = self.buffer.windows(4).position(|end| end == b"\r\n\r\n") else {
                continue;
            };
            let text = std::str::from_utf8(&self.buffer[..head]).unwrap();
            assert!(
                text.starts_with("HTTP/1.1 200"),
                "{}",
                String::from_utf8_lossy(&self.buffer)
            );
            let length: usize = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                .unwrap();
            let body = head + 4;
            while self.buffer.len() < body + length {
                assert!(
                    self.stream.read_buf(&mut self.buffer).await.unwrap() > 0,
                    "closed"
                );
            }
            return self.buffer[body..body + length].to_vec();
        }
    }
}

fn message(path: &str, token: &str, body: &str) -> Bytes {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into()
}

/// As a pipeline would send it, with labels up to the size.
fn request() -> String {
    let mut labels = serde_json::Map::new();
    let body = |labels: &serde_json::Map<String, Value>| {
        json!({"request": {
            "name": "team/app",
            "tags": ["latest", "1.4.2"],
            "gitSource": {"url": "https://git.example/acme/app.git", "reference": "main"},
            "buildArgs": {"MODE": "production", "VERSION": "1.4.2"},
            "labels": labels,
        }})
        .to_string()
    };
    while body(&labels).len() < REQUEST_BYTES {
        let number = labels.len();
        labels.insert(format!("org.example.label-{number:02}"), json!("x".repeat(60)));
    }
    body(&labels)
}

async fn start_echo() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", post(async |Json(body): Json<Value>| Json(body)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}
