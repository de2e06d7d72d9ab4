//! Contexts are uploaded over both transports, checked, and kept by their content for their organization alone.

use std::fs;

use ignite_proto::v1::{self, create_build_request::Source};
use ignite_tests::{
    caller::{request, violated_fields},
    context::Context,
    gateway::{Gateway, READ, READ_WRITE},
    image::Image,
    registry::Registry,
};
use tonic::Code;

fn metadata(size_bytes: i64) -> v1::UploadBuildContextMetadata {
    v1::UploadBuildContextMetadata {
        content_type: String::new(),
        name: "test".to_owned(),
        expected_size_bytes: size_bytes,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_transports_give_the_same_context_and_it_builds() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let archive = Context::scratch(r#"CMD ["/bin/busybox", "echo", "uploaded"]"#).tar_gz();
    let over_grpc = caller.upload(archive.clone()).await.unwrap();
    assert_eq!(over_grpc.size_bytes, i64::try_from(archive.len()).unwrap());
    let over_http = caller
        .http
        .post_bytes(
            "/v1/ignite/builds/contexts?name=test",
            "application/gzip",
            archive,
        )
        .await;
    assert_eq!(over_http.status, 200, "{}", over_http.body);
    assert_eq!(over_http.body["contextId"], over_grpc.context_id);
    assert_eq!(over_http.body["sha256"], over_grpc.sha256);

    let source = Source::ContextId(over_grpc.context_id.clone());
    let build = caller.succeed(request("uploaded", source.clone())).await;
    assert_eq!(
        Image::pull(Registry::shared(), &build.image_refs[0]).run(),
        "uploaded"
    );

    let rival = gateway.caller_of("rival", READ_WRITE);
    let refused = rival.try_create(request("stolen", source)).await.unwrap_err();
    assert!(
        matches!(refused.code(), Code::NotFound | Code::InvalidArgument),
        "{refused:?}"
    );
    let reader = gateway.caller_of("acme", READ);
    assert_eq!(
        reader.upload(vec![0; 10]).await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_context_is_short_and_in_one_line() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let archive = Context::scratch("").tar_gz();
    for name in ["two\nlines".to_owned(), "nul\0".to_owned(), "x".repeat(20_000)] {
        let named = v1::UploadBuildContextMetadata { name, ..metadata(0) };
        let refused = caller.upload_as(named, archive.clone()).await.unwrap_err();
        assert_eq!(violated_fields(&refused), ["metadata.name"], "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_whole_archive_is_refused_and_leaves_nothing() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let archive = Context::scratch("").tar_gz();
    let size_bytes = i64::try_from(archive.len()).unwrap();
    let stored = || -> usize {
        let mut files = 0;
        let mut pending = vec![gateway.data_dir().join("contexts")];
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    pending.push(entry.path());
                } else {
                    files += 1;
                }
            }
        }
        files
    };
    let before = stored();
    let cases = [
        ("too short", metadata(size_bytes + 1), archive.clone()),
        ("too long", metadata(size_bytes - 1), archive.clone()),
        ("empty", metadata(0), Vec::new()),
        (
            "no archive",
            metadata(0),
            b"just some text, and quite a bit of it".to_vec(),
        ),
        ("cut off", metadata(0), archive[..archive.len() / 2].to_vec()),
        (
            "no name",
            v1::UploadBuildContextMetadata::default(),
            archive.clone(),
        ),
    ];
    for (case, metadata, bytes) in cases {
        let refused = caller.upload_as(metadata, bytes).await.unwrap_err();
        assert!(!violated_fields(&refused).is_empty(), "{case}");
        assert_eq!(stored(), before, "{case} left something");
    }
    let answer = caller
        .http
        .post_bytes(
            "/v1/ignite/builds/contexts?name=test",
            "application/gzip",
            b"nothing of the kind".to_vec(),
        )
        .await;
    assert_eq!((answer.status, &answer.body["code"]), (400, &3.into()));
    assert_eq!(stored(), before);
}
