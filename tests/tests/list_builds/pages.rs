//! Lists: newest first, page by page, filtered.

use ignite_proto::v1;
use ignite_tests::{
    caller::{Caller, inline},
    context::Context,
    gateway::Gateway,
};
use tonic::Code;

async fn list(caller: &Caller, request: v1::ListBuildsRequest) -> v1::ListBuildsResponse {
    caller
        .grpc
        .clone()
        .list_builds(request)
        .await
        .unwrap()
        .into_inner()
}

fn ids(response: &v1::ListBuildsResponse) -> Vec<&str> {
    response.builds.iter().map(|build| build.id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_are_listed_newest_first_in_pages_and_filtered() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let (good, bad) = (
        Context::scratch(""),
        Context::scratch(r#"RUN ["/bin/busybox", "false"]"#),
    );
    let mut created = Vec::new();
    for n in 0..7 {
        let context = if n % 3 == 0 { &bad } else { &good };
        let mut request = inline(&format!("app-{}", n % 2), context);
        request.labels.insert("tier".to_owned(), format!("t{}", n % 2));
        created.push(caller.create(request).await);
    }
    for id in &created {
        caller.wait_terminal(id).await;
    }
    created.reverse();

    assert_eq!(
        ids(&list(&caller, v1::ListBuildsRequest::default()).await),
        created
    );

    let mut paged = Vec::new();
    let mut request = v1::ListBuildsRequest {
        limit: 3,
        ..Default::default()
    };
    loop {
        let page = list(&caller, request.clone()).await;
        assert!(page.builds.len() <= 3);
        paged.extend(ids(&page).into_iter().map(str::to_owned));
        if page.next_cursor.is_empty() {
            break;
        }
        request.cursor = page.next_cursor;
    }
    assert_eq!(paged, created);

    let failed = v1::ListBuildsRequest {
        status_filter: v1::BuildStatus::Failed.into(),
        ..Default::default()
    };
    assert_eq!(
        ids(&list(&caller, failed).await),
        [&created[0], &created[3], &created[6]]
    );
    let named = v1::ListBuildsRequest {
        name_filter: "app-1".to_owned(),
        ..Default::default()
    };
    assert_eq!(ids(&list(&caller, named).await).len(), 3);
    let labelled = v1::ListBuildsRequest {
        label_filter: [("tier".to_owned(), "t0".to_owned())].into(),
        ..Default::default()
    };
    assert_eq!(ids(&list(&caller, labelled).await).len(), 4);

    let over_http = caller
        .http
        .get("/v1/ignite/builds?limit=2&statusFilter=BUILD_STATUS_SUCCEEDED")
        .await;
    assert_eq!(over_http.body["builds"].as_array().unwrap().len(), 2);
    assert_eq!(
        caller.http.get("/v1/ignite/builds?status_filter=4").await.body["builds"]
            .as_array()
            .unwrap()
            .len(),
        3
    );

    let negative = v1::ListBuildsRequest {
        limit: -1,
        ..Default::default()
    };
    let refused = caller.grpc.clone().list_builds(negative).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
