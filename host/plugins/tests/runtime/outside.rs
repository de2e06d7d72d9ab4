//! Calling out by name, over TLS: in a process of its own, with its own `/etc/hosts` and its own authority.

use std::{fs, net::SocketAddr, path::Path, process::Command, sync::Arc, time::Duration};

use ignite_core::hook::NotifyFailure;
use rustls::{ServerConfig, pki_types::pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    common::Scene,
    notify::{never, notify, private},
};

/// Where the parent process left the certificates.
const FOLDER: &str = "IGNITE_TEST_OUTSIDE";
const HOSTS: &str =
    "127.0.0.1 localhost hooks.test other.test\n169.254.169.254 metadata.test\n10.0.0.1 inner.test\n";

#[test]
fn names_are_judged_by_what_they_resolve_to_and_servers_by_their_certificates() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(inside(Path::new(&folder)));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let signed = rcgen::generate_simple_self_signed(vec!["hooks.test".to_owned()]).unwrap();
    fs::write(at("certificate"), signed.cert.pem()).unwrap();
    fs::write(at("key"), signed.signing_key.serialize_pem()).unwrap();
    fs::write(at("hosts"), HOSTS).unwrap();
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c"])
        .arg(r#"mount --bind "$1" /etc/hosts && exec "$2" --exact --nocapture "$3""#)
        .arg("outside")
        .arg(at("hosts"))
        .arg(std::env::current_exe().unwrap())
        .arg("outside::names_are_judged_by_what_they_resolve_to_and_servers_by_their_certificates")
        .env(FOLDER, folder.path())
        .env("SSL_CERT_FILE", at("certificate"))
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

async fn inside(folder: &Path) {
    let at = server(folder).await;
    let port = at.port();

    // Its own name, and the authority that the system trusts.
    let hosts = [format!("hooks.test:{port}"), format!("other.test:{port}")];
    let url = format!("https://hooks.test:{port}/hook");
    assert_eq!(notify(&private(), &hosts, &url, "").await, Ok(Ok(())));
    // The same server by a name that its certificate does not have.
    let url = format!("https://other.test:{port}/hook");
    let refused = never(notify(&private(), &hosts, &url, "").await);
    assert!(refused.contains("Tls"), "{refused}");
    // A grant of https is none of http.
    let url = format!("http://hooks.test:{port}/hook");
    let refused = never(notify(&private(), &hosts, &url, "").await);
    assert!(refused.contains("HttpRequestDenied"), "{refused}");

    let scene = Scene::new();
    for name in ["metadata.test", "inner.test", "hooks.test"] {
        let host = format!("{name}:{port}");
        let url = format!("https://{host}/");
        let began = std::time::Instant::now();
        let refused = never(notify(&scene, &[host], &url, "").await);
        assert!(refused.contains("DestinationIpProhibited"), "{name}: {refused}");
        assert!(began.elapsed() < Duration::from_secs(2), "{name}: it was tried");
    }
    let host = "nowhere.test".to_owned();
    let url = format!("https://{host}/");
    let failed = notify(&scene, &[host], &url, "").await;
    assert!(
        matches!(&failed, Ok(Err(NotifyFailure::Never(text))) if text.contains("DnsError")),
        "{failed:?}"
    );
}

/// Answers every request with 200, as `hooks.test`.
async fn server(folder: &Path) -> SocketAddr {
    let certificates = rustls::pki_types::CertificateDer::pem_file_iter(folder.join("certificate")).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(folder.join("key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates.map(Result::unwrap).collect(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut request = [0; 4_096];
                let _read = stream.read(&mut request).await;
                let _sent = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await;
                let _flushed = stream.flush().await;
            });
        }
    });
    address
}
