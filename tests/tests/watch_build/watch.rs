//! A watcher sees a build as it is, then each change, and the end.

use ignite_proto::v1::{self, BuildStatus};
use ignite_tests::{caller::inline, context::Context, gateway::Gateway, registry::Registry};
use tokio_stream::StreamExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_every_step_to_the_end() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let context = Context::new(&format!(
        "FROM {}\nRUN sleep 1; echo one > /one\nRUN sleep 1; echo two > /two\nRUN exit 3\n",
        Registry::shared().busybox()
    ));
    let request = v1::CreateBuildRequest {
        no_cache: true,
        ..inline("watched", &context)
    };
    let id = caller.create(request).await;
    let watch = v1::WatchBuildRequest { build_id: id.clone() };
    let stream = caller.grpc.clone().watch_build(watch).await.unwrap().into_inner();
    let seen: Vec<v1::Build> = stream.map(Result::unwrap).collect().await;

    let rank = |status: BuildStatus| match status {
        BuildStatus::Unspecified => 0,
        BuildStatus::Pending => 1,
        BuildStatus::Running => 2,
        BuildStatus::Succeeded | BuildStatus::Failed | BuildStatus::Cancelled => 3,
    };
    assert!(
        seen.is_sorted_by_key(|build| rank(build.status())),
        "states went back"
    );
    assert!(
        seen.is_sorted_by_key(|build| build.steps.len()),
        "steps went away"
    );
    assert!(
        seen.iter()
            .any(|build| build.status() == BuildStatus::Running && !build.steps.is_empty())
    );
    let last = seen.last().unwrap();
    assert_eq!(last.status(), BuildStatus::Failed);
    assert_eq!(*last, caller.get(&id).await);

    let over_http = caller.http.lines(&format!("/v1/ignite/builds/{id}/watch")).await;
    assert_eq!(over_http.len(), 1, "a build that has ended is sent once");
    assert_eq!(over_http[0], serde_json::to_value(last).unwrap());
}
