//! The fake's PluginService, PolicyService and NotificationService: they remember what they were asked, and refuse nothing but a wrong etag.

use ignite_proto::v1::{
    self, notification_service_server::NotificationService, plugin_service_server::PluginService,
    policy_service_server::PolicyService, upload_plugin_request::Payload,
};
use tonic::{Request, Response, Status, Streaming};

use crate::fake::Service;

/// Of the policy in force.
pub(crate) const ETAG: &str = "e7";
pub(crate) const POLICY: &str = "[[plugin]]\nname = \"tags\"\nversion = \"0.1.0\"\n";

#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) pushed: Vec<(v1::UploadPluginMetadata, Vec<u8>)>,
    pub(crate) imported: Vec<String>,
    pub(crate) deleted: Vec<v1::DeletePluginRequest>,
    pub(crate) put: Vec<v1::PutPolicyRequest>,
    pub(crate) dry_runs: Vec<v1::DryRunPolicyRequest>,
    pub(crate) replayed: Vec<String>,
}

fn plugin(name: &str, version: &str) -> v1::Plugin {
    v1::Plugin {
        name: name.to_owned(),
        version: version.to_owned(),
        digest: format!("sha256:{}", "1".repeat(64)),
        size_bytes: 43_000,
        summary: "does \u{1b}[31mthings".to_owned(),
        hooks: vec!["validate".to_owned()],
        config_schema: "{\"type\":\"object\"}".to_owned(),
        ..Default::default()
    }
}

fn policy(revision: u64) -> v1::Policy {
    v1::Policy {
        text: POLICY.to_owned(),
        revision,
        etag: ETAG.to_owned(),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl PluginService for Service {
    async fn upload_plugin(
        &self,
        request: Request<Streaming<v1::UploadPluginRequest>>,
    ) -> Result<Response<v1::UploadPluginResponse>, Status> {
        self.check(&request)?;
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|first| first.payload);
        let Some(Payload::Metadata(metadata)) = first else {
            return Err(Status::invalid_argument("metadata first"));
        };
        let mut bytes = Vec::new();
        while let Some(message) = messages.message().await? {
            let Some(Payload::Chunk(chunk)) = message.payload else {
                return Err(Status::invalid_argument("metadata once"));
            };
            bytes.extend_from_slice(&chunk);
        }
        let stored = plugin(&metadata.name, &metadata.version);
        let mut seen = self.seen();
        seen.stored.pushed.push((metadata, bytes));
        if seen.stored.pushed.len() <= self.script.upload_failures {
            return Err(Status::unavailable("restarting"));
        }
        Ok(Response::new(v1::UploadPluginResponse { plugin: Some(stored) }))
    }

    async fn import_plugin(
        &self,
        request: Request<v1::ImportPluginRequest>,
    ) -> Result<Response<v1::ImportPluginResponse>, Status> {
        self.check(&request)?;
        self.seen().stored.imported.push(request.into_inner().reference);
        Ok(Response::new(v1::ImportPluginResponse {
            plugin: Some(plugin("imported", "1.0.0")),
        }))
    }

    async fn list_plugins(
        &self,
        request: Request<v1::ListPluginsRequest>,
    ) -> Result<Response<v1::ListPluginsResponse>, Status> {
        self.check(&request)?;
        let first = request.into_inner().cursor.is_empty();
        Ok(Response::new(v1::ListPluginsResponse {
            plugins: vec![plugin(if first { "first" } else { "second" }, "0.1.0")],
            next_cursor: if first { "more".to_owned() } else { String::new() },
        }))
    }

    async fn get_plugin(
        &self,
        request: Request<v1::GetPluginRequest>,
    ) -> Result<Response<v1::GetPluginResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        let version = match request.version.as_str() {
            "" => "9.9.9",
            version => version,
        };
        Ok(Response::new(v1::GetPluginResponse {
            plugin: Some(plugin(&request.name, version)),
        }))
    }

    async fn delete_plugin(
        &self,
        request: Request<v1::DeletePluginRequest>,
    ) -> Result<Response<v1::DeletePluginResponse>, Status> {
        self.check(&request)?;
        self.seen().stored.deleted.push(request.into_inner());
        Ok(Response::new(v1::DeletePluginResponse {}))
    }
}

#[tonic::async_trait]
impl PolicyService for Service {
    async fn get_policy(
        &self,
        request: Request<v1::GetPolicyRequest>,
    ) -> Result<Response<v1::GetPolicyResponse>, Status> {
        self.check(&request)?;
        let revision = match request.into_inner().revision {
            0 => 7,
            revision => revision,
        };
        Ok(Response::new(v1::GetPolicyResponse {
            policy: Some(policy(revision)),
        }))
    }

    async fn put_policy(
        &self,
        request: Request<v1::PutPolicyRequest>,
    ) -> Result<Response<v1::PutPolicyResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        let fits = request.etag.is_empty() || request.etag == ETAG;
        self.seen().stored.put.push(request);
        if fits {
            Ok(Response::new(v1::PutPolicyResponse {
                policy: Some(policy(8)),
            }))
        } else {
            Err(Status::aborted("another policy is in force"))
        }
    }

    async fn list_policy_revisions(
        &self,
        request: Request<v1::ListPolicyRevisionsRequest>,
    ) -> Result<Response<v1::ListPolicyRevisionsResponse>, Status> {
        self.check(&request)?;
        Ok(Response::new(v1::ListPolicyRevisionsResponse {
            revisions: vec![policy(7), policy(6)],
            next_cursor: String::new(),
        }))
    }

    /// Denies what is called `bad`.
    async fn dry_run_policy(
        &self,
        request: Request<v1::DryRunPolicyRequest>,
    ) -> Result<Response<v1::DryRunPolicyResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        let name = request.request.clone().unwrap_or_default().name;
        let (decision, reasons) = match name.as_str() {
            "bad" => (v1::PolicyDecision::Deny, vec!["name: must be good".to_owned()]),
            _ => (v1::PolicyDecision::Allow, Vec::new()),
        };
        let redacted_log_sample = request.log_sample.replace("secret", "***");
        self.seen().stored.dry_runs.push(request);
        Ok(Response::new(v1::DryRunPolicyResponse {
            decision: decision.into(),
            reasons,
            changes: vec!["tag 1.2 added".to_owned()],
            redacted_log_sample,
            policy_revision: 7,
            ..Default::default()
        }))
    }
}

fn notification(id: &str, state: v1::NotificationState) -> v1::Notification {
    v1::Notification {
        id: id.to_owned(),
        plugin: "webhook".to_owned(),
        state: state.into(),
        attempts: 3,
        last_error: "it said \u{1b}[31mno".to_owned(),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl NotificationService for Service {
    async fn list_notifications(
        &self,
        request: Request<v1::ListNotificationsRequest>,
    ) -> Result<Response<v1::ListNotificationsResponse>, Status> {
        self.check(&request)?;
        use v1::NotificationState::{Dead, Pending};
        let first = request.into_inner().cursor.is_empty();
        Ok(Response::new(match first {
            true => v1::ListNotificationsResponse {
                notifications: vec![notification("one.0", Dead), notification("two.0", Pending)],
                next_cursor: "two.0".to_owned(),
            },
            false => v1::ListNotificationsResponse {
                notifications: vec![notification("gone.0", Dead), notification("three.0", Dead)],
                next_cursor: String::new(),
            },
        }))
    }

    async fn replay_notification(
        &self,
        request: Request<v1::ReplayNotificationRequest>,
    ) -> Result<Response<v1::ReplayNotificationResponse>, Status> {
        self.check(&request)?;
        let id = request.into_inner().notification_id;
        if id == "gone.0" {
            return Err(Status::not_found("delivered by now"));
        }
        self.seen().stored.replayed.push(id.clone());
        Ok(Response::new(v1::ReplayNotificationResponse {
            notification: Some(notification(&id, v1::NotificationState::Pending)),
        }))
    }
}
