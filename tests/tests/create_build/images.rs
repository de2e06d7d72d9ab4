//! Real Dockerfiles become images that other tools pull and run.

use ignite_proto::v1;
use ignite_tests::{
    at_each_site, caller::inline, context::Context, image::Image, registry::Registry, site::Site,
};

at_each_site! {
    a_static_binary_on_nothing_is_built_pushed_and_runs,
    a_registry_with_a_certificate_of_its_own_is_trusted_when_told_to,
    a_debian_with_users_packages_and_an_entrypoint_is_built_and_runs,
    stages_hand_files_to_each_other,
    every_tag_is_pushed_and_is_the_same_image,
    a_zip_with_the_dockerfile_elsewhere_is_built,
}

async fn a_static_binary_on_nothing_is_built_pushed_and_runs(site: Site<'_>) {
    let gateway = site.gateway().start();
    let registry = site.registry();
    let context = Context::scratch(r#"ENTRYPOINT ["/bin/busybox", "echo", "out of nothing"]"#);
    let archive_bytes = context.tar_gz().len();
    let build = gateway.caller().succeed(inline("scratch", &context)).await;

    let reference = format!("{}/acme/scratch:latest", registry.address());
    assert_eq!(build.image_refs, std::slice::from_ref(&reference));
    assert_eq!(build.image_digest, registry.digest(&reference));
    let image = Image::pull(registry, &reference);
    assert_eq!(image.run(), "out of nothing");

    let metrics = build.metrics.unwrap();
    let (layers, bytes) = image.size();
    assert_eq!(metrics.layer_count as usize, layers);
    assert_eq!(metrics.image_size_bytes, i64::try_from(bytes).unwrap());
    assert!(metrics.context_size_bytes > i64::try_from(archive_bytes).unwrap());
    assert!(metrics.duration_ms > 0);
    assert!(build.created_at_ms <= build.started_at_ms && build.started_at_ms <= build.completed_at_ms);
    assert_eq!((build.attempts, build.organization_id.as_str()), (1, "acme"));
}

/// Pushed by Kaniko and looked up by the gateway: both must trust the registry's own authority.
async fn a_registry_with_a_certificate_of_its_own_is_trusted_when_told_to(site: Site<'_>) {
    let registry = Registry::over_tls_on(site.host());
    let settings = || {
        site.gateway()
            .registry(&registry)
            .setting("registry_insecure", "false")
    };
    let context = Context::scratch("");
    let stranger = settings().start();
    stranger
        .caller()
        .fail(inline("web", &context), v1::FailureReason::PushFailed)
        .await;
    let gateway = settings()
        .setting("registry_ca_file", registry.certificate().display())
        .start();
    let build = gateway.caller().succeed(inline("web", &context)).await;
    assert_eq!(build.image_digest, registry.digest(&build.image_refs[0]));
    assert!(build.metrics.unwrap().image_size_bytes > 0);
}

/// What package scripts do: users and groups, ownership, `su`, the package database.
const DEBIAN: &str = r#"
ENV GREETING=hello NAME="two words"
RUN groupadd --gid 4242 builders && useradd --uid 4242 --gid builders --create-home --shell /bin/bash maker
RUN mkdir -p /srv/app && chown -R maker:builders /srv/app && chmod 2750 /srv/app
RUN dpkg -l | grep -c '^ii' > /srv/packages && dpkg-query -W apt
RUN su maker -c 'id -un > /srv/app/owner && touch /srv/app/own'
RUN setcap -h >/dev/null 2>&1; ldconfig && update-alternatives --list pager || true
WORKDIR /srv/app
LABEL org.example.kind=test
EXPOSE 8080
USER maker
ENTRYPOINT ["/bin/bash", "-c", "echo $GREETING $NAME from $(id -un):$(id -gn) in $PWD with $0", "arg0"]
CMD ["unused"]
"#;

async fn a_debian_with_users_packages_and_an_entrypoint_is_built_and_runs(site: Site<'_>) {
    let gateway = site.gateway().start();
    let registry = site.registry();
    let context = Context::new(&format!("FROM {}\n{DEBIAN}", registry.debian()));
    let build = gateway.caller().succeed(inline("debian", &context)).await;

    let image = Image::pull(registry, &build.image_refs[0]);
    assert_eq!(
        image.run(),
        "hello two words from maker:builders in /srv/app with arg0"
    );
    assert_eq!(image.run_command(&["cat", "/srv/app/owner"]), "maker");
    assert_eq!(
        image.run_command(&["stat", "-c", "%a %U:%G", "/srv/app", "/srv/app/own"]),
        "2750 maker:builders\n644 maker:builders"
    );
    let packages: u32 = image.run_command(&["cat", "/srv/packages"]).parse().unwrap();
    assert!(packages > 50, "{packages} packages");
    assert_eq!(image.config()["User"], "maker");
    assert_eq!(image.config()["Labels"]["org.example.kind"], "test");
    assert!(image.config()["ExposedPorts"]["8080/tcp"].is_object());

    let names: Vec<&str> = build.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(
        names.iter().filter(|name| name.starts_with("RUN ")).count(),
        5,
        "{names:?}"
    );
    for step in &build.steps {
        assert!(
            step.started_at_ms > 0 && step.completed_at_ms >= step.started_at_ms,
            "{step:?}"
        );
    }
}

async fn stages_hand_files_to_each_other(site: Site<'_>) {
    let gateway = site.gateway().start();
    let registry = site.registry();
    let busybox = registry.busybox();
    let context = Context::new(&format!(
        "FROM {busybox} AS first\n\
         RUN mkdir -p /out/deep && echo one > /out/deep/file && ln -s deep/file /out/link && chmod 700 /out/deep\n\
         FROM {busybox} AS second\n\
         COPY --from=first /out /in\n\
         RUN cat /in/link | tr a-z A-Z > /result\n\
         FROM {busybox} AS unused\n\
         RUN false\n\
         FROM scratch\n\
         COPY busybox /bin/busybox\n\
         COPY --from=second /result /result\n\
         COPY --from=0 /out/deep /deep\n\
         CMD [\"/bin/busybox\", \"cat\", \"/result\", \"/deep/file\"]\n"
    ))
    .busybox();
    let build = gateway.caller().succeed(inline("stages", &context)).await;
    let image = Image::pull(registry, &build.image_refs[0]);
    assert_eq!(image.run(), "ONE\none");
    assert!(!image.path("/in").exists());
}

async fn every_tag_is_pushed_and_is_the_same_image(site: Site<'_>) {
    let gateway = site.gateway().start();
    let registry = site.registry();
    let request = v1::CreateBuildRequest {
        tags: vec!["v1.2".to_owned(), "stable".to_owned(), "latest".to_owned()],
        ..inline(
            "team/tagged",
            &Context::scratch(r#"CMD ["/bin/busybox", "true"]"#),
        )
    };
    let build = gateway.caller().succeed(request).await;
    assert_eq!(build.tags, ["v1.2", "stable", "latest"]);
    let expected: Vec<String> = build
        .tags
        .iter()
        .map(|tag| format!("{}/acme/team/tagged:{tag}", registry.address()))
        .collect();
    assert_eq!(build.image_refs, expected);
    for reference in &build.image_refs {
        assert_eq!(registry.digest(reference), build.image_digest);
    }
}

async fn a_zip_with_the_dockerfile_elsewhere_is_built(site: Site<'_>) {
    let gateway = site.gateway().start();
    let registry = site.registry();
    let context = Context::default().busybox().file("message", "zipped").file(
        "deploy/image.dockerfile",
        "FROM scratch\nCOPY busybox message /\nCMD [\"/busybox\", \"cat\", \"/message\"]\n",
    );
    let source = v1::create_build_request::Source::ZippedCode(context.zip().into());
    let request = v1::CreateBuildRequest {
        dockerfile: "deploy/image.dockerfile".to_owned(),
        platform: "linux/amd64".to_owned(),
        ..ignite_tests::caller::request("zipped", source)
    };
    let build = gateway.caller().succeed(request).await;
    assert_eq!(
        (build.dockerfile.as_str(), build.platform.as_str()),
        ("deploy/image.dockerfile", "linux/amd64")
    );
    assert_eq!(Image::pull(registry, &build.image_refs[0]).run(), "zipped");
}
