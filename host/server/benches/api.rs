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
    missing_debug_implementations,
    reason = "a benchmark that cannot run should stop"
)]

use std::{
    fs::File,
    future::Future,
    net::SocketAddr,
    path::Path,
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
    ids::{BuildId, OrgId},
    request::{self, Submission, SubmittedSource},
    spec::BuildSpec,
};
use ignite_proto::v1::{
    BuildStatus, CreateBuildRequest, GetBuildRequest, GitSource, ListBuildsRequest,
    build_service_client::BuildServiceClient, create_build_request::Source,
};
use ignite_server::{
    api::{self, auth::Authenticator, listener, tokens},
    app::App,
    config::{Config, Sources},
    executor::scripted::Scripted,
    principal::Scope,
};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, metadata::AsciiMetadataValue, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const CLIENTS: usize = 64;
/// About what the sealed specification of such a build takes.
const SEALED_BYTES: usize = 300;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);

const CREATE_RATIO_MIN: f64 = 0.4;
const GET_RATIO_MIN: f64 = 0.6;
const LISTED_BUILDS: u64 = 100_000;
const LISTS: u32 = 500;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    // On a worker: the thread that blocks here is no part of the pool.
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
    let gateway = Gateway::start(directory.path()).await;
    let token: AsciiMetadataValue = format!("Bearer {}", gateway.token).parse().unwrap();
    let channels = connect_all(gateway.address).await;
    let hello_channels = connect_all(start_hello().await).await;

    let id = create(channels[0].clone(), token.clone()).await;
    let mut create_ratios = Vec::new();
    let mut get_ratios = Vec::new();
    for _ in 0..ROUNDS {
        let bare = rate(|_| {
            let gateway = gateway.clone();
            move || {
                let gateway = gateway.clone();
                async move {
                    gateway.commit_rows_of_a_build().await;
                }
            }
        })
        .await;
        let creates = rate(|client| {
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

        let hello = rate(|client| {
            let channel = hello_channels[client].clone();
            move || greet(channel.clone())
        })
        .await;
        let gets = rate(|client| {
            let (channel, token, id) = (channels[client].clone(), token.clone(), id.clone());
            move || get(channel.clone(), token.clone(), id.clone())
        })
        .await;
        let ratio = gets.per_second / hello.per_second;
        get_ratios.push(ratio);
        eprintln!("GetBuild {gets}   hello {hello}   ratio {ratio:.2}");
    }
    let create_met = verdict("CreateBuild / bare committer", create_ratios, CREATE_RATIO_MIN);
    let get_met = verdict("GetBuild / tonic hello", get_ratios, GET_RATIO_MIN);
    list(&gateway, channels[0].clone(), token).await;
    create_met && get_met
}

fn verdict(name: &str, mut ratios: Vec<f64>, ratio_min: f64) -> bool {
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    let met = median >= ratio_min;
    println!(
        "{name}: ratio {median:.2} ({:.2} to {:.2}; median of {ROUNDS}; at least {ratio_min:.2} wanted: {})",
        ratios[0],
        ratios[ratios.len() - 1],
        if met { "met" } else { "MISSED" }
    );
    met
}

/// What a page costs among many builds, alone on the machine: the newest, one from the middle, and one of a status that no build has.
async fn list(gateway: &Gateway, channel: Channel, token: AsciiMetadataValue) {
    let mut middle = None;
    let missing = LISTED_BUILDS.saturating_sub(gateway.created.load(Ordering::Relaxed));
    for _ in 0..missing.div_ceil(CLIENTS as u64) {
        let ids = join_all((0..CLIENTS).map(|_| gateway.commit_rows_of_a_build())).await;
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
        let builds = gateway.created.load(Ordering::Relaxed);
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

async fn connect_all(address: SocketAddr) -> Vec<Channel> {
    join_all((0..CLIENTS).map(|_| connect(address))).await
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

async fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

async fn create(channel: Channel, token: AsciiMetadataValue) -> String {
    let source = GitSource {
        url: "https://git.example/acme/app.git".to_owned(),
        ..GitSource::default()
    };
    let mut request = Request::new(CreateBuildRequest {
        name: "app".to_owned(),
        build_args: [("MODE".to_owned(), "production".to_owned())].into(),
        source: Some(Source::GitSource(source)),
        ..CreateBuildRequest::default()
    });
    request.metadata_mut().insert("authorization", token);
    BuildServiceClient::new(channel)
        .create_build(request)
        .await
        .unwrap()
        .into_inner()
        .build_id
}

struct Rate {
    per_second: f64,
    /// Of the whole process, clients included: less shaken by what else the machine does than the rate.
    cpu: Duration,
    p50: Duration,
    p99: Duration,
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0}/s (p50 {:.1?}, p99 {:.1?}, {:.1?} of CPU each)",
            self.per_second, self.p50, self.p99, self.cpu
        )
    }
}

/// How often all clients together do what `client` makes of their number, each in a task of its own, one call after the other.
async fn rate<C, F>(client: impl Fn(usize) -> C) -> Rate
where
    C: Fn() -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let (start, cpu_before) = (Instant::now(), cpu_time());
    let clients = (0..CLIENTS).map(|number| {
        let call = client(number);
        tokio::spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < ROUND {
                let begun = Instant::now();
                call().await;
                times.push(begun.elapsed());
            }
            times
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await.unwrap());
    }
    let (elapsed, cpu) = (start.elapsed(), cpu_time() - cpu_before);
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Rate {
        per_second: times.len() as f64 / elapsed.as_secs_f64(),
        cpu: cpu / u32::try_from(times.len()).unwrap(),
        p50: at(0.5),
        p99: at(0.99),
    }
}

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()]
        .map(|time| Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap()))
        .iter()
        .sum()
}

/// The real service behind the real listener; its builds wait for ever, so that only calls are measured.
#[derive(Clone)]
struct Gateway {
    address: SocketAddr,
    token: String,
    app: Arc<App>,
    spec: Arc<BuildSpec>,
    /// By hand; those of calls come on top.
    created: Arc<AtomicU64>,
}

impl Gateway {
    async fn start(directory: &Path) -> Self {
        let flag = |name: &str, value: String| (name.to_owned(), value);
        let sources = Sources {
            flags: [
                flag("data_dir", directory.join("data").display().to_string()),
                flag("listen", "127.0.0.1:0".to_owned()),
                flag("queue_per_org_max", usize::MAX.to_string()),
            ]
            .into(),
            ..Sources::default()
        };
        let mut config = Config::load(sources).unwrap();
        config.queue.running_max = 0;
        let app = App::open(&config, Arc::new(Scripted::default())).await.unwrap();
        app.driver.start().await.unwrap();
        let file = directory.join("tokens.toml");
        let new = tokens::NewToken {
            org: org(),
            subject: "bench".to_owned(),
            scopes: Scope::ALL.into(),
            expires: None,
        };
        let token = tokens::create(&new, &file).unwrap();
        let authenticator = Arc::new(Authenticator::load(&file).unwrap());
        let closing = CancellationToken::new();
        let router = api::router(&app.service, &authenticator, &closing);
        let socket = listener::bind(config.listen).await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(listener::serve(
            socket,
            router,
            None,
            closing,
            Duration::from_secs(1),
        ));
        Self {
            address,
            token,
            app: Arc::new(app),
            spec: Arc::new(spec()),
            created: Arc::default(),
        }
    }

    /// What CreateBuild writes, straight to the store.
    async fn commit_rows_of_a_build(&self) -> BuildId {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let id = BuildId::new(now_ms as u64, rand::random());
        let build = Arc::new(Build::new(id, org(), "bench".to_owned(), &self.spec));
        self.app
            .store
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
    };
    request::check(submission, &rules).unwrap()
}

fn org() -> OrgId {
    "acme".parse().unwrap()
}
