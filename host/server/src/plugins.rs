//! Organizations' plugins: their components in the blob store, their rows in the state.
//!
//! A component is kept once for each organization that has it, by its content: `<org>/<sha256>`. As with contexts, a row never
//! stands without its bytes: who stores holds on to the bytes until the row is written ([`Kept`]), and bytes are removed only
//! while nobody does.
//!
//! ```text
//!   upload, import ─▶ staging ─▶ admitted by the runtime ─▶ bytes in place ─▶ row
//!                     (gone on any failure)
//! ```

mod sweep;
#[cfg(test)]
mod tests;

use std::{io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use ignite_core::{
    ids::{OrgId, PluginDigest},
    policy::StoredPlugin,
};
use ignite_plugins::{AdmitError, Admitted, CallError, ComponentSource, Runtime};
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, local::LocalFileSystem, path::Path as Key};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedRwLockReadGuard, RwLock, Semaphore};

use crate::{
    clock,
    error::{Error, Result},
    sources::contexts::staging::{self, Staged},
    store::{PluginRow, Store, StoredRow},
};

/// Components that are held in memory and looked at at once; whoever comes then waits with its bytes on disk.
const ADMISSIONS_MAX: usize = 2;
/// Versions of all plugins of one organization together.
const PLUGINS_PER_ORG_MAX: usize = 1000;
/// When a plugin could not be asked because others run.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What was uploaded and imported.
#[derive(Debug)]
pub struct PluginStore {
    store: Arc<Store>,
    components: Arc<dyn ObjectStore>,
    staging: std::path::PathBuf,
    component_bytes_max: usize,
    admissions: Arc<Semaphore>,
    /// Shared from the moment bytes are in place until their row is; alone to remove bytes.
    lock: Arc<RwLock<()>>,
}

/// What a component is stored as, and on whose word.
#[derive(Debug)]
pub(crate) struct Submitted<'a> {
    pub(crate) org: &'a OrgId,
    pub(crate) subject: &'a str,
    /// Name and version that it must say it has; none for what is imported.
    pub(crate) expected: Option<(&'a str, &'a str)>,
    pub(crate) imported_from: Option<String>,
    /// Of the request, for what is wrong with the bytes.
    pub(crate) field: &'static str,
}

/// Bytes that are not removed while this lives.
struct Kept {
    _shared: OwnedRwLockReadGuard<()>,
}

// === impl PluginStore ===

impl PluginStore {
    /// Keeps components below `directory`, made if it is missing. What earlier uploads left unfinished is removed.
    pub fn local(directory: &Path, store: Arc<Store>, component_bytes_max: usize) -> io::Result<Self> {
        let components = directory.join("components");
        std::fs::create_dir_all(&components)?;
        let staging = directory.join("staging");
        staging::sweep(&staging)?;
        let components = LocalFileSystem::new_with_prefix(&components)
            .map_err(io::Error::other)?
            .with_fsync(true);
        Ok(Self {
            store,
            components: Arc::new(components),
            staging,
            component_bytes_max,
            admissions: Arc::new(Semaphore::new(ADMISSIONS_MAX)),
            lock: Arc::default(),
        })
    }

    /// Stores a component as it arrives. The same bytes again are fine.
    ///
    /// # Errors
    /// `InvalidArgument` for what cannot be taken or is not what was announced, `AlreadyExists` if the version has other bytes.
    pub(crate) async fn submit(
        &self,
        runtime: &Runtime,
        submitted: Submitted<'_>,
        bytes: impl Stream<Item = Result<Bytes>> + Send + Unpin,
    ) -> Result<StoredRow> {
        let staged = self.stage(submitted.field, bytes).await?;
        let _permit = self.admissions.acquire().await.map_err(Error::internal)?;
        let file = staged.finish().await.map_err(Error::internal)?.file;
        let component = Bytes::from(tokio::fs::read(file.path()).await.map_err(Error::internal)?);
        let admitted = runtime
            .admit(component.clone())
            .await
            .map_err(|error| refused(submitted.field, error))?;
        let digest = admitted.digest;
        let stored = self.keep(submitted, admitted, component).await;
        // Others may have the very same component.
        if stored.is_err() && !self.is_stored(&digest).await.unwrap_or(true) {
            runtime.evict(&digest).await;
        }
        stored
    }

    async fn stage(
        &self,
        field: &'static str,
        mut bytes: impl Stream<Item = Result<Bytes>> + Send + Unpin,
    ) -> Result<Staged> {
        let mut staged = Staged::new(&self.staging).map_err(Error::internal)?;
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk?;
            let max = self.component_bytes_max;
            if staged.size_bytes().saturating_add(chunk.len() as u64) > max as u64 {
                return Err(Error::invalid(
                    field,
                    format!("the component is larger than {max} bytes"),
                ));
            }
            staged.push(chunk).await.map_err(Error::internal)?;
        }
        if staged.size_bytes() == 0 {
            return Err(Error::invalid(
                field,
                "must be a WebAssembly component; it is empty",
            ));
        }
        Ok(staged)
    }

    async fn keep(
        &self,
        submitted: Submitted<'_>,
        admitted: Admitted,
        component: Bytes,
    ) -> Result<StoredRow> {
        let described = admitted.description;
        check_described(&submitted, &described.name, &described.version)?;
        let Submitted { org, subject, .. } = submitted;
        let new = StoredRow {
            name: described.name,
            version: described.version,
            row: PluginRow {
                digest: admitted.digest,
                size_bytes: admitted.size_bytes,
                summary: described.summary,
                hooks: admitted.hooks,
                imports: admitted.imports,
                config_schema: described.config_schema,
                created_at_ms: clock::now_ms(),
                created_by: subject.to_owned(),
                imported_from: submitted.imported_from,
            },
        };
        loop {
            let earlier = self.store.plugin(org, &new.name, &new.version).await?;
            match earlier {
                Some(earlier) if earlier.digest != new.row.digest => return Err(other_bytes(&new)),
                Some(_) => {}
                None => self.check_room(org).await?,
            }
            // Also where the row is there: records move by export and import, components do not.
            let _kept = self.place(org, &new.row.digest, &component).await?;
            if let Some(earlier) = earlier {
                return Ok(StoredRow { row: earlier, ..new });
            }
            if self
                .store
                .create_plugin(org, &new.name, &new.version, &new.row)
                .await?
            {
                tracing::info!(%org, plugin = new.name, version = new.version, digest = %new.row.digest, "plugin.stored");
                return Ok(new);
            }
        }
    }

    async fn check_room(&self, org: &OrgId) -> Result<()> {
        if self.store.count_plugins(org).await? < PLUGINS_PER_ORG_MAX {
            return Ok(());
        }
        Err(Error::ResourceExhausted {
            reason: "PLUGINS_FULL",
            subject: format!("organization:{org}"),
            message: format!(
                "the organization has {PLUGINS_PER_ORG_MAX} versions of plugins: delete some that no policy names"
            ),
            retry_after: None,
        })
    }

    async fn place(&self, org: &OrgId, digest: &PluginDigest, component: &Bytes) -> Result<Kept> {
        let kept = Kept {
            _shared: Arc::clone(&self.lock).read_owned().await,
        };
        self.components
            .put(&key(org, digest), PutPayload::from(component.clone()))
            .await
            .map_err(Error::internal)?;
        Ok(kept)
    }

    /// The organization's stored plugins, for a policy to be bound to.
    pub(crate) async fn stored(&self, org: &OrgId) -> Result<Vec<(String, StoredPlugin, String)>> {
        let rows = self.store.plugins(org).await?;
        let stored = |stored: StoredRow| {
            let plugin = StoredPlugin {
                version: stored.version,
                digest: stored.row.digest,
                hooks: stored.row.hooks,
            };
            (stored.name, plugin, stored.row.config_schema)
        };
        Ok(rows.into_iter().map(stored).collect())
    }

    /// Whether any organization has the component.
    async fn is_stored(&self, digest: &PluginDigest) -> io::Result<bool> {
        self.component(digest).await.map(|found| found.is_some())
    }

    async fn read(&self, key: &Key) -> io::Result<Option<Bytes>> {
        match self.components.get(key).await {
            Ok(found) => found.bytes().await.map(Some).map_err(io::Error::other),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

#[async_trait::async_trait]
impl ComponentSource for PluginStore {
    /// From whichever organization has it: the bytes are the same, and only a policy that was bound to a row of its own
    /// organization names the digest.
    async fn component(&self, digest: &PluginDigest) -> io::Result<Option<Bytes>> {
        let listed = self.components.list_with_delimiter(None).await;
        for org in listed.map_err(io::Error::other)?.common_prefixes {
            let key = org.join(hex::encode(digest.sha256()));
            let Some(component) = self.read(&key).await? else {
                continue;
            };
            if Sha256::digest(&component).as_slice() == digest.sha256().as_slice() {
                return Ok(Some(component));
            }
            tracing::error!(%key, "plugin.damaged");
        }
        Ok(None)
    }
}

fn key(org: &OrgId, digest: &PluginDigest) -> Key {
    Key::from_iter([org.as_str(), &hex::encode(digest.sha256())])
}

fn parse_key(key: &Key) -> Option<(OrgId, PluginDigest)> {
    let mut parts = key.parts();
    let (org, sha256) = (parts.next()?, parts.next()?);
    let digest = format!("{}{}", PluginDigest::PREFIX, sha256.as_ref());
    Some((org.as_ref().parse().ok()?, digest.parse().ok()?))
}

fn check_described(submitted: &Submitted<'_>, name: &str, version: &str) -> Result<()> {
    let Some((expected_name, expected_version)) = submitted.expected else {
        return Ok(());
    };
    if (expected_name, expected_version) == (name, version) {
        return Ok(());
    }
    let field = if expected_name == name { "version" } else { "name" };
    Err(Error::invalid(
        field,
        format!(
            "must be what the component calls itself: it says {name} {version}, the request {expected_name} {expected_version}"
        ),
    ))
}

fn other_bytes(new: &StoredRow) -> Error {
    Error::AlreadyExists {
        reason: "PLUGIN_VERSION_EXISTS",
        message: format!(
            "{} {} is stored with other bytes, and a version never changes: raise the version",
            new.name, new.version
        ),
    }
}

fn refused(field: &'static str, error: AdmitError) -> Error {
    match error {
        AdmitError::Describe(CallError::Busy) => Error::Unavailable {
            message: "too many plugins run at once".to_owned(),
            retry_after: RETRY_AFTER,
        },
        AdmitError::TooLarge { .. } | AdmitError::Refused(_) | AdmitError::Describe(_) => {
            Error::invalid(field, clock::chain(&error))
        }
        AdmitError::Runtime(error) => Error::internal(error),
    }
}
