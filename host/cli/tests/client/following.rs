//! Logs and changes followed over failures, interrupts and readers that leave.

use std::time::Duration;

use ignite_proto::v1::{self, BuildStatus};
use tokio::time::sleep;
use tonic::Status;

use crate::{
    fake::{Cut, Fake, Script, build, log},
    harness::{ID, code, ignite, interrupt, run, stderr, stdout, until},
    proxy::Proxy,
};

#[tokio::test]
async fn a_followed_log_is_whole_however_often_the_stream_breaks() {
    let text = log(64 * 1024);
    let server = Fake::start(Script {
        log: text.clone(),
        cuts: vec![
            Cut::status(0, Status::unavailable("draining")),
            Cut::status(1, Status::unavailable("restarting")),
            Cut::end(9_000),
            // Sends 500 bytes again that the client has.
            Cut::end(20_000).overlapping(500),
            Cut::status(40_000, Status::unavailable("restarting")),
        ],
        ..Script::default()
    })
    .await;
    let output = run(&server.endpoint, "build create app --context-id ctx_1 --follow").await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(
        output.stdout == text,
        "{} of {} bytes",
        output.stdout.len(),
        text.len()
    );
    assert!(
        stderr(&output).contains("reg.example/acme/app:latest@sha256:"),
        "{}",
        stderr(&output)
    );
    assert_eq!(server.seen().log_requests.len(), 6);
}

#[tokio::test]
async fn a_connection_that_is_torn_down_is_made_again() {
    let text = log(200_000);
    let server = Fake::start(Script {
        log: text.clone(),
        pace: Duration::from_millis(10),
        ..Script::default()
    })
    .await;
    let proxy = Proxy::start(&server.endpoint).await;
    let endpoint = proxy.endpoint.clone();
    let following = tokio::spawn(async move { run(&endpoint, &format!("build logs {ID} --follow")).await });
    for requests in 1..=3 {
        until("a log request", || server.seen().log_requests.len() >= requests).await;
        sleep(Duration::from_millis(60)).await;
        proxy.cut_for(Duration::from_millis(300)).await;
    }
    let output = following.await.unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(
        output.stdout == text,
        "{} of {} bytes",
        output.stdout.len(),
        text.len()
    );
    assert!(stderr(&output).contains("trying again"), "{}", stderr(&output));
    assert!(
        server
            .seen()
            .log_requests
            .iter()
            .any(|request| request.offset > 0)
    );
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up_with_a_word_on_how_to_go_on() {
    let server = Fake::start(Script {
        log: log(10_000),
        cuts: vec![Cut::status(4_096, Status::unavailable("gone")); 1000],
        ..Script::default()
    })
    .await;
    // Each connection but the first brings nothing.
    let output = run(
        &server.endpoint,
        &format!("build logs {ID} --follow --timeout 2s"),
    )
    .await;
    assert_eq!(code(&output), 9);
    assert!(
        stderr(&output).contains(&format!(
            "go on with: ignite build logs {ID} --follow --offset 4096"
        )),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn a_refusal_in_the_middle_is_not_tried_again_but_says_how_to_go_on() {
    let server = Fake::start(Script {
        log: log(10_000),
        cuts: vec![Cut::status(5_000, Status::unauthenticated("the token expired"))],
        ..Script::default()
    })
    .await;
    let output = run(&server.endpoint, &format!("build logs {ID} --follow")).await;
    assert_eq!(code(&output), 3);
    assert!(
        stderr(&output).contains("--follow --offset 5000"),
        "{}",
        stderr(&output)
    );
    assert_eq!(server.seen().log_requests.len(), 1);
}

#[tokio::test]
async fn the_exit_code_of_following_is_the_builds() {
    for (status, expected) in [
        (BuildStatus::Succeeded, 0),
        (BuildStatus::Failed, 1),
        (BuildStatus::Cancelled, 20),
    ] {
        let server = Fake::start(Script {
            end: status,
            ..Script::default()
        })
        .await;
        for command in ["build retry X --follow", "build logs X --follow", "build watch X"] {
            let output = run(&server.endpoint, &command.replace('X', ID)).await;
            assert_eq!(code(&output), expected, "{command}: {}", stderr(&output));
        }
        // What only looks does not judge.
        let output = run(&server.endpoint, &format!("build get {ID}")).await;
        assert_eq!(code(&output), 0);
    }
}

#[tokio::test]
async fn with_json_stdout_is_the_result_and_stderr_the_log() {
    let text = log(5_000);
    let server = Fake::start(Script {
        log: text.clone(),
        end: BuildStatus::Failed,
        cuts: vec![Cut::end(100)],
        ..Script::default()
    })
    .await;
    let output = run(
        &server.endpoint,
        "build create app --context-id ctx_1 --follow -o json",
    )
    .await;
    assert_eq!(code(&output), 1);
    assert!(output.stderr == text);
    let response: v1::GetBuildResponse = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(response.build.unwrap(), build(BuildStatus::Failed, text.len()));

    // The log itself as a program reads it: one message a line.
    let output = run(&server.endpoint, &format!("build logs {ID} -o json")).await;
    let mut joined = Vec::new();
    for line in stdout(&output).lines() {
        joined.extend_from_slice(&serde_json::from_str::<v1::BuildLogChunk>(line).unwrap().data);
    }
    assert!(joined == text);
}

#[tokio::test]
async fn the_log_of_a_running_build_is_what_there_is() {
    let text = log(30_000);
    let server = Fake::start(Script {
        log: text.clone(),
        holds_at: Some(20_000),
        ..Script::default()
    })
    .await;
    let output = run(&server.endpoint, &format!("build logs {ID}")).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(output.stdout == text[..20_000]);
    let output = run(&server.endpoint, &format!("build logs {ID} --offset 15000")).await;
    assert!(output.stdout == text[15_000..20_000]);
}

#[tokio::test]
async fn ctrl_c_detaches_and_a_second_one_cancels() {
    let script = || Script {
        log: log(30_000),
        holds_at: Some(20_000),
        ..Script::default()
    };
    let server = Fake::start(script()).await;
    let follow = format!("build logs {ID} --follow");
    let child = ignite(&server.endpoint, &follow).spawn().unwrap();
    until("the log request", || server.seen().log_bytes == 20_000).await;
    sleep(Duration::from_millis(200)).await;
    interrupt(&child).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 130);
    let said = stderr(&output);
    assert!(said.contains(&format!("ignite build cancel {ID}")), "{said}");
    assert!(
        said.contains(&format!("ignite build logs {ID} --follow --offset 20000")),
        "{said}"
    );
    assert!(server.seen().cancelled.is_empty());

    for (options, interrupts) in [("", 2), ("--cancel-on-interrupt", 1)] {
        let server = Fake::start(script()).await;
        let child = ignite(&server.endpoint, &format!("{follow} {options}"))
            .spawn()
            .unwrap();
        until("the log request", || server.seen().log_bytes == 20_000).await;
        for _ in 0..interrupts {
            sleep(Duration::from_millis(200)).await;
            interrupt(&child).await;
        }
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(code(&output), 20, "{}", stderr(&output));
        assert_eq!(server.seen().cancelled, [ID]);
    }
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_command_quietly() {
    let server = Fake::start(Script {
        log: log(3_000_000),
        ..Script::default()
    })
    .await;
    let mut child = ignite(&server.endpoint, &format!("build logs {ID} --follow"))
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (141, ""));
}
