//! What the record says of an image and of a context is what other tools measure.

use ignite_proto::v1;
use ignite_tests::{at_each_site, caller::inline, context::Context, site::Site};

at_each_site! {
    layers_and_sizes_are_those_that_skopeo_sees,
    a_platform_that_is_not_ours_is_in_the_image,
}

async fn layers_and_sizes_are_those_that_skopeo_sees(site: Site<'_>) {
    let gateway = site.gateway().start();
    let registry = site.registry();
    let dockerfile = format!(
        "FROM {}\nRUN echo one > /one\nCOPY data /data\nRUN rm /one\n",
        registry.busybox()
    );
    let context = Context::new(&dockerfile)
        .file("data", vec![7; 70_001])
        .file("more/data", vec![8; 30_000])
        .symlink("more/link", "data");
    let build = gateway.caller().succeed(inline("measured", &context)).await;
    let metrics = build.metrics.unwrap();

    let seen = registry.inspect(&build.image_refs[0]);
    assert_eq!(build.image_digest, seen["Digest"].as_str().unwrap());
    let layers = seen["Layers"].as_array().unwrap();
    assert_eq!(metrics.layer_count as usize, layers.len());
    let manifest = registry.manifest(&build.image_refs[0]);
    let sizes = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["size"].as_i64().unwrap());
    let layer_bytes: i64 = sizes.sum();
    let configuration_bytes = manifest["config"]["size"].as_i64().unwrap();
    assert_eq!(metrics.image_size_bytes, layer_bytes + configuration_bytes);
    // Of the regular files, unpacked.
    let files_bytes = dockerfile.len() + 70_001 + 30_000;
    assert_eq!(metrics.context_size_bytes, i64::try_from(files_bytes).unwrap());
    assert_eq!(metrics.duration_ms, build.completed_at_ms - build.started_at_ms);
}

/// Nothing of it runs here, so nothing but the image's own word tells.
async fn a_platform_that_is_not_ours_is_in_the_image(site: Site<'_>) {
    let gateway = site.gateway().start();
    let request = v1::CreateBuildRequest {
        platform: "linux/arm64".to_owned(),
        ..inline("foreign", &Context::new("FROM scratch\nCOPY Dockerfile /\n"))
    };
    let build = gateway.caller().succeed(request).await;
    assert_eq!(build.platform, "linux/arm64");
    let seen = site.registry().inspect(&build.image_refs[0]);
    assert_eq!(
        (seen["Os"].as_str(), seen["Architecture"].as_str()),
        (Some("linux"), Some("arm64"))
    );
}
