//! {{name}}: a plugin of the Ignite build gateway. What each type and limit means stands in `wit/`.

mod bindings {
    #![allow(clippy::all)]
    wit_bindgen::generate!({ world: "plugin", path: "wit", generate_all });
    use super::Plugin;
    export!(Plugin);
}

use serde::Deserialize;

use bindings::exports::ignite::plugin::describe::{self, ConfigProblem, Description};
//@ rewrite validate inspect redact
#[allow(unused_imports)]
use bindings::ignite::plugin::types::{BuildRequest, Caller, Label, Verdict, Violation};
//@ end

struct Plugin;

/// The policy's `[plugin.config]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Config {
    /// The label that says whose a build is.
    #[serde(default = "owner")]
    label: String,
    /// Where announcements go; they are only printed if there is none.
    #[serde(default)]
    url: Option<String>,
}

/// For editors and for the gateway, which checks it before `check_config` is called.
const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "label": { "type": "string", "minLength": 1, "default": "owner" },
    "url": { "type": "string", "pattern": "^https?://[^/]+" }
  },
  "additionalProperties": false
}"#;

fn owner() -> String {
    "owner".to_owned()
}

impl describe::Guest for Plugin {
    fn describe() -> Description {
        Description {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "What {{name}} does, in one line".to_owned(),
            config_schema: SCHEMA.to_owned(),
        }
    }

    /// What a schema cannot say belongs here.
    fn check_config(config: String) -> Result<(), Vec<ConfigProblem>> {
        let problem = |path: &str, message: String| {
            vec![ConfigProblem {
                path: path.to_owned(),
                message,
            }]
        };
        let config = read(&config).map_err(|message| problem("", message))?;
        if config.label.contains(char::is_whitespace) {
            let message = "must be a label's key, without white space".to_owned();
            return Err(problem("/label", message));
        }
        Ok(())
    }
}

fn read(config: &str) -> Result<Config, String> {
    serde_json::from_str(config).map_err(|error| error.to_string())
}
//@ rewrite

impl bindings::exports::ignite::plugin::rewrite::Guest for Plugin {
    /// A build that does not say whose it is belongs to who sent it.
    fn rewrite(
        config: String,
        caller: Caller,
        request: BuildRequest,
    ) -> Result<bindings::exports::ignite::plugin::rewrite::Changes, String> {
        use bindings::exports::ignite::plugin::rewrite::{Change, Changes};
        let config = read(&config)?;
        let mut changes = Vec::new();
        if !request.labels.iter().any(|label| label.key == config.label) {
            changes.push(Change::SetLabel(Label {
                key: config.label,
                value: caller.subject,
            }));
        }
        Ok(Changes {
            changes,
            warnings: Vec::new(),
        })
    }
}
//@ end
//@ validate

impl bindings::exports::ignite::plugin::validate::Guest for Plugin {
    /// Every build says whose it is.
    fn validate(config: String, _caller: Caller, request: BuildRequest) -> Result<Verdict, String> {
        let config = read(&config)?;
        if request.labels.iter().any(|label| label.key == config.label) {
            return Ok(Verdict::Allow(Vec::new()));
        }
        Ok(Verdict::Deny(vec![Violation {
            field: format!("labels[{:?}]", config.label),
            message: "is missing: say whose build it is".to_owned(),
        }]))
    }
}
//@ end
//@ inspect

impl bindings::exports::ignite::plugin::inspect::Guest for Plugin {
    /// No stage starts from an image that may be another one tomorrow.
    fn inspect(
        _config: String,
        _caller: Caller,
        _request: BuildRequest,
        found: bindings::exports::ignite::plugin::inspect::Found,
    ) -> Result<Verdict, String> {
        use bindings::exports::ignite::plugin::inspect::Base;
        let mut violations = Vec::new();
        for stage in &found.dockerfile.stages {
            let message = match &stage.base {
                Base::Scratch | Base::Stage(_) => continue,
                Base::Image(image) if is_fixed(image) => continue,
                Base::Image(image) => format!("{image} needs a tag other than latest"),
                Base::Unresolved(text) => format!("{text} cannot be known before the build"),
            };
            violations.push(Violation {
                field: format!("dockerfile:{}", stage.line),
                message,
            });
        }
        Ok(match violations.is_empty() {
            true => Verdict::Allow(Vec::new()),
            false => Verdict::Deny(violations),
        })
    }
}

/// A colon before the last slash is a port's.
fn is_fixed(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or_default();
    image.contains('@') || last.split_once(':').is_some_and(|(_, tag)| tag != "latest")
}
//@ end
//@ redact

impl bindings::exports::ignite::plugin::redact::Guest for Plugin {
    /// The gateway looks for these in the log, at its own speed.
    fn rules(
        _config: String,
        _caller: Caller,
        _request: BuildRequest,
    ) -> Result<Vec<bindings::exports::ignite::plugin::redact::Rule>, String> {
        use bindings::exports::ignite::plugin::redact::{Expression, Pattern, Rule};
        Ok(vec![Rule {
            name: "token".to_owned(),
            pattern: Pattern::Expression(Expression {
                text: "tok_[0-9a-z]{16}".to_owned(),
                length_max: 20,
            }),
            replacement: Some("[token]".to_owned()),
        }])
    }
}
//@ end
//@ redact-scan

impl bindings::exports::ignite::plugin::redact_scan::Guest for Plugin {
    /// What stands behind `password: ` at the start of a line. Slower than rules: the log comes in here.
    fn scan(
        _config: String,
        lines: Vec<u8>,
    ) -> Result<Vec<bindings::exports::ignite::plugin::redact_scan::Range>, String> {
        use bindings::exports::ignite::plugin::redact_scan::Range;
        const START: &[u8] = b"password: ";
        let mut ranges = Vec::new();
        let mut line_start = 0_usize;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let length = line.strip_suffix(b"\n").unwrap_or(line).len();
            if line.starts_with(START) && length > START.len() {
                ranges.push(Range {
                    start: u32::try_from(line_start + START.len()).map_err(|error| error.to_string())?,
                    end: u32::try_from(line_start + length).map_err(|error| error.to_string())?,
                });
            }
            line_start += line.len();
        }
        Ok(ranges)
    }
}
//@ end
//@ notify

mod http;

impl bindings::exports::ignite::plugin::notify::Guest for Plugin {
    /// POSTs the end of a build as JSON to the configured URL, whose host the policy must grant.
    fn notify(
        config: String,
        delivery: bindings::exports::ignite::plugin::notify::Delivery,
        build: bindings::exports::ignite::plugin::notify::FinishedBuild,
    ) -> Result<(), bindings::exports::ignite::plugin::notify::Failure> {
        use bindings::exports::ignite::plugin::notify::{Failure, Status};
        let config = read(&config).map_err(Failure::Never)?;
        let status = match build.status {
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
        };
        let body = serde_json::json!({
            "key": delivery.idempotency_key,
            "build": build.id,
            "name": build.name,
            "status": status,
            "images": build.image_refs,
        });
        let Some(url) = config.url else {
            eprintln!("{body}");
            return Ok(());
        };
        match http::post(&url, body.to_string().as_bytes()) {
            Ok(200..300) => Ok(()),
            Ok(status @ (408 | 429 | 500..)) => Err(Failure::Again(format!("{url} answered {status}"))),
            Ok(status) => Err(Failure::Never(format!("{url} answered {status}"))),
            Err(why) => Err(Failure::Again(format!("{url}: {why}"))),
        }
    }
}
//@ end
