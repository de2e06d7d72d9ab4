//! One listener for gRPC and HTTP/JSON, in clear or over TLS, with limits, and with an end.
//!
//! ```text
//! accept ─▶ permit ─▶ task: TLS handshake ─▶ first request in time ─▶ serve … ─▶ permit back
//!                            └ stop: no new requests ─ deadline: dropped ┘
//! ```

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use hyper::{Request, body::Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

pub mod tls;

/// Open at once; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 4096;
/// On one HTTP/2 connection: a client may follow hundreds of logs over one.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 1024;
pub const HEADER_BYTES_MAX: u32 = 32 << 10;
/// For the head of a request, and from a connection to its first request.
pub const HEADER_READ_TIME_MAX: Duration = Duration::from_secs(20);
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// HTTP/2 peers are asked so often whether they are still there, and given so long to answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIME_MAX: Duration = Duration::from_secs(20);
/// Bounds what an upload may have in flight, and so in memory.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// After a failed accept, such as for want of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Where a request comes from; in its extensions.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every connection ended by itself.
    Completely,
    /// These were still open at the deadline, and were dropped.
    Dropped { connections: usize },
}

/// Serves until `stop`, then lets connections finish for at most `drain_time_max`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
    drain_time_max: Duration,
) -> Drained {
    let drop_all = CancellationToken::new();
    let tasks = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some((stream, peer, permit)) = accept(&listener, &permits, &stop).await {
        let connection = Connection {
            router: router.clone(),
            peer,
            stop: stop.clone(),
            drop: drop_all.clone(),
            _permit: permit,
        };
        tasks.spawn(connection.run(stream, tls.clone()));
    }
    // Nobody is to connect to a socket that nobody accepts from.
    drop(listener);
    tasks.close();
    if tokio::time::timeout(drain_time_max, tasks.wait()).await.is_ok() {
        return Drained::Completely;
    }
    let connections = tasks.len();
    drop_all.cancel();
    tasks.wait().await;
    Drained::Dropped { connections }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accepted = async {
        let permit = Arc::clone(permits).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return Some((stream, peer, permit)),
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        accepted = accepted => accepted,
    }
}

struct Connection {
    router: Router,
    peer: SocketAddr,
    stop: CancellationToken,
    drop: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

// === impl Connection ===

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Log lines are small and wanted at once.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(peer = %self.peer, %error, "a connection went at once");
            return;
        }
        let Some(tls) = tls else {
            return self.serve(stream).await;
        };
        let drop = self.drop.clone();
        let shaken = tokio::select! {
            () = drop.cancelled() => return,
            shaken = tokio::time::timeout(HANDSHAKE_TIME_MAX, tls.accept(stream)) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %self.peer, "TLS handshake took too long"),
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let asked = Arc::new(AtomicBool::new(false));
        let builder = builder();
        let service = hyper::service::service_fn({
            let asked = Arc::clone(&asked);
            let (router, peer) = (self.router, self.peer);
            move |mut request: Request<Incoming>| {
                asked.store(true, Ordering::Relaxed);
                request.extensions_mut().insert(Peer(peer));
                let answer = router.clone().oneshot(request);
                async move { answer.await.map_err(|never: Infallible| match never {}) }
            }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut first_request = pin!(tokio::time::sleep(HEADER_READ_TIME_MAX));
        let (mut waiting, mut stopping) = (true, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %self.peer, error = &*error, "a connection broke");
                    }
                    return;
                }
                () = self.drop.cancelled() => return,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                // Covers what the header timeout does not: a protocol never begun, and HTTP/2 without a request.
                () = first_request.as_mut(), if waiting => {
                    waiting = false;
                    if !asked.load(Ordering::Relaxed) {
                        tracing::debug!(peer = %self.peer, "a connection asked for nothing");
                        return;
                    }
                }
            }
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIME_MAX)
        // Also bounds the head of a request: what does not fit is answered with 431.
        .max_buf_size(usize::try_from(HEADER_BYTES_MAX).unwrap_or(usize::MAX));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIME_MAX);
    builder
}

/// Binds; the caller names the address in the error.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}
