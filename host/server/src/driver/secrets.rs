//! What a run is given of its organization's secrets.
//!
//! Taken when a run starts and on disk before an executor hears of it, so that a restart hands over and redacts by the same.
//! A run that has no row was started when nothing was stored, or no executor has heard of it: what is stored now will do for it.

use ignite_core::{
    build::{Build, Failure, FailureReason},
    ids::RunId,
    spec::{BuildSpec, MissingSecrets},
};

use super::Driver;
use crate::{error::Result, secrets::Snapshot, store::RunSecretsRow, vault::Purpose};

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
        let sealed = parts.vault.seal_record(&build.org, purpose, &snapshot).await?;
        parts
            .store
            .put_run_secrets(&RunSecretsRow { run, sealed })
            .await?;
    }
    Ok(snapshot)
}

/// Why a build does not run whose args name what is not stored.
pub(super) fn missing(missing: &MissingSecrets) -> Failure {
    Failure {
        reason: FailureReason::SecretMissing,
        message: missing.to_string(),
    }
}
