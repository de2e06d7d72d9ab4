//! Collecting what is wrong.

use crate::{Verdict, Violation};

/// Everything that is wrong with a build, for the person who sent it: all of it at once. Becomes a verdict that denies if
/// there is anything and allows otherwise.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

// === impl Violations ===

impl Violations {
    pub fn new() -> Self {
        Self::default()
    }

    /// `field` as the sender writes it, such as `tags[0]`; `message` says what is wrong and what would be right.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation {
            field: field.into(),
            message: message.into(),
        });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The verdict, with these warnings if it allows.
    pub fn or_allow(self, warnings: Vec<String>) -> Verdict {
        if self.0.is_empty() {
            Verdict::Allow(warnings)
        } else {
            Verdict::Deny(self.0)
        }
    }
}

impl From<Violations> for Verdict {
    fn from(violations: Violations) -> Self {
        violations.or_allow(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_wrong_allows_with_the_warnings_and_anything_wrong_denies() {
        let mut found = Violations::new();
        assert_eq!(
            found.clone().or_allow(vec!["old".to_owned()]),
            Verdict::Allow(vec!["old".to_owned()])
        );
        found.add("tags[0]", "no");
        let expected = Violation {
            field: "tags[0]".to_owned(),
            message: "no".to_owned(),
        };
        assert_eq!(Verdict::from(found), Verdict::Deny(vec![expected]));
    }
}
