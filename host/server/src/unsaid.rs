//! What plugins, registries and receivers say of a build, without its secrets: what does not come by its log.
//!
//! Such texts are cut to a length before they get here, and what a cut leaves of a secret is no secret to look for. So before each
//! cut, what may be the beginning of one goes too.

use std::{future::Future, sync::Arc};

use ignite_core::{
    build::Build,
    hook::{HookReport, Violation},
    ids::OrgId,
    redact::Redactor,
    spec::BuildSpec,
};
use ignite_plugins::Decision;

use crate::{
    error::Result,
    secrets::{Secrets, Snapshot},
    store::Store,
    vault::Vault,
};

pub mod lines;

/// Stands where a text was cut.
const CUT: char = '…';

/// Knows what must not be said of builds, when there is something to say.
#[derive(Debug, Clone)]
pub struct Unsaid {
    pub store: Arc<Store>,
    pub vault: Arc<Vault>,
    pub secrets: Arc<Secrets>,
}

// === impl Unsaid ===

impl Unsaid {
    /// Looks for the secret args of these specifications, and for all that the organization has stored now.
    ///
    /// # Errors
    /// Where what is stored cannot be read.
    pub async fn of_specs(&self, org: &OrgId, specs: &[&BuildSpec]) -> Result<Redactor> {
        let stored = match specs.first() {
            Some(spec) => Snapshot::take(self.secrets.load(org).await?, spec),
            None => Snapshot::default(),
        };
        let args = specs.iter().flat_map(|spec| spec.secret_values());
        Ok(Redactor::new(args.chain(stored.values())))
    }

    /// Has plugins called that may write to the daemon's log, where that is kept, of builds of these specifications.
    ///
    /// # Errors
    /// Where what is stored cannot be read, and only then.
    pub async fn while_plugins_talk<T>(
        &self,
        org: &OrgId,
        specs: &[&BuildSpec],
        calls: impl Future<Output = T>,
    ) -> Result<T> {
        if !ignite_plugins::is_output_logged() {
            return Ok(calls.await);
        }
        let redactor = self.of_specs(org, specs).await?;
        Ok(lines::without(&redactor, calls).await)
    }

    /// A text about a build that is on record. If its secrets cannot be told, nothing of the text is.
    pub async fn about(&self, build: &Build, text: &str) -> String {
        match self.of_build(build).await {
            Ok(redactor) => without(&redactor, text),
            Err(error) => {
                tracing::error!(build = %build.id, error = %crate::clock::chain(&error), "secrets.unread");
                "withheld, since the build's secrets could not be read".to_owned()
            }
        }
    }

    /// As [`Self::while_plugins_talk`], of a build that is on record.
    ///
    /// # Errors
    /// Where what is stored cannot be read, and only then.
    pub async fn while_plugins_talk_of<T>(&self, build: &Build, calls: impl Future<Output = T>) -> Result<T> {
        if !ignite_plugins::is_output_logged() {
            return Ok(calls.await);
        }
        let redactor = self.of_build(build).await?;
        Ok(lines::without(&redactor, calls).await)
    }

    async fn of_build(&self, build: &Build) -> Result<Redactor> {
        let spec = match self.store.spec(build.id).await? {
            Some(sealed) => Some(self.vault.open_spec(&build.org, build.id, &sealed).await?),
            None => None,
        };
        self.of_specs(&build.org, spec.iter().collect::<Vec<_>>().as_slice())
            .await
    }
}

/// The text as it may be shown.
pub fn without(redactor: &Redactor, text: &str) -> String {
    let Some((cut, last)) = text.rsplit_once(CUT) else {
        return redactor.redact_text(text);
    };
    let mut shown = String::with_capacity(text.len());
    for piece in cut.split(CUT) {
        let mut out = Vec::with_capacity(piece.len());
        // Never finished: what is held back there stays so.
        redactor.restarted().push(piece.as_bytes(), &mut out);
        shown.push_str(&String::from_utf8_lossy(&out));
        shown.push(CUT);
    }
    shown + &redactor.redact_text(last)
}

/// All texts of what a plugin said or did.
pub fn report_without(redactor: &Redactor, report: HookReport) -> HookReport {
    let all = |texts: Vec<String>| texts.iter().map(|text| without(redactor, text)).collect();
    HookReport {
        changes: all(report.changes),
        messages: all(report.messages),
        ..report
    }
}

pub fn decision_without(redactor: &Redactor, decision: Decision) -> Decision {
    match decision {
        Decision::Allow => Decision::Allow,
        Decision::Deny { violations, plugin } => {
            let violation = |violation: Violation| Violation {
                field: without(redactor, &violation.field),
                message: without(redactor, &violation.message),
            };
            Decision::Deny {
                violations: violations.into_iter().map(violation).collect(),
                plugin,
            }
        }
        Decision::Hold { reasons } => Decision::Hold {
            reasons: reasons.iter().map(|reason| without(redactor, reason)).collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "correct-horse-battery-staple";

    #[test]
    fn a_secret_is_gone_whole_or_cut() {
        let redactor = Redactor::new([SECRET]);
        for length in 1..=SECRET.len() {
            let cut = format!("the server says: {}…; and more", &SECRET[..length]);
            assert_eq!(
                without(&redactor, &cut),
                "the server says: …; and more",
                "{length}"
            );
        }
        let whole = format!("{SECRET} and {SECRET}");
        assert_eq!(without(&redactor, &whole), "*** and ***");
    }

    #[test]
    fn what_holds_no_secret_is_as_it_was() {
        let redactor = Redactor::new([SECRET]);
        for text in ["", "all is well", "1: … 2: … 3", "not cut, "] {
            assert_eq!(without(&redactor, text), text);
        }
    }
}
