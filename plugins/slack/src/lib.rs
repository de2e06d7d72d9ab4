//! Announces builds in a Slack channel, or wherever else takes Slack's incoming webhooks (Mattermost, Rocket.Chat).
//!
//! ```toml
//! [plugin.config]
//! url = "https://hooks.slack.com/services/T…/B…/…"   # hooks.slack.com must be granted by the policy
//! on = ["failed"]                                     # succeeded, failed, cancelled; all if left out
//! names = ["payments/*"]                              # only these images; all if left out
//! mention_on_failure = "<!here>"
//! ```
//!
//! What comes from a build is escaped: a build's name cannot mention a channel.

use ignite_plugin_sdk::{
    http::{Post, Url},
    prelude::*,
    text::glob,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// Of an error, in a message that people read. Slack takes 3000.
const ERROR_CHARS_MAX: usize = 600;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Slack {
    /// The incoming webhook.
    url: Url,
    /// The ends that are announced.
    #[serde(default = "all")]
    on: Vec<End>,
    /// Patterns of image names that are announced; `*` stands for any text.
    #[serde(default = "any_name")]
    names: Vec<String>,
    /// Put before the message of a failure, as Slack writes mentions, such as `<!here>` or `<@U012AB3CD>`.
    #[serde(default)]
    mention_on_failure: String,
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

fn any_name() -> Vec<String> {
    vec!["*".to_owned()]
}

// === impl Slack ===

impl Plugin for Slack {}

impl Notify for Slack {
    fn notify(&self, delivery: &Delivery, build: &FinishedBuild) -> Result<(), Failure> {
        let named = self.names.iter().any(|pattern| glob(pattern, &build.name));
        if !named || !self.on.contains(&build.status.into()) {
            return Ok(());
        }
        Post::json(self.url.clone(), &self.message(build))?
            .header("idempotency-key", &delivery.idempotency_key)
            .send()
    }
}

impl Slack {
    fn message(&self, build: &FinishedBuild) -> Value {
        let (emoji, what, color) = match build.status {
            Status::Succeeded => (":white_check_mark:", "was built", "#2eb67d"),
            Status::Failed => (":x:", "failed", "#e01e5a"),
            Status::Cancelled => (":no_entry_sign:", "was cancelled", "#999999"),
        };
        let name = escape(&build.name);
        let mention = match build.status {
            Status::Failed if !self.mention_on_failure.is_empty() => format!("{} ", self.mention_on_failure),
            Status::Failed | Status::Succeeded | Status::Cancelled => String::new(),
        };

        let mut fields = vec![
            ("By", escape(&build.subject)),
            ("Took", took(build)),
            ("Build", format!("`{}`", build.id)),
        ];
        if let Some(commit) = build
            .resolved_commit
            .as_deref()
            .and_then(|commit| commit.get(..12))
        {
            fields.push(("Commit", format!("`{}`", escape(commit))));
        }
        if !build.image_refs.is_empty() {
            let refs: Vec<String> = build
                .image_refs
                .iter()
                .map(|r| format!("`{}`", escape(r)))
                .collect();
            fields.push(("Image", refs.join("\n")));
        }
        if !build.failure_reason.is_empty() {
            fields.push(("Reason", escape(&build.failure_reason)));
        }
        // Slack takes ten.
        let fields: Vec<Value> = fields
            .into_iter()
            .map(|(title, text)| json!({ "type": "mrkdwn", "text": format!("*{title}*\n{text}") }))
            .collect();
        let mut blocks = vec![
            json!({ "type": "section", "text": { "type": "mrkdwn", "text": format!("{mention}{emoji} *{name}* {what}") } }),
            json!({ "type": "section", "fields": fields }),
        ];
        if !build.error.is_empty() {
            let error: String = build.error.chars().take(ERROR_CHARS_MAX).collect();
            // Three backticks would end the block.
            let error = escape(&error).replace("```", "'''");
            blocks.push(
                json!({ "type": "section", "text": { "type": "mrkdwn", "text": format!("```{error}```") } }),
            );
        }
        json!({
            // What notifications show, and clients without blocks.
            "text": format!("{mention}{name} {what}"),
            "attachments": [{ "color": color, "blocks": blocks }],
        })
    }
}

/// As Slack wants it: what it does not escape, it takes for mentions and links.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// From the start of the work, such as `2m 05s`.
fn took(build: &FinishedBuild) -> String {
    if build.started_at_ms == 0 {
        return "never started".to_owned();
    }
    let seconds = build.completed_at_ms.saturating_sub(build.started_at_ms) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60.. => format!("{}m {:02}s", seconds / 60, seconds % 60),
    }
}

// === impl End ===

impl From<Status> for End {
    fn from(status: Status) -> Self {
        match status {
            Status::Succeeded => Self::Succeeded,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

ignite_plugin_sdk::export!(Slack: notify);

#[cfg(test)]
mod tests {
    use ignite_plugin_sdk::{parse, testing};

    use super::*;

    fn plugin() -> Slack {
        parse(r#"{"url": "https://hooks.slack.com/services/x", "names": ["team/*"], "mention_on_failure": "<!here>"}"#).unwrap()
    }

    fn failed() -> FinishedBuild {
        FinishedBuild {
            status: Status::Failed,
            failure_reason: "USER_STEP".to_owned(),
            error: "exit 1: <!channel> ``` ".repeat(100),
            ..testing::finished_build()
        }
    }

    #[test]
    fn a_success_names_image_person_and_duration() {
        let text = plugin().message(&testing::finished_build()).to_string();
        for part in [
            "*team/app* was built",
            "registry.example/acme/team/app:latest",
            "ann",
            "59s",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("<!here>"));
    }

    #[test]
    fn a_failure_mentions_whom_the_policy_says_and_nobody_whom_the_build_says() {
        let message = plugin().message(&failed());
        assert_eq!(message["text"], "<!here> team/app failed");
        let text = message.to_string();
        assert!(!text.contains("<!channel>"), "{text}");
        assert!(text.contains("&lt;!channel&gt;"), "{text}");
    }

    #[test]
    fn a_long_error_is_cut_and_cannot_end_its_block() {
        let message = plugin().message(&failed());
        let text = message["attachments"][0]["blocks"][2]["text"]["text"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(text.len() < 1000, "{}", text.len());
        assert_eq!(text.matches("```").count(), 2, "{text}");
    }

    #[test]
    fn other_images_are_delivered_without_a_call() {
        let other = FinishedBuild {
            name: "other/app".to_owned(),
            ..testing::finished_build()
        };
        assert_eq!(plugin().notify(&testing::delivery(), &other), Ok(()));
        assert!(
            plugin()
                .notify(&testing::delivery(), &testing::finished_build())
                .is_err()
        );
    }

    #[test]
    fn a_build_that_never_started_took_no_time() {
        let build = FinishedBuild {
            started_at_ms: 0,
            ..testing::finished_build()
        };
        assert_eq!(took(&build), "never started");
        assert_eq!(
            took(&FinishedBuild {
                started_at_ms: 1,
                completed_at_ms: 125_001,
                ..build
            }),
            "2m 05s"
        );
    }
}
