//! What a run is given of its organization's secrets.
//!
//! Taken when a run starts and on disk before an executor hears of it, so that a restart hands over and redacts by the same.
//! A run that has no row was started when nothing was stored, or no executor has heard of it: what is stored now will do for it.
//! A value that is stored while a run is under way, as when a login is replaced, is hidden in its log from then on.

use ignite_core::{
    build::{Build, Failure, FailureReason},
    ids::RunId,
    secrets::SecretText,
    spec::{BuildSpec, MissingSecrets},
};

use super::Driver;
use crate::{error::Result, secrets::Snapshot, store::RunSecretsRow, vault::Purpose};

/// What a run under way knows of the stored secrets.
pub(super) struct Known {
    pub(super) snapshot: Snapshot,
    /// None: since it was taken, possibly by an earlier process, something may have changed.
    generation: Option<u64>,
}

impl Known {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            generation: None,
        }
    }

    /// What was stored since the last look and is to be hidden from now on. On disk when this returns: a restart hides it too.
    pub(super) async fn look(
        &mut self,
        driver: &Driver,
        build: &Build,
        run: RunId,
        spec: &BuildSpec,
    ) -> Result<Vec<SecretText>> {
        let parts = &driver.parts;
        let generation = parts.secrets.generation();
        if self.generation == Some(generation) {
            return Ok(Vec::new());
        }
        let new = self.snapshot.hide(parts.secrets.load(&build.org).await?, spec);
        if !new.is_empty() {
            keep(driver, build, run, &self.snapshot).await?;
        }
        self.generation = Some(generation);
        Ok(new)
    }
}

/// That of this run; taken now if it was not before.
pub(super) async fn of_run(driver: &Driver, build: &Build, run: RunId, spec: &BuildSpec) -> Result<Snapshot> {
    let parts = &driver.parts;
    let purpose = Purpose::RunSecrets(run);
    if let Some(row) = parts.store.run_secrets(build.id).await?
        && row.run == run
    {
        return Ok(parts.vault.open_record(&build.org, purpose, &row.sealed).await?);
    }
    let snapshot = Snapshot::take(parts.secrets.load(&build.org).await?, spec);
    if !snapshot.is_empty() {
        keep(driver, build, run, &snapshot).await?;
    }
    Ok(snapshot)
}

async fn keep(driver: &Driver, build: &Build, run: RunId, snapshot: &Snapshot) -> Result<()> {
    let parts = &driver.parts;
    let purpose = Purpose::RunSecrets(run);
    let sealed = parts.vault.seal_record(&build.org, purpose, snapshot).await?;
    let row = RunSecretsRow { run, sealed };
    Ok(parts.store.put_run_secrets(&row).await?)
}

/// Why a build does not run whose args name what is not stored.
pub(super) fn missing(missing: &MissingSecrets) -> Failure {
    Failure {
        reason: FailureReason::SecretMissing,
        message: missing.to_string(),
    }
}
