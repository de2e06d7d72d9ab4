//! Takes a plugin's component out of an OCI registry, by digest.
//!
//! Whoever imports names the registry, so what answers is not trusted: every size has a limit, every byte is held against the
//! digest that was asked for, and connections go to public addresses only, whatever a name resolves to, a redirect points to or
//! a login service claims to be. The operator's own registries are exempt.

mod address;
mod auth;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap, fmt, path::Path, str::FromStr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use oci_client::{
    Reference,
    manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest},
};
use reqwest::{Client, Response, StatusCode, header};
use sha2::{Digest as _, Sha256};
use url::Url;

use self::address::Reach;
use ignite_core::{kaniko::registry_host, secrets::RegistryLogin};

use super::{Login, RegistryError, read_authorities, read_logins};
use crate::error::{Error, Result};

/// The standard media types of a component in a registry.
pub const CONFIG_MEDIA_TYPE: &str = "application/vnd.wasm.config.v0+json";
pub const LAYER_MEDIA_TYPE: &str = "application/wasm";

const MANIFEST_BYTES_MAX: usize = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// Of one request with its whole answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
const RETRY_AFTER: Duration = Duration::from_secs(5);
const FIELD: &str = "reference";

/// `registry/repository@sha256:<hex>` of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmReference {
    reference: Reference,
    digest: String,
}

/// How registries may be reached.
#[derive(Debug, Clone, Default)]
pub struct ImportRules {
    /// Spoken to by plain http.
    pub insecure: Vec<String>,
    /// The operator's: reached wherever they are.
    pub own: Vec<String>,
    pub private_addresses_allowed: bool,
    pub component_bytes_max: usize,
}

/// A client of registries.
pub struct Importer {
    client: Client,
    reach: Arc<Reach>,
    rules: ImportRules,
    logins: BTreeMap<String, Login>,
}

// === impl Importer ===

impl Importer {
    /// Logins come from a Docker `config.json`. The authorities in `ca_file` are trusted beside the system's.
    pub fn new(
        rules: ImportRules,
        docker_config: Option<&Path>,
        ca_file: Option<&Path>,
    ) -> std::result::Result<Self, RegistryError> {
        let authorities = ca_file.map(read_authorities).transpose()?.unwrap_or_default();
        let authorities = authorities
            .iter()
            .map(|authority| reqwest::Certificate::from_der(&authority.data))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(RegistryError::Importer)?;
        let reach = Arc::new(Reach::new(&rules));
        let client = Client::builder()
            // A proxy would resolve names by itself.
            .no_proxy()
            .dns_resolver(Arc::clone(&reach))
            .redirect(address::redirects(Arc::clone(&reach)))
            .tls_certs_merge(authorities)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(RegistryError::Importer)?;
        Ok(Self {
            client,
            reach,
            rules,
            logins: docker_config.map(read_logins).transpose()?.unwrap_or_default(),
        })
    }

    /// The component that the manifest names, as it arrives. The stream fails at its end if its bytes were not those of the digest.
    /// `logins` are the organization's, by registry; they come before the operator's. A login is shown to the registry that it is
    /// for, and to the login service that this one names.
    ///
    /// # Errors
    /// `NotFound` if the registry has no such manifest, `InvalidArgument` if it is not that of one component of an allowed size,
    /// `FailedPrecondition` if the registry does not let us, `Unavailable` if it does not answer.
    pub async fn component(
        &self,
        reference: &WasmReference,
        logins: &BTreeMap<String, RegistryLogin>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let login = self.login(reference, logins);
        let login = login.as_deref();
        let manifest = self
            .get(reference, &format!("manifests/{}", reference.digest), login)
            .await?;
        let manifest = read_all(manifest, MANIFEST_BYTES_MAX).await?;
        if digest_of(&manifest) != reference.digest {
            return Err(Error::invalid(
                FIELD,
                "the registry sent another manifest than the digest's",
            ));
        }
        let layer = self.layer(&manifest)?;
        let component = self
            .get(reference, &format!("blobs/{}", layer.digest), login)
            .await?;
        Ok(checked(component, layer))
    }

    fn login<'a>(
        &'a self,
        reference: &WasmReference,
        logins: &BTreeMap<String, RegistryLogin>,
    ) -> Option<Cow<'a, Login>> {
        let host = registry_host(reference.reference.resolve_registry());
        match logins.iter().find(|(name, _)| registry_host(name) == host) {
            Some((_, own)) => Some(Cow::Owned(Login {
                user: own.username.clone(),
                password: own.password.reveal().to_owned().into(),
            })),
            None => self.logins.get(&host).map(Cow::Borrowed),
        }
    }

    fn layer(&self, manifest: &[u8]) -> Result<OciDescriptor> {
        let manifest: OciImageManifest = serde_json::from_slice(manifest)
            .map_err(|_| Error::invalid(FIELD, "must be the digest of an image manifest, not of an index"))?;
        if manifest.config.media_type != CONFIG_MEDIA_TYPE {
            return Err(Error::invalid(
                FIELD,
                format!(
                    "must be a WebAssembly artifact: its config's media type must be {CONFIG_MEDIA_TYPE}"
                ),
            ));
        }
        let mut layers = manifest.layers.into_iter();
        let (Some(layer), None) = (layers.next(), layers.next()) else {
            return Err(Error::invalid(FIELD, "must have one layer: the component"));
        };
        let max = self.rules.component_bytes_max;
        if layer.media_type != LAYER_MEDIA_TYPE {
            return Err(Error::invalid(
                FIELD,
                format!("must have a component as its layer: its media type must be {LAYER_MEDIA_TYPE}"),
            ));
        }
        if !usize::try_from(layer.size).is_ok_and(|size| size <= max) {
            return Err(Error::invalid(
                FIELD,
                format!("the component is larger than {max} bytes"),
            ));
        }
        if !is_sha256(&layer.digest) {
            return Err(Error::invalid(FIELD, "must have a layer with a sha256 digest"));
        }
        Ok(layer)
    }

    /// GETs below the repository; logs in if it is asked to.
    async fn get(&self, reference: &WasmReference, path: &str, login: Option<&Login>) -> Result<Response> {
        let host = reference.reference.resolve_registry();
        self.reach.check(host).await?;
        let scheme = match self.rules.insecure.iter().any(|insecure| insecure == host) {
            true => "http",
            false => "https",
        };
        let repository = reference.reference.repository();
        let url = format!("{scheme}://{host}/v2/{repository}/{path}");
        let request = || self.client.get(&url).header(header::ACCEPT, OCI_IMAGE_MEDIA_TYPE);
        let mut response = request()
            .send()
            .await
            .map_err(|error| unreachable(host, &error))?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // A challenge of whom a redirect led to is none of the registry's.
            let asked = Url::parse(&url).map_err(Error::internal)?;
            if response.url().origin() != asked.origin() {
                return Err(no_access(host));
            }
            let authorization = self.authorization(host, repository, &response, login).await?;
            response = request()
                .header(header::AUTHORIZATION, authorization)
                .send()
                .await
                .map_err(|error| unreachable(host, &error))?;
        }
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::NOT_FOUND => Err(Error::NotFound {
                kind: "component",
                name: reference.to_string(),
            }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(no_access(host)),
            other => Err(Error::Unavailable {
                message: format!("the registry {host} answered {}", other.as_u16()),
                retry_after: RETRY_AFTER,
            }),
        }
    }
}

impl fmt::Debug for Importer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Importer")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

// === impl WasmReference ===

impl FromStr for WasmReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(
                FIELD,
                "must be registry/repository@sha256:<64 hex digits>: what a tag means can change",
            )
        };
        let reference: Reference = text.parse().map_err(|_| wrong())?;
        let digest = reference.digest().ok_or_else(wrong)?.to_owned();
        match is_sha256(&digest) && !text.chars().any(char::is_control) {
            true => Ok(Self { reference, digest }),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for WasmReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}@{}",
            self.reference.registry(),
            self.reference.repository(),
            self.digest
        )
    }
}

/// The body, but an error if it is longer than said or other bytes than the digest's.
fn checked(response: Response, layer: OciDescriptor) -> BoxStream<'static, Result<Bytes>> {
    let size = u64::try_from(layer.size).unwrap_or(0);
    let state = Some((response.bytes_stream().boxed(), Sha256::new(), 0_u64));
    stream::unfold(state, move |state| {
        let digest = layer.digest.clone();
        async move {
            let (mut bytes, mut hasher, received) = state?;
            match bytes.next().await {
                Some(Ok(chunk)) => {
                    let received = received.saturating_add(chunk.len() as u64);
                    if received > size {
                        let error = Error::invalid(FIELD, "the registry sent more than the manifest says");
                        return Some((Err(error), None));
                    }
                    hasher.update(&chunk);
                    Some((Ok(chunk), Some((bytes, hasher, received))))
                }
                Some(Err(_)) => Some((Err(broke_off()), None)),
                None if format!("sha256:{}", hex::encode(hasher.finalize())) == digest => None,
                None => {
                    let error =
                        Error::invalid(FIELD, "the registry sent another component than the manifest's");
                    Some((Err(error), None))
                }
            }
        }
    })
    .boxed()
}

async fn read_all(response: Response, bytes_max: usize) -> Result<Bytes> {
    let body = response.bytes_stream().map_err(|_| broke_off());
    let read = body.try_fold(BytesMut::new(), async |mut read, chunk| {
        if read.len().saturating_add(chunk.len()) > bytes_max {
            return Err(Error::invalid(FIELD, "the registry's answer is too large"));
        }
        read.extend_from_slice(&chunk);
        Ok(read)
    });
    read.await.map(BytesMut::freeze)
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn is_sha256(digest: &str) -> bool {
    digest.parse::<ignite_core::ids::PluginDigest>().is_ok()
}

fn broke_off() -> Error {
    Error::Unavailable {
        message: "the registry's answer broke off".to_owned(),
        retry_after: RETRY_AFTER,
    }
}

/// The error's own text names addresses that are none of the caller's business.
fn unreachable(host: &str, error: &reqwest::Error) -> Error {
    tracing::info!(host, error = crate::clock::chain(error), "import.unreachable");
    Error::Unavailable {
        message: format!("the registry {host} could not be reached, or sent us to where we do not go"),
        retry_after: RETRY_AFTER,
    }
}

fn no_access(host: &str) -> Error {
    Error::FailedPrecondition {
        reason: "REGISTRY_REFUSED",
        message: format!(
            "the registry {host} does not let the gateway read it: store a login for it, or mend the one that is stored"
        ),
    }
}
