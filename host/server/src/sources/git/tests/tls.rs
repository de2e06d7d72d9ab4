//! TLS before a plain server, with a certificate that only its own authority vouches for.

use std::{net::Ipv4Addr, path::Path, sync::Arc};

use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Ends with this.
pub(super) struct Tls {
    port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl Tls {
    /// Writes `cert.pem` to `dir`.
    pub(super) fn start(dir: &Path, plain_port: u16) -> Self {
        let _already_there = rustls::crypto::ring::default_provider().install_default();
        let made =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        // No second protocol: the server behind it speaks the first of HTTP only.
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut plain = TcpStream::connect((Ipv4Addr::LOCALHOST, plain_port))
                        .await
                        .unwrap();
                    let _gone = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
                });
            }
        });
        Self {
            port,
            _runtime: runtime,
        }
    }

    pub(super) fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}/{path}", self.port)
    }
}
