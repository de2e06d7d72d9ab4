//! Templates of tags.

use crate::facts::Facts;

/// Literal text and fields in turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Version,
    Major,
    Minor,
    Patch,
    Branch,
    Commit,
    Short,
    Date,
    Time,
    Subject,
}

const FIELDS: [(&str, Field); 10] = [
    ("version", Field::Version),
    ("major", Field::Major),
    ("minor", Field::Minor),
    ("patch", Field::Patch),
    ("branch", Field::Branch),
    ("commit", Field::Commit),
    ("short", Field::Short),
    ("date", Field::Date),
    ("time", Field::Time),
    ("subject", Field::Subject),
];

// === impl Template ===

impl Template {
    /// # Errors
    ///
    /// What would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind
                .split_once('}')
                .ok_or_else(|| format!("{text}: a field ends with a brace, as in {{date}}"))?;
            let field = FIELDS
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, field)| *field);
            let field = field.ok_or_else(|| {
                let known: Vec<&str> = FIELDS.iter().map(|(known, _)| *known).collect();
                format!("{text}: {name:?} is no field; there are {}", known.join(", "))
            })?;
            parts.extend((!before.is_empty()).then(|| Part::Text(before.to_owned())));
            parts.push(Part::Field(field));
            rest = after;
        }
        parts.extend((!rest.is_empty()).then(|| Part::Text(rest.to_owned())));

        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let literal = parts.iter().filter_map(|part| match part {
            Part::Text(literal) => Some(literal.as_str()),
            Part::Field(_) => None,
        });
        if parts.is_empty() || !literal.clone().all(|literal| literal.chars().all(fits)) {
            return Err(format!("{text}: a tag has letters, digits, `_`, `.` and `-`"));
        }
        if text.starts_with(['.', '-']) {
            return Err(format!("{text}: a tag begins with a letter, a digit or `_`"));
        }
        Ok(Self(parts))
    }

    /// None if a field is unknown of this build, or if what comes out is no tag.
    pub(crate) fn fill(&self, facts: &Facts) -> Option<String> {
        let mut tag = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => tag.push_str(text),
                Part::Field(field) => tag.push_str(&field.value(facts)?),
            }
        }
        (tag.len() <= 128 && !tag.starts_with(['.', '-'])).then_some(tag)
    }
}

// === impl Field ===

impl Field {
    fn value(self, facts: &Facts) -> Option<String> {
        let version = |i: usize| facts.version.as_ref().and_then(|parts| parts.get(i)).cloned();
        match self {
            Self::Version => facts.version.as_ref().map(|parts| parts.join(".")),
            Self::Major => version(0),
            Self::Minor => version(1),
            Self::Patch => version(2),
            Self::Branch => facts.branch.clone(),
            Self::Commit => facts.commit.clone(),
            Self::Short => facts
                .commit
                .as_ref()
                .and_then(|commit| commit.get(..12))
                .map(str::to_owned),
            Self::Date => Some(facts.date.clone()),
            Self::Time => Some(facts.time.clone()),
            Self::Subject => Some(facts.subject.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_template_of_a_tag_is_refused() {
        for text in [
            "",
            "{",
            "{}",
            "{Date}",
            "{date",
            "a b{date}",
            ".{date}",
            "{date}/x",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_field_is_filled_with_its_fact() {
        let facts = Facts {
            version: Some(["1", "2", "3"].map(str::to_owned)),
            branch: Some("main".to_owned()),
            commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
            date: "20260302".to_owned(),
            time: "103000".to_owned(),
            subject: "ann".to_owned(),
        };
        let filled = |text: &str| Template::parse(text).unwrap().fill(&facts).unwrap();
        assert_eq!(filled("{version}_{major}.{minor}.{patch}"), "1.2.3_1.2.3");
        assert_eq!(
            filled("{branch}-{date}{time}-{short}.{subject}"),
            "main-20260302103000-0123456789ab.ann"
        );
        assert_eq!(filled("{commit}").len(), 40);
    }

    #[test]
    fn what_comes_out_too_long_is_left_out() {
        let facts = Facts {
            branch: Some("b".repeat(80)),
            ..Facts::default()
        };
        assert_eq!(Template::parse("{branch}{branch}").unwrap().fill(&facts), None);
    }
}
