//! The transports over a real socket: raw HTTP by reqwest, gRPC by tonic's client.
//!
//! Where a test needs certain answers it mounts handlers of its own behind the same authentication and listener.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    auth::Authenticator,
    listener::{self, Drained},
    tokens::{self, NewToken},
};
use crate::{
    app::App,
    config::{Config, Sources},
    executor::scripted::Scripted,
    principal::Scope,
    service::Service,
};

mod grpc;
mod http;
mod internal;
mod notifications;
mod serving;

const DRAIN_TIME_MAX: Duration = Duration::from_millis(500);

/// What answers behind the real routes. The tests here ask it only what no service is needed for.
pub(super) async fn service() -> (Arc<Service>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let sources = Sources {
        flags: [("data_dir".to_owned(), directory.path().display().to_string())].into(),
        ..Sources::default()
    };
    let config = Config::load(sources).unwrap();
    let app = App::open(&config, Arc::new(Scripted::default())).await.unwrap();
    (app.service, directory)
}

/// A server on a port of its own, with one token that may do everything.
struct Server {
    address: SocketAddr,
    token: String,
    stop: CancellationToken,
    task: JoinHandle<Drained>,
    client: reqwest::Client,
    authenticator: Arc<Authenticator>,
    tokens_file: PathBuf,
    _tokens: TempDir,
    _data: Option<TempDir>,
}

impl Server {
    /// The real routes.
    async fn start() -> Self {
        let (service, directory) = service().await;
        let server = Self::serve(None, |authenticator, closing| {
            super::router(&service, authenticator, closing)
        })
        .await;
        Self {
            _data: Some(directory),
            ..server
        }
    }

    /// These routes instead, behind authentication.
    async fn with(calls: impl FnOnce(&CancellationToken) -> Router) -> Self {
        Self::serve(None, |authenticator, closing| {
            super::assemble(calls(closing), Router::new(), authenticator, closing)
        })
        .await
    }

    async fn serve(
        tls: Option<TlsAcceptor>,
        router: impl FnOnce(&Arc<Authenticator>, &CancellationToken) -> Router,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens.toml");
        let token = NewToken {
            org: "acme".parse().unwrap(),
            subject: "test".into(),
            scopes: Scope::ALL.into(),
            expires: None,
        };
        let token = tokens::create(&token, &file).unwrap();
        let authenticator = Arc::new(Authenticator::load(&file).unwrap());
        let stop = CancellationToken::new();
        let router = router(&authenticator, &stop);
        let listener = listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            token,
            task: tokio::spawn(listener::serve(
                listener,
                router,
                tls,
                stop.clone(),
                DRAIN_TIME_MAX,
            )),
            stop,
            authenticator,
            tokens_file: file,
            _tokens: directory,
            client: reqwest::Client::new(),
            _data: None,
        }
    }

    /// Another token of the organization.
    async fn token_with(&self, scopes: &[Scope]) -> String {
        let token = NewToken {
            org: "acme".parse().unwrap(),
            subject: "other".into(),
            scopes: scopes.iter().copied().collect(),
            expires: None,
        };
        let token = tokens::create(&token, &self.tokens_file).unwrap();
        self.authenticator.reload_if_changed();
        token
    }

    /// With the token.
    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.token)
    }

    fn anonymous(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    async fn stop(self) -> Drained {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

/// The HTTP status and the `google.rpc.Status` of a refusal.
async fn refusal(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    assert!(response.headers().contains_key("x-request-id"));
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The reason in the `ErrorInfo` that every refusal has.
fn reason(status: &Value) -> &str {
    let details = status["details"].as_array().unwrap();
    let info = details
        .iter()
        .find(|detail| detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo")
        .unwrap();
    assert_eq!(info["domain"], super::status::ERROR_DOMAIN);
    info["reason"].as_str().unwrap()
}
