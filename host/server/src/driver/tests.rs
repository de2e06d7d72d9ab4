//! The gateway without listener or sandbox: real store, real service, an executor that does as it is told.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use futures::{FutureExt as _, TryStreamExt as _};
use ignite_core::{
    hook::Hook,
    ids::{BuildId, RunId},
    reconcile::Action,
    run::EndCause,
};
use ignite_proto::v1::{self, BuildStatus, create_build_request::Source};
use tempfile::TempDir;

use super::{Event, HashMap, Live, clock};
use crate::{
    app::{App, Opening},
    config::{Config, Sources},
    error::{Error, Result},
    executor::{ExecutorError, scripted::Scripted},
    hooks::{Gates, scripted},
    principal::{Principal, Scope},
    service::Service,
    vault::Purpose,
};

mod announce;
mod attempts;
mod cancel;
mod gated;
mod redacted;
mod restart;
mod secrets;

pub(crate) const DIGEST: &str = "sha256:0123456789012345678901234567890123456789012345678901234567890123";
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Scene {
    directory: TempDir,
    flags: BTreeMap<String, String>,
    pub(crate) executor: Arc<Scripted>,
    gates: Option<Arc<dyn Gates>>,
    app: Option<App>,
}

// === impl Scene ===

impl Scene {
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::begin(settings, None).await
    }

    /// With plugins that say what the test wants.
    pub(crate) async fn judged(settings: &[(&str, &str)], hooks: &[Hook]) -> (Self, scripted::Scripted) {
        let gates = scripted::Scripted::new(hooks);
        (Self::begin(settings, Some(Arc::new(gates.clone()))).await, gates)
    }

    async fn begin(settings: &[(&str, &str)], gates: Option<Arc<dyn Gates>>) -> Self {
        let _already_there = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let mut flags = BTreeMap::from([
            ("data_dir".to_owned(), directory.path().display().to_string()),
            ("retry_backoff".to_owned(), "20ms".to_owned()),
            // Nobody listens there: results are without sizes.
            ("registry".to_owned(), "127.0.0.1:1".to_owned()),
            ("registry_insecure".to_owned(), "true".to_owned()),
        ]);
        flags.extend(
            settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let mut scene = Self {
            directory,
            flags,
            executor: Arc::default(),
            gates,
            app: None,
        };
        scene.open().await;
        scene
    }

    /// Another daemon on the same data and the same machine.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.open().await;
    }

    /// Lets go of everything wherever it stands.
    pub(crate) async fn stop(&mut self) {
        let app = self.app.take().unwrap();
        app.driver.stop().await;
        app.logs.shutdown().await;
        app.store.shutdown().await;
    }

    pub(crate) async fn open(&mut self) {
        let config = Config::load(Sources {
            flags: self.flags.clone(),
            ..Sources::default()
        })
        .unwrap();
        let executor = Arc::clone(&self.executor) as _;
        let opening = Opening {
            gates: self.gates.clone(),
            ..Opening::default()
        };
        let app = App::open_with(&config, executor, opening).await.unwrap();
        app.driver.start().await.unwrap();
        self.app = Some(app);
    }

    pub(crate) fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.app().service
    }

    /// Has what is kept of [`acme`] read, so that creating a build waits for nothing before the disk: its policy, the names of
    /// its secrets, its data key.
    pub(crate) async fn know_organization(&self) {
        let (service, org) = (self.service(), acme().org);
        service.policies.in_force(&org).await.unwrap();
        service.secrets.names(&org).await.unwrap();
        service.vault.seal(&org, Purpose::Secrets, b"").await.unwrap();
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub(crate) async fn create(&self) -> BuildId {
        self.create_as(request("web")).await.unwrap()
    }

    pub(crate) async fn create_as(&self, request: v1::CreateBuildRequest) -> Result<BuildId> {
        let created = self.service().create_build(&acme(), request).await?;
        Ok(created.build_id.parse().unwrap())
    }

    pub(crate) async fn get(&self, id: BuildId) -> v1::Build {
        let request = v1::GetBuildRequest {
            build_id: id.to_string(),
        };
        self.service()
            .get_build(&acme(), request)
            .await
            .unwrap()
            .build
            .unwrap()
    }

    pub(crate) fn live(&self, id: BuildId) -> Arc<Live> {
        self.app().driver.live(id).unwrap()
    }

    pub(crate) async fn cancel(&self, id: BuildId) -> BuildStatus {
        let request = v1::CancelBuildRequest {
            build_id: id.to_string(),
        };
        self.service()
            .cancel_build(&acme(), request)
            .await
            .unwrap()
            .status()
    }

    /// Waits until the build is over and its runs are forgotten.
    pub(crate) async fn ended(&self, id: BuildId) -> v1::Build {
        let build = self.until(id, |build| build.completed_at_ms > 0).await;
        eventually("its runs to be forgotten", async || {
            self.executor
                .known()
                .iter()
                .all(|run| run.build != id)
                .then_some(())
        })
        .await;
        build
    }

    pub(crate) async fn until(&self, id: BuildId, holds: impl Fn(&v1::Build) -> bool) -> v1::Build {
        eventually("the build's state", async || {
            Some(self.get(id).await).filter(|build| holds(build))
        })
        .await
    }

    /// Waits until the run was started.
    pub(crate) async fn started(&self, build: BuildId, attempt: u32) -> RunId {
        let run = RunId {
            build,
            platform: 0,
            attempt,
        };
        eventually("the run to start", async || {
            self.executor.starts().contains(&run).then_some(run)
        })
        .await
    }

    /// The log from its start to its end; waits for it where the build is live.
    pub(crate) async fn log(&self, id: BuildId) -> String {
        joined(self.follow(id, true, 0).await.unwrap(), 0).await
    }

    pub(crate) async fn follow(
        &self,
        id: BuildId,
        from_start: bool,
        offset: u64,
    ) -> Result<crate::service::Streaming<v1::BuildLogChunk>> {
        let request = v1::StreamBuildLogsRequest {
            build_id: id.to_string(),
            from_start,
            offset,
        };
        self.service().stream_build_logs(&acme(), request).await
    }

    /// Waits until this much of the log is there.
    pub(crate) async fn logged(&self, id: BuildId, bytes: usize) {
        self.until(id, |build| build.log_bytes >= bytes as u64).await;
    }

    pub(crate) async fn watch(&self, id: BuildId) -> Vec<v1::Build> {
        let request = v1::WatchBuildRequest {
            build_id: id.to_string(),
        };
        let states = self.service().watch_build(&acme(), request).await.unwrap();
        states.try_collect().await.unwrap()
    }
}

pub(crate) fn principal(org: &str) -> Principal {
    Principal {
        org: org.parse().unwrap(),
        subject: "tester".to_owned(),
        scopes: Scope::ALL.into(),
    }
}

pub(crate) fn acme() -> Principal {
    principal("acme")
}

/// From git, so that no context is needed.
pub(crate) fn request(name: &str) -> v1::CreateBuildRequest {
    let source = v1::GitSource {
        url: "https://example.com/web".to_owned(),
        ..Default::default()
    };
    v1::CreateBuildRequest {
        name: name.to_owned(),
        source: Some(Source::GitSource(source)),
        ..Default::default()
    }
}

pub(crate) fn lost() -> EndCause {
    EndCause::Lost {
        message: "the machine went away".to_owned(),
    }
}

pub(crate) async fn joined(chunks: crate::service::Streaming<v1::BuildLogChunk>, offset: u64) -> String {
    let chunks: Vec<_> = tokio::time::timeout(DEADLINE, chunks.try_collect())
        .await
        .expect("no end")
        .unwrap();
    let mut bytes = Vec::new();
    for chunk in chunks {
        assert_eq!(chunk.offset, offset + bytes.len() as u64, "a gap or an overlap");
        bytes.extend_from_slice(&chunk.data);
    }
    String::from_utf8(bytes).unwrap()
}

pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A caller that goes away right after its call has begun. On a busy machine the disk may have been quicker, and the call is over by
/// then: what holds for one that was left holds for that one, too.
pub(crate) fn begin_and_leave(call: impl Future) {
    let _answer = call.now_or_never();
}

pub(crate) fn reason(error: &Error) -> &'static str {
    match error {
        Error::FailedPrecondition { reason, .. }
        | Error::AlreadyExists { reason, .. }
        | Error::Aborted { reason, .. }
        | Error::ResourceExhausted { reason, .. } => reason,
        other => panic!("{other:?} has no reason"),
    }
}
