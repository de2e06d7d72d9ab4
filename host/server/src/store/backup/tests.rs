use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use ignite_core::{
    build::Status,
    ids::{BuildId, ContextId, OrgId, RunId},
};

use super::*;
use crate::{
    executor::RawCursor,
    store::{
        BuildFilter, ContextRow, Idempotency, Live, Store, StoreOptions,
        builds::tests::{build, open},
        logs::{Frame, LogHead, LogOptions, LogStore},
    },
    vault::{MasterKeySource, Purpose, Vault},
};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A store with something of everything.
async fn fill(dir: &tempfile::TempDir) -> DataDir {
    let (data, store) = open(dir);
    let store = Arc::new(store);
    let logs = LogStore::open(&data, LogOptions::default()).unwrap();
    let vault = Vault::open(&key_file(dir), &store).await.unwrap();
    for i in 0..12_u64 {
        let mut build = build("acme", (i + 1) * DAY_MS / 2, u128::from(i));
        build.labels = (0..i * 40)
            .map(|i| (format!("label-{i}"), "x".repeat(40)))
            .collect();
        let spec = vault
            .seal(&build.org, Purpose::BuildSpec(build.id), &vec![7; 30_000])
            .await
            .unwrap();
        let idempotency = Idempotency {
            key: i.to_string(),
            fingerprint: [1; 32],
        };
        store
            .create_build(Arc::new(build.clone()), spec, Some(idempotency))
            .await
            .unwrap();
        append(&logs, build.id).await;
        if i % 2 == 0 {
            build.generation += 1;
            build.status = Status::Succeeded;
            store.update_build(Arc::new(build), Live::Retire).await.unwrap();
        }
    }
    let context = ContextRow {
        name: "src".to_owned(),
        size_bytes: 1,
        created_at_ms: 2,
        last_used_at_ms: 3,
    };
    store
        .put_context(&org(), &ContextId::from_sha256([3; 32]), context)
        .await
        .unwrap();
    store.shutdown().await;
    logs.shutdown().await;
    data
}

async fn append(logs: &LogStore, build: BuildId) {
    let frame = Frame {
        offset: 0,
        timestamp_ms: 5,
        data: Bytes::from(build.to_string().repeat(100)),
    };
    let head = LogHead {
        run: RunId {
            build,
            platform: 0,
            attempt: 1,
        },
        raw_cursor: RawCursor::at(9 << 64).plus(9),
        run_start_offset: 0,
        end_offset: frame.end(),
        gap: Some(7..8),
        lost: true,
        closed: true,
    };
    logs.append(build, vec![frame], head, None).await.unwrap();
}

fn org() -> OrgId {
    "acme".parse().unwrap()
}

fn key_file(dir: &tempfile::TempDir) -> MasterKeySource {
    MasterKeySource::File(dir.path().join("master.key"))
}

/// Every row of every database.
fn contents(data: &DataDir) -> BTreeMap<(String, &'static str, Vec<u8>), Vec<u8>> {
    let days = day::days_in(&data.logs_dir()).unwrap();
    let mut rows = BTreeMap::new();
    for name in std::iter::once(Name::State).chain(days.into_iter().map(Name::Logs)) {
        let db = super::open(name, &name.path(&data.state_dir(), &data.logs_dir())).unwrap();
        for table in name.tables() {
            for row in db
                .scan_raw(table.name, (Bound::Unbounded, Bound::Unbounded))
                .unwrap()
            {
                let (key, value) = row.unwrap();
                rows.insert((name.to_string(), table.name, key.to_vec()), value);
            }
        }
    }
    rows
}

fn exported(data: &DataDir) -> Vec<u8> {
    let mut out = Vec::new();
    export(data, &mut out).unwrap();
    out
}

fn assert_refused_without_a_trace(bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(dir.path()).unwrap();
    import(&data, bytes).unwrap_err();
    let left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["LOCK"]);
}

#[tokio::test]
async fn an_export_replaces_a_file_only_when_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let source = fill(&dir).await;
    let file = dir.path().join("export");
    fs::write(&file, "of last week").unwrap();
    let exported = tokio::task::spawn_blocking(move || {
        let refused = export_to(&source, &file, false).unwrap_err();
        assert!(matches!(refused, BackupError::Exists(_)), "{refused}");
        assert_eq!(fs::read(&file).unwrap(), b"of last week");
        export_to(&source, &file, true).unwrap();
        import(
            &DataDir::open(&file.with_file_name("new")).unwrap(),
            open_export(&file).unwrap(),
        )
    });
    assert!(exported.await.unwrap().unwrap().rows > 0);
}

#[tokio::test]
async fn an_import_gives_back_what_was_exported() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = fill(&from).await;
    let file = from.path().join("export");
    let target = DataDir::open(to.path()).unwrap();
    let (source, target) = tokio::task::spawn_blocking(move || {
        let out = export_to(&source, &file, false).unwrap();
        let back = import(&target, open_export(&file).unwrap()).unwrap();
        assert_eq!(out, back);
        assert!(out.databases > 5 && out.rows >= 80, "{out:?}");
        assert_eq!(contents(&source), contents(&target));
        (source, target)
    })
    .await
    .unwrap();
    drop(source);

    let store = Arc::new(Store::open(&target, StoreOptions::default()).unwrap());
    let vault = Vault::open(&key_file(&from), &store).await.unwrap();
    let page = store
        .list_builds(&org(), BuildFilter::default(), None, 100)
        .await
        .unwrap();
    assert_eq!(
        (page.builds.len(), store.live_builds().await.unwrap().len()),
        (12, 6)
    );
    let id = page.builds[3].id;
    let spec = store.spec(id).await.unwrap().unwrap();
    let opened = vault.unseal(&org(), Purpose::BuildSpec(id), &spec).await;
    assert_eq!(opened.unwrap().len(), 30_000);
    let logs = LogStore::open(&target, LogOptions::default()).unwrap();
    let read = logs.read(id, 10, 100).await.unwrap().unwrap();
    assert!(read.head.closed && read.frames[0].offset == 10);
}

#[tokio::test]
async fn a_cut_or_changed_export_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = fill(&dir).await;
    tokio::task::spawn_blocking(move || {
        let whole = exported(&data);
        for cut in [
            0,
            4,
            11,
            12,
            13,
            whole.len() / 2,
            whole.len() - 5,
            whole.len() - 1,
        ] {
            assert_refused_without_a_trace(&whole[..cut]);
        }
        for at in [0, 9, 12, 16, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 0xff;
            assert_refused_without_a_trace(&changed);
        }
        assert_refused_without_a_trace(&[whole.as_slice(), b"x"].concat());
        assert_refused_without_a_trace(&[whole.as_slice(), &whole[12..]].concat());
    })
    .await
    .unwrap();
}

#[test]
fn an_export_that_is_whole_but_wrong_is_refused() {
    let start = |store_version| Record::Start { store_version };
    let database = |name: &str| Record::Database {
        name: name.to_owned(),
    };
    let row = |table: &str, len| Record::Row {
        table: table.to_owned(),
        key: vec![1],
        value: vec![1; len],
    };
    let cases = [
        vec![],
        vec![start(1)],
        vec![database("state")],
        vec![start(4), database("state")],
        vec![start(1), start(1), database("state")],
        vec![start(1), row("meta", 1), database("state")],
        vec![start(1), database("state"), row("frames", 1)],
        vec![start(1), database("state"), row("parts", 1)],
        vec![start(1), database("state"), row("meta", 5000)],
        vec![start(1), database("state"), database("state")],
        vec![start(1), database("state"), database("logs/../../etc")],
        vec![start(1), database("state"), database("logs/2026-1-2")],
        vec![start(1), database("logs/2026-11-22")],
    ];
    for records in cases {
        let mut bytes = Vec::new();
        let mut writer = RecordWriter::start(&mut bytes).unwrap();
        for record in &records {
            writer.write(record).unwrap();
        }
        writer.finish().unwrap();
        assert_refused_without_a_trace(&bytes);
    }
}

#[test]
fn a_directory_that_holds_a_store_takes_no_import() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(dir.path()).unwrap();
    assert!(matches!(export(&data, Vec::new()), Err(BackupError::NoStore(_))));
    data.ensure_store().unwrap();
    let bytes = exported(&data);
    let error = import(&data, bytes.as_slice()).unwrap_err();
    assert!(matches!(
        error,
        BackupError::DataDir(DataDirError::NotEmpty { .. })
    ));
    assert!(data.has_store());
}
