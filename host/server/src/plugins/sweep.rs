//! Removes components that nothing can ask for any more.
//!
//! A component goes when its organization has no row of it and no policy names it that may still be in use. A build keeps to the
//! revision that judged it until it is over and what is announced of it is delivered; rather than ask each build, all revisions
//! are spared that were in force at some time since the organization's oldest build that is not over, and for a month besides.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use ignite_core::ids::{OrgId, PluginDigest};
use ignite_plugins::Runtime;
use object_store::ObjectStoreExt as _;

use super::{PluginStore, key, parse_key};
use crate::{
    clock,
    error::{Error, Result},
};

/// Longer than announcements are tried for, and than a build is held.
pub(super) const SPARED_MS: i64 = 30 * 86_400_000;
/// Revisions read at once.
const PAGE: usize = 64;

// === impl PluginStore ===

impl PluginStore {
    /// Removes the components that nothing can ask for, their compiled form too.
    pub(crate) async fn sweep(&self, runtime: &Runtime) -> Result<()> {
        for digest in self.sweep_at(clock::now_ms()).await? {
            if !self.is_stored(&digest).await.map_err(Error::internal)? {
                runtime.evict(&digest).await;
            }
        }
        Ok(())
    }

    /// Those that were removed.
    pub(super) async fn sweep_at(&self, now_ms: i64) -> Result<Vec<PluginDigest>> {
        let mut stored: BTreeMap<OrgId, BTreeSet<PluginDigest>> = BTreeMap::new();
        let mut listed = self.components.list(None);
        while let Some(object) = listed.try_next().await.map_err(Error::internal)? {
            if let Some((org, digest)) = parse_key(&object.location) {
                stored.entry(org).or_default().insert(digest);
            }
        }
        let mut swept = Vec::new();
        for (org, digests) in stored {
            let named = self.store.components(&org).await?;
            if !digests.is_subset(&named) {
                swept.extend(self.sweep_organization(&org, &digests, now_ms).await?);
            }
        }
        Ok(swept)
    }

    async fn sweep_organization(
        &self,
        org: &OrgId,
        digests: &BTreeSet<PluginDigest>,
        now_ms: i64,
    ) -> Result<Vec<PluginDigest>> {
        // Nobody is between bytes and row now, and whoever comes later puts the bytes in place again.
        let _alone = self.lock.write().await;
        self.store.settle_plugins(org).await?;
        let mut named = self.store.components(org).await?;
        named.extend(self.pinned(org, now_ms).await?);
        let unnamed: Vec<PluginDigest> = digests.difference(&named).copied().collect();
        for digest in &unnamed {
            match self.components.delete(&key(org, digest)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {
                    tracing::info!(%org, %digest, "plugin.swept");
                }
                Err(error) => return Err(Error::internal(error)),
            }
        }
        Ok(unnamed)
    }

    /// What the policies name that may still be in use.
    async fn pinned(&self, org: &OrgId, now_ms: i64) -> Result<BTreeSet<PluginDigest>> {
        let live = self.store.live_builds().await?;
        let oldest_ms = live
            .iter()
            .filter(|build| build.org == *org)
            .map(|build| build.created_at_ms)
            .min();
        let since_ms = oldest_ms.unwrap_or(now_ms).min(now_ms.saturating_sub(SPARED_MS));
        let (mut pinned, mut before) = (BTreeSet::new(), None);
        loop {
            let (page, more) = self.store.policy_revisions(org, before, PAGE).await?;
            for row in &page {
                pinned.extend(row.policy.entries.iter().map(|entry| entry.digest));
                // The newest of those that were put before: it was still in force then.
                if row.updated_at_ms < since_ms {
                    return Ok(pinned);
                }
            }
            before = page.last().map(|row| row.policy.revision);
            if !more || before.is_none() {
                return Ok(pinned);
            }
        }
    }
}
