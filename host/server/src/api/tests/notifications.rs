use ignite_proto::v1::{self, notification_service_client::NotificationServiceClient};
use tonic::{Code, Request, transport::Endpoint};

use super::*;

#[tokio::test]
async fn both_transports_list_and_replay_notifications() {
    let server = Server::start().await;
    let listed = server
        .request("GET", "/v1/ignite/notifications?limit=5")
        .send()
        .await
        .unwrap();
    assert_eq!(listed.status(), 200);
    let listed: Value = listed.json().await.unwrap();
    assert_eq!(listed, serde_json::json!({"notifications": [], "nextCursor": ""}));
    let path = "/v1/ignite/notifications/bld_01HZX9ABCDEFGHJKMNPQRSTVWX.0/replay";
    let replayed = server.request("POST", path).send().await.unwrap();
    assert_eq!(replayed.status(), 404);
    assert!(replayed.text().await.unwrap().contains("notification"));

    let channel = Endpoint::from_shared(format!("http://{}", server.address))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let token: tonic::metadata::MetadataValue<_> = format!("Bearer {}", server.token).parse().unwrap();
    let mut client = NotificationServiceClient::with_interceptor(channel, move |mut request: Request<()>| {
        request.metadata_mut().insert("authorization", token.clone());
        Ok(request)
    });
    let listed = client
        .list_notifications(v1::ListNotificationsRequest::default())
        .await
        .unwrap();
    assert!(listed.into_inner().notifications.is_empty());
    let refused = client
        .replay_notification(v1::ReplayNotificationRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
