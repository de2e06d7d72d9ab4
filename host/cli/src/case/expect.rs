//! What a case should come to, and how what it came to differs from that.

use ignite_core::hook::Hook;

/// What is left out is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) verdict: Option<String>,
    /// Each stands in one of the messages.
    #[serde(default)]
    pub(crate) messages_contain: Vec<String>,
    /// All of them, in order.
    pub(crate) changes: Option<Vec<String>>,
    /// A piece of a log.
    pub(crate) sample: Option<String>,
    /// The same as it would be shown.
    pub(crate) redacted: Option<String>,
}

/// What a case came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: &'static str,
    pub(crate) messages: Vec<String>,
    pub(crate) changes: Vec<String>,
    pub(crate) redacted: Option<String>,
}

// === impl Expect ===

impl Expect {
    /// Whether it can be met at all by `hook`, or by a policy.
    pub(super) fn check(&self, hook: Option<Hook>) -> Result<(), String> {
        let verdicts: &[&str] = match hook {
            None => &["allow", "deny", "hold"],
            Some(Hook::Rewrite) => &["changed", "unchanged", "failed"],
            Some(Hook::Validate | Hook::Inspect) => &["allow", "deny", "hold", "failed"],
            Some(Hook::Redact | Hook::RedactScan) => &["applied", "failed"],
            Some(Hook::Notify) => &["delivered", "failed"],
        };
        if let Some(verdict) = &self.verdict
            && !verdicts.contains(&verdict.as_str())
        {
            return Err(format!("expect.verdict: must be one of {}", verdicts.join(", ")));
        }
        if self.sample.is_some() != self.redacted.is_some() {
            return Err("expect.sample and expect.redacted belong together: write both or none".to_owned());
        }
        let redacts = matches!(hook, None | Some(Hook::Redact | Hook::RedactScan));
        if self.sample.is_some() && !redacts {
            return Err("expect.sample: only redact and redact-scan take something out of a log".to_owned());
        }
        if self.changes.is_some() && !matches!(hook, None | Some(Hook::Rewrite)) {
            return Err("expect.changes: only rewrite changes something".to_owned());
        }
        if *self == Self::default() {
            return Err("expect: must say something, such as verdict = \"allow\"".to_owned());
        }
        Ok(())
    }

    /// Line by line, `-` what was expected and `+` what came; empty if the case passed.
    pub(crate) fn differences(&self, outcome: &Outcome) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(verdict) = &self.verdict
            && verdict != outcome.verdict
        {
            lines.push("verdict".to_owned());
            lines.push(format!("- {verdict}"));
            lines.push(format!("+ {}", outcome.verdict));
        }
        let missing: Vec<_> = self
            .messages_contain
            .iter()
            .filter(|part| {
                !outcome
                    .messages
                    .iter()
                    .any(|message| message.contains(part.as_str()))
            })
            .collect();
        if !missing.is_empty() || (!lines.is_empty() && !outcome.messages.is_empty()) {
            lines.push("messages".to_owned());
            lines.extend(missing.iter().map(|part| format!("- …{part}…")));
            lines.extend(outcome.messages.iter().map(|message| format!("+ {message}")));
        }
        if let Some(changes) = &self.changes
            && *changes != outcome.changes
        {
            lines.push("changes".to_owned());
            lines.extend(list_difference(changes, &outcome.changes));
        }
        if let Some(redacted) = &self.redacted
            && Some(redacted) != outcome.redacted.as_ref()
        {
            let got = outcome.redacted.as_deref().unwrap_or_default();
            let split = |text: &str| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
            lines.push("redacted".to_owned());
            lines.extend(list_difference(&split(redacted), &split(got)));
        }
        lines
    }
}

/// What both have in a row at their start and end stands once.
fn list_difference(expected: &[String], got: &[String]) -> Vec<String> {
    let same = |pair: &(&String, &String)| pair.0 == pair.1;
    let head = expected.iter().zip(got).take_while(same).count();
    let left = expected.len().min(got.len()) - head;
    let tail = expected
        .iter()
        .rev()
        .zip(got.iter().rev())
        .take(left)
        .take_while(same)
        .count();
    let middle = |list: &[String], sign: &str| {
        let count = list.len() - head - tail;
        let middle = list.iter().skip(head).take(count);
        middle.map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    let shared = |lines: &[String]| lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>();
    let mut out = shared(expected.get(..head).unwrap_or_default());
    out.extend(middle(expected, "-"));
    out.extend(middle(got, "+"));
    out.extend(shared(expected.get(expected.len() - tail..).unwrap_or_default()));
    out
}
