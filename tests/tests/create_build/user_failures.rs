//! Builds that fail by their author's fault: each with its reason, an error to act on, and its log to the last line.

use ignite_proto::v1::{self, FailureReason};
use ignite_tests::{
    at_each_site,
    caller::{git, inline},
    context::Context,
    registry::Registry,
    site::Site,
};

at_each_site! {
    a_dockerfile_that_does_not_parse,
    a_missing_dockerfile,
    a_missing_dockerfile_in_a_repository,
    a_step_that_fails_keeps_its_exit_code_and_its_last_words,
    a_file_to_copy_that_is_not_there,
    a_base_image_that_is_not_there,
    a_registry_that_refuses_the_push,
    a_registry_that_is_not_there,
}

/// What the builder said last must not be lost, or nobody knows why it ended.
fn ends_with_line(log: &str, start: &str) {
    let last = log.lines().last().unwrap_or_default();
    assert!(
        log.ends_with('\n') && last.starts_with(start),
        "the last line is {last:?}, not {start:?}…:\n{log}"
    );
}

async fn a_dockerfile_that_does_not_parse(site: Site<'_>) {
    let gateway = site.gateway().start();
    let context = site.on_busybox("RUN true\nFRIM nothing\n");
    let (build, log) = gateway
        .caller()
        .fail(inline("syntax", &context), FailureReason::Dockerfile)
        .await;
    ends_with_line(&log, "error building image: parsing dockerfile");
    assert!(build.error.contains("FRIM"), "{}", build.error);
    assert!(build.image_refs.is_empty() && build.image_digest.is_empty());
}

async fn a_missing_dockerfile(site: Site<'_>) {
    let gateway = site.gateway().start();
    let request = v1::CreateBuildRequest {
        dockerfile: "deploy/Dockerfile".to_owned(),
        ..inline("missing", &site.on_busybox("RUN true"))
    };
    // An inline archive is looked into at once, so the call itself may say so; a build that was accepted must.
    let caller = gateway.caller();
    match caller.try_create(request).await {
        Ok(id) => {
            let build = caller.wait_terminal(&id).await;
            assert_eq!(build.failure_reason(), FailureReason::Dockerfile, "{build:#?}");
            assert!(build.error.contains("deploy/Dockerfile"), "{}", build.error);
        }
        Err(refused) => assert_eq!(ignite_tests::caller::violated_fields(&refused), ["dockerfile"]),
    }
}

/// What stands in a repository is known only once it was fetched.
async fn a_missing_dockerfile_in_a_repository(site: Site<'_>) {
    let (gateway, server) = (site.gateway().start(), site.git_server());
    let repository = server.repository("bare.git");
    repository.commit(&Context::default().file("Containerfile", "FROM scratch\n"));
    let (build, log) = gateway
        .caller()
        .fail(
            git("missing", repository.url(), "main", ""),
            FailureReason::Dockerfile,
        )
        .await;
    assert!(
        build.error.contains("\"Dockerfile\"") && build.error.contains("Containerfile"),
        "{}",
        build.error
    );
    ends_with_line(&log, "Error: ");
}

async fn a_step_that_fails_keeps_its_exit_code_and_its_last_words(site: Site<'_>) {
    let gateway = site.gateway().start();
    // The only step: Kaniko stores the layer of an earlier one beside it, and says so whenever it is done.
    let context =
        site.on_busybox("RUN for i in $(seq 1 2000); do echo line $i; done; printf 'last words'; exit 42");
    let (build, log) = gateway
        .caller()
        .fail(inline("step", &context), FailureReason::UserStep)
        .await;
    assert!(build.error.contains("42"), "{}", build.error);
    assert!(
        build.error.contains("RUN"),
        "the error does not name the step: {}",
        build.error
    );
    for line in 1..=2000 {
        assert!(log.contains(&format!("line {line}\n")), "line {line} is missing");
    }
    assert!(log.contains("last words"), "{log}");
    // The step's last line has no end of its own.
    ends_with_line(&log, "last wordserror building image: ");
    assert!(log.trim_end().ends_with("exit status 42"), "{log}");
    assert_eq!(build.attempts, 1);
}

async fn a_file_to_copy_that_is_not_there(site: Site<'_>) {
    let gateway = site.gateway().start();
    let context = site.on_busybox("COPY not-there /there");
    let (build, log) = gateway
        .caller()
        .fail(inline("copy", &context), FailureReason::UserStep)
        .await;
    ends_with_line(&log, "error building image: ");
    assert!(build.error.contains("not-there"), "{}", build.error);
}

async fn a_base_image_that_is_not_there(site: Site<'_>) {
    let gateway = site.gateway().start();
    let base = format!("{}/library/absent:1", site.registry().address());
    let context = Context::new(&format!("FROM {base}\nRUN true\n"));
    let (build, log) = gateway
        .caller()
        .fail(inline("base", &context), FailureReason::BaseImagePull)
        .await;
    ends_with_line(&log, "error building image: ");
    assert!(build.error.contains("library/absent"), "{}", build.error);
}

async fn a_registry_that_refuses_the_push(site: Site<'_>) {
    let registry = Registry::guarded_on(site.host());
    let gateway = site.gateway().registry(&registry).start();
    let context = Context::scratch(r#"CMD ["/bin/busybox"]"#);
    let (build, log) = gateway
        .caller()
        .fail(inline("refused", &context), FailureReason::PushDenied)
        .await;
    ends_with_line(&log, "error checking push permissions");
    assert!(build.error.contains(registry.address()), "{}", build.error);
    assert!(build.image_refs.is_empty());
    assert!(!registry.has("acme/refused:latest"));
}

async fn a_registry_that_is_not_there(site: Site<'_>) {
    // Nobody listens at port 1.
    let gateway = site.gateway().setting("registry", "127.0.0.1:1").start();
    let context = Context::scratch(r#"CMD ["/bin/busybox"]"#);
    let (build, log) = gateway
        .caller()
        .fail(inline("nowhere", &context), FailureReason::PushFailed)
        .await;
    assert!(build.error.contains("127.0.0.1:1"), "{}", build.error);
    assert!(build.image_refs.is_empty() && build.image_digest.is_empty());
    ends_with_line(&log, "error checking push permissions");
}
