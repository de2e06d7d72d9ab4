//! Whether a policy's text can be put in force: all that is wrong with it, together.

use ignite_core::{
    ids::OrgId,
    policy::{Entry, Pin, Policy, ResolvedPolicy, StoredPlugin},
    request::FieldViolation,
};
use ignite_plugins::{
    CallError,
    config::{self, ConfigError},
};

use super::Policies;
use crate::error::{Error, Result};

/// Of all violations together: over gRPC they travel in headers.
const VIOLATIONS_BYTES_MAX: usize = 5 * 1024;
/// Of one violation.
const DESCRIPTION_CHARS_MAX: usize = 512;

/// A stored version of a plugin and the schema of its configuration.
struct Candidate {
    name: String,
    plugin: StoredPlugin,
    schema: String,
}

// === impl Policies ===

impl Policies {
    /// Reads a text, binds it to the organization's plugins and asks these about their configurations.
    ///
    /// # Errors
    /// `InvalidArgument` with each problem's place in the document, such as `plugin[0].config.allow[2]`.
    pub(crate) async fn check(&self, org: &OrgId, text: &str, revision: u64) -> Result<ResolvedPolicy> {
        let policy = Policy::parse(text).map_err(refused)?;
        let candidates: Vec<Candidate> = self
            .plugins
            .stored(org)
            .await?
            .into_iter()
            .map(|(name, plugin, schema)| Candidate { name, plugin, schema })
            .collect();
        let lookup = |name: &str, pin: &Pin| find(&candidates, name, pin).map(|found| found.plugin.clone());
        let resolved = policy.resolve(revision, lookup);
        let mut problems = resolved.as_ref().err().cloned().unwrap_or_default();
        // Those that could be bound are asked though others could not: all problems come together.
        for (index, entry) in policy.entries.iter().enumerate() {
            if let Some(found) = find(&candidates, &entry.plugin, &entry.pin) {
                problems.extend(self.check_config(index, entry, found).await?);
            }
        }
        match resolved {
            Ok(policy) if problems.is_empty() => Ok(policy),
            Ok(_) | Err(_) => Err(refused(problems)),
        }
    }

    async fn check_config(
        &self,
        index: usize,
        entry: &Entry,
        found: &Candidate,
    ) -> Result<Vec<FieldViolation>> {
        let settings = &entry.settings;
        let at = |pointer: &str, message: &str| FieldViolation {
            field: config::place(index, pointer),
            description: message.chars().take(DESCRIPTION_CHARS_MAX).collect(),
        };
        let plugin = self.runtime.plugin(&found.plugin.digest);
        let asked = config::problems(&self.schema_checker, &found.schema, settings, plugin).await;
        match asked {
            Ok(problems) => Ok(problems
                .iter()
                .map(|problem| at(&problem.path, &problem.message))
                .collect()),
            Err(ConfigError::Child(error)) => Err(Error::internal(error)),
            Err(ConfigError::Call(CallError::Busy)) => Err(Error::Unavailable {
                message: "too many plugins run at once".to_owned(),
                retry_after: crate::plugins::RETRY_AFTER,
            }),
            Err(ConfigError::Call(error)) => Ok(vec![at(
                "",
                &format!("could not be checked by the plugin {:?}: {error}", entry.plugin),
            )]),
        }
    }
}

fn find<'a>(candidates: &'a [Candidate], name: &str, pin: &Pin) -> Option<&'a Candidate> {
    candidates
        .iter()
        .filter(|candidate| candidate.name == name)
        .find(|candidate| match pin {
            Pin::Digest(digest) => candidate.plugin.digest == *digest,
            Pin::Version(version) => candidate.plugin.version == version.to_string(),
        })
}

fn refused(problems: Vec<FieldViolation>) -> Error {
    let total = problems.len();
    let mut bytes = 0_usize;
    let mut told: Vec<FieldViolation> = problems
        .into_iter()
        .take_while(|problem| {
            bytes = bytes.saturating_add(problem.field.len() + problem.description.len());
            bytes <= VIOLATIONS_BYTES_MAX
        })
        .collect();
    if told.len() < total {
        told.push(FieldViolation {
            field: String::new(),
            description: format!("{} more problems: mend these first", total - told.len()),
        });
    }
    Error::InvalidArgument(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_into_headers_is_counted() {
        let problem = |index: usize| FieldViolation {
            field: format!("plugin[{index}]"),
            description: "x".repeat(500),
        };
        let Error::InvalidArgument(told) = refused((0..60).map(problem).collect()) else {
            panic!("not what it is");
        };
        assert_eq!(told.len(), 11);
        assert_eq!(told[10].description, "50 more problems: mend these first");
    }
}
