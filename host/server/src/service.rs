//! The one implementation of every RPC; the transports in [`crate::api`] only decode, authenticate and encode.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use ignite_core::{
    build::{Build, Status, judgement::add_reports},
    ids::{BuildId, ContextId},
    request::{self, Rules},
    spec::{BuildSpec, Source},
};
use ignite_proto::v1;
use prost::Message as _;

use crate::{
    clock,
    driver::Driver,
    error::{Error, Result},
    hooks::Gates,
    logs::{follow, replay},
    outbox::Outbox,
    plugins::PluginStore,
    policies::Policies,
    principal::{Principal, Scope},
    registry::import::Importer,
    secrets::Secrets,
    sources::contexts::{ContextStore, StoredContext, UploadLimits, grants::ContextGrants},
    store::{BuildFilter, ContextRow, Created, Idempotency, Store, StoreError, logs::LogStore},
    unsaid::Unsaid,
    vault::Vault,
};

mod approving;
mod convert;
mod dry_run;
mod judging;
mod notifications;
mod plugins;
mod policies;
mod run_context;
mod secrets;
#[cfg(test)]
mod tests;

use judging::Judgement;
pub(crate) use run_context::refused;

/// A server-streaming response.
pub type Streaming<T> = BoxStream<'static, Result<T>>;

/// How long CancelBuild waits for a running build to be over before it answers with what is.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

const LIST_LIMIT_DEFAULT: usize = 20;
const LIST_LIMIT_MAX: usize = 100;

/// Of an id that is none, in the error that says so.
const BUILD_ID_SHOWN_CHARS_MAX: usize = 64;

/// Of what an upload says it is for: nobody but people reads it.
const CONTEXT_NAME_BYTES_MAX: usize = 255;

#[derive(Debug)]
pub struct Service {
    pub(crate) rules: Rules,
    pub(crate) upload_limits: UploadLimits,
    pub(crate) store: Arc<Store>,
    pub(crate) logs: Arc<LogStore>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) contexts: Arc<ContextStore>,
    /// What lets a run read its context.
    pub(crate) grants: Arc<ContextGrants>,
    pub(crate) driver: Arc<Driver>,
    pub policies: Arc<Policies>,
    /// The same, as the path of a build sees them.
    pub(crate) gates: Arc<dyn Gates>,
    pub(crate) plugins: Arc<PluginStore>,
    /// Speaks to the registries that plugins are imported from.
    pub(crate) importer: Importer,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) unsaid: Unsaid,
    /// Milliseconds, and how many ids those had before.
    pub(crate) last_id: Mutex<(u64, u16)>,
}

impl Service {
    pub async fn create_build(
        &self,
        caller: &Principal,
        request: v1::CreateBuildRequest,
    ) -> Result<v1::CreateBuildResponse> {
        caller.require(Scope::BuildsWrite)?;
        let idempotency = idempotency(&self.vault, &request);
        let inline = match &request.source {
            Some(v1::create_build_request::Source::ZippedCode(bytes)) => Some(bytes.clone()),
            _ => None,
        };
        let submission = convert::submission(request);
        if let Some(what) = submission.unsupported() {
            return Err(Error::Unimplemented { what });
        }
        let spec = request::check(submission, &self.rules).map_err(Error::InvalidArgument)?;
        let (id, status) = match self.replayed(caller, idempotency.as_ref()).await? {
            Some(earlier) => earlier,
            None => {
                let stored = self.secrets.names(&caller.org).await?;
                let spec = spec.with_stored_secrets(stored.iter().map(String::as_str));
                self.admit(caller, spec, inline, idempotency).await?
            }
        };
        Ok(v1::CreateBuildResponse {
            build_id: id.to_string(),
            status: convert::status(status).into(),
        })
    }

    pub async fn get_build(
        &self,
        caller: &Principal,
        request: v1::GetBuildRequest,
    ) -> Result<v1::GetBuildResponse> {
        caller.require(Scope::BuildsRead)?;
        let build = self.find(caller, &request.build_id).await?;
        Ok(v1::GetBuildResponse {
            build: Some(self.show(&build)),
        })
    }

    pub async fn list_builds(
        &self,
        caller: &Principal,
        request: v1::ListBuildsRequest,
    ) -> Result<v1::ListBuildsResponse> {
        caller.require(Scope::BuildsRead)?;
        let limit = list_limit(request.limit)?;
        let cursor = match request.cursor.as_str() {
            "" => None,
            text => Some(
                text.parse::<BuildId>()
                    .map_err(|_| Error::invalid("cursor", "must be the next_cursor of an earlier answer"))?,
            ),
        };
        let filter = BuildFilter {
            status: convert::status_filter(request.status_filter)?,
            name: Some(request.name_filter).filter(|name| !name.is_empty()),
            labels: request.label_filter,
        };
        let page = self.store.list_builds(&caller.org, filter, cursor, limit).await?;
        Ok(v1::ListBuildsResponse {
            builds: page.builds.iter().map(|build| self.show(build)).collect(),
            next_cursor: page.next.map(|id| id.to_string()).unwrap_or_default(),
        })
    }

    pub async fn stream_build_logs(
        &self,
        caller: &Principal,
        request: v1::StreamBuildLogsRequest,
    ) -> Result<Streaming<v1::BuildLogChunk>> {
        caller.require(Scope::BuildsRead)?;
        let build = self.find(caller, &request.build_id).await?;
        let live = self.driver.live(build.id);
        let end_offset = match &live {
            Some(live) => live.log().end_offset(),
            None => self.stored_end(build.id).await?,
        };
        let from = match request.offset {
            0 if request.from_start => 0,
            0 => end_offset,
            offset if offset > end_offset => {
                let description = format!("is behind the end: the log has {end_offset} bytes so far");
                return Err(Error::invalid("offset", description));
            }
            offset => offset,
        };
        let logs = Arc::clone(&self.logs);
        Ok(match live {
            Some(live) => follow(logs, Arc::clone(live.log()), build.id, from),
            None => replay(logs, build.id, from),
        })
    }

    pub async fn watch_build(
        &self,
        caller: &Principal,
        request: v1::WatchBuildRequest,
    ) -> Result<Streaming<v1::Build>> {
        caller.require(Scope::BuildsRead)?;
        let build = self.find(caller, &request.build_id).await?;
        Ok(match self.driver.live(build.id) {
            Some(live) => convert::watch(Arc::clone(&self.driver), &live),
            // It may have ended since it was found.
            None => {
                let build = self.find(caller, &request.build_id).await?;
                futures::stream::iter([Ok(self.show(&build))]).boxed()
            }
        })
    }

    pub async fn cancel_build(
        &self,
        caller: &Principal,
        request: v1::CancelBuildRequest,
    ) -> Result<v1::CancelBuildResponse> {
        caller.require(Scope::BuildsWrite)?;
        let build = self.find(caller, &request.build_id).await?;
        let status = match self.driver.live(build.id) {
            Some(live) => self.driver.cancel(&live, CANCEL_PATIENCE).await?.status,
            None => self.find(caller, &request.build_id).await?.status,
        };
        Ok(v1::CancelBuildResponse {
            status: convert::status(status).into(),
        })
    }

    pub async fn retry_build(
        &self,
        caller: &Principal,
        request: v1::RetryBuildRequest,
    ) -> Result<v1::RetryBuildResponse> {
        caller.require(Scope::BuildsWrite)?;
        let idempotency = retry_idempotency(&self.vault, &request);
        let earlier = self.find(caller, &request.build_id).await?;
        if let Some((id, status)) = self.replayed(caller, idempotency.as_ref()).await? {
            return Ok(v1::RetryBuildResponse {
                build_id: id.to_string(),
                status: convert::status(status).into(),
            });
        }
        let sealed = self
            .store
            .spec(earlier.id)
            .await?
            .ok_or(StoreError::Dangling(earlier.id))?;
        let spec = self.vault.open_spec(&caller.org, earlier.id, &sealed).await?;
        let there = match spec.source() {
            Source::Archive(context) => self.touch_context(caller, context).await?,
            Source::Git(_) => true,
        };
        if !there {
            return Err(Error::FailedPrecondition {
                reason: "CONTEXT_EXPIRED",
                message: format!(
                    "the context of {} has expired: create a new build with it",
                    request.build_id
                ),
            });
        }
        let stored = self.secrets.names(&caller.org).await?;
        if let Some(gone) = spec.stored_secrets().find(|name| !stored.contains(*name)) {
            return Err(Error::FailedPrecondition {
                reason: "SECRET_MISSING",
                message: format!(
                    "{} takes the value of an arg from the stored secret {gone}, which is not stored any more: store it \
                     again, or create a new build",
                    request.build_id
                ),
            });
        }
        // As it ran: what rewriters made of it then is what they, or those of today's policy, are shown now.
        let (id, status) = self.admit(caller, spec, None, idempotency).await?;
        Ok(v1::RetryBuildResponse {
            build_id: id.to_string(),
            status: convert::status(status).into(),
        })
    }

    /// Both transports' upload: the metadata, then the archive's bytes as they arrive.
    pub async fn upload_build_context(
        &self,
        caller: &Principal,
        metadata: v1::UploadBuildContextMetadata,
        archive: BoxStream<'static, Result<Bytes>>,
    ) -> Result<v1::UploadBuildContextResponse> {
        caller.require(Scope::BuildsWrite)?;
        if metadata.name.is_empty() {
            return Err(Error::invalid(
                "metadata.name",
                "is required: what the context is for",
            ));
        }
        if metadata.name.len() > CONTEXT_NAME_BYTES_MAX || metadata.name.contains(char::is_control) {
            let description =
                format!("must be at most {CONTEXT_NAME_BYTES_MAX} bytes, without control characters");
            return Err(Error::invalid("metadata.name", description));
        }
        let expected_size_bytes = u64::try_from(metadata.expected_size_bytes).map_err(|_| {
            Error::invalid(
                "metadata.expected_size_bytes",
                "must not be negative; 0 means unknown",
            )
        })?;
        let stored = self
            .contexts
            .upload(&caller.org, archive, expected_size_bytes, &self.upload_limits)
            .await?;
        self.record_context(caller, &stored, metadata.name).await?;
        Ok(v1::UploadBuildContextResponse {
            context_id: stored.id.to_string(),
            size_bytes: i64::try_from(stored.size_bytes).unwrap_or(i64::MAX),
            sha256: stored.id.sha256_hex(),
        })
    }

    /// Has a checked specification judged and makes a build of what came of it; its context is stored if it came inline.
    async fn admit(
        &self,
        caller: &Principal,
        spec: BuildSpec,
        inline: Option<Bytes>,
        idempotency: Option<Idempotency>,
    ) -> Result<(BuildId, Status)> {
        let id = self.next_id();
        let gate = self.gates.in_force(&caller.org).await?;
        let mut judgement = match &gate {
            Some(gate) => self.judge(caller, id, spec, gate.as_ref()).await?,
            None => Judgement::unjudged(spec),
        };
        if let Source::Archive(context) = judgement.spec.source() {
            self.have_context(caller, context, inline, judgement.spec.name())
                .await?;
        }
        if let Some(gate) = &gate {
            self.inspect_archive(caller, id, &mut judgement, gate.as_ref())
                .await?;
        }
        self.accept(caller, id, judgement, idempotency).await
    }

    /// Makes a build of what was judged; durable when this returns.
    async fn accept(
        &self,
        caller: &Principal,
        id: BuildId,
        judgement: Judgement,
        idempotency: Option<Idempotency>,
    ) -> Result<(BuildId, Status)> {
        let spec = &judgement.spec;
        let mut build = Build::new(id, caller.org.clone(), caller.subject.clone(), spec);
        build.policy_revision = judgement.policy_revision;
        build.inspected = judgement.inspected;
        add_reports(&mut build.hook_reports, judgement.reports);
        if !judgement.hold.is_empty() {
            build = build.held(judgement.hold);
        }
        let build = Arc::new(build);
        let sealed = self.vault.seal_spec(&caller.org, id, spec).await?;
        match self.driver.create(build, sealed, idempotency).await? {
            Some(Created::New) => {
                tracing::info!(build = %id, org = %caller.org, subject = %caller.subject, "build.accepted");
                Ok((id, Status::Pending))
            }
            Some(Created::Replayed(earlier)) => Ok((earlier, self.load(caller, earlier).await?.status)),
            Some(Created::KeyReused) => Err(key_reused()),
            None => Err(Error::ResourceExhausted {
                reason: "QUEUE_FULL",
                subject: format!("organization:{}", caller.org),
                message: "too many builds of the organization are pending".to_owned(),
                retry_after: Some(Duration::from_secs(30)),
            }),
        }
    }

    /// What the same request was answered with before. A repeated one is told so whatever else is in its way by now: a full
    /// queue, an expired context.
    async fn replayed(
        &self,
        caller: &Principal,
        idempotency: Option<&Idempotency>,
    ) -> Result<Option<(BuildId, Status)>> {
        let Some(given) = idempotency else { return Ok(None) };
        match self.store.replayed(&caller.org, given).await? {
            Some(Created::Replayed(earlier)) => Ok(Some((earlier, self.load(caller, earlier).await?.status))),
            Some(Created::KeyReused) => Err(key_reused()),
            Some(Created::New) | None => Ok(None),
        }
    }

    async fn have_context(
        &self,
        caller: &Principal,
        context: &ContextId,
        inline: Option<Bytes>,
        name: &str,
    ) -> Result<()> {
        let Some(archive) = inline else {
            return match self.touch_context(caller, context).await? {
                true => Ok(()),
                false => Err(Error::NotFound {
                    kind: "context",
                    name: context.to_string(),
                }),
            };
        };
        let stored = self
            .contexts
            .put_inline(&caller.org, archive, &self.upload_limits)
            .await?;
        self.record_context(caller, &stored, name.to_owned()).await
    }

    async fn record_context(&self, caller: &Principal, stored: &StoredContext, name: String) -> Result<()> {
        let now_ms = clock::now_ms();
        let row = ContextRow {
            name,
            size_bytes: stored.size_bytes,
            created_at_ms: now_ms,
            last_used_at_ms: now_ms,
        };
        Ok(self.store.put_context(&caller.org, &stored.id, row).await?)
    }

    /// Puts off the context's expiry; false if there is no such context.
    async fn touch_context(&self, caller: &Principal, context: &ContextId) -> Result<bool> {
        let recorded = self
            .store
            .touch_context(&caller.org, context, clock::now_ms())
            .await?;
        // Records move by export and import, archives do not.
        Ok(recorded && self.contexts.exists(&caller.org, context).await?)
    }

    /// The build as it is now; what belongs to others is not found.
    async fn find(&self, caller: &Principal, id: &str) -> Result<Arc<Build>> {
        if id.is_empty() {
            return Err(Error::invalid("build_id", "is required"));
        }
        // What has another form cannot be there either: one answer for all that is not theirs. Errors travel in headers, where
        // not everything fits.
        let parsed = id.parse().map_err(|_| Error::NotFound {
            kind: "build",
            name: id.chars().take(BUILD_ID_SHOWN_CHARS_MAX).collect(),
        })?;
        self.load(caller, parsed).await
    }

    async fn load(&self, caller: &Principal, id: BuildId) -> Result<Arc<Build>> {
        if let Some(live) = self.driver.live(id) {
            let build = live.current();
            if build.org == caller.org {
                return Ok(build);
            }
        }
        self.store
            .get_build(&caller.org, id)
            .await?
            .ok_or_else(|| Error::NotFound {
                kind: "build",
                name: id.to_string(),
            })
    }

    async fn stored_end(&self, id: BuildId) -> Result<u64> {
        let head = self.logs.head(id).await.map_err(Error::internal)?;
        Ok(head.map_or(0, |head| head.end_offset))
    }

    fn show(&self, build: &Build) -> v1::Build {
        convert::build(build, &self.driver)
    }

    /// Ids sort by creation, within a millisecond too: who was answered first is first in the queue. Time never goes back
    /// within a process, whatever the clock does.
    fn next_id(&self) -> BuildId {
        let now_ms = u64::try_from(clock::now_ms()).unwrap_or(0);
        let mut last = self.last_id.lock().unwrap_or_else(PoisonError::into_inner);
        *last = match *last {
            (last_ms, _) if now_ms > last_ms => (now_ms, 0),
            (last_ms, u16::MAX) => (last_ms.saturating_add(1), 0),
            (last_ms, count) => (last_ms, count.saturating_add(1)),
        };
        let (at_ms, count) = *last;
        BuildId::new(
            at_ms,
            (u128::from(count) << 64) | u128::from(rand::random::<u64>()),
        )
    }
}

/// How long a page may be.
fn list_limit(limit: i32) -> Result<usize> {
    match usize::try_from(limit) {
        Ok(0) => Ok(LIST_LIMIT_DEFAULT),
        Ok(limit) => Ok(limit.min(LIST_LIMIT_MAX)),
        Err(_) => Err(Error::invalid(
            "limit",
            "must not be negative; 0 means 20, above 100 means 100",
        )),
    }
}

fn key_reused() -> Error {
    Error::AlreadyExists {
        reason: "IDEMPOTENCY_KEY_REUSED",
        message: "idempotency_key was used for another request; use a new one".to_owned(),
    }
}

/// The key and what it stands for: the request without the key.
fn idempotency(vault: &Vault, request: &v1::CreateBuildRequest) -> Option<Idempotency> {
    if request.idempotency_key.is_empty() {
        return None;
    }
    let bare = v1::CreateBuildRequest {
        idempotency_key: String::new(),
        ..request.clone()
    };
    Some(Idempotency {
        key: request.idempotency_key.clone(),
        fingerprint: vault.fingerprint("create", &bare.encode_to_vec()),
    })
}

fn retry_idempotency(vault: &Vault, request: &v1::RetryBuildRequest) -> Option<Idempotency> {
    (!request.idempotency_key.is_empty()).then(|| Idempotency {
        key: request.idempotency_key.clone(),
        fingerprint: vault.fingerprint("retry", request.build_id.as_bytes()),
    })
}
