//! Takes well-known tokens, keys and an organization's own patterns out of logs.
//!
//! ```toml
//! [plugin.config]
//! groups = ["aws", "github", "private-keys"]   # all if left out
//! [[plugin.config.own]]
//! name = "staff-token"
//! expression = "acme_[a-z0-9]{24}"
//! [[plugin.config.own]]
//! name = "code-name"
//! literal = "Project Nightingale"
//! replacement = "[project]"
//! ```
//!
//! The gateway looks for the rules itself, and ignores the case of ASCII letters only: write `(?i-u:…)`, not `(?i:…)`. They look for the shape of a token and not for its neighbours, so that one is found
//! wherever a log is cut.

mod known;

use ignite_plugin_sdk::prelude::*;
use regex_syntax::ParserBuilder;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::known::Group;

/// What the contract allows an expression to match.
const MATCH_BYTES_MAX: u32 = 4096;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RedactionRules {
    /// Groups of well-known tokens.
    #[serde(default = "known::all")]
    groups: Vec<Group>,
    /// The organization's own.
    #[serde(default)]
    own: Vec<Own>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Own {
    /// Lower-case letters, digits and `-`; shown in reports.
    #[schemars(regex(pattern = "^[a-z0-9-]{1,63}$"))]
    name: String,
    /// Exactly this text, at least 6 bytes. Either this or `expression`.
    literal: Option<String>,
    /// A regular expression without look-around and back-references.
    expression: Option<String>,
    /// The longest match in bytes; worked out from the expression if it has a longest match.
    #[schemars(range(min = 1, max = 4096))]
    length_max: Option<u32>,
    /// Put in the place of a match; `***` if left out.
    replacement: Option<String>,
}

// === impl RedactionRules ===

impl Plugin for RedactionRules {
    fn check(&self) -> Vec<ConfigProblem> {
        let rules = self.own.iter().enumerate();
        rules
            .filter_map(|(i, own)| {
                let (field, message) = own.pattern().err()?;
                Some(ConfigProblem {
                    path: format!("/own/{i}{field}"),
                    message,
                })
            })
            .collect()
    }
}

impl Redact for RedactionRules {
    fn rules(&self, _caller: &Caller, _request: &BuildRequest) -> Result<Vec<Rule>, String> {
        let mut rules: Vec<Rule> = self.groups.iter().flat_map(|group| group.rules()).collect();
        for own in &self.own {
            rules.push(Rule {
                name: own.name.clone(),
                pattern: own
                    .pattern()
                    .map_err(|(_, message)| format!("{}: {message}", own.name))?,
                replacement: own.replacement.clone(),
            });
        }
        Ok(rules)
    }
}

// === impl Own ===

impl Own {
    /// The error is the pointer from here and what would be right.
    fn pattern(&self) -> Result<Pattern, (&'static str, String)> {
        match (&self.literal, &self.expression) {
            (Some(text), None) if (6..=65_536).contains(&text.len()) => Ok(Pattern::Literal(text.clone())),
            (Some(_), None) => Err((
                "/literal",
                "6 to 65536 bytes: shorter texts are everywhere".to_owned(),
            )),
            (None, Some(text)) => self.expression(text),
            (Some(_), Some(_)) | (None, None) => Err(("", "either `literal` or `expression`".to_owned())),
        }
    }

    fn expression(&self, text: &str) -> Result<Pattern, (&'static str, String)> {
        let hir = ParserBuilder::new().utf8(false).build().parse(text);
        let hir = hir.map_err(|e| ("/expression", format!("no expression: {e}")))?;
        let properties = hir.properties();
        if properties.minimum_len().is_none_or(|bytes| bytes == 0) {
            return Err(("/expression", "must not match the empty text".to_owned()));
        }
        let longest = properties
            .maximum_len()
            .and_then(|bytes| u32::try_from(bytes).ok());
        let length_max = self
            .length_max
            .or(longest)
            .filter(|bytes| (1..=MATCH_BYTES_MAX).contains(bytes));
        let length_max = length_max.ok_or_else(|| {
            let message = format!("1 to {MATCH_BYTES_MAX}; needed where the expression has no longest match, as with `*` and `+`");
            ("/length_max", message)
        })?;
        Ok(Pattern::Expression(Expression {
            text: text.to_owned(),
            length_max,
        }))
    }
}

ignite_plugin_sdk::export!(RedactionRules: redact);

#[cfg(test)]
mod tests {
    use ignite_plugin_sdk::testing;

    use super::*;

    fn own(literal: Option<&str>, expression: Option<&str>, length_max: Option<u32>) -> RedactionRules {
        let own = Own {
            name: "own".to_owned(),
            literal: literal.map(str::to_owned),
            expression: expression.map(str::to_owned),
            length_max,
            replacement: None,
        };
        RedactionRules {
            groups: Vec::new(),
            own: vec![own],
        }
    }

    #[test]
    fn the_longest_match_is_worked_out_where_there_is_one() {
        let rules = own(None, Some("acme_[a-z0-9]{24}"), None)
            .rules(&testing::caller(), &testing::request())
            .unwrap();
        let expected = Expression {
            text: "acme_[a-z0-9]{24}".to_owned(),
            length_max: 29,
        };
        assert_eq!(rules[0].pattern, Pattern::Expression(expected));
    }

    #[test]
    fn what_cannot_be_a_rule_is_named_by_its_pointer() {
        let path = |plugin: RedactionRules| plugin.check().first().map(|problem| problem.path.clone());
        assert_eq!(
            path(own(Some("short"), None, None)).as_deref(),
            Some("/own/0/literal")
        );
        assert_eq!(
            path(own(None, Some("("), None)).as_deref(),
            Some("/own/0/expression")
        );
        assert_eq!(
            path(own(None, Some("a*"), Some(5))).as_deref(),
            Some("/own/0/expression")
        );
        assert_eq!(
            path(own(None, Some("a+"), None)).as_deref(),
            Some("/own/0/length_max")
        );
        assert_eq!(
            path(own(None, Some("a{5000}"), None)).as_deref(),
            Some("/own/0/length_max")
        );
        assert_eq!(
            path(own(Some("longer"), Some("a+"), None)).as_deref(),
            Some("/own/0")
        );
        assert_eq!(path(own(None, Some("a+"), Some(100))), None);
    }

    #[test]
    fn every_known_rule_is_one_that_would_be_taken_from_a_policy() {
        for rule in known::all().iter().flat_map(|group| group.rules()) {
            let Pattern::Expression(expression) = rule.pattern else {
                panic!("{} is a literal", rule.name);
            };
            let plugin = own(None, Some(&expression.text), Some(expression.length_max));
            assert_eq!(plugin.check(), Vec::new(), "{}", rule.name);
        }
    }
}
