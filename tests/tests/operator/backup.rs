//! `ignited export` and `import`: a gateway's state and logs move to another machine in one file.

use std::{fs, process::Command};

use ignite_proto::v1;
use ignite_tests::{
    caller::{inline, reason, request},
    command::{output, run},
    context::Context,
    gateway::Gateway,
    paths,
    registry::Registry,
};

fn ignited(arguments: &[&str], data_dir: &std::path::Path) -> Command {
    let mut ignited = Command::new(paths::binary("ignited"));
    ignited.args(arguments).env("IGNITED_DATA_DIR", data_dir);
    ignited
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_and_logs_are_the_same_on_the_other_side() {
    let mut gateway = Gateway::start();
    let caller = gateway.caller();
    let chatty = Context::new(&format!(
        "FROM {}\nARG API_TOKEN\nRUN seq 1 5000; test \"$API_TOKEN\" = sesame-open-sesame\n",
        Registry::shared().busybox()
    ));
    let mut asked = v1::CreateBuildRequest {
        no_cache: true,
        ..inline("chatty", &chatty)
    };
    asked
        .build_args
        .insert("API_TOKEN".to_owned(), "sesame-open-sesame".to_owned());
    let moved = caller.succeed(asked).await;
    let (failed, failed_log) = caller
        .fail(
            inline("broken", &Context::new("FRIM nothing\n")),
            v1::FailureReason::Dockerfile,
        )
        .await;
    let log = caller.log(&moved.id).await;

    let data_dir = gateway.data_dir();
    let file = data_dir.with_file_name("state.export");
    let file_text = file.to_str().unwrap().to_owned();
    let busy = output(&mut ignited(&["export", "--to", &file_text], &data_dir));
    let said = String::from_utf8_lossy(&busy.stderr).into_owned();
    assert_eq!(busy.status.code(), Some(1), "{said}");
    assert!(said.contains("in use"), "{said}");
    assert!(!file.exists());

    gateway.terminate();
    run(&mut ignited(&["export", "--to", &file_text], &data_dir));
    assert!(
        !String::from_utf8_lossy(&fs::read(&file).unwrap()).contains("sesame-open-sesame"),
        "the export shows a secret"
    );
    let again = output(&mut ignited(&["import", "--from", &file_text], &data_dir));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(1), "{said}");
    assert!(said.contains("holds a store already"), "{said}");

    // The other machine: nothing but the file, and the key without which sealed rows stay closed.
    let old = data_dir.with_file_name("old");
    fs::rename(&data_dir, &old).unwrap();
    run(&mut ignited(&["import", "--from", &file_text], &data_dir));
    fs::copy(old.join("master.key"), data_dir.join("master.key")).unwrap();
    gateway.restart();
    assert_eq!(caller.get(&moved.id).await, moved);
    assert_eq!(caller.get(&failed.id).await, failed);
    assert!(caller.log(&moved.id).await == log);
    assert_eq!(caller.log(&failed.id).await, failed_log);
    let listed = caller
        .grpc
        .clone()
        .list_builds(v1::ListBuildsRequest::default())
        .await;
    let listed: Vec<String> = listed
        .unwrap()
        .into_inner()
        .builds
        .into_iter()
        .map(|build| build.id)
        .collect();
    assert_eq!(listed, [failed.id.clone(), moved.id.clone()]);

    // Archives are not in the file: what needs one says so, and does not begin.
    let retry = v1::RetryBuildRequest {
        build_id: moved.id.clone(),
        ..Default::default()
    };
    let refused = caller.grpc.clone().retry_build(retry).await.unwrap_err();
    assert_eq!(reason(&refused), "CONTEXT_EXPIRED");

    // And it goes on from there.
    let fresh = caller.succeed(inline("fresh", &Context::scratch(""))).await;
    assert!(fresh.id > failed.id);
    let context = v1::create_build_request::Source::ZippedCode(Context::scratch("").tar_gz().into());
    caller.succeed(request("fresher", context)).await;
}

#[test]
fn a_damaged_export_is_refused_and_fills_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data_dir) = (folder.path().join("state.export"), folder.path().join("data"));
    fs::write(&file, "nothing of the kind").unwrap();
    let refused = output(&mut ignited(
        &["import", "--from", file.to_str().unwrap()],
        &data_dir,
    ));
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(!data_dir.join("store").exists());
}
