//! What plugins answer, checked against the bounds that `wit/` names and made the gateway's.
//!
//! Where the contract says "are kept", the rest is dropped; where it says "at most", more is a broken contract. Whether a
//! tag is a tag or a rule can be searched for is for those to say who use it.

use ignite_core::hook::{
    Change, Changes, ConfigProblem, Description, NotifyFailure, Pattern, ProposedArg, Rule, Verdict,
    Violation,
};
use semver::Version;

use super::{
    CallError,
    bindings::{
        hooks::{describe, notify, redact, redact_scan, rewrite},
        types,
    },
};

const NAME_BYTES_MAX: usize = 63;
const SUMMARY_BYTES_MAX: usize = 1_024;
const SCHEMA_BYTES_MAX: usize = 64 << 10;
const CHANGES_MAX: usize = 256;
const WARNINGS_MAX: usize = 64;
const VIOLATIONS_KEPT: usize = 64;
const RULES_MAX: usize = 256;
const PROBLEMS_KEPT: usize = 64;
/// Of any text that is shown to people.
const MESSAGE_BYTES_KEPT: usize = 1_024;

type Answer<T> = Result<T, CallError>;

pub(crate) fn description(raw: describe::Description) -> Answer<Description> {
    let name = raw.name.as_bytes();
    let named = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    if !named {
        return refuse(format!(
            "its name is to be lower-case letters, digits and `-`, at most {NAME_BYTES_MAX}"
        ));
    }
    if Version::parse(&raw.version).is_err() {
        return refuse("its version is to be a semantic version, such as 1.2.0".to_owned());
    }
    if raw.summary.len() > SUMMARY_BYTES_MAX || raw.summary.contains(['\n', '\r']) {
        return refuse(format!(
            "its summary is to be one line of at most {SUMMARY_BYTES_MAX} bytes"
        ));
    }
    if raw.config_schema.len() > SCHEMA_BYTES_MAX {
        return refuse(format!(
            "its config-schema has more than {SCHEMA_BYTES_MAX} bytes"
        ));
    }
    let json = serde_json::from_str::<serde_json::Value>(&raw.config_schema);
    if !raw.config_schema.is_empty() && !json.is_ok_and(|schema| schema.is_object() || schema.is_boolean()) {
        return refuse("its config-schema is to be a JSON Schema, or empty".to_owned());
    }
    Ok(Description {
        name: raw.name,
        version: raw.version,
        summary: raw.summary,
        config_schema: raw.config_schema,
    })
}

pub(crate) fn problems(raw: Vec<describe::ConfigProblem>) -> Vec<ConfigProblem> {
    raw.into_iter()
        .take(PROBLEMS_KEPT)
        .map(|problem| ConfigProblem {
            path: cut(problem.path),
            message: cut(problem.message),
        })
        .collect()
}

pub(crate) fn changes(raw: rewrite::Changes) -> Answer<Changes> {
    at_most(CHANGES_MAX, raw.changes.len(), "changes")?;
    Ok(Changes {
        changes: raw.changes.into_iter().map(change).collect(),
        warnings: warnings(raw.warnings)?,
    })
}

fn change(raw: rewrite::Change) -> Change {
    match raw {
        rewrite::Change::SetArg(arg) => Change::SetArg {
            name: arg.name,
            value: match arg.value {
                types::ArgValue::Plain(value) => ProposedArg::Plain(value),
                types::ArgValue::Secret(name) => ProposedArg::Secret(name),
            },
        },
        rewrite::Change::RemoveArg(name) => Change::RemoveArg(name),
        rewrite::Change::AddTag(tag) => Change::AddTag(tag),
        rewrite::Change::RemoveTag(tag) => Change::RemoveTag(tag),
        rewrite::Change::SetLabel(label) => Change::SetLabel {
            key: label.key,
            value: label.value,
        },
        rewrite::Change::RemoveLabel(key) => Change::RemoveLabel(key),
        rewrite::Change::SetPlatform(platform) => Change::SetPlatform(platform),
        rewrite::Change::SetNoCache(no_cache) => Change::SetNoCache(no_cache),
        rewrite::Change::SetTimeoutSeconds(seconds) => Change::SetTimeoutSeconds(seconds),
    }
}

pub(crate) fn verdict(raw: types::Verdict) -> Answer<Verdict> {
    Ok(match raw {
        types::Verdict::Allow(texts) => Verdict::Allow {
            warnings: warnings(texts)?,
        },
        types::Verdict::Deny(violations) => {
            if violations.is_empty() {
                return refuse("a denial is to name at least one violation".to_owned());
            }
            let kept = violations.into_iter().take(VIOLATIONS_KEPT);
            Verdict::Deny {
                violations: kept
                    .map(|violation| Violation {
                        field: cut(violation.field),
                        message: cut(violation.message),
                    })
                    .collect(),
            }
        }
        types::Verdict::Hold(reason) => Verdict::Hold { reason: cut(reason) },
    })
}

pub(crate) fn rules(raw: Vec<redact::Rule>) -> Answer<Vec<Rule>> {
    at_most(RULES_MAX, raw.len(), "rules")?;
    Ok(raw
        .into_iter()
        .map(|rule| Rule {
            name: rule.name,
            pattern: match rule.pattern {
                redact::Pattern::Literal(text) => Pattern::Literal(text),
                redact::Pattern::Expression(expression) => Pattern::Expression {
                    text: expression.text,
                    length_max: expression.length_max,
                },
            },
            replacement: rule.replacement,
        })
        .collect())
}

pub(crate) fn ranges(lines: &[u8], raw: &[redact_scan::Range]) -> Answer<Vec<std::ops::Range<usize>>> {
    // More cannot be meant: the smallest ranges that do not touch take two bytes each.
    at_most(lines.len().div_ceil(2), raw.len(), "ranges")?;
    raw.iter().map(|range| checked(lines, *range)).collect()
}

fn checked(lines: &[u8], raw: redact_scan::Range) -> Answer<std::ops::Range<usize>> {
    let range = raw.start as usize..raw.end as usize;
    let Some(covered) = lines.get(range.clone()) else {
        return refuse(format!(
            "the range {}..{} is not within the {} bytes it was shown",
            raw.start,
            raw.end,
            lines.len()
        ));
    };
    // The end of its own line may be in it only if nothing follows.
    if covered.contains(&b'\n') {
        return refuse(format!("the range {}..{} covers a line end", raw.start, raw.end));
    }
    Ok(range)
}

pub(crate) fn delivered(raw: Result<(), notify::Failure>) -> Result<(), NotifyFailure> {
    raw.map_err(|failure| match failure {
        notify::Failure::Again(text) => NotifyFailure::Again(cut(text)),
        notify::Failure::Never(text) => NotifyFailure::Never(cut(text)),
    })
}

/// The plugin's own word that it could not.
pub(crate) fn said<T>(raw: Result<T, String>) -> Answer<T> {
    raw.map_err(|text| CallError::Failed(cut(text)))
}

fn warnings(raw: Vec<String>) -> Answer<Vec<String>> {
    at_most(WARNINGS_MAX, raw.len(), "warnings")?;
    Ok(raw.into_iter().map(cut).collect())
}

fn at_most(max: usize, count: usize, what: &str) -> Answer<()> {
    if count > max {
        return refuse(format!("{count} {what}; at most {max} are taken"));
    }
    Ok(())
}

fn refuse<T>(problem: String) -> Answer<T> {
    Err(CallError::Answer(problem))
}

/// The first [`MESSAGE_BYTES_KEPT`] bytes, at a character's end.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MESSAGE_BYTES_KEPT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("ä".repeat(1_000)).len(), 1_024);
        assert_eq!(cut(format!("a{}", "ä".repeat(1_000))).len(), 1_023);
    }

    #[test]
    fn ranges_stay_within_one_line() {
        let lines = b"one\ntwo\n";
        let range = |start, end| checked(lines, redact_scan::Range { start, end });
        assert_eq!(range(4, 7), Ok(4..7));
        for (start, end) in [(0, 5), (7, 9), (5, 4), (u32::MAX, u32::MAX), (4, 8)] {
            assert!(range(start, end).is_err(), "{start}..{end}");
        }
    }

    #[test]
    fn a_denial_says_why() {
        assert!(verdict(types::Verdict::Deny(Vec::new())).is_err());
    }

    #[test]
    fn a_description_has_the_form_that_the_contract_names() {
        let good = || describe::Description {
            name: "base-images".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "Allows base images".to_owned(),
            config_schema: String::new(),
        };
        assert!(description(good()).is_ok());
        let bad: [fn(&mut describe::Description); 5] = [
            |d| d.name = "Base Images".to_owned(),
            |d| d.version = "one".to_owned(),
            |d| d.summary = "two\nlines".to_owned(),
            |d| d.config_schema = "{".to_owned(),
            |d| d.config_schema = format!("\"{}\"", "a".repeat(SCHEMA_BYTES_MAX)),
        ];
        for spoil in bad {
            let mut raw = good();
            spoil(&mut raw);
            assert!(matches!(description(raw), Err(CallError::Answer(_))));
        }
    }
}
