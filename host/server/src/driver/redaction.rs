//! What to take out of a build's log and record besides its own secrets. Plugins are asked once for a build, before its first
//! log line; what they said is kept sealed, so that every attempt, and every restart within one, redacts alike: the log's
//! stored cursor means nothing otherwise.

use std::sync::Arc;

use ignite_core::{
    build::Event,
    hook::{Hook, Rule},
    ids::RunId,
    redact::{Redactor, RuleSet},
    spec::BuildSpec,
};
use serde::{Deserialize, Serialize};

use super::{Driver, Live};
use crate::{
    error::Result,
    hooks::{self, Gate},
    secrets::Snapshot,
    unsaid::{self, lines},
    vault::Purpose,
};

/// How the log and the record of a build are treated.
pub(super) struct Redaction {
    pub(super) redactor: Redactor,
    /// The log's text is not to be shown at all; why.
    pub(super) withhold: Option<String>,
    /// Is shown the log, line by line.
    pub(super) scanner: Option<Arc<dyn Gate>>,
}

/// What is kept of the plugins' word.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    rules: Vec<Rule>,
    withhold: Option<String>,
}

pub(super) async fn redaction(
    driver: &Driver,
    live: &Arc<Live>,
    run: RunId,
    spec: &BuildSpec,
    snapshot: &Snapshot,
) -> Result<Redaction> {
    let Some(gate) = hooks::pinned(driver.parts.gates.as_ref(), &live.current()).await? else {
        return Ok(Redaction {
            redactor: Redactor::new(hidden(spec, snapshot)),
            withhold: None,
            scanner: None,
        });
    };
    let kept = match hooks::acts_at(gate.as_ref(), Hook::Redact) {
        true => kept(driver, live, run, spec, snapshot, gate.as_ref()).await?,
        false => Kept::default(),
    };
    let (rules, withhold) = match RuleSet::new(&kept.rules) {
        Ok(rules) => (rules, kept.withhold),
        // They were taken once: another release of the gateway reads them differently.
        Err(_) => (
            RuleSet::default(),
            Some("its redaction rules can no longer be used".to_owned()),
        ),
    };
    Ok(Redaction {
        redactor: Redactor::with_rules(hidden(spec, snapshot), &rules),
        withhold,
        scanner: hooks::acts_at(gate.as_ref(), Hook::RedactScan).then_some(gate),
    })
}

/// The values that the log and the record of a run must not show, as known when it starts: those of its own args, and all that the
/// organization had stored then. What is stored while it runs comes to them later: see [`super::secrets::Known::look`].
fn hidden<'a>(spec: &'a BuildSpec, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a str> {
    spec.secret_values().chain(snapshot.values())
}

async fn kept(
    driver: &Driver,
    live: &Arc<Live>,
    run: RunId,
    spec: &BuildSpec,
    snapshot: &Snapshot,
    gate: &dyn Gate,
) -> Result<Kept> {
    let build = live.current();
    let (store, vault) = (&driver.parts.store, &driver.parts.vault);
    let purpose = Purpose::Redaction(build.id);
    if let Some(sealed) = store.redaction(build.id).await? {
        return Ok(vault.open_record(&build.org, purpose, &sealed).await?);
    }
    let redactor = Redactor::new(hidden(spec, snapshot));
    lines::hide(&redactor);
    let asked = gate.redaction(&hooks::caller_of(&build), spec).await;
    // Why it is withheld is told in its place, by whoever failed.
    let kept = Kept {
        rules: asked.given,
        withhold: asked.withhold.map(|why| unsaid::without(&redactor, &why)),
    };
    let sealed = vault.seal_record(&build.org, purpose, &kept).await?;
    // Nothing is redacted by rules that a restart would not find.
    store.put_redaction(build.id, sealed).await?;
    let shown = |report| unsaid::report_without(&redactor, report);
    let reports = asked.reports.into_iter().map(shown).collect();
    driver.apply(live, Event::Reported { run, reports }).await?;
    Ok(kept)
}
