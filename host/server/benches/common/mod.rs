//! What the benchmarks of calls share: the real service behind the real listener in this process, and clients that call it
//! one call after the other.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_debug_implementations,
    reason = "a benchmark that cannot run should stop, and each uses a part of this"
)]

use std::{
    env,
    fs::{self, File},
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt as _, future::join_all, stream};
use ignite_core::ids::OrgId;
use ignite_proto::v1::{
    self, CreateBuildRequest, GitSource, build_service_client::BuildServiceClient,
    create_build_request::Source,
};
use ignite_server::{
    api::{self, auth::Authenticator, listener, tokens},
    app::App,
    config::{Config, Sources},
    executor::scripted::Scripted,
    principal::{Principal, Scope},
};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, metadata::AsciiMetadataValue, transport::Channel};

pub const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);

/// Runs a benchmark that says whether its targets were met.
pub fn main<F>(bench: impl FnOnce() -> F) -> ExitCode
where
    F: Future<Output = bool> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let bench = bench();
    // On a worker: the thread that blocks here is no part of the pool.
    let met = runtime.block_on(async { tokio::spawn(bench).await.unwrap() });
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the median of a target's ratios, and whether it is within the bounds.
pub fn verdict(name: &str, mut ratios: Vec<f64>, wanted: &str, met: impl Fn(f64) -> bool) -> bool {
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    let met = met(median);
    println!(
        "{name}: ratio {median:.2} ({:.2} to {:.2}; median of {}; {wanted} wanted: {})",
        ratios[0],
        ratios[ratios.len() - 1],
        ratios.len(),
        if met { "met" } else { "MISSED" }
    );
    met
}

/// The real service behind the real listener, its log written to a file as the daemon's would be. Its builds wait for ever, so
/// that only calls are measured.
#[derive(Clone)]
pub struct Gateway {
    pub address: SocketAddr,
    pub app: Arc<App>,
}

impl Gateway {
    /// With a token for each organization.
    pub async fn start(directory: &Path, organizations: &[&str]) -> (Self, Vec<String>) {
        let log = File::create(directory.join("log")).unwrap();
        tracing_subscriber::fmt()
            .with_target(false)
            .with_ansi(false)
            .with_writer(Arc::new(log))
            .init();
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
        config.plugins.program = PathBuf::from(env!("CARGO_BIN_EXE_ignited"));
        let app = App::open(&config, Arc::new(Scripted::default())).await.unwrap();
        app.driver.start().await.unwrap();
        let tokens_file = directory.join("tokens.toml");
        let token = |org: &&str| {
            let new = tokens::NewToken {
                org: org.parse().unwrap(),
                subject: "bench".to_owned(),
                scopes: Scope::ALL.into(),
                expires: None,
            };
            tokens::create(&new, &tokens_file).unwrap()
        };
        let given = organizations.iter().map(token).collect();
        let authenticator = Arc::new(Authenticator::load(&tokens_file).unwrap());
        let closing = CancellationToken::new();
        let router = api::router(&app.service, &authenticator, &closing);
        let socket = listener::bind(config.listen).await.unwrap();
        let address = socket.local_addr().unwrap();
        let serving = listener::serve(socket, router, None, closing, Duration::from_secs(1));
        tokio::spawn(serving);
        let gateway = Self {
            address,
            app: Arc::new(app),
        };
        (gateway, given)
    }

    /// Uploads these plugins as version 0.1.0 and puts a policy of theirs, each with the configuration beside it, in force.
    pub async fn put_policy(&self, organization: &str, plugins: &[(&str, &str)]) {
        let caller = Principal {
            org: organization.parse().unwrap(),
            subject: "bench".to_owned(),
            scopes: Scope::ALL.into(),
        };
        let service = &self.app.service;
        let mut text = String::new();
        for (name, config) in plugins {
            let metadata = v1::UploadPluginMetadata {
                name: (*name).to_owned(),
                version: "0.1.0".to_owned(),
            };
            let component = stream::iter([Ok(component(name))]).boxed();
            service.upload_plugin(&caller, metadata, component).await.unwrap();
            text += &format!("[[plugin]]\nname = '{name}'\nversion = '0.1.0'\n{config}\n");
        }
        let put = v1::PutPolicyRequest {
            text,
            ..v1::PutPolicyRequest::default()
        };
        service.put_policy(&caller, put).await.unwrap();
    }
}

fn component(name: &str) -> Bytes {
    let folder = env::var_os("IGNITE_TEST_PLUGINS")
        .map(PathBuf::from)
        .expect("IGNITE_TEST_PLUGINS must be the folder of built plugins: run `make bench`");
    let found = ["", "hostile"]
        .iter()
        .find_map(|below| fs::read(folder.join(below).join(format!("{name}.wasm"))).ok());
    found.expect("the plugin must be there").into()
}

pub fn bearer(token: &str) -> AsciiMetadataValue {
    format!("Bearer {token}").parse().unwrap()
}

/// A connection for each client.
pub async fn connect_all(address: SocketAddr, clients: usize) -> Vec<Channel> {
    join_all((0..clients).map(|_| async move {
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        endpoint.connect().await.unwrap()
    }))
    .await
}

/// A small build from git; its id.
pub async fn create(channel: Channel, token: AsciiMetadataValue) -> String {
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

pub struct Rate {
    pub per_second: f64,
    /// Of the whole process, clients included: less shaken by what else the machine does than the rate.
    pub cpu: Duration,
    pub p50: Duration,
    pub p99: Duration,
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
pub async fn rate<C, F>(clients: usize, client: impl Fn(usize) -> C) -> Rate
where
    C: FnMut() -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let (start, cpu_before) = (Instant::now(), cpu_time());
    let clients = (0..clients).map(|number| {
        let mut call = client(number);
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

pub fn org(name: &str) -> OrgId {
    name.parse().unwrap()
}
