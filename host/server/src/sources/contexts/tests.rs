use std::{fs, process::Command};

use futures::stream;
use object_store::memory::InMemory;
use sha2::{Digest, Sha256};

use super::*;

fn org() -> OrgId {
    "acme".parse().unwrap()
}

fn limits() -> UploadLimits {
    UploadLimits {
        upload_bytes_max: 8 << 20,
        archive: ArchiveLimits::default(),
    }
}

/// A tar archive with one file of this many bytes.
fn archive(size: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(size as u64);
    let content = vec![b'x'; size];
    builder
        .append_data(&mut header, "Dockerfile", &content[..])
        .unwrap();
    builder.into_inner().unwrap()
}

fn chunks(bytes: &[u8], size: usize) -> impl Stream<Item = Result<Bytes, Error>> + Send + Unpin + use<> {
    let chunks: Vec<_> = bytes
        .chunks(size)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    stream::iter(chunks)
}

fn files(dir: &Path) -> Vec<String> {
    walkdir::WalkDir::new(dir)
        .sort_by_file_name()
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(dir).unwrap().display().to_string())
        .collect()
}

#[tokio::test]
async fn an_upload_is_kept_under_its_hash() {
    let dir = tempfile::tempdir().unwrap();
    let store = ContextStore::local(dir.path()).unwrap();
    for (size, chunk) in [(10, 3), (3 << 20, 100_000), (700_000, 700_000)] {
        let bytes = archive(size);
        let stored = store
            .upload(&org(), chunks(&bytes, chunk), bytes.len() as u64, &limits())
            .await
            .unwrap();
        assert_eq!(stored.sha256_hex, hex::encode(Sha256::digest(&bytes)));
        assert_eq!(stored.size_bytes, bytes.len() as u64);
        assert_eq!(stored.summary.files, 1);
        assert!(store.exists(&org(), &stored.id).await.unwrap());
        let file = store.open(&org(), &stored.id).await.unwrap().unwrap();
        assert_eq!(
            file.path(),
            dir.path().join("contexts/acme").join(&stored.sha256_hex)
        );
        assert!(fs::read(file.path()).unwrap() == bytes);
        let id = stored.id.clone();
        drop(stored);
        for _ in 0..2 {
            let removal = store.begin_removal(&org(), &id).await;
            removal.delete_bytes().await.unwrap();
        }
        assert!(store.open(&org(), &id).await.unwrap().is_none());
        assert!(!store.exists(&org(), &id).await.unwrap());
    }
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn what_one_organization_stores_another_does_not_have() {
    let dir = tempfile::tempdir().unwrap();
    let store = ContextStore::local(dir.path()).unwrap();
    let stored = store
        .put_inline(&org(), archive(1).into(), &limits())
        .await
        .unwrap();
    let other = "other".parse().unwrap();
    assert!(!store.exists(&other, &stored.id).await.unwrap());
    assert!(store.open(&other, &stored.id).await.unwrap().is_none());
    assert_eq!(store.list().await.unwrap(), [(org(), stored.id)]);
}

#[tokio::test]
async fn a_refused_upload_leaves_nothing_and_names_its_field() {
    let dir = tempfile::tempdir().unwrap();
    let store = ContextStore::local(dir.path()).unwrap();
    let good = archive(1000);
    let length = good.len() as u64;
    let small = UploadLimits {
        upload_bytes_max: 1000,
        ..limits()
    };
    let cases = [
        (&b""[..], 0, limits(), "chunk: the archive is empty"),
        (b"no archive", 0, limits(), "chunk: not a tar"),
        (
            &good,
            length + 1,
            limits(),
            "metadata.expected_size_bytes: 2561 bytes were announced, 2560 came",
        ),
        (
            &good,
            7,
            limits(),
            "metadata.expected_size_bytes: 7 bytes were announced",
        ),
        (
            &good,
            0,
            small.clone(),
            "chunk: the archive is larger than 1000 bytes",
        ),
    ];
    for (bytes, expected, limits, message) in cases {
        let refused = store.upload(&org(), chunks(bytes, 500), expected, &limits).await;
        let error = Error::from(refused.unwrap_err());
        assert!(matches!(error, Error::InvalidArgument(_)));
        assert!(error.to_string().starts_with(message), "{error}");
    }
    let refused = store.put_inline(&org(), "no archive".into(), &limits()).await;
    assert!(
        Error::from(refused.unwrap_err())
            .to_string()
            .starts_with("zipped_code: not a tar")
    );
    let refused = store.put_inline(&org(), good.into(), &small).await;
    assert!(
        Error::from(refused.unwrap_err())
            .to_string()
            .starts_with("zipped_code: the archive is larger")
    );
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = ContextStore::local(dir.path()).unwrap();
    let broken = Error::Unauthenticated {
        message: "expired".into(),
    };
    let parts = chunks(&archive(2 << 20), 600_000).chain(stream::iter([Err(broken)]));
    let error = store
        .upload(&org(), Box::pin(parts), 0, &limits())
        .await
        .unwrap_err();
    assert_eq!(Error::from(error).to_string(), "expired");
    assert!(files(dir.path()).is_empty());

    let endless = chunks(&archive(2 << 20), 600_000).chain(stream::pending());
    let (org, limits) = (org(), limits());
    let dropped = store.upload(&org, Box::pin(endless), 0, &limits);
    let timed_out = tokio::time::timeout(std::time::Duration::from_millis(200), dropped).await;
    assert!(timed_out.is_err());
    assert!(files(dir.path()).is_empty());
}

/// A file system that holds next to nothing.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=1m", "none"])
            .arg(dir.path());
        assert!(mount.status().unwrap().success(), "mounting takes root");
        Self(dir)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn an_upload_that_does_not_fit_is_told_so_and_leaves_nothing() {
    let small = Small::mount();
    let store = ContextStore::local(small.0.path()).unwrap();
    let large = archive(2 << 20);
    let uploaded = store.upload(&org(), chunks(&large, 600_000), 0, &limits()).await;
    let inline = store.put_inline(&org(), large.into(), &limits()).await;
    for refused in [uploaded, inline] {
        let error = Error::from(refused.unwrap_err());
        assert!(
            matches!(
                error,
                Error::ResourceExhausted {
                    reason: "DISK_FULL",
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains("no space left"), "{error}");
    }
    assert!(files(small.0.path()).is_empty());
    let fits = archive(300_000).into();
    store.put_inline(&org(), fits, &limits()).await.unwrap();
}

#[tokio::test]
async fn the_same_content_may_be_uploaded_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = ContextStore::local(dir.path()).unwrap();
    let bytes = archive(1 << 20);
    let (org, limits) = (org(), limits());
    let uploads = (0..8).map(|_| store.upload(&org, chunks(&bytes, 64 << 10), 0, &limits));
    let stored = futures::future::try_join_all(uploads).await.unwrap();
    assert!(stored.windows(2).all(|pair| pair[0].id == pair[1].id));
    assert_eq!(
        files(dir.path()),
        [format!("contexts/acme/{}", stored[0].sha256_hex)]
    );
}

#[tokio::test]
async fn what_a_crash_left_in_staging_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("staging")).unwrap();
    fs::write(dir.path().join("staging/upload-abc"), "half").unwrap();
    ContextStore::local(dir.path()).unwrap();
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn any_object_store_serves() {
    let staging = tempfile::tempdir().unwrap();
    let store = ContextStore::remote(Arc::new(InMemory::new()), staging.path().join("s")).unwrap();
    let bytes = archive(6 << 20);
    let limits = UploadLimits {
        upload_bytes_max: 64 << 20,
        ..limits()
    };
    let stored = store
        .upload(&org(), chunks(&bytes, 100_000), 0, &limits)
        .await
        .unwrap();
    assert!(files(staging.path()).is_empty());
    let file = store.open(&org(), &stored.id).await.unwrap().unwrap();
    assert!(fs::read(file.path()).unwrap() == bytes);
    drop(file);
    assert!(files(staging.path()).is_empty());
    assert_eq!(store.list().await.unwrap(), [(org(), stored.id.clone())]);
    let id = stored.id.clone();
    drop(stored);
    let removal = store.begin_removal(&org(), &id).await;
    removal.delete_bytes().await.unwrap();
    assert!(store.open(&org(), &id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_context_is_read_from_any_offset_on() {
    let dir = tempfile::tempdir().unwrap();
    let remote = ContextStore::remote(Arc::new(InMemory::new()), dir.path().join("staging")).unwrap();
    let local = ContextStore::local(&dir.path().join("local")).unwrap();
    let bytes = archive(1 << 20);
    let length = bytes.len();
    for store in [&local, &remote] {
        let stored = store
            .put_inline(&org(), bytes.clone().into(), &limits())
            .await
            .unwrap();
        for offset in [0, 1, 600_000, length - 1, length, length + 1, usize::MAX] {
            let read = store
                .read(&org(), &stored.id, offset as u64)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(read.size_bytes, length as u64);
            let rest: Vec<Bytes> = read.bytes.try_collect().await.unwrap();
            assert!(
                rest.concat() == bytes.get(offset..).unwrap_or_default(),
                "{offset}"
            );
        }
        let other = "other".parse().unwrap();
        assert!(store.read(&other, &stored.id, 0).await.unwrap().is_none());
        let nothing = ContextId::from_sha256([0; 32]);
        assert!(store.read(&org(), &nothing, 0).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_is_being_read_outlives_its_removal() {
    let dir = tempfile::tempdir().unwrap();
    let store = ContextStore::local(dir.path()).unwrap();
    let bytes = archive(3 << 20);
    let stored = store
        .put_inline(&org(), bytes.clone().into(), &limits())
        .await
        .unwrap();
    let id = stored.id.clone();
    drop(stored);
    let mut read = store.read(&org(), &id, 0).await.unwrap().unwrap().bytes;
    let first = read.next().await.unwrap().unwrap();
    assert!(first.len() < bytes.len(), "in pieces");
    let removal = store.begin_removal(&org(), &id).await;
    removal.delete_bytes().await.unwrap();
    let rest: Vec<Bytes> = read.try_collect().await.unwrap();
    assert!([vec![first], rest].concat().concat() == bytes);
}
