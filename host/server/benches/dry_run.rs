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

use std::{
    env,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, Router, routing::post};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use ignite_proto::v1;
use ignite_server::{
    api::{self, auth::Authenticator, listener, tokens},
    app::App,
    config::{Config, Sources},
    executor::scripted::Scripted,
    principal::{Principal, Scope},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

const CLIENTS: usize = 32;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
const RATIO_MIN: f64 = 0.6;
const REQUEST_BYTES: usize = 3 << 10;
const POLICY: &str = "[[plugin]]\nname = 'trivial'\nversion = '0.1.0'\n";

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let met = runtime.block_on(async { tokio::spawn(run()).await.unwrap() });
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let log = File::create(directory.path().join("log")).unwrap();
    tracing_subscriber::fmt()
        .with_target(false)
        .with_ansi(false)
        .with_writer(Arc::new(log))
        .init();
    let (gateway, token) = start_gateway(directory.path()).await;
    let echo = start_echo().await;
    let body = request();
    let dry_run = message("/v1/ignite/policy:dryRun", &token, &body);
    let echoed = message("/", &token, &body);

    let answer = Client::connect(gateway).await.call(&dry_run).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["decision"], "POLICY_DECISION_ALLOW", "{answer}");
    assert_eq!(answer["hookReports"].as_array().unwrap().len(), 1, "{answer}");

    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let plain = rate(echo, &echoed).await;
        let judged = rate(gateway, &dry_run).await;
        let ratio = judged.per_second / plain.per_second;
        ratios.push(ratio);
        eprintln!("DryRunPolicy {judged}   axum echo {plain}   ratio {ratio:.2}");
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    let met = median >= RATIO_MIN;
    println!(
        "DryRunPolicy / axum JSON echo: ratio {median:.2} ({:.2} to {:.2}; median of {ROUNDS}; at least {RATIO_MIN:.2} wanted: {})",
        ratios[0],
        ratios[ratios.len() - 1],
        if met { "met" } else { "MISSED" }
    );
    met
}

struct Rate {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0}/s (p50 {:.1?}, p99 {:.1?})",
            self.per_second, self.p50, self.p99
        )
    }
}

async fn rate(address: SocketAddr, message: &Bytes) -> Rate {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::connect(address).await);
    }
    let start = Instant::now();
    let clients: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let message = message.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < ROUND {
                    let begun = Instant::now();
                    client.call(&message).await;
                    times.push(begun.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await.unwrap());
    }
    let elapsed = start.elapsed();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Rate {
        per_second: times.len() as f64 / elapsed.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
    }
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

async fn start_gateway(directory: &Path) -> (SocketAddr, String) {
    let flag = |name: &str, value: String| (name.to_owned(), value);
    let sources = Sources {
        flags: [
            flag("data_dir", directory.join("data").display().to_string()),
            flag("listen", "127.0.0.1:0".to_owned()),
        ]
        .into(),
        ..Sources::default()
    };
    let mut config = Config::load(sources).unwrap();
    config.plugins.program = PathBuf::from(env!("CARGO_BIN_EXE_ignited"));
    let app = App::open(&config, Arc::new(Scripted::default())).await.unwrap();
    put_policy(&app).await;
    let file = directory.join("tokens.toml");
    let new = tokens::NewToken {
        org: "acme".parse().unwrap(),
        subject: "bench".to_owned(),
        scopes: [Scope::PoliciesRead].into(),
        expires: None,
    };
    let token = tokens::create(&new, &file).unwrap();
    let authenticator = Arc::new(Authenticator::load(&file).unwrap());
    let closing = CancellationToken::new();
    let router = api::router(&app.service, &authenticator, &closing);
    let socket = listener::bind(config.listen).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        // It holds the data directory.
        let _app = app;
        listener::serve(socket, router, None, closing, Duration::from_secs(1)).await
    });
    (address, token)
}

async fn put_policy(app: &App) {
    let caller = Principal {
        org: "acme".parse().unwrap(),
        subject: "bench".to_owned(),
        scopes: Scope::ALL.into(),
    };
    let metadata = v1::UploadPluginMetadata {
        name: "trivial".to_owned(),
        version: "0.1.0".to_owned(),
    };
    let component = stream::iter([Ok(component())]).boxed();
    app.service
        .upload_plugin(&caller, metadata, component)
        .await
        .unwrap();
    let put = v1::PutPolicyRequest {
        text: POLICY.to_owned(),
        ..v1::PutPolicyRequest::default()
    };
    app.service.put_policy(&caller, put).await.unwrap();
}

fn component() -> Bytes {
    let folder = env::var_os("IGNITE_TEST_PLUGINS")
        .map(PathBuf::from)
        .expect("IGNITE_TEST_PLUGINS must be the folder of built plugins: run `make bench`");
    ["", "hostile"]
        .iter()
        .find_map(|below| fs::read(folder.join(below).join("trivial.wasm")).ok())
        .expect("trivial.wasm must be there")
        .into()
}
