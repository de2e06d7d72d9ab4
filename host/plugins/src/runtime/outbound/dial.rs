//! Connects to what was granted, sends one request, reads one response.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use ignite_core::request::address;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, io::TokioIo};

use super::{Io, Sent, Target, body::Bounded};

/// A guest may ask for less, not for more.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const FIRST_BYTE_MAX: Duration = Duration::from_secs(30);
const BETWEEN_BYTES_MAX: Duration = Duration::from_secs(10);
/// Of a response's body: it is an acknowledgement, not a download.
pub(super) const RESPONSE_BYTES_MAX: u64 = 1 << 20;
const RESPONSE_HEAD_BYTES_MAX: usize = 64 << 10;

/// Connections to the outside, each for one request.
pub(crate) struct Dialer {
    private_addresses_allowed: bool,
    /// Read when first needed: the system's certificate authorities.
    tls: OnceLock<Option<Arc<ClientConfig>>>,
}

// === impl Dialer ===

impl Dialer {
    pub(crate) fn new(private_addresses_allowed: bool) -> Self {
        Self {
            private_addresses_allowed,
            tls: OnceLock::new(),
        }
    }

    pub(super) async fn send(
        self: Arc<Self>,
        target: Target,
        request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Sent {
        let connect = at_most(CONNECT_MAX, options.connect_timeout);
        let stream = timeout(connect, self.connect(&target))
            .await
            .map_err(|_| Error::ConnectionTimeout)??;
        if !target.tls {
            return exchange(stream, request, options).await;
        }
        let config = tokio::task::spawn_blocking({
            let dialer = Arc::clone(&self);
            move || dialer.tls.get_or_init(client_config).clone()
        });
        let config = config.await.ok().flatten().ok_or(Error::ConfigurationError)?;
        let name = ServerName::try_from(target.host).map_err(|_| Error::HttpRequestUriInvalid)?;
        let secured = timeout(connect, TlsConnector::from(config).connect(name, stream))
            .await
            .map_err(|_| Error::ConnectionTimeout)?
            .map_err(Error::Tls)?;
        exchange(secured, request, options).await
    }

    /// To the first address that may be reached and answers.
    async fn connect(&self, target: &Target) -> Result<TcpStream, Error> {
        let found: Vec<SocketAddr> = lookup_host((target.host.as_str(), target.port))
            .await
            .map_err(|_| Error::DnsError {
                rcode: None,
                info_code: None,
            })?
            .collect();
        let allowed = found.iter().filter(|address| self.may_reach(address.ip()));
        let mut last = Error::DestinationIpProhibited;
        for address in allowed {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Error::Connect(error),
            }
        }
        Err(last)
    }

    fn may_reach(&self, address: IpAddr) -> bool {
        self.private_addresses_allowed || address::is_public(address)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("private_addresses_allowed", &self.private_addresses_allowed)
            .finish_non_exhaustive()
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: Request<WasiBody>,
    options: RequestOptions,
) -> Sent {
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(RESPONSE_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await?;
    // To an origin the request line has the path alone; the host stands in its header.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| Error::HttpRequestUriInvalid)?;

    let first_byte = at_most(FIRST_BYTE_MAX, options.first_byte_timeout);
    let mut connection = Box::pin(connection);
    let mut response = Box::pin(timeout(first_byte, sender.send_request(request)));
    let answered = tokio::select! {
        answered = &mut response => answered,
        // It may end with the answer already there, or without one: then asking for it fails.
        _ended = &mut connection => return finished(response.await),
    };
    let response = answered.map_err(|_| Error::ConnectionReadTimeout)??;
    // The guest reads the body while the connection is driven; both end with the call.
    let io: Io = Box::new(async move { connection.await.map_err(Error::from) });
    Ok((bounded(response, options), io))
}

fn finished(
    answered: Result<Result<Response<hyper::body::Incoming>, hyper::Error>, tokio::time::error::Elapsed>,
) -> Sent {
    let response = answered.map_err(|_| Error::ConnectionReadTimeout)??;
    let io: Io = Box::new(async { Ok(()) });
    Ok((bounded(response, RequestOptions::default()), io))
}

fn bounded(response: Response<hyper::body::Incoming>, options: RequestOptions) -> Response<WasiBody> {
    let between_bytes = at_most(BETWEEN_BYTES_MAX, options.between_bytes_timeout);
    response.map(|body| Bounded::new(body, RESPONSE_BYTES_MAX, between_bytes).boxed_unsync())
}

fn at_most(max: Duration, wanted: Option<Duration>) -> Duration {
    wanted.map_or(max, |wanted| wanted.min(max))
}

/// None if the system has no certificate authorities.
fn client_config() -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(%error, "a certificate authority could not be read");
    }
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return None;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Some(Arc::new(config))
}
