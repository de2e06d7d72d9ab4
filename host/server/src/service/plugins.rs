//! PluginService: an organization's components, stored, looked at and removed.

use std::cmp::Reverse;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::stream::BoxStream;
use ignite_core::{hook::Hook, request::FieldViolation};
use ignite_proto::v1;

use super::{Service, list_limit};
use crate::{
    error::{Error, Result},
    plugins::Submitted,
    principal::{Principal, Scope},
    registry::import::WasmReference,
    store::{PluginPlace, StoredRow},
};

/// Of a name or version that was not found, in the error that says so.
const SHOWN_CHARS_MAX: usize = 64;
/// A deletion that finds another policy came in between looks again so often.
const DELETE_TRIES: u32 = 8;

impl Service {
    /// Both transports' upload: name and version, then the component's bytes as they arrive.
    pub async fn upload_plugin(
        &self,
        caller: &Principal,
        metadata: v1::UploadPluginMetadata,
        component: BoxStream<'static, Result<Bytes>>,
    ) -> Result<v1::UploadPluginResponse> {
        caller.require(Scope::PluginsWrite)?;
        check_metadata(&metadata)?;
        let submitted = Submitted {
            org: &caller.org,
            subject: &caller.subject,
            expected: Some((&metadata.name, &metadata.version)),
            imported_from: None,
            field: "chunk",
        };
        let stored = self
            .plugins
            .submit(self.policies.runtime(), submitted, component)
            .await?;
        Ok(v1::UploadPluginResponse {
            plugin: Some(shown(stored)),
        })
    }

    pub async fn import_plugin(
        &self,
        caller: &Principal,
        request: v1::ImportPluginRequest,
    ) -> Result<v1::ImportPluginResponse> {
        caller.require(Scope::PluginsWrite)?;
        let reference: WasmReference = request.reference.parse()?;
        let logins = self.secrets.load(&caller.org).await?.into_registry_logins();
        let component = self.importer.component(&reference, &logins).await?;
        let submitted = Submitted {
            org: &caller.org,
            subject: &caller.subject,
            expected: None,
            imported_from: Some(reference.to_string()),
            field: "reference",
        };
        let stored = self
            .plugins
            .submit(self.policies.runtime(), submitted, component)
            .await?;
        Ok(v1::ImportPluginResponse {
            plugin: Some(shown(stored)),
        })
    }

    pub async fn list_plugins(
        &self,
        caller: &Principal,
        request: v1::ListPluginsRequest,
    ) -> Result<v1::ListPluginsResponse> {
        caller.require(Scope::PluginsRead)?;
        let limit = list_limit(request.limit)?;
        let after =
            match request.cursor.as_str() {
                "" => None,
                text => Some(read_cursor(text).ok_or_else(|| {
                    Error::invalid("cursor", "must be the next_cursor of an earlier answer")
                })?),
            };
        let (page, more) = self.store.list_plugins(&caller.org, after, limit).await?;
        let last = page.last().filter(|_| more);
        let next_cursor = last.map(|last| cursor(&last.place())).unwrap_or_default();
        Ok(v1::ListPluginsResponse {
            plugins: page.into_iter().map(shown).collect(),
            next_cursor,
        })
    }

    pub async fn get_plugin(
        &self,
        caller: &Principal,
        request: v1::GetPluginRequest,
    ) -> Result<v1::GetPluginResponse> {
        caller.require(Scope::PluginsRead)?;
        let found = self.find_plugins(caller, &request.name, &request.version).await?;
        let newest = found
            .into_iter()
            .next()
            .ok_or_else(|| not_found(&request.name, &request.version))?;
        Ok(v1::GetPluginResponse {
            plugin: Some(shown(newest)),
        })
    }

    pub async fn delete_plugin(
        &self,
        caller: &Principal,
        request: v1::DeletePluginRequest,
    ) -> Result<v1::DeletePluginResponse> {
        caller.require(Scope::PluginsWrite)?;
        for _ in 0..DELETE_TRIES {
            let found = self.find_plugins(caller, &request.name, &request.version).await?;
            let in_force = self.store.policy_in_force(&caller.org).await?;
            if let Some(in_force) = in_force
                && let Some(policy) = self.policies.revision(&caller.org, in_force.revision).await?
            {
                let named = |stored: &&StoredRow| {
                    let same = |entry: &ignite_core::policy::ResolvedEntry| {
                        entry.plugin == stored.name && entry.version == stored.version
                    };
                    policy.entries.iter().any(same)
                };
                if let Some(stored) = found.iter().find(named) {
                    return Err(in_use(stored, in_force.revision));
                }
            }
            if self.store.delete_plugins(&caller.org, &found, in_force).await? {
                tracing::info!(org = %caller.org, plugin = request.name, versions = found.len(), "plugin.deleted");
                return Ok(v1::DeletePluginResponse {});
            }
        }
        Err(Error::Aborted {
            reason: "POLICY_CHANGED",
            message: "the policy keeps changing: try again".to_owned(),
        })
    }

    /// The versions of a plugin that are meant, the one stored last first; never none.
    async fn find_plugins(&self, caller: &Principal, name: &str, version: &str) -> Result<Vec<StoredRow>> {
        if name.is_empty() {
            return Err(Error::invalid("name", "is required"));
        }
        let mut versions = match name.contains('\0') {
            true => Vec::new(),
            false => self.store.plugin_versions(&caller.org, name).await?,
        };
        if !version.is_empty() {
            versions.retain(|stored| stored.version == version);
        }
        match versions.is_empty() {
            true => Err(not_found(name, version)),
            false => Ok(versions),
        }
    }
}

fn check_metadata(metadata: &v1::UploadPluginMetadata) -> Result<()> {
    let mut violations = Vec::new();
    let mut wrong = |field: &str, description: &str| {
        violations.push(FieldViolation {
            field: field.to_owned(),
            description: description.to_owned(),
        });
    };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let name = &metadata.name;
    if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) {
        wrong(
            "name",
            "must be the plugin's name: lower-case letters, digits and dashes, at most 63",
        );
    }
    if semver::Version::parse(&metadata.version).is_err() {
        wrong("version", "must be a semantic version such as 1.2.0");
    }
    match violations.is_empty() {
        true => Ok(()),
        false => Err(Error::InvalidArgument(violations)),
    }
}

fn shown(stored: StoredRow) -> v1::Plugin {
    let row = stored.row;
    v1::Plugin {
        name: stored.name,
        version: stored.version,
        digest: row.digest.to_string(),
        size_bytes: i64::try_from(row.size_bytes).unwrap_or(i64::MAX),
        summary: row.summary,
        hooks: row.hooks.into_iter().map(|hook: Hook| hook.to_string()).collect(),
        imports: row.imports,
        config_schema: row.config_schema,
        created_at_ms: row.created_at_ms,
        created_by: row.created_by,
        imported_from: row.imported_from.unwrap_or_default(),
    }
}

fn cursor(place: &PluginPlace) -> String {
    let text = format!("{}\0{}\0{}", place.name, place.created_at_ms.0, place.version.0);
    URL_SAFE_NO_PAD.encode(text)
}

fn read_cursor(text: &str) -> Option<PluginPlace> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let mut parts = text.split('\0');
    let place = PluginPlace {
        name: parts.next()?.to_owned(),
        created_at_ms: Reverse(parts.next()?.parse().ok()?),
        version: Reverse(parts.next()?.to_owned()),
    };
    parts.next().is_none().then_some(place)
}

fn not_found(name: &str, version: &str) -> Error {
    let mut shown: String = name.chars().take(SHOWN_CHARS_MAX).collect();
    if !version.is_empty() {
        shown.push('@');
        shown.extend(version.chars().take(SHOWN_CHARS_MAX));
    }
    Error::NotFound {
        kind: "plugin",
        name: shown,
    }
}

fn in_use(stored: &StoredRow, revision: u64) -> Error {
    Error::FailedPrecondition {
        reason: "PLUGIN_IN_USE",
        message: format!(
            "the policy in force, revision {revision}, names {} {}: put a policy without it first",
            stored.name, stored.version
        ),
    }
}
