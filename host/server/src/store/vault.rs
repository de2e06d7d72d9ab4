//! The vault's keys, wrapped, and the sealed rows of all kinds as a rotation of keys sees them.

use ignite_core::ids::{BuildId, OrgId, RunId};
use serde::{Deserialize, Serialize};

use super::{
    Store, StoreError,
    batch::Batch,
    schema::{
        BUILDS, Blob, BuildKey, DataKeyKey, META, MetaKey, REDACTIONS, RUN_SECRETS, SECRETS, SPECS, VAULT,
    },
    table::KeyRange,
};

/// The value in stores without data keys that only the master key opens.
const OLD_KEY_CHECK: &str = "vault.key_check";
const ROOT: &str = "vault.root";

/// An organization's data key, wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKey {
    pub org: OrgId,
    /// From 1; the greatest is the one that seals.
    pub id: u32,
    pub wrapped: Vec<u8>,
}

/// What is sealed of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRows {
    pub org: OrgId,
    pub build: BuildId,
    pub spec: Option<Vec<u8>>,
    pub redaction: Option<Vec<u8>>,
    pub run_secrets: Option<(RunId, Vec<u8>)>,
}

/// What a build's last run was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSecretsRow {
    pub run: RunId,
    #[serde(with = "serde_bytes")]
    pub sealed: Vec<u8>,
}

// === impl Store ===

impl Store {
    /// The keys that are not an organization's; None in a store that has no data keys yet.
    pub async fn vault_root(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.meta(MetaKey(ROOT.to_owned())).await
    }

    pub async fn old_key_check(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.meta(MetaKey(OLD_KEY_CHECK.to_owned())).await
    }

    /// Begins a vault with data keys; what it had before to check its key by is removed.
    pub async fn begin_vault(&self, root: Vec<u8>) -> Result<(), StoreError> {
        let key = MetaKey(ROOT.to_owned());
        let mut batch = Batch::new();
        batch.require_absent(&META, &key).put(&META, &key, &Blob(root))?;
        batch.delete(&META, &MetaKey(OLD_KEY_CHECK.to_owned()));
        Ok(self.committer.commit(batch).await?)
    }

    /// Of one organization, by id.
    pub async fn data_keys(&self, org: &OrgId) -> Result<Vec<DataKey>, StoreError> {
        self.data_keys_in(DataKeyKey::range(org)).await
    }

    /// Of all organizations, by organization and id.
    pub async fn all_data_keys(&self) -> Result<Vec<DataKey>, StoreError> {
        self.data_keys_in(KeyRange::all()).await
    }

    async fn data_keys_in(&self, range: KeyRange<DataKeyKey>) -> Result<Vec<DataKey>, StoreError> {
        self.read(move |db| {
            let rows = db.scan(&VAULT, range)?.map(|row| {
                let (DataKeyKey { org, id }, Blob(wrapped)) = row?;
                Ok(DataKey { org, id, wrapped })
            });
            rows.collect()
        })
        .await
    }

    /// All or none; false if one of them is there already.
    pub async fn put_data_keys_once(&self, keys: Vec<DataKey>) -> Result<bool, StoreError> {
        let mut batch = Batch::new();
        for DataKey { org, id, wrapped } in keys {
            let key = DataKeyKey { org, id };
            batch
                .require_absent(&VAULT, &key)
                .put(&VAULT, &key, &Blob(wrapped))?;
        }
        self.committed(batch).await
    }

    /// Replaces the root, replaces these data keys and removes those: all at once.
    pub async fn replace_data_keys(
        &self,
        root: Vec<u8>,
        replaced: Vec<DataKey>,
        removed: Vec<DataKey>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.put(&META, &MetaKey(ROOT.to_owned()), &Blob(root))?;
        for DataKey { org, id, wrapped } in replaced {
            batch.put(&VAULT, &DataKeyKey { org, id }, &Blob(wrapped))?;
        }
        for DataKey { org, id, .. } in removed {
            batch.delete(&VAULT, &DataKeyKey { org, id });
        }
        Ok(self.committer.commit(batch).await?)
    }

    /// What is sealed of the builds behind `after`, at most `limit` of them, by organization and age.
    pub async fn sealed_rows(
        &self,
        after: Option<(OrgId, BuildId)>,
        limit: usize,
    ) -> Result<Vec<SealedRows>, StoreError> {
        let after = after.map(|(org, id)| BuildKey { org, id });
        self.read(move |db| {
            let range = match &after {
                Some(key) => KeyRange::all().starting_at(key),
                None => KeyRange::all(),
            };
            let rows = db.scan(&BUILDS, range)?;
            let behind = rows.filter(|row| match row {
                Ok((key, _)) => Some(key) != after.as_ref(),
                Err(_) => true,
            });
            let sealed = behind.take(limit).map(|row| {
                let (BuildKey { org, id }, _) = row?;
                Ok(SealedRows {
                    org,
                    build: id,
                    spec: db.get(&SPECS, &id)?.map(|blob| blob.0),
                    redaction: db.get(&REDACTIONS, &id)?.map(|blob| blob.0),
                    run_secrets: db.get(&RUN_SECRETS, &id)?.map(|row| (row.run, row.sealed)),
                })
            });
            sealed.collect()
        })
        .await
    }

    /// Replaces those rows that are given.
    pub async fn put_sealed_rows(&self, rows: SealedRows) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        if let Some(sealed) = rows.spec {
            batch.put(&SPECS, &rows.build, &Blob(sealed))?;
        }
        if let Some(sealed) = rows.redaction {
            batch.put(&REDACTIONS, &rows.build, &Blob(sealed))?;
        }
        if let Some((run, sealed)) = rows.run_secrets {
            batch.put(&RUN_SECRETS, &rows.build, &RunSecretsRow { run, sealed })?;
        }
        Ok(self.committer.commit(batch).await?)
    }

    /// What the organization keeps for its builds, sealed.
    pub async fn secrets(&self, org: &OrgId) -> Result<Option<Vec<u8>>, StoreError> {
        let org = org.clone();
        self.read(move |db| Ok(db.get(&SECRETS, &org)?.map(|blob| blob.0)))
            .await
    }

    pub async fn all_secrets(&self) -> Result<Vec<(OrgId, Vec<u8>)>, StoreError> {
        self.read(|db| {
            let rows = db.scan(&SECRETS, KeyRange::all())?;
            rows.map(|row| row.map(|(org, blob)| (org, blob.0)).map_err(Into::into))
                .collect()
        })
        .await
    }

    /// Replaces it, or removes it. Once that is on disk `stored` runs on the writing thread, in the order of commits.
    pub async fn put_secrets(
        &self,
        org: &OrgId,
        sealed: Option<Vec<u8>>,
        stored: impl FnOnce() + Send + 'static,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        match sealed {
            Some(sealed) => batch.put(&SECRETS, org, &Blob(sealed))?,
            None => batch.delete(&SECRETS, org),
        };
        batch.when_committed(stored);
        Ok(self.committer.commit(batch).await?)
    }

    /// What the build's last run that was given anything was given.
    pub async fn run_secrets(&self, build: BuildId) -> Result<Option<RunSecretsRow>, StoreError> {
        self.read(move |db| Ok(db.get(&RUN_SECRETS, &build)?)).await
    }

    /// Kept until the build has ended.
    pub async fn put_run_secrets(&self, row: &RunSecretsRow) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.put(&RUN_SECRETS, &row.run.build, row)?;
        Ok(self.committer.commit(batch).await?)
    }
}
