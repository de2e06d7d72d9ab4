//! What does a call cost? 64 clients on one connection each, over loopback, asking servers in their own process:
//!
//! - CreateBuild, durable, against 64 tasks that hand the same rows straight to the store;
//! - GetBuild, against a tonic server with nothing but its health service: the least that tonic can answer.
//!
//! The gateway is the real one, its log written to a file as the daemon's would be. Both sides of each ratio run one after
//! the other, several rounds; the median round counts. In the end: what a page of a list costs once all those builds are there.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a benchmark that cannot run should stop"
)]

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::future::join_all;
use ignite_core::{
    build::Build,
    ids::BuildId,
    request::{self, Submission, SubmittedSource},
    spec::BuildSpec,
};
use ignite_proto::v1::{
    BuildStatus, GetBuildRequest, ListBuildsRequest, build_service_client::BuildServiceClient,
};
use tonic::{Request, metadata::AsciiMetadataValue, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

mod common;
use common::{Gateway, ROUNDS, bearer, connect_all, create, rate, verdict};

const CLIENTS: usize = 64;
/// About what the sealed specification of such a build takes.
const SEALED_BYTES: usize = 300;

const CREATE_RATIO_MIN: f64 = 0.4;
const GET_RATIO_MIN: f64 = 0.6;
const LISTED_BUILDS: u64 = 100_000;
const LISTS: u32 = 500;

fn main() -> ExitCode {
    common::main(run)
}

async fn run() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let (gateway, tokens) = Gateway::start(directory.path(), &["acme"]).await;
    let rows = Rows::new(&gateway);
    let token = bearer(&tokens[0]);
    let channels = connect_all(gateway.address, CLIENTS).await;
    let hello_channels = connect_all(start_hello().await, CLIENTS).await;

    let id = create(channels[0].clone(), token.clone()).await;
    let mut create_ratios = Vec::new();
    let mut get_ratios = Vec::new();
    for _ in 0..ROUNDS {
        let bare = rate(CLIENTS, |_| {
            let rows = rows.clone();
            move || {
                let rows = rows.clone();
                async move {
                    rows.commit().await;
                }
            }
        })
        .await;
        let creates = rate(CLIENTS, |client| {
            let (channel, token) = (channels[client].clone(), token.clone());
            move || {
                let call = create(channel.clone(), token.clone());
                async move {
                    call.await;
                }
            }
        })
        .await;
        let ratio = creates.per_second / bare.per_second;
        create_ratios.push(ratio);
        eprintln!("CreateBuild {creates}   bare committer {bare}   ratio {ratio:.2}");

        let hello = rate(CLIENTS, |client| {
            let channel = hello_channels[client].clone();
            move || greet(channel.clone())
        })
        .await;
        let gets = rate(CLIENTS, |client| {
            let (channel, token, id) = (channels[client].clone(), token.clone(), id.clone());
            move || get(channel.clone(), token.clone(), id.clone())
        })
        .await;
        let ratio = gets.per_second / hello.per_second;
        get_ratios.push(ratio);
        eprintln!("GetBuild {gets}   hello {hello}   ratio {ratio:.2}");
    }
    let at_least =
        |name, ratios, min: f64| verdict(name, ratios, &format!("at least {min:.2}"), |ratio| ratio >= min);
    let create_met = at_least("CreateBuild / bare committer", create_ratios, CREATE_RATIO_MIN);
    let get_met = at_least("GetBuild / tonic hello", get_ratios, GET_RATIO_MIN);
    list(&rows, channels[0].clone(), token).await;
    create_met && get_met
}

/// What a page costs among many builds, alone on the machine: the newest, one from the middle, and one of a status that no build has.
async fn list(rows: &Rows, channel: Channel, token: AsciiMetadataValue) {
    let mut middle = None;
    let missing = LISTED_BUILDS.saturating_sub(rows.created.load(Ordering::Relaxed));
    for _ in 0..missing.div_ceil(CLIENTS as u64) {
        let ids = join_all((0..CLIENTS).map(|_| rows.commit())).await;
        middle.get_or_insert(ids[0]);
    }
    let cases = [
        ("the newest", ListBuildsRequest::default()),
        (
            "from the middle",
            ListBuildsRequest {
                cursor: middle.map_or_else(String::new, |id| id.to_string()),
                ..Default::default()
            },
        ),
        (
            "of no build's status",
            ListBuildsRequest {
                status_filter: BuildStatus::Failed.into(),
                ..Default::default()
            },
        ),
    ];
    for (what, message) in cases {
        let start = Instant::now();
        for _ in 0..LISTS {
            let mut request = Request::new(message.clone());
            request.metadata_mut().insert("authorization", token.clone());
            BuildServiceClient::new(channel.clone())
                .list_builds(request)
                .await
                .unwrap();
        }
        let builds = rows.created.load(Ordering::Relaxed);
        println!(
            "ListBuilds, {what}: {:.2?} for a page of 20 among {builds} builds",
            start.elapsed() / LISTS
        );
    }
}

/// A server with tonic's own health service and nothing else.
async fn start_hello() -> SocketAddr {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("", tonic_health::ServingStatus::Serving)
        .await;
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(socket).with_nodelay(Some(true));
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    address
}

async fn greet(channel: Channel) {
    HealthClient::new(channel)
        .check(HealthCheckRequest {
            service: String::new(),
        })
        .await
        .unwrap();
}

async fn get(channel: Channel, token: AsciiMetadataValue, build_id: String) {
    let mut request = Request::new(GetBuildRequest { build_id });
    request.metadata_mut().insert("authorization", token);
    BuildServiceClient::new(channel).get_build(request).await.unwrap();
}

/// What CreateBuild writes, straight to the store.
#[derive(Clone)]
struct Rows {
    gateway: Gateway,
    spec: Arc<BuildSpec>,
    /// By hand; those of calls come on top.
    created: Arc<AtomicU64>,
}

impl Rows {
    fn new(gateway: &Gateway) -> Self {
        Self {
            gateway: gateway.clone(),
            spec: Arc::new(spec()),
            created: Arc::default(),
        }
    }

    async fn commit(&self) -> BuildId {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let id = BuildId::new(now_ms as u64, rand::random());
        let build = Arc::new(Build::new(
            id,
            common::org("acme"),
            "bench".to_owned(),
            &self.spec,
        ));
        let store = &self.gateway.app.store;
        store
            .create_build(build, vec![7; SEALED_BYTES], None)
            .await
            .unwrap();
        self.created.fetch_add(1, Ordering::Relaxed);
        id
    }
}

/// What comes of [`create`]'s request.
fn spec() -> BuildSpec {
    let submission = Submission {
        name: "app".to_owned(),
        build_args: [("MODE".to_owned(), "production".to_owned())].into(),
        source: Some(SubmittedSource::Git {
            url: "https://git.example/acme/app.git".to_owned(),
            reference: String::new(),
            context_dir: String::new(),
        }),
        ..Submission::default()
    };
    let rules = request::Rules {
        timeout_default: Duration::from_secs(60),
        timeout_max: Duration::from_secs(60),
        registry: "127.0.0.1:5000".to_owned(),
        git_http_allowed: false,
        private_addresses_allowed: false,
        resource_classes: Vec::new(),
    };
    request::check(submission, &rules).unwrap()
}
