//! Stored logins open what asks for them: a registry to push to, a git server to fetch from. A wrong one fails the build by its
//! name, and is shown nowhere.

use ignite_proto::v1::{self, FailureReason};
use ignite_tests::{
    at_each_site,
    caller::{Caller, git, inline},
    context::Context,
    gateway::Gateway,
    git_server,
    registry::Registry,
    site::Site,
};

at_each_site! {
    a_registry_that_asks_for_a_login_gets_the_organizations_own,
    a_private_repository_is_fetched_with_the_stored_login_and_no_other,
}

const WRONG: &str = "expired-since-yesterday";

async fn save(gateway: &Gateway, request: v1::SaveBuildSecretsRequest) {
    let keeper = gateway.caller_of("acme", "secrets:write");
    keeper.grpc.clone().save_build_secrets(request).await.unwrap();
}

/// Fails for this reason, and tells the password to nobody.
async fn refused(caller: &Caller, request: v1::CreateBuildRequest, reason: FailureReason) -> v1::Build {
    let (build, log) = caller.fail(request, reason).await;
    assert!(!log.contains(WRONG), "{log}");
    assert!(!format!("{build:?}").contains(WRONG), "{build:?}");
    build
}

async fn a_registry_that_asks_for_a_login_gets_the_organizations_own(site: Site<'_>) {
    let registry = Registry::guarded_on(site.host());
    let gateway = site.gateway().registry(&registry).start();
    let caller = gateway.caller();
    let context = Context::scratch(r#"CMD ["/bin/busybox"]"#);
    let login = |password: &str| v1::SaveBuildSecretsRequest {
        registry_credentials: [(registry.address().to_owned(), format!("pusher:{password}"))].into(),
        ..Default::default()
    };

    save(&gateway, login(WRONG)).await;
    let build = refused(&caller, inline("app", &context), FailureReason::PushDenied).await;
    assert!(build.error.contains(registry.address()), "{}", build.error);

    save(&gateway, login("only-for-tests")).await;
    let build = caller.succeed(inline("app", &context)).await;
    assert_eq!(build.image_digest, registry.digest("acme/app:latest"));
    // Its manifest was read with the same login.
    assert!(build.metrics.unwrap().image_size_bytes > 0);

    // Another organization has none.
    let other = gateway.caller_of("other", "builds:read,builds:write");
    refused(&other, inline("app", &context), FailureReason::PushDenied).await;
}

async fn a_private_repository_is_fetched_with_the_stored_login_and_no_other(site: Site<'_>) {
    let server = site.git_server();
    let repository = server.repository("private/app.git");
    let commit = repository.commit(&Context::scratch(r#"CMD ["/bin/busybox"]"#));
    let gateway = site.gateway().start();
    let caller = gateway.caller();
    let request = || git("private", repository.url(), "main", "");
    let login = |hosts: &[&str], password: &str| v1::SaveBuildSecretsRequest {
        git_credentials: Some(v1::GitCredentials {
            username: git_server::LOGIN.0.to_owned(),
            password: password.to_owned(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..Default::default()
        }),
        ..Default::default()
    };

    refused(&caller, request(), FailureReason::SourceAuth).await;
    save(&gateway, login(&[], WRONG)).await;
    refused(&caller, request(), FailureReason::SourceAuth).await;
    // The right one, for another server.
    save(&gateway, login(&["git.example"], git_server::LOGIN.1)).await;
    refused(&caller, request(), FailureReason::SourceAuth).await;

    save(&gateway, login(&[server.address()], git_server::LOGIN.1)).await;
    let build = caller.succeed(request()).await;
    assert_eq!(build.resolved_commit, commit);
    let log = caller.log(&build.id).await;
    assert!(!log.contains(git_server::LOGIN.1), "{log}");
}
