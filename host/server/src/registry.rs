//! Reads back from the registry what a build pushed: the manifest is the only honest source of size and layers.

use std::{collections::BTreeMap, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ignite_core::{build::Image, kaniko::registry_host, secrets::RegistryLogin};
use oci_client::{
    Client, Reference,
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    manifest::OciManifest,
    secrets::RegistryAuth,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

pub mod import;

/// A registry that was just pushed to may need a moment.
const TRIES: u32 = 4;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(250);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("{0:?} is not an image reference")]
    Reference(String),
    #[error("the manifest of {reference} could not be read")]
    Manifest {
        reference: String,
        #[source]
        source: Box<OciDistributionError>,
    },
    #[error("the Docker configuration {path} could not be read: {problem}")]
    DockerConfig { path: String, problem: String },
    #[error("{path} is no PEM file of certificates: {problem}")]
    CaFile { path: String, problem: String },
    #[error("the registry's client could not be made")]
    Client(#[source] Box<OciDistributionError>),
    #[error("the client for imports could not be made")]
    Importer(#[source] reqwest::Error),
}

impl RegistryError {
    /// Whether the registry answered that it has no such image.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Manifest { source, .. } => says_not_found(source),
            Self::Reference(_)
            | Self::DockerConfig { .. }
            | Self::CaFile { .. }
            | Self::Client(_)
            | Self::Importer(_) => false,
        }
    }
}

/// A reader of manifests.
pub struct Registry {
    client: Client,
    settings: Settings,
    /// By registry host, in normal form.
    auths: BTreeMap<String, Login>,
}

/// What every client is made with.
struct Settings {
    insecure: Vec<String>,
    /// DER.
    authorities: Vec<Certificate>,
}

#[derive(Clone)]
struct Login {
    user: String,
    password: SecretString,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    /// Base64 of `user:password`.
    auth: Option<SecretString>,
}

// === impl Registry ===

impl Registry {
    /// `insecure` registries are spoken to by plain http. Logins come from a Docker `config.json`. The authorities in
    /// `ca_file` are trusted beside the system's.
    pub fn new(
        insecure: Vec<String>,
        docker_config: Option<&Path>,
        ca_file: Option<&Path>,
    ) -> Result<Self, RegistryError> {
        let authorities = ca_file.map(read_authorities).transpose()?.unwrap_or_default();
        let settings = Settings {
            insecure,
            authorities,
        };
        Ok(Self {
            client: settings.client()?,
            settings,
            auths: docker_config.map(read_logins).transpose()?.unwrap_or_default(),
        })
    }

    /// Size and layers of the image at `digest`, which the first of `image_refs` names. `logins` are the organization's, by
    /// registry; they come before the operator's.
    pub async fn image(
        &self,
        image_refs: &[String],
        digest: &str,
        logins: &BTreeMap<String, RegistryLogin>,
    ) -> Result<Image, RegistryError> {
        let named = image_refs.first().map(String::as_str).unwrap_or_default();
        let tagged: Reference = named
            .parse()
            .map_err(|_| RegistryError::Reference(named.to_owned()))?;
        let reference = tagged.clone_with_digest(digest.to_owned());
        let host = registry_host(reference.registry());
        let own = logins.iter().find(|(name, _)| registry_host(name) == host);
        // The client keeps the first login that it is given for a registry, and shows it for whoever comes later.
        let (client, auth) = match own {
            Some((_, login)) => {
                let password = login.password.reveal().to_owned();
                let auth = RegistryAuth::Basic(login.username.clone(), password);
                (self.settings.client()?, auth)
            }
            None => (self.client.clone(), self.auth(&host)),
        };
        let mut tries = 1;
        loop {
            match client.pull_manifest(&reference, &auth).await {
                Ok((manifest, _)) => return Ok(measure(&manifest, digest)),
                Err(source) if tries == TRIES => {
                    let reference = reference.to_string();
                    return Err(RegistryError::Manifest {
                        reference,
                        source: Box::new(source),
                    });
                }
                Err(_) => tokio::time::sleep(TRY_AGAIN_AFTER * tries).await,
            }
            tries += 1;
        }
    }

    fn auth(&self, registry: &str) -> RegistryAuth {
        self.auths.get(registry).map_or(RegistryAuth::Anonymous, |login| {
            RegistryAuth::Basic(login.user.clone(), login.password.expose_secret().to_owned())
        })
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("auths", &self.auths.keys())
            .finish_non_exhaustive()
    }
}

impl Settings {
    fn client(&self) -> Result<Client, RegistryError> {
        let authority = |one: &Certificate| Certificate {
            encoding: CertificateEncoding::Der,
            data: one.data.clone(),
        };
        let client = Client::try_from(ClientConfig {
            protocol: ClientProtocol::HttpsExcept(self.insecure.clone()),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            extra_root_certificates: self.authorities.iter().map(authority).collect(),
            ..ClientConfig::default()
        });
        client.map_err(|source| RegistryError::Client(Box::new(source)))
    }
}

fn says_not_found(error: &OciDistributionError) -> bool {
    const UNKNOWN: [OciErrorCode; 3] = [
        OciErrorCode::ManifestUnknown,
        OciErrorCode::NameUnknown,
        OciErrorCode::NotFound,
    ];
    if let OciDistributionError::RegistryError { envelope, .. } = error {
        return envelope.errors.iter().any(|error| UNKNOWN.contains(&error.code));
    }
    matches!(
        error,
        OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::ServerError { code: 404, .. }
    )
}

fn measure(manifest: &OciManifest, digest: &str) -> Image {
    let size = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    let (size_bytes, layer_count) = match manifest {
        OciManifest::Image(image) => {
            let layers: u64 = image.layers.iter().map(|layer| size(layer.size)).sum();
            (layers.saturating_add(size(image.config.size)), image.layers.len())
        }
        OciManifest::ImageIndex(index) => (index.manifests.iter().map(|entry| size(entry.size)).sum(), 0),
    };
    Image {
        digest: digest.to_owned(),
        size_bytes,
        layer_count: u32::try_from(layer_count).unwrap_or(u32::MAX),
    }
}

fn read_logins(path: &Path) -> Result<BTreeMap<String, Login>, RegistryError> {
    let problem = |problem: String| RegistryError::DockerConfig {
        path: path.display().to_string(),
        problem,
    };
    let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
    // The parser's message could quote the file: only its place is told.
    let config: DockerConfig = serde_json::from_str(&text)
        .map_err(|error| problem(format!("not a Docker config.json (line {})", error.line())))?;
    let mut logins = BTreeMap::new();
    for (host, entry) in config.auths {
        let Some(encoded) = entry.auth else { continue };
        let decoded = STANDARD
            .decode(encoded.expose_secret())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| problem(format!("auths[{host:?}].auth is not base64")))?;
        let (user, password) = decoded
            .split_once(':')
            .ok_or_else(|| problem(format!("auths[{host:?}].auth is not user:password")))?;
        logins.insert(
            registry_host(&host),
            Login {
                user: user.to_owned(),
                password: password.to_owned().into(),
            },
        );
    }
    Ok(logins)
}

fn read_authorities(path: &Path) -> Result<Vec<Certificate>, RegistryError> {
    let problem = |problem: String| RegistryError::CaFile {
        path: path.display().to_string(),
        problem,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| problem(error.to_string()))?;
    if certificates.is_empty() {
        return Err(problem("no certificate is in it".to_owned()));
    }
    for certificate in &certificates {
        RootCertStore::empty()
            .add(certificate.clone())
            .map_err(|error| problem(error.to_string()))?;
    }
    let root = |certificate: CertificateDer<'_>| Certificate {
        encoding: CertificateEncoding::Der,
        data: certificate.to_vec(),
    };
    Ok(certificates.into_iter().map(root).collect())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{Arc, Mutex},
    };

    use axum::{
        Router,
        http::{HeaderMap, StatusCode, header},
        response::IntoResponse as _,
    };
    use ignite_core::secrets::SecretText;
    use rcgen::CertifiedKey;
    use sha2::{Digest as _, Sha256};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::api::listener::{self, tls};

    const MANIFEST: &str = r#"{
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": "sha256:0123456789012345678901234567890123456789012345678901234567890123",
            "size": 7
        },
        "layers": []
    }"#;

    fn problem(ca_file: &Path) -> String {
        Registry::new(Vec::new(), None, Some(ca_file))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_file_that_is_no_bundle_of_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        assert!(problem(&file).contains("ca.pem is no PEM file"));
        fs::write(&file, "nothing of the kind").unwrap();
        assert!(problem(&file).contains("no certificate is in it"));
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(&file, damaged).unwrap();
        assert!(problem(&file).contains("ca.pem is no PEM file"));
    }

    #[tokio::test]
    async fn a_registry_of_an_authority_of_ones_own_is_trusted() {
        let _already_there = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let CertifiedKey {
            cert: made,
            signing_key,
        } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&cert, made.pem()).unwrap();
        fs::write(&key, signing_key.serialize_pem()).unwrap();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let router = Router::new().fallback(async move || ([(header::CONTENT_TYPE, media_type)], MANIFEST));
        let socket = listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let closing = CancellationToken::new();
        let acceptor = tls::acceptor(&cert, &key).unwrap();
        tokio::spawn(listener::serve(
            socket,
            router,
            Some(acceptor),
            closing,
            Duration::ZERO,
        ));

        let digest = format!("sha256:{}", hex::encode(Sha256::digest(MANIFEST)));
        let refs = [format!("localhost:{port}/acme/web:latest")];
        let stranger = Registry::new(Vec::new(), None, None).unwrap();
        assert!(stranger.image(&refs, &digest, &BTreeMap::new()).await.is_err());
        let registry = Registry::new(Vec::new(), None, Some(&cert)).unwrap();
        let image = registry.image(&refs, &digest, &BTreeMap::new()).await;
        assert_eq!(image.unwrap().size_bytes, 7);
    }

    #[tokio::test]
    async fn an_organizations_login_is_shown_for_it_and_for_nobody_else() {
        let _already_there = rustls::crypto::ring::default_provider().install_default();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let router = Router::new().fallback(async move |headers: HeaderMap| {
            let login = headers
                .get(header::AUTHORIZATION)
                .map(|value| value.to_str().unwrap().to_owned());
            noted.lock().unwrap().push(login.clone());
            let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"r\"")];
            match login {
                Some(_) => ([(header::CONTENT_TYPE, media_type)], MANIFEST).into_response(),
                None => (StatusCode::UNAUTHORIZED, challenge).into_response(),
            }
        });
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = socket.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(socket, router).await });

        let folder = tempfile::tempdir().unwrap();
        let operators = folder.path().join("config.json");
        let auth = STANDARD.encode("operator:o");
        fs::write(
            &operators,
            format!(r#"{{"auths": {{"http://{host}/v2/": {{"auth": "{auth}"}}}}}}"#),
        )
        .unwrap();
        let registry = Registry::new(vec![host.clone()], Some(&operators), None).unwrap();
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(MANIFEST)));
        let refs = [format!("{host}/acme/web:latest")];
        let login = |username: &str| RegistryLogin {
            username: username.to_owned(),
            password: SecretText::new("p".to_owned()),
        };
        for (logins, shown) in [
            (vec![], "operator:o"),
            (vec![(host.clone(), login("acme"))], "acme:p"),
            (vec![(host.clone(), login("other"))], "other:p"),
            (
                vec![("elsewhere.example".to_owned(), login("acme"))],
                "operator:o",
            ),
        ] {
            seen.lock().unwrap().clear();
            let logins = logins.into_iter().collect();
            registry.image(&refs, &digest, &logins).await.unwrap();
            let expected = format!("Basic {}", STANDARD.encode(shown));
            let seen = seen.lock().unwrap();
            let shown: Vec<&String> = seen.iter().flatten().collect();
            assert!(
                !shown.is_empty() && shown.iter().all(|one| **one == expected),
                "{shown:?}"
            );
        }
    }
}
