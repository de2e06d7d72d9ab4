//! Calls that create, upload, list and log in.

use std::process::Stdio;

use ignite_proto::v1::{self, BuildStatus, create_build_request::Source};
use tokio::io::AsyncWriteExt as _;
use tonic::Code;

use crate::{
    fake::{Fake, Script},
    harness::{ID, code, context, ignite, run, stderr, stdout},
};

#[tokio::test]
async fn a_create_that_is_tried_again_carries_the_same_key() {
    let server = Fake::start(Script {
        create_failures: 2,
        ..Script::default()
    })
    .await;
    let output = run(
        &server.endpoint,
        "build create app --context-id ctx_1 -t a -t b -o json",
    )
    .await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let created = server.seen().created;
    assert_eq!(created.len(), 3);
    assert!(created[0].idempotency_key.len() >= 16);
    assert!(created.iter().all(|request| *request == created[0]));
    assert_eq!(created[0].tags, ["a", "b"]);
    let json: v1::CreateBuildResponse = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json.build_id, ID);
    // Another call is another build.
    run(&server.endpoint, "build create app --context-id ctx_1").await;
    assert_ne!(
        server.seen().created[3].idempotency_key,
        created[0].idempotency_key
    );
}

#[tokio::test]
async fn the_exit_code_of_a_refused_call_is_its_codes() {
    for (rpc, expected) in [
        (Code::InvalidArgument, 2),
        (Code::Unauthenticated, 3),
        (Code::PermissionDenied, 4),
        (Code::NotFound, 5),
        (Code::AlreadyExists, 6),
        (Code::ResourceExhausted, 7),
        (Code::DeadlineExceeded, 8),
        (Code::Unavailable, 9),
        (Code::Internal, 10),
        (Code::FailedPrecondition, 11),
        (Code::Unimplemented, 12),
    ] {
        let server = Fake::start(Script {
            refusal: Some((rpc, "no \u{1b}[31mway".to_owned())),
            ..Script::default()
        })
        .await;
        let output = run(&server.endpoint, &format!("--timeout 1s build get {ID}")).await;
        assert_eq!(code(&output), expected, "{}", stderr(&output));
        assert!(
            stderr(&output).starts_with("error: no \\u{1b}[31mway"),
            "{}",
            stderr(&output)
        );
        let output = run(
            &server.endpoint,
            &format!("--timeout 1s build logs {ID} --follow -o json"),
        )
        .await;
        assert_eq!(code(&output), expected, "{}", stderr(&output));
        let error: serde_json::Value = serde_json::from_str(&stderr(&output)).unwrap();
        assert_eq!(error["error"]["exitCode"], expected);
    }
}

#[tokio::test]
async fn a_small_folder_goes_with_the_request_and_a_large_one_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Fake::start(Script::default()).await;
    let create = format!("build create app --context {}", dir.path().display());
    context(dir.path(), 3_500_000);
    let output = run(&server.endpoint, &create).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let seen = server.seen();
    assert!(seen.uploads.is_empty());
    assert!(matches!(&seen.created[0].source, Some(Source::ZippedCode(bytes)) if bytes.len() > 3_500_000));

    context(dir.path(), 6_000_000);
    let output = run(&server.endpoint, &create).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let seen = server.seen();
    assert_eq!(
        seen.created[1].source,
        Some(Source::ContextId("ctx_1".to_owned()))
    );
    let upload = &seen.uploads[0];
    assert_eq!(upload.expected_size_bytes, upload.bytes.len() as u64);
    assert!(upload.chunk_bytes_max <= 512 * 1024);
    let mut archive = std::process::Command::new("tar")
        .args(["tzf", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut archive.stdin.take().unwrap(), &upload.bytes).unwrap();
    assert_eq!(archive.wait_with_output().unwrap().stdout, b"Dockerfile\nnoise\n");
}

#[tokio::test]
async fn an_upload_that_breaks_starts_again_and_one_that_stands_still_ends() {
    let dir = tempfile::tempdir().unwrap();
    context(dir.path(), 3_000_000);
    let server = Fake::start(Script {
        upload_failures: 2,
        ..Script::default()
    })
    .await;
    let upload = format!("build upload --name app --folder {}", dir.path().display());
    let output = run(&server.endpoint, &format!("{upload} -o json")).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let response: v1::UploadBuildContextResponse = serde_json::from_str(&stdout(&output)).unwrap();
    let seen = server.seen();
    assert_eq!((response.context_id.as_str(), seen.uploads.len()), ("ctx_1", 1));
    assert_eq!(response.size_bytes as u64, seen.uploads[0].expected_size_bytes);

    let server = Fake::start(Script {
        upload_stalls: true,
        ..Script::default()
    })
    .await;
    let output = run(&server.endpoint, &format!("{upload} --timeout 1s")).await;
    assert_eq!(code(&output), 8, "{}", stderr(&output));
}

#[tokio::test]
async fn every_page_of_a_list_is_fetched_on_request() {
    let server = Fake::start(Script {
        pages: 3,
        ..Script::default()
    })
    .await;
    let output = run(
        &server.endpoint,
        "build list --all -o json --status failed --label a=b",
    )
    .await;
    let all: v1::ListBuildsResponse = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((all.builds.len(), all.next_cursor.as_str()), (3, ""));
    let requests = server.seen().lists;
    assert_eq!(requests.len(), 3);
    assert!(
        requests
            .iter()
            .all(|request| request.limit == 100 && request.label_filter["a"] == "b")
    );
    assert_eq!(requests[0].status_filter(), BuildStatus::Failed);
    let output = run(&server.endpoint, "build list").await;
    assert!(stderr(&output).contains("--cursor page1"), "{}", stderr(&output));
}

#[tokio::test]
async fn another_organization_than_the_wanted_one_is_refused_before_anything_is_done() {
    let server = Fake::start(Script::default()).await;
    let output = run(
        &server.endpoint,
        "build create app --context-id ctx_1 --org other",
    )
    .await;
    assert_eq!(code(&output), 4, "{}", stderr(&output));
    assert!(server.seen().created.is_empty());
    let output = run(&server.endpoint, "build create app --context-id ctx_1 --org acme").await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[tokio::test]
async fn a_login_is_stored_for_its_server_and_used_there_alone() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ignite/config.toml");
    let server = Fake::start(Script {
        token: Some("s3cr3t"),
        ..Script::default()
    })
    .await;
    let other = Fake::start(Script::default()).await;
    let login = async |token: &str| {
        let mut child = ignite(&server.endpoint, "login")
            .env("IGNITE_CONFIG", &config)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(token.as_bytes()).await.unwrap();
        drop(stdin);
        child.wait_with_output().await.unwrap()
    };
    assert_eq!(code(&login("wrong\n").await), 3);
    assert!(!config.exists());
    let output = login("s3cr3t\n").await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&config).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    let get = format!("build get {ID}");
    for (endpoint, expected) in [(&server.endpoint, Some("Bearer s3cr3t")), (&other.endpoint, None)] {
        let output = ignite(endpoint, &get)
            .env("IGNITE_CONFIG", &config)
            .output()
            .await
            .unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let seen = if endpoint == &server.endpoint {
            server.seen()
        } else {
            other.seen()
        };
        assert_eq!(seen.authorization.last().unwrap().as_deref(), expected);
    }
    let output = ignite(&server.endpoint, "config list")
        .env("IGNITE_CONFIG", &config)
        .output()
        .await
        .unwrap();
    assert!(stdout(&output).contains(&server.endpoint) && !stdout(&output).contains("s3cr3t"));
    // Without the file there is no token, and a hint.
    let output = run(&server.endpoint, &get).await;
    assert!(stderr(&output).contains("ignite login"), "{}", stderr(&output));
}

#[tokio::test]
async fn tls_is_spoken_and_only_with_a_certificate_that_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
                .split(' '),
        )
        .args([
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let server = Fake::start_tls(Script::default(), &read("cert.pem"), &read("key.pem")).await;
    let get = format!("build get {ID}");
    let bare = server.endpoint.strip_prefix("https://").unwrap();
    for endpoint in [&server.endpoint, bare] {
        let trusting = ignite(endpoint, &get)
            .env("SSL_CERT_FILE", dir.path().join("cert.pem"))
            .output();
        let output = trusting.await.unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        // The machine's own roots do not have it.
        let output = run(endpoint, &get).await;
        assert_eq!(code(&output), 9);
        assert!(stderr(&output).contains("certificate"), "{}", stderr(&output));
    }
    assert_ne!(code(&run(bare, &format!("--debug {get}")).await), 0);
}

#[tokio::test]
async fn an_upload_of_any_size_takes_the_same_memory() {
    let dir = tempfile::tempdir().unwrap();
    context(dir.path(), 64 << 20);
    let server = Fake::start(Script::default()).await;
    let upload = format!("build upload --name app --folder {}", dir.path().display());
    let mut child = ignite(&server.endpoint, &upload).spawn().unwrap();
    let status_file = format!("/proc/{}/status", child.id().unwrap());
    let mut resident_kb_max = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(&status_file).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kb) = line.and_then(|line| line.trim_end_matches("kB").trim().parse::<u64>().ok()) {
            resident_kb_max = kb;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(server.seen().uploads.len(), 1);
    assert!((1..32 * 1024).contains(&resident_kb_max), "{resident_kb_max} kB");
}
