//! What a build may use: time, memory, disk, and the size of its log.

use std::time::{Duration, Instant};

use ignite_proto::v1::{self, FailureReason};
use ignite_tests::{at_each_site, caller::inline, site::Site};

at_each_site! {
    a_build_past_its_timeout_ends,
    a_build_past_its_memory_ends,
    a_build_gets_no_more_processor_than_its_share,
    a_build_past_its_disk_ends,
    a_log_past_its_size_keeps_head_and_tail_and_says_what_is_gone,
}

async fn a_build_past_its_timeout_ends(site: Site<'_>) {
    let gateway = site.gateway().start();
    let request = v1::CreateBuildRequest {
        timeout_secs: 15,
        ..inline("slow", &site.on_busybox("RUN echo waiting; sleep 300"))
    };
    let start = Instant::now();
    let (build, log) = gateway.caller().fail(request, FailureReason::Timeout).await;
    assert!(log.ends_with("waiting\n"), "{log}");
    assert!(build.error.contains("15"), "{}", build.error);
    assert!(build.metrics.unwrap().duration_ms >= 15_000);
    assert!(start.elapsed() < Duration::from_secs(60));
}

async fn a_build_past_its_memory_ends(site: Site<'_>) {
    let gateway = site
        .gateway()
        .setting("build_memory_bytes_max", 256 << 20)
        .start();
    // busybox keeps the line that never ends.
    let (build, log) = gateway
        .caller()
        .fail(
            inline("hungry", &site.on_busybox("RUN echo hungry; tail /dev/zero")),
            FailureReason::OutOfMemory,
        )
        .await;
    assert!(log.contains("hungry"), "{log}");
    assert!(build.error.contains("memory"), "{}", build.error);
}

/// How many a pod may have is the kubelet's to say, for all pods alike.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_past_its_processes_fails_by_itself() {
    let site = Site::Machine;
    let gateway = site.gateway().setting("build_pids_max", 64).start();
    let step = "RUN echo forking; i=0; while [ $i -lt 200 ]; do sleep 5 & i=$((i+1)); done; echo all of them";
    let (_, log) = gateway
        .caller()
        .fail(inline("forking", &site.on_busybox(step)), FailureReason::UserStep)
        .await;
    assert!(log.contains("can't fork"), "{log}");
    assert!(!log.contains("\nall of them"), "{log}");
}

async fn a_build_gets_no_more_processor_than_its_share(site: Site<'_>) {
    let gateway = site.gateway().setting("build_cpu_millis_max", 200).start();
    let step = "RUN timeout 4 sh -c 'while :; do :; done'; \\\n    echo \"hundredths: $(cut -d' ' -f16,17 /proc/$$/stat)\"";
    let caller = gateway.caller();
    let build = caller.succeed(inline("busy", &site.on_busybox(step))).await;
    let log = caller.log(&build.id).await;
    let counted = log
        .lines()
        .find_map(|line| line.strip_prefix("hundredths: "))
        .unwrap_or_else(|| panic!("{log}"));
    let used: u64 = counted.split(' ').map(|part| part.parse::<u64>().unwrap()).sum();
    // A fifth of four seconds, and some for the periods at the edges.
    assert!((10..=160).contains(&used), "{used} of 400 hundredths");
}

async fn a_build_past_its_disk_ends(site: Site<'_>) {
    let gateway = site.gateway().setting("build_disk_bytes_max", 128 << 20).start();
    let step = "RUN echo filling; i=0; while true; do dd if=/dev/zero of=/f$i bs=1M count=16 2>/dev/null; i=$((i+1)); \
                [ $i -gt 200 ] && exit 9; sleep 0.2; done";
    let (build, log) = gateway
        .caller()
        .fail(
            inline("filling", &site.on_busybox(step)),
            FailureReason::OutOfDisk,
        )
        .await;
    assert!(log.contains("filling"), "{log}");
    assert!(build.error.contains("disk"), "{}", build.error);
}

/// In a pod it can, where the kubelet counts the files that it finds: with project quotas it would not.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_does_not_hide_from_its_disk_limit() {
    let site = Site::Machine;
    let gateway = site.gateway().setting("build_disk_bytes_max", 64 << 20).start();
    let caller = gateway.caller();
    // Open, but without a name; and 40 000 names without content.
    let nameless = "RUN exec 3>/f && rm /f && dd if=/dev/zero bs=1M count=200 >&3 2>/dev/null && sleep 60";
    let empty = "RUN mkdir /d && cd /d && seq 40000 | xargs touch && sleep 60";
    for step in [nameless, empty] {
        let (build, _) = caller
            .fail(inline("hiding", &site.on_busybox(step)), FailureReason::OutOfDisk)
            .await;
        assert!(build.error.contains("disk"), "{}", build.error);
    }
}

async fn a_log_past_its_size_keeps_head_and_tail_and_says_what_is_gone(site: Site<'_>) {
    let gateway = site.gateway().setting("log_bytes_max", 256 << 10).start();
    let caller = gateway.caller();
    let step = "RUN echo the-head; seq 1 200000; echo the-tail";
    let request = v1::CreateBuildRequest {
        no_cache: true,
        ..inline("chatty", &site.on_busybox(step))
    };
    let build = caller.succeed(request).await;
    let mut stream = caller.follow(&build.id, true, 0).await;
    let mut log = Vec::new();
    while let Some(chunk) = stream.message().await.unwrap() {
        log.extend_from_slice(&chunk.data);
    }
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("the-head") && log.contains("the-tail"));
    assert!(log.len() < 400 << 10, "{} bytes were kept", log.len());
    assert!(
        log.lines()
            .any(|line| line.contains("bytes of log are missing here")),
        "no word of a gap"
    );
}
