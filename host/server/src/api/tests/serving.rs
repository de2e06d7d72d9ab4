use axum::routing::get;
use futures::{StreamExt as _, stream};
use ignite_proto::v1;
use rcgen::CertifiedKey;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::api::{http::call::Call, listener::tls};

fn endless(closing: &CancellationToken) -> Router {
    let closing = closing.clone();
    let watch = move |call: Call| async move {
        call.streaming(closing, async |_| {
            let first = stream::iter([Ok(v1::Build::default())]);
            Ok(first.chain(stream::pending()).boxed())
        })
        .await
    };
    Router::new().route("/watch", get(watch)).route(
        "/stuck",
        get(async || -> String { futures::future::pending().await }),
    )
}

#[tokio::test]
async fn stopping_ends_streams_so_that_followers_come_back() {
    let server = Server::with(endless).await;
    let mut response = server.request("GET", "/watch").send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    let (drained, rest) = tokio::join!(server.stop(), response.text());
    assert_eq!(drained, Drained::Completely);
    let line: Value = serde_json::from_str(rest.unwrap().trim()).unwrap();
    assert_eq!(line["error"]["code"], 14);
    assert_eq!(reason(&line["error"]), "UNAVAILABLE");
    assert!(line.to_string().contains("retryDelay"));
}

#[tokio::test]
async fn a_call_that_does_not_end_is_dropped_at_the_deadline() {
    let server = Server::with(endless).await;
    let stuck = tokio::spawn(server.request("GET", "/stuck").send());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let address = server.address;
    assert_eq!(server.stop().await, Drained::Dropped { connections: 1 });
    assert!(stuck.await.unwrap().is_err());
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let server = Server::start().await;
    let silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(
        server.anonymous("GET", "/healthz").send().await.unwrap().status(),
        200
    );
    assert_eq!(server.stop().await, Drained::Completely);
    drop(silent);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "GET /healthz HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n",
        "x".repeat(100 << 10)
    );
    // The server may answer and close before it has read it all.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

#[tokio::test]
async fn a_client_that_asks_before_sending_too_much_is_told_at_once() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /v1/ignite/builds HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         expect: 100-continue\r\ncontent-length: 8000000\r\n\r\n",
        server.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
}

#[tokio::test]
async fn both_http_versions_share_the_tls_port_and_a_stalled_handshake_holds_up_nobody() {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (cert_file, key_file) = (
        directory.path().join("cert.pem"),
        directory.path().join("key.pem"),
    );
    std::fs::write(&cert_file, cert.pem()).unwrap();
    std::fs::write(&key_file, signing_key.serialize_pem()).unwrap();
    let acceptor = tls::acceptor(&cert_file, &key_file).unwrap();
    let (service, _data) = service().await;
    let server = Server::serve(Some(acceptor), |authenticator, closing| {
        crate::api::router(&service, authenticator, closing)
    })
    .await;
    let _stalled = TcpStream::connect(server.address).await.unwrap();

    let url = format!("https://localhost:{}/healthz", server.address.port());
    let root = reqwest::Certificate::from_pem(cert.pem().as_bytes()).unwrap();
    let builder = || {
        reqwest::Client::builder()
            .tls_certs_only([root.clone()])
            .resolve("localhost", server.address)
    };
    let response = builder().build().unwrap().get(&url).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.version()),
        (200, reqwest::Version::HTTP_2)
    );
    let response = builder()
        .http1_only()
        .build()
        .unwrap()
        .get(&url)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (response.status().as_u16(), response.version()),
        (200, reqwest::Version::HTTP_11)
    );

    assert!(
        tls::acceptor(&key_file, &cert_file).is_err(),
        "a key is not a certificate"
    );
}

#[tokio::test]
async fn readiness_is_told_apart_from_life() {
    let closing = CancellationToken::new();
    let router = crate::api::http::open_routes(closing.clone());
    let ask = async |path: &str| {
        let request = axum::extract::Request::get(path)
            .body(axum::body::Body::empty())
            .unwrap();
        tower::ServiceExt::oneshot(router.clone(), request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!((ask("/healthz").await, ask("/readyz").await), (200, 200));
    closing.cancel();
    assert_eq!((ask("/healthz").await, ask("/readyz").await), (200, 503));
}
