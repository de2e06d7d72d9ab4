//! Announces builds by a POST of JSON.
//!
//! ```toml
//! [plugin.config]
//! url = "https://ci.example/hooks/builds"   # its host must be granted by the policy
//! on = ["succeeded", "failed"]              # all three if left out
//! timeout_seconds = 10
//! [plugin.config.headers]
//! authorization = "Bearer …"
//! ```
//!
//! The body is `{"event": "build.succeeded", "idempotency_key": …, "attempt": 1, "build": {…}}`; the key stands in the header
//! `idempotency-key` too. The same key means the same announcement again.

use std::{collections::BTreeMap, time::Duration};

use ignite_plugin_sdk::{
    http::{Post, Url},
    prelude::*,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Webhook {
    /// `https` or `http`, without user or fragment.
    url: Url,
    /// The ends that are announced.
    #[serde(default = "all")]
    on: Vec<End>,
    /// Beside `content-type` and `idempotency-key`.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// For connecting, for the first byte of the answer and between two of them, each.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 60))]
    timeout_seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum End {
    Succeeded,
    Failed,
    Cancelled,
}

fn all() -> Vec<End> {
    vec![End::Succeeded, End::Failed, End::Cancelled]
}

fn ten() -> u64 {
    10
}

// === impl Webhook ===

impl Plugin for Webhook {
    fn check(&self) -> Vec<ConfigProblem> {
        let taken = ["content-type", "content-length", "host", "idempotency-key"];
        let wrong = self
            .headers
            .keys()
            .filter(|name| taken.iter().any(|other| name.eq_ignore_ascii_case(other)));
        wrong
            .map(|name| ConfigProblem {
                path: format!("/headers/{name}"),
                message: "is set by the plugin: leave it out".to_owned(),
            })
            .collect()
    }
}

impl Notify for Webhook {
    fn notify(&self, delivery: &Delivery, build: &FinishedBuild) -> Result<(), Failure> {
        if !self.on.contains(&build.status.into()) {
            return Ok(());
        }
        let post = Post::json(self.url.clone(), &body(delivery, build))?
            .header("idempotency-key", &delivery.idempotency_key)
            .timeout(Duration::from_secs(self.timeout_seconds));
        self.headers
            .iter()
            .fold(post, |post, (name, value)| post.header(name, value))
            .send()
    }
}

fn body(delivery: &Delivery, build: &FinishedBuild) -> Value {
    let labels: BTreeMap<&str, &str> = build
        .labels
        .iter()
        .map(|l| (l.key.as_str(), l.value.as_str()))
        .collect();
    let image = build.image.as_ref().map(|image| {
        json!({
            "digest": image.digest,
            "size_bytes": image.size_bytes,
            "layer_count": image.layer_count,
        })
    });
    let status = End::from(build.status).as_str();
    json!({
        "event": format!("build.{status}"),
        "idempotency_key": delivery.idempotency_key,
        "attempt": delivery.attempt,
        "build": {
            "id": build.id,
            "organization": build.organization,
            "name": build.name,
            "subject": build.subject,
            "status": status,
            "failure_reason": build.failure_reason,
            "error": build.error,
            "image": image,
            "image_refs": build.image_refs,
            "labels": labels,
            "resolved_commit": build.resolved_commit,
            "created_at_ms": build.created_at_ms,
            "started_at_ms": build.started_at_ms,
            "completed_at_ms": build.completed_at_ms,
        },
    })
}

// === impl End ===

impl End {
    fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        match status {
            Status::Succeeded => Self::Succeeded,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

ignite_plugin_sdk::export!(Webhook: notify);

#[cfg(test)]
mod tests {
    use ignite_plugin_sdk::{parse, testing};

    use super::*;

    #[test]
    fn the_body_says_which_end_of_which_build() {
        let body = body(&testing::delivery(), &testing::finished_build());
        assert_eq!(body["event"], "build.succeeded");
        assert_eq!(body["idempotency_key"], "build-1/0");
        assert_eq!(body["build"]["image"]["layer_count"], 3);
        assert_eq!(
            body["build"]["image_refs"][0],
            "registry.example/acme/team/app:latest"
        );
        assert_eq!(body["build"]["resolved_commit"], Value::Null);
    }

    #[test]
    fn an_end_that_nobody_asked_for_is_delivered_without_a_call() {
        let plugin: Webhook = parse(r#"{"url": "https://a.example", "on": ["failed"]}"#).unwrap();
        assert_eq!(
            plugin.notify(&testing::delivery(), &testing::finished_build()),
            Ok(())
        );
        let failed = FinishedBuild {
            status: Status::Failed,
            ..testing::finished_build()
        };
        // On this machine there is nothing to call out with, which shows that it tried.
        assert!(plugin.notify(&testing::delivery(), &failed).is_err());
    }

    #[test]
    fn a_url_with_a_password_and_a_header_of_ours_are_refused() {
        let problem = parse::<Webhook>(r#"{"url": "https://u:p@a.example"}"#).unwrap_err();
        assert_eq!(problem.path, "/url");
        let plugin: Webhook =
            parse(r#"{"url": "https://a.example", "headers": {"Host": "b", "x-a": "c"}}"#).unwrap();
        assert_eq!(plugin.check().len(), 1);
    }
}
