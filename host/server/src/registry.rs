//! Reads back from the registry what a build pushed: the manifest is the only honest source of size and layers.

use std::{collections::BTreeMap, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ignite_core::build::Image;
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    manifest::OciManifest,
    secrets::RegistryAuth,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

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
}

impl RegistryError {
    /// Whether the registry answered that it has no such image.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Manifest { source, .. } => says_not_found(source),
            Self::Reference(_) | Self::DockerConfig { .. } => false,
        }
    }
}

/// A reader of manifests.
pub struct Registry {
    client: Client,
    /// By registry host.
    auths: BTreeMap<String, Login>,
}

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
    /// `insecure` registries are spoken to by plain http. Logins come from a Docker `config.json`.
    pub fn new(insecure: Vec<String>, docker_config: Option<&Path>) -> Result<Self, RegistryError> {
        let client = Client::new(ClientConfig {
            protocol: ClientProtocol::HttpsExcept(insecure),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            ..ClientConfig::default()
        });
        Ok(Self {
            client,
            auths: docker_config.map(read_logins).transpose()?.unwrap_or_default(),
        })
    }

    /// Size and layers of the image at `digest`, which the first of `image_refs` names.
    pub async fn image(&self, image_refs: &[String], digest: &str) -> Result<Image, RegistryError> {
        let named = image_refs.first().map(String::as_str).unwrap_or_default();
        let tagged: Reference = named
            .parse()
            .map_err(|_| RegistryError::Reference(named.to_owned()))?;
        let reference = tagged.clone_with_digest(digest.to_owned());
        let auth = self.auth(reference.registry());
        let mut tries = 1;
        loop {
            match self.client.pull_manifest(&reference, &auth).await {
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
            host,
            Login {
                user: user.to_owned(),
                password: password.to_owned().into(),
            },
        );
    }
    Ok(logins)
}
