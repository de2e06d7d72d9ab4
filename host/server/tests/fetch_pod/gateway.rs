//! A gateway in this process, with a run that is live, and the way from a pod to it.

use std::{
    collections::VecDeque,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use ignite_core::{
    ids::{ContextId, OrgId, RunId},
    secrets::SecretText,
};
use ignite_proto::v1::{self, create_build_request::Source};
use ignite_server::{
    api::{self, auth::Authenticator, listener},
    app::App,
    config::{Config, Sources},
    executor::scripted::Scripted,
    principal::{Principal, Scope},
    sources::{contexts::grants::ContextGrant, fetch::pod::PodContext},
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

const DRAIN_TIME_MAX: Duration = Duration::from_millis(100);

pub(crate) struct Gateway {
    directory: tempfile::TempDir,
    executor: Arc<Scripted>,
    running: Option<Running>,
    archive: Vec<u8>,
    run: RunId,
    grant: ContextGrant,
}

/// One life of it.
struct Running {
    app: App,
    address: SocketAddr,
    stop: CancellationToken,
    listening: JoinHandle<listener::Drained>,
}

/// The way to the gateway. It may be closed, and it may be cut.
pub(crate) struct Way {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    to: Option<SocketAddr>,
    /// How much of an answer the next connections let through.
    cuts: VecDeque<usize>,
    /// The heads of the requests that came.
    heads: Vec<String>,
}

// === impl Gateway ===

impl Gateway {
    /// Serves a run whose context is `archive`.
    pub(crate) async fn start(archive: Vec<u8>) -> Self {
        let mut gateway = Self {
            directory: tempfile::tempdir().unwrap(),
            executor: Arc::default(),
            running: None,
            archive: archive.clone(),
            run: "bld-01jw98kx000000000000000007-p0-a1".parse().unwrap(),
            grant: ContextGrant {
                url_path: String::new(),
                token: SecretText::default(),
            },
        };
        gateway.open().await;
        let service = &gateway.running().app.service;
        let uploaded = service
            .upload_build_context(
                &caller(),
                v1::UploadBuildContextMetadata {
                    name: "app".to_owned(),
                    ..v1::UploadBuildContextMetadata::default()
                },
                Box::pin(futures::stream::iter([Ok(archive.into())])),
            )
            .await
            .unwrap();
        let request = v1::CreateBuildRequest {
            name: "app".to_owned(),
            source: Some(Source::ContextId(uploaded.context_id)),
            ..v1::CreateBuildRequest::default()
        };
        service.create_build(&caller(), request).await.unwrap();
        loop {
            if let Some(run) = gateway.executor.starts().first()
                && let Some(plan) = gateway.executor.take_plan(*run)
            {
                gateway.run = *run;
                gateway.grant = plan.context_grant.unwrap();
                return gateway;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn stop(&mut self) {
        let running = self.running.take().unwrap();
        running.stop.cancel();
        running.listening.await.unwrap();
        running.app.driver.stop().await;
        running.app.logs.shutdown().await;
        running.app.store.shutdown().await;
    }

    /// On another port than before.
    pub(crate) async fn open(&mut self) {
        let flags = [
            ("data_dir", self.directory.path().display().to_string()),
            ("registry", "127.0.0.1:1".to_owned()),
        ];
        let config = Config::load(Sources {
            flags: flags.map(|(name, value)| (name.to_owned(), value)).into(),
            ..Sources::default()
        })
        .unwrap();
        let executor = Arc::clone(&self.executor) as _;
        let app = App::open(&config, executor).await.unwrap();
        app.driver.start().await.unwrap();
        let authenticator = Arc::new(Authenticator::load(&config.tokens_file).unwrap());
        let stop = CancellationToken::new();
        let socket = listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        self.running = Some(Running {
            address: socket.local_addr().unwrap(),
            listening: tokio::spawn(listener::serve(
                socket,
                api::router(&app.service, &authenticator, &stop),
                None,
                stop.clone(),
                DRAIN_TIME_MAX,
            )),
            stop,
            app,
        });
    }

    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running().address
    }

    pub(crate) fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.archive))
    }

    /// What the run's executor was given for its pod, by way of `at`.
    pub(crate) fn context(&self, at: SocketAddr) -> PodContext {
        context_at(at, self.grant.clone())
    }

    pub(crate) fn context_of(&self, run: RunId, expires_at_ms: i64) -> PodContext {
        let org: OrgId = caller().org;
        let context = ContextId::from_sha256(Sha256::digest(&self.archive).into());
        let grants = &self.running().app.grants;
        context_at(self.address(), grants.grant(run, &org, &context, expires_at_ms))
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }
}

fn context_at(at: SocketAddr, grant: ContextGrant) -> PodContext {
    PodContext {
        url: format!("http://{at}{}", grant.url_path),
        token: grant.token,
    }
}

fn caller() -> Principal {
    Principal {
        org: "acme".parse().unwrap(),
        subject: "ci".to_owned(),
        scopes: Scope::ALL.into(),
    }
}

pub(crate) fn now_ms() -> i64 {
    ignite_server::clock::now_ms()
}

/// A zip of a Dockerfile and of a file of this many bytes that do not get smaller.
pub(crate) fn archive(bytes: usize) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("Dockerfile", options).unwrap();
    zip.write_all(b"FROM scratch\nCOPY data /\n").unwrap();
    zip.start_file("data", options.compression_method(zip::CompressionMethod::Stored))
        .unwrap();
    let content: Vec<u8> = (0..bytes)
        .map(|at| u8::try_from(at * at / 251 % 256).unwrap())
        .collect();
    zip.write_all(&content).unwrap();
    zip.finish().unwrap().into_inner()
}

// === impl Way ===

impl Way {
    /// Leads nowhere yet.
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let way = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        let state = Arc::clone(&way.state);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (to, cut) = {
                    let mut state = state.lock().unwrap();
                    (state.to, state.cuts.pop_front().unwrap_or(usize::MAX))
                };
                // With nowhere to go the connection is closed at once.
                if let Some(to) = to {
                    tokio::spawn(pass(client, to, cut, Arc::clone(&state)));
                }
            }
        });
        way
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn lead_to(&self, to: Option<SocketAddr>) {
        self.state.lock().unwrap().to = to;
    }

    /// The next connection that is let through breaks off after so many bytes of the answer.
    pub(crate) fn cut_after(&self, bytes: usize) {
        self.state.lock().unwrap().cuts.push_back(bytes);
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.state.lock().unwrap().heads.clone()
    }
}

/// One request and its answer.
async fn pass(mut client: TcpStream, to: SocketAddr, cut: usize, state: Arc<Mutex<State>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let shown = String::from_utf8(head.clone()).unwrap();
    state.lock().unwrap().heads.push(shown.to_ascii_lowercase());
    let Ok(mut gateway) = TcpStream::connect(to).await else {
        return;
    };
    gateway.write_all(&head).await.unwrap();
    let (mut from, _open) = gateway.split();
    let mut answer = (&mut from).take(cut as u64);
    let _ = tokio::io::copy(&mut answer, &mut client).await;
    if cut == usize::MAX {
        return;
    }
    // The gateway is gone with the connection, until somebody opens the way again.
    state.lock().unwrap().to = None;
}
