//! A context of 300 MB goes through the gateway without going through its memory.

use std::fs;

use ignite_proto::v1::create_build_request::Source;
use ignite_tests::{
    at_each_site,
    caller::request,
    context::{Context, noise},
    image::Image,
    site::Site,
};

at_each_site! {
    three_hundred_megabytes_are_uploaded_and_built,
}

const PARTS: u64 = 10;
const PART_BYTES: usize = 30 << 20;
const GROWTH_BYTES_MAX: u64 = 64 << 20;

/// The most memory a process ever had at once.
fn peak_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

async fn three_hundred_megabytes_are_uploaded_and_built(site: Site<'_>) {
    let gateway = site.gateway().start();
    let caller = gateway.caller();
    let mut context =
        Context::new("FROM scratch\nCOPY busybox parts/0 /\nCMD [\"/busybox\", \"sha256sum\", \"/0\"]\n")
            .busybox();
    for part in 0..PARTS {
        context = context.file(&format!("parts/{part}"), noise(PART_BYTES, part + 1));
    }
    let archive = context.tar_gz();
    assert!(archive.len() > 300_000_000);

    let before = peak_bytes(gateway.pid());
    let uploaded = caller.upload(archive).await.unwrap();
    let growth = peak_bytes(gateway.pid()).saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "the daemon grew by {growth} bytes");

    let build = caller
        .succeed(request("large", Source::ContextId(uploaded.context_id)))
        .await;
    let context_bytes = u64::try_from(build.metrics.unwrap().context_size_bytes).unwrap();
    assert!(context_bytes > PARTS * PART_BYTES as u64);
    let image = Image::pull(site.registry(), &build.image_refs[0]);
    assert_eq!(fs::read(image.path("/0")).unwrap(), noise(PART_BYTES, 1));
    assert!(image.run().ends_with("  /0"));
}
