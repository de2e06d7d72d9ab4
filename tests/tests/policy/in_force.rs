//! What an organization's plugins do to its builds, with the real Kaniko.

use std::time::Duration;

use ignite_proto::v1::{BuildStatus, FailureReason};
use ignite_tests::{
    caller,
    context::Context,
    gateway::{Gateway, PLATFORM},
    git_server::GitServer,
    paths,
    receiver::Receiver,
    registry::Registry,
    wait::eventually,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// Uploads these samples and puts a policy that the test wrote in force.
fn put_policy(gateway: &Gateway, plugins: &[&str], policy: &str) {
    let cli = gateway.cli_of("platform", PLATFORM);
    for plugin in plugins {
        cli.run(&["plugin", "push", &paths::plugin(plugin)]);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, policy).unwrap();
    cli.run(&["policy", "put", file.to_str().unwrap()]);
}

fn only_from_our_registry() -> String {
    let registry = Registry::shared().address();
    format!(
        "[[plugin]]\nname = 'base-images'\nversion = '0.1.0'\n[plugin.config]\nallow = ['{registry}/*']\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_image_that_is_not_allowed_is_refused_before_anything_is_built() {
    let gateway = Gateway::start();
    put_policy(&gateway, &["base-images"], &only_from_our_registry());
    let caller = gateway.caller();
    let busybox = Registry::shared().busybox();

    let build = caller
        .succeed(caller::inline(
            "allowed",
            &Context::new(&format!("FROM {busybox}\nRUN true\n")),
        ))
        .await;
    let report = &build.hook_reports[0];
    assert_eq!(
        (
            report.plugin.as_str(),
            report.hook.as_str(),
            report.verdict.as_str()
        ),
        ("base-images", "inspect", "allow")
    );
    assert!(report.digest.starts_with("sha256:"), "{report:?}");

    // An archive is judged while its sender waits.
    let foreign = Context::new("FROM docker.io/library/alpine:3\nRUN true\n");
    let refused = caller
        .try_create(caller::inline("refused", &foreign))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), caller::reason(&refused).as_str()),
        (tonic::Code::PermissionDenied, "POLICY_DENIED")
    );
    assert!(refused.message().contains("base-images"), "{refused}");
    assert!(
        refused.message().contains("docker.io/library/alpine:3"),
        "{refused}"
    );

    // What a repository holds is known once it is fetched.
    let server = GitServer::start();
    let repository = server.repository("app.git");
    repository.commit(&foreign);
    let (build, log) = caller
        .fail(
            caller::git("fetched", repository.url(), "main", ""),
            FailureReason::PolicyDenied,
        )
        .await;
    assert!(
        build.error.contains("docker.io/library/alpine:3"),
        "{}",
        build.error
    );
    assert!(!log.contains("Retrieving image manifest"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_waits_until_somebody_else_approves_it() {
    let gateway = Gateway::start();
    let policy = "[[plugin]]\nname = 'release-approval'\nversion = '0.1.0'\n[plugin.config]\ntags = ['v*']\n";
    put_policy(&gateway, &["release-approval"], policy);
    let caller = gateway.caller();
    let mut request = caller::inline(
        "released",
        &Context::new(&format!("FROM {}\nRUN true\n", Registry::shared().busybox())),
    );
    request.tags = vec!["v1.0.0".to_owned()];
    let id = caller.create(request).await;
    let build = caller.get(&id).await;
    assert_eq!(build.status(), BuildStatus::Pending);
    assert!(
        build.hold_reason.contains("release-approval"),
        "{}",
        build.hold_reason
    );

    // The sender, with the right to approve, may not approve what is his own.
    let own = gateway.cli_of("tester", "builds:read,builds:approve");
    let output = own.output(&["build", "approve", &id, "--reason", "mine"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let other = gateway.cli_of("lead", "builds:read,builds:approve");
    other.run(&["build", "approve", &id, "--reason", "seen"]);
    let build = caller.wait_terminal(&id).await;
    assert_eq!(build.status(), BuildStatus::Succeeded, "{build:#?}");
    assert_eq!(
        (build.approved_by.as_str(), build.hold_reason.as_str()),
        ("lead", "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_redacted_by_rules_and_ends_are_announced_until_they_are_heard_whoever_dies() {
    let mut gateway = Gateway::builder()
        .setting("plugin_private_addresses_allowed", true)
        .start();
    let receiver = Receiver::start(1);
    let address = receiver.address();
    let policy = format!(
        "[[plugin]]\nname = 'redaction-rules'\nversion = '0.1.0'\n\
         [[plugin.config.own]]\nname = 'staff-token'\nexpression = 'acme_[a-z0-9]{{24}}'\n\
         [[plugin]]\nname = 'webhook'\nversion = '0.1.0'\nhosts = ['http://{address}']\n\
         [plugin.config]\nurl = 'http://{address}/builds'\n"
    );
    put_policy(&gateway, &["redaction-rules", "webhook"], &policy);
    let caller = gateway.caller();
    let token = format!("acme_{}", "a1".repeat(12));
    let dockerfile = format!(
        "FROM {}\nRUN echo before-{token}-after\n",
        Registry::shared().busybox()
    );
    let build = caller
        .succeed(caller::inline("announced", &Context::new(&dockerfile)))
        .await;
    let log = caller.log(&build.id).await;
    assert!(log.contains("before-***-after"), "{log}");
    assert!(!log.contains(&token), "{log}");
    assert!(!build.steps.iter().any(|step| step.name.contains(&token)));

    // What was begun before the daemon died is gone on with by the next. An attempt of which nothing is recorded yet would be
    // made again as the same one.
    eventually("the first attempt's record", DEADLINE, async || {
        gateway.log().contains("outbox.to_be_retried").then_some(())
    })
    .await;
    gateway.kill9();
    gateway.restart();
    let caller = caller.reconnected();
    let bodies = eventually("the second announcement", DEADLINE, async || {
        let bodies = receiver.bodies();
        (bodies.len() >= 2).then_some(bodies)
    })
    .await;
    assert_eq!(bodies[0]["idempotency_key"], bodies[1]["idempotency_key"]);
    assert_eq!(
        (&bodies[0]["attempt"], &bodies[1]["attempt"]),
        (&1.into(), &2.into())
    );
    assert_eq!(bodies[1]["event"], "build.succeeded");
    assert_eq!(bodies[1]["build"]["id"], build.id);
    eventually("the report of it", DEADLINE, async || {
        let build = caller.get(&build.id).await;
        let delivered = |report: &ignite_proto::v1::HookReport| report.verdict == "delivered";
        build.hook_reports.iter().any(delivered).then_some(())
    })
    .await;
}
