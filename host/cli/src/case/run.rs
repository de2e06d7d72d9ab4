//! A case acted out on a plugin: one hook, called as the gateway calls it, and what it says taken as the gateway takes it.

use ignite_core::{
    hook::{ConfigProblem, Hook, NotifyFailure, Verdict, Violation},
    redact::{Redactor, RuleSet},
    request::{FieldViolation, patch},
};
use ignite_plugins::{Admitted, CallError, Plugin, chain::lines, config::ConfigError};

use super::{Case, Outcome, shape};
use crate::{
    error::{Error, Result},
    offline::Offline,
};

const IDEMPOTENCY_KEY: &str = "bld_01JWB7X0000000000000000000/0";

impl Case {
    /// The configuration is checked first, as it is when a policy is put; one that is refused is a failure.
    pub(crate) async fn on_plugin(
        &self,
        offline: &Offline,
        admitted: &Admitted,
        hook: Hook,
    ) -> Result<Outcome> {
        match offline.config_problems(admitted, &self.settings).await {
            Ok(problems) if problems.is_empty() => {}
            Ok(problems) => return Ok(failed(problems.iter().map(shown_problem))),
            Err(ConfigError::Call(error)) => return Ok(failed([format!("check-config: {error}")])),
            Err(ConfigError::Child(error)) => {
                return Err(Error::local("cannot check a configuration", error));
            }
        }
        let plugin = offline.plugin(&admitted.digest).await?;
        Ok(match self.call(&plugin, hook).await {
            Ok(outcome) => outcome,
            Err(error) => failed([error.to_string()]),
        })
    }

    /// The call alone, and what it says taken over.
    pub(crate) async fn call(&self, plugin: &Plugin, hook: Hook) -> std::result::Result<Outcome, CallError> {
        let (settings, caller, spec) = (&self.settings, &self.caller, &self.spec);
        Ok(match hook {
            Hook::Rewrite => {
                let said = plugin.rewrite(settings, caller, spec).await?;
                // Which secrets a gateway has stored is not known here.
                match patch(spec, &said.changes, &shape::rules(), &|_| true) {
                    Ok(patched) => Outcome {
                        verdict: if patched.changes.is_empty() {
                            "unchanged"
                        } else {
                            "changed"
                        },
                        messages: said.warnings,
                        changes: patched.changes,
                        redacted: None,
                    },
                    Err(refused) => failed(refused.iter().map(shown_field)),
                }
            }
            Hook::Validate => judged(plugin.validate(settings, caller, spec).await?),
            Hook::Inspect => match &self.found {
                Some(found) => judged(plugin.inspect(settings, caller, spec, found).await?),
                None => failed(["found.dockerfile is missing".to_owned()]),
            },
            Hook::Redact => match RuleSet::new(&plugin.rules(settings, caller, spec).await?) {
                Ok(rules) => {
                    let redactor = Redactor::with_rules(spec.secret_values(), &rules);
                    applied(
                        self.expect
                            .sample
                            .as_deref()
                            .map(|sample| redactor.redact_text(sample)),
                    )
                }
                Err(problems) => failed(problems.iter().map(ToString::to_string)),
            },
            Hook::RedactScan => {
                let sample = self.expect.sample.as_deref().unwrap_or_default();
                let ranges = plugin.scan(settings, sample.as_bytes()).await?;
                match lines::without(sample.as_bytes(), ranges) {
                    Ok(left) => applied(Some(String::from_utf8_lossy(&left).into_owned())),
                    Err(why) => failed([why]),
                }
            }
            Hook::Notify => match plugin.notify(settings, IDEMPOTENCY_KEY, 1, &self.build).await? {
                Ok(()) => Outcome {
                    verdict: "delivered",
                    ..Outcome::default()
                },
                Err(NotifyFailure::Again(why)) => failed([format!("again: {why}")]),
                Err(NotifyFailure::Never(why)) => failed([format!("never: {why}")]),
            },
        })
    }
}

fn judged(verdict: Verdict) -> Outcome {
    let (verdict, messages) = match verdict {
        Verdict::Allow { warnings } => ("allow", warnings),
        Verdict::Deny { violations } => ("deny", violations.iter().map(shown_violation).collect()),
        Verdict::Hold { reason } => ("hold", vec![reason]),
    };
    Outcome {
        verdict,
        messages,
        ..Outcome::default()
    }
}

fn applied(redacted: Option<String>) -> Outcome {
    Outcome {
        verdict: "applied",
        redacted,
        ..Outcome::default()
    }
}

pub(super) fn failed(messages: impl IntoIterator<Item = String>) -> Outcome {
    Outcome {
        verdict: "failed",
        messages: messages.into_iter().collect(),
        ..Outcome::default()
    }
}

pub(crate) fn shown_violation(violation: &Violation) -> String {
    match violation.field.as_str() {
        "" => violation.message.clone(),
        field => format!("{field}: {}", violation.message),
    }
}

pub(crate) fn shown_field(violation: &FieldViolation) -> String {
    match violation.field.as_str() {
        "" => violation.description.clone(),
        field => format!("{field}: {}", violation.description),
    }
}

fn shown_problem(problem: &ConfigProblem) -> String {
    format!("config{}: {}", problem.path, problem.message)
}
