//! A log can be read from its start, from any byte, or from now on.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ignite_proto::v1;
use ignite_tests::{
    caller::{inline, joined},
    context::Context,
    gateway::Gateway,
    registry::Registry,
};

fn chatty(lines: u32, pause: &str) -> Context {
    Context::new(&format!(
        "FROM {}\nRUN echo begin; for i in $(seq 1 {lines}); do echo line $i of {lines}; {pause} done; echo end\n",
        Registry::shared().busybox()
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_log_is_the_same_from_everywhere() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let request = v1::CreateBuildRequest {
        no_cache: true,
        ..inline("chatty", &chatty(3000, ""))
    };
    let build = caller.succeed(request).await;
    let log = caller.log(&build.id).await;
    assert_eq!(build.log_bytes, log.len() as u64);
    for line in 1..=3000 {
        assert_eq!(
            log.matches(&format!("\nline {line} of 3000\n")).count(),
            1,
            "line {line}"
        );
    }
    assert!(
        log.contains("Pushed") || log.contains(&build.image_digest),
        "the end is missing"
    );

    let length = log.len() as u64;
    for offset in [1, 17, 4095, 4096, 4097, length / 2, length - 1] {
        let rest = joined(caller.follow(&build.id, false, offset).await, offset).await;
        assert_eq!(
            rest,
            log.as_bytes()[usize::try_from(offset).unwrap()..],
            "from {offset}"
        );
    }
    let nothing = joined(caller.follow(&build.id, false, length).await, length).await;
    assert!(nothing.is_empty());

    let path = format!("/v1/ignite/builds/{}/logs/stream?from_start=true", build.id);
    let lines = caller.http.lines(&path).await;
    let mut over_http = Vec::new();
    for line in &lines {
        assert_eq!(line["offset"].as_str().unwrap(), over_http.len().to_string());
        assert!(line["timestampMs"].as_str().unwrap().parse::<i64>().unwrap() > 0);
        over_http.extend(STANDARD.decode(line["data"].as_str().unwrap()).unwrap());
    }
    assert!(over_http == log.as_bytes(), "HTTP and gRPC differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_log_arrives_while_it_is_written() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let request = v1::CreateBuildRequest {
        no_cache: true,
        ..inline("live", &chatty(40, "sleep 0.2;"))
    };
    let id = caller.create(request).await;
    caller.wait_logged(&id, "line 10 of 40").await;
    assert_eq!(
        caller.get(&id).await.status(),
        v1::BuildStatus::Running,
        "the log came only at the end"
    );

    // From now on: what was there is not sent again, and what comes is complete.
    let mut tail = caller.follow(&id, false, 0).await;
    let first = tail.message().await.unwrap().unwrap();
    assert!(first.offset > 0);
    let mut text = first.data.to_vec();
    text.extend(joined(tail, first.offset + first.data.len() as u64).await);
    let text = String::from_utf8(text).unwrap();
    assert!(
        !text.contains("line 5 of 40") && text.contains("line 40 of 40"),
        "{text}"
    );
    let log = caller.log(&id).await;
    assert!(log.ends_with(&text));
}
