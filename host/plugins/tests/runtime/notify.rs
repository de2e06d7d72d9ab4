//! Calling out: where it may go, and how it ends when the other side is no friend.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use ignite_core::{
    build::{Build, Status},
    hook::NotifyFailure,
    ids::BuildId,
};
use ignite_plugins::CallError;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::common::{PUPPET, SHARED_CACHE, Scene, caller, settings, spec};

fn build() -> Build {
    let id = BuildId::new(1_748_390_400_000, 1);
    let mut build = Build::new(id, "acme".parse().unwrap(), "alice".to_owned(), &spec());
    build.status = Status::Succeeded;
    build
}

/// A server that sends each connection `answer`, then `drip` every 50 ms for ever if there is one.
async fn server(answer: String, drip: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4_096];
                let _read = stream.read(&mut request).await;
                let _sent = stream.write_all(answer.as_bytes()).await;
                while let Some(drip) = drip {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    if stream.write_all(drip.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

async fn open() -> SocketAddr {
    server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(), None).await
}

pub(crate) fn private() -> Scene {
    Scene::with(|options| {
        options.cache_dir = SHARED_CACHE.into();
        options.private_addresses_allowed = true;
    })
}

/// What the plugin says of a call to `url` with `hosts` granted.
pub(crate) async fn notify(
    scene: &Scene,
    hosts: &[String],
    url: &str,
    more: &str,
) -> Result<Result<(), NotifyFailure>, CallError> {
    let plugin = scene.plugin(PUPPET).await;
    let mut settings = settings(&format!(r#"{{"notify": {{"call": {{"url": "{url}"{more}}}}}}}"#));
    settings.hosts = hosts.to_vec();
    plugin.notify(&settings, "key", 1, &build()).await
}

pub(crate) fn never(result: Result<Result<(), NotifyFailure>, CallError>) -> String {
    match result {
        Ok(Err(NotifyFailure::Never(text))) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_granted_host_is_reached_and_no_other() {
    let (scene, at, other) = (private(), open().await, open().await);
    let hosts = [format!("http://{at}")];
    assert_eq!(
        notify(&scene, &hosts, &format!("http://{at}/hook"), "").await,
        Ok(Ok(()))
    );
    for url in [
        format!("http://{other}/"),
        format!("http://localhost:{}/", at.port()),
    ] {
        let refused = never(notify(&scene, &hosts, &url, "").await);
        assert!(refused.contains("HttpRequestDenied"), "{url}: {refused}");
    }
}

#[tokio::test]
async fn a_redirect_leads_nowhere_else() {
    let (scene, other) = (private(), open().await);
    let moved = format!("HTTP/1.1 302 Found\r\nlocation: http://{other}/\r\ncontent-length: 0\r\n\r\n");
    let at = server(moved, None).await;
    let result = notify(
        &scene,
        &[format!("http://{at}")],
        &format!("http://{at}/"),
        r#", "redirects": 3"#,
    )
    .await;
    assert!(never(result).contains("HttpRequestDenied"));
}

#[tokio::test]
async fn private_addresses_are_refused_however_they_are_written() {
    let (scene, at) = (Scene::new(), open().await);
    for host in [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "169.254.169.254",
        "0.0.0.0",
    ] {
        let url = format!("http://{host}:{}", at.port());
        let refused = never(notify(&scene, std::slice::from_ref(&url), &url, "").await);
        assert!(refused.contains("DestinationIpProhibited"), "{host}: {refused}");
    }
}

#[tokio::test]
async fn other_hooks_reach_nothing_whatever_is_granted() {
    let (scene, at) = (private(), open().await);
    let plugin = scene.plugin(PUPPET).await;
    let mut settings = settings(&format!(
        r#"{{"validate": {{"call": {{"url": "http://{at}/"}}}}}}"#
    ));
    settings.hosts = vec![format!("http://{at}")];
    let result = plugin.validate(&settings, &caller("acme"), &spec()).await;
    let Err(CallError::Failed(refused)) = result else {
        panic!("{result:?}")
    };
    assert!(refused.contains("HttpRequestDenied"), "{refused}");
}

#[tokio::test]
async fn an_answer_that_drips_for_ever_ends_with_the_call() {
    let scene = private();
    let at = server("HTTP/1.1 200 OK\r\n\r\n".to_owned(), Some("x")).await;
    let began = Instant::now();
    let result = notify(&scene, &[format!("http://{at}")], &format!("http://{at}/"), "").await;
    assert_eq!(result, Err(CallError::Timeout(Duration::from_secs(2))));
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    const MUCH: &str = include_str!("notify.rs");
    let scene = private();
    let body = MUCH.repeat((1 << 20) / MUCH.len() + 1);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let at = server(answer, None).await;
    let more = r#", "tell": true"#;
    let result = notify(&scene, &[format!("http://{at}")], &format!("http://{at}/"), more).await;
    let text = never(result);
    assert!(text.contains("body size exceeds limit: 1048576"), "{text}");
}
