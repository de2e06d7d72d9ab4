use std::collections::BTreeSet;

use ignite_core::{
    hook::{Description, Hook},
    policy::{CallLimits, Mode, OnFailure, ResolvedEntry, ResolvedPolicy, Settings},
};

use super::{sweep::SPARED_MS, *};
use crate::{
    driver::tests::{Scene, acme, reason},
    store::RevisionRow,
};

const MAX: usize = 1000;

struct Stored {
    scene: Scene,
    plugins: PluginStore,
    org: OrgId,
    _directory: tempfile::TempDir,
}

impl Stored {
    async fn start() -> Self {
        let scene = Scene::start(&[]).await;
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::clone(&scene.app().store);
        let plugins = PluginStore::local(directory.path(), store, MAX).unwrap();
        Self {
            scene,
            plugins,
            org: acme().org,
            _directory: directory,
        }
    }

    /// As if the runtime had admitted these bytes.
    async fn keep(&self, version: &str, bytes: &'static [u8]) -> Result<StoredRow> {
        self.keep_as(Some(("tags", version)), version, bytes).await
    }

    async fn keep_as(
        &self,
        expected: Option<(&str, &str)>,
        version: &str,
        bytes: &'static [u8],
    ) -> Result<StoredRow> {
        let submitted = Submitted {
            org: &self.org,
            subject: "ci",
            expected,
            imported_from: None,
            field: "chunk",
        };
        let admitted = Admitted {
            digest: digest(bytes),
            size_bytes: bytes.len() as u64,
            hooks: [Hook::Validate].into(),
            imports: Vec::new(),
            description: Description {
                name: "tags".to_owned(),
                version: version.to_owned(),
                summary: String::new(),
                config_schema: String::new(),
            },
        };
        self.plugins
            .keep(submitted, admitted, Bytes::from_static(bytes))
            .await
    }

    async fn delete(&self) {
        let store = &self.scene.app().store;
        let rows = store.plugins(&self.org).await.unwrap();
        let in_force = store.policy_in_force(&self.org).await.unwrap();
        assert!(store.delete_plugins(&self.org, &rows, in_force).await.unwrap());
    }

    async fn put_policy(&self, revision: u64, entries: Vec<ResolvedEntry>, updated_at_ms: i64) {
        let row = RevisionRow {
            text: String::new(),
            policy: ResolvedPolicy { revision, entries },
            updated_at_ms,
            updated_by: "ci".to_owned(),
            from_file: false,
        };
        let store = &self.scene.app().store;
        store
            .put_policy(&self.org, revision - 1, &row, || ())
            .await
            .unwrap();
    }

    async fn has(&self, bytes: &[u8]) -> bool {
        self.plugins.component(&digest(bytes)).await.unwrap().is_some()
    }
}

fn digest(bytes: &[u8]) -> PluginDigest {
    PluginDigest::from_sha256(Sha256::digest(bytes).into())
}

/// Of a hook that is not called before a log has lines: the bytes are no component.
fn entry(bytes: &[u8]) -> ResolvedEntry {
    ResolvedEntry {
        plugin: "tags".to_owned(),
        version: "1.0.0".to_owned(),
        digest: digest(bytes),
        hooks: BTreeSet::from([Hook::RedactScan]),
        settings: Settings {
            mode: Mode::Enforce,
            on_failure: OnFailure::Reject,
            config: "{}".to_owned(),
            limits: CallLimits::default(),
            hosts: Vec::new(),
        },
    }
}

#[tokio::test]
async fn the_same_bytes_are_fine_again_and_others_are_not() {
    let stored = Stored::start().await;
    let first = stored.keep("1.0.0", b"one").await.unwrap();
    // An import of records brings no components: the upload does.
    stored
        .plugins
        .components
        .delete(&key(&stored.org, &digest(b"one")))
        .await
        .unwrap();
    assert_eq!(stored.keep("1.0.0", b"one").await.unwrap(), first);
    assert!(stored.has(b"one").await);
    let refused = stored.keep("1.0.0", b"two").await.unwrap_err();
    assert_eq!(reason(&refused), "PLUGIN_VERSION_EXISTS");
    assert!(!stored.has(b"two").await, "nothing of it stays");
    stored.keep("1.1.0", b"two").await.unwrap();
    assert!(stored.has(b"two").await);
}

#[tokio::test]
async fn a_component_must_be_what_the_request_calls_it() {
    let stored = Stored::start().await;
    for (expected, field) in [(("tags", "1.0.1"), "version: "), (("labels", "1.0.0"), "name: ")] {
        let refused = stored.keep_as(Some(expected), "1.0.0", b"one").await.unwrap_err();
        let text = refused.to_string();
        assert!(text.starts_with(field), "{text}");
        assert!(text.contains("tags 1.0.0") && text.contains(expected.1), "{text}");
    }
    assert!(!stored.has(b"one").await);
    stored.keep_as(None, "1.0.0", b"one").await.unwrap();
}

#[tokio::test]
async fn what_is_too_large_or_breaks_off_leaves_nothing() {
    use futures::stream;
    let stored = Stored::start().await;
    let chunk = |bytes: usize| Ok(Bytes::from(vec![0; bytes]));
    for (chunks, expected) in [
        (vec![chunk(MAX), chunk(1)], "larger than 1000 bytes"),
        (
            vec![chunk(1), Err(Error::invalid("chunk", "the upload broke off"))],
            "broke off",
        ),
        (vec![], "it is empty"),
    ] {
        let refused = stored
            .plugins
            .stage("chunk", stream::iter(chunks))
            .await
            .err()
            .unwrap();
        assert!(refused.to_string().contains(expected), "{refused}");
    }
    assert!(
        stored
            .plugins
            .stage("chunk", stream::iter(vec![chunk(MAX)]))
            .await
            .is_ok()
    );
    assert_eq!(std::fs::read_dir(&stored.plugins.staging).unwrap().count(), 0);
}

#[tokio::test]
async fn damaged_bytes_are_not_handed_out() {
    let stored = Stored::start().await;
    stored.keep("1.0.0", b"one").await.unwrap();
    let key = key(&stored.org, &digest(b"one"));
    let payload = PutPayload::from_static(b"0ne");
    stored.plugins.components.put(&key, payload).await.unwrap();
    assert!(!stored.has(b"one").await);
}

#[tokio::test]
async fn bytes_stay_while_a_row_or_a_policy_in_use_names_them() {
    let stored = Stored::start().await;
    let now_ms = clock::now_ms();
    stored.keep("1.0.0", b"named").await.unwrap();
    stored.keep("1.1.0", b"free").await.unwrap();
    stored.plugins.sweep_at(now_ms).await.unwrap();
    assert!(
        stored.has(b"named").await && stored.has(b"free").await,
        "rows name them"
    );

    stored.put_policy(1, vec![entry(b"named")], now_ms).await;
    stored.put_policy(2, Vec::new(), now_ms + 1).await;
    stored.delete().await;
    let later_ms = now_ms + SPARED_MS / 2;
    stored.plugins.sweep_at(later_ms).await.unwrap();
    assert!(stored.has(b"named").await, "a build may still be judged by it");
    assert!(!stored.has(b"free").await);

    let much_later_ms = now_ms + 2 + SPARED_MS;
    let id = stored.scene.create().await;
    stored.plugins.sweep_at(much_later_ms).await.unwrap();
    assert!(!stored.has(b"named").await, "the build came after it");
    stored.scene.cancel(id).await;
}

#[tokio::test]
async fn a_build_that_is_not_over_keeps_the_policy_of_its_time() {
    let stored = Stored::start().await;
    let now_ms = clock::now_ms();
    stored.keep("1.0.0", b"named").await.unwrap();
    stored.put_policy(1, vec![entry(b"named")], now_ms - 10).await;
    let id = stored.scene.create().await;
    stored.put_policy(2, Vec::new(), clock::now_ms() + 1).await;
    stored.delete().await;
    let much_later_ms = now_ms + 2 * SPARED_MS;
    stored.plugins.sweep_at(much_later_ms).await.unwrap();
    assert!(stored.has(b"named").await);
    stored.scene.cancel(id).await;
    crate::driver::tests::eventually("the build to be forgotten", async || {
        let live = stored.scene.app().store.live_builds().await.unwrap();
        live.is_empty().then_some(())
    })
    .await;
    stored.plugins.sweep_at(much_later_ms).await.unwrap();
    assert!(!stored.has(b"named").await);
}
