//! Rules that plugins give: checked, bounded, compiled once for a build.

use std::{fmt, sync::Arc};

use regex_syntax::hir::Hir;
use zeroize::Zeroizing;

use super::expressions::Expressions;
use crate::{
    hook::{Pattern, Rule},
    spec::ArgValue,
};

#[cfg(test)]
mod tests;

const RULES_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 63;
const REPLACEMENT_BYTES_MAX: usize = 64;
const LITERAL_BYTES_MIN: usize = 6;
const LITERAL_BYTES_MAX: usize = 64 * 1024;
/// Of all literals together: the automaton takes some hundred bytes for each of theirs while it is built.
const LITERALS_BYTES_MAX: usize = 256 * 1024;
const EXPRESSION_BYTES_MAX: usize = 4 * 1024;
const LENGTH_MAX: u32 = 4096;
/// Of nested groups; the parser recurses.
const NESTING_MAX: u32 = 64;

/// Checked rules, ready to search with. Cheap to clone. `Debug` shows no pattern: an organization's own may tell much.
#[derive(Clone, Default)]
pub struct RuleSet {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By rule.
    replacements: Vec<String>,
    /// With their rules.
    literals: Vec<(Zeroizing<String>, u16)>,
    expressions: Option<Expressions>,
}

/// A rule that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule:?}: {message}")]
pub struct RuleProblem {
    /// Empty if it is about all of them.
    pub rule: String,
    pub message: String,
}

/// A checked expression of a rule.
pub(super) struct Expression {
    pub(super) rule: u16,
    pub(super) hir: Hir,
    pub(super) length_max: usize,
}

// === impl RuleSet ===

impl RuleSet {
    /// Checks and compiles.
    ///
    /// # Errors
    /// All problems together, each with its rule's name and what would be right.
    pub fn new(rules: &[Rule]) -> Result<Self, Vec<RuleProblem>> {
        if rules.len() > RULES_MAX {
            return Err(vec![problem("", format!("must be at most {RULES_MAX} rules"))]);
        }
        let mut problems = Vec::new();
        let mut inner = Inner::default();
        let mut expressions = Vec::new();
        for (index, rule) in (0_u16..).zip(rules) {
            let mut wrong = |message: String| problems.push(problem(&rule.name, message));
            check_name(&rule.name, &mut wrong);
            let replacement = rule.replacement.as_deref().unwrap_or(ArgValue::MASK);
            check_replacement(replacement, &mut wrong);
            inner.replacements.push(replacement.to_owned());
            match &rule.pattern {
                Pattern::Literal(text) => {
                    check_literal(text, &mut wrong);
                    inner.literals.push((Zeroizing::new(text.clone()), index));
                }
                Pattern::Expression { text, length_max } => match check_expression(text, *length_max) {
                    Ok((hir, length_max)) => expressions.push(Expression {
                        rule: index,
                        hir,
                        length_max,
                    }),
                    Err(message) => wrong(message),
                },
            }
        }
        let literals_bytes: usize = inner.literals.iter().map(|(text, _)| text.len()).sum();
        if literals_bytes > LITERALS_BYTES_MAX {
            let message = format!("literals together must be at most {LITERALS_BYTES_MAX} bytes");
            problems.push(problem("", message));
        }
        if !expressions.is_empty() && problems.is_empty() {
            match Expressions::new(&expressions) {
                Ok(compiled) => inner.expressions = Some(compiled),
                Err((rule, message)) => {
                    let rule = rule.and_then(|rule| rules.get(usize::from(rule)));
                    problems.push(problem(rule.map_or("", |rule| &rule.name), message));
                }
            }
        }
        match problems.is_empty() {
            true => Ok(Self {
                inner: Arc::new(inner),
            }),
            false => Err(problems),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.inner.replacements.is_empty()
    }

    pub(super) fn literals(&self) -> &[(Zeroizing<String>, u16)] {
        &self.inner.literals
    }

    pub(super) fn expressions(&self) -> Option<&Expressions> {
        self.inner.expressions.as_ref()
    }

    pub(super) fn replacement(&self, rule: u16) -> &str {
        let replacement = self.inner.replacements.get(usize::from(rule));
        replacement.map_or(ArgValue::MASK, String::as_str)
    }
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSet")
            .field("rules", &self.inner.replacements.len())
            .finish_non_exhaustive()
    }
}

fn problem(rule: &str, message: String) -> RuleProblem {
    RuleProblem {
        rule: rule.chars().take(NAME_BYTES_MAX).collect(),
        message,
    }
}

fn check_name(name: &str, wrong: &mut impl FnMut(String)) {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(fits) {
        wrong(format!(
            "the name must be 1 to {NAME_BYTES_MAX} lower-case letters, digits and '-'"
        ));
    }
}

fn check_replacement(replacement: &str, wrong: &mut impl FnMut(String)) {
    let line_break = |c: char| matches!(c, '\n'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    if replacement.len() > REPLACEMENT_BYTES_MAX || replacement.contains(line_break) {
        wrong(format!(
            "the replacement must be at most {REPLACEMENT_BYTES_MAX} bytes without line breaks"
        ));
    }
}

fn check_literal(text: &str, wrong: &mut impl FnMut(String)) {
    if !(LITERAL_BYTES_MIN..=LITERAL_BYTES_MAX).contains(&text.len()) {
        wrong(format!(
            "the literal must be {LITERAL_BYTES_MIN} to {LITERAL_BYTES_MAX} bytes"
        ));
    }
}

/// Parsed, and the most bytes that a match of it may take.
fn check_expression(text: &str, length_max: u32) -> Result<(Hir, usize), String> {
    if !(1..=LENGTH_MAX).contains(&length_max) {
        return Err(format!("length-max must be 1 to {LENGTH_MAX} bytes"));
    }
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(format!(
            "the expression must be at most {EXPRESSION_BYTES_MAX} bytes"
        ));
    }
    let parsed = regex_syntax::ParserBuilder::new()
        .utf8(false)
        .nest_limit(NESTING_MAX)
        .build()
        .parse(text);
    let hir = parsed.map_err(|error| {
        let why = match &error {
            regex_syntax::Error::Parse(error) => error.kind().to_string(),
            regex_syntax::Error::Translate(error) => error.kind().to_string(),
            _ => "cannot be read".to_owned(),
        };
        format!("the expression must be in the syntax of Rust's regex crate: {why}")
    })?;
    let properties = hir.properties();
    if !properties.look_set().is_empty() {
        return Err("the expression must not look at what surrounds a match (^, $, \\b, \\A, \\z): a log comes in pieces".to_owned());
    }
    // None: it matches nothing at all.
    match properties.minimum_len() {
        Some(0) => Err("the expression must not match the empty text".to_owned()),
        None => Err("the expression must match something".to_owned()),
        Some(_) => {
            let length_max = usize::try_from(length_max).unwrap_or(usize::MAX);
            Ok((hir, length_max))
        }
    }
}
