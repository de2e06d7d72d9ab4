//! The token file's TOML, read with all of its problems at once.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::SystemTime,
};

use ignite_core::ids::OrgId;
use toml::{Table, Value};

use super::{Entry, NewToken};
use crate::principal::{Principal, Scope};

const KEYS: [&str; 5] = ["sha256", "organization", "subject", "scopes", "expires"];

/// One line for each problem, none of which repeats a hash.
pub(super) fn parse(text: &str) -> Result<HashMap<[u8; 32], Entry>, Vec<String>> {
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| vec![error.to_string()])?;
    let mut problems: Vec<String> = table
        .keys()
        .filter(|key| *key != "token")
        .map(|key| format!("unknown key {key:?}: the file has [[token]] entries only"))
        .collect();
    let entries = match table.get("token") {
        None => &[][..],
        Some(Value::Array(entries)) => entries,
        Some(_) => {
            problems.push("token: must be a list of tables, written as [[token]]".to_owned());
            &[]
        }
    };
    let mut tokens = HashMap::new();
    for (index, value) in entries.iter().enumerate() {
        let mut fields = Fields {
            place: format!("token {}", index.saturating_add(1)),
            table: value.as_table(),
            problems: &mut problems,
        };
        if let Some((sha256, entry)) = fields.entry()
            && tokens.insert(sha256, entry).is_some()
        {
            fields.problem("sha256", "is the same as another's");
        }
    }
    if problems.is_empty() {
        Ok(tokens)
    } else {
        Err(problems)
    }
}

/// RFC 3339, with any offset.
pub(super) fn rfc3339(text: &str) -> Option<SystemTime> {
    chrono::DateTime::parse_from_rfc3339(text)
        .ok()
        .map(SystemTime::from)
}

/// A new entry's text, to be appended.
pub(super) fn entry(token: &NewToken, sha256: &[u8; 32]) -> String {
    let mut table = Table::new();
    table.insert("sha256".into(), hex::encode(sha256).into());
    table.insert("organization".into(), token.org.as_str().into());
    table.insert("subject".into(), token.subject.as_str().into());
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    table.insert("scopes".into(), scopes.into());
    if let Some(expires) = token.expires {
        table.insert("expires".into(), expires.to_string().into());
    }
    // The leading newline keeps it apart from a last line that has none.
    format!("\n[[token]]\n{table}")
}

struct Fields<'a> {
    place: String,
    table: Option<&'a Table>,
    problems: &'a mut Vec<String>,
}

// === impl Fields ===

impl Fields<'_> {
    fn entry(&mut self) -> Option<([u8; 32], Entry)> {
        let Some(table) = self.table else {
            self.problems.push(format!("{}: must be a table", self.place));
            return None;
        };
        for key in table.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            self.problem(key, &format!("is not known; known are {}", KEYS.join(", ")));
        }
        // All of them are read before any is given up on, so that every problem is told.
        let (sha256, org, subject) = (self.sha256(), self.org(), self.subject());
        let (scopes, expires) = (self.scopes(), self.expires());
        let principal = Principal {
            org: org?,
            subject: subject?,
            scopes: scopes?,
        };
        Some((
            sha256?,
            Entry {
                principal: Arc::new(principal),
                expires: expires?,
            },
        ))
    }

    fn problem(&mut self, key: &str, what: &str) {
        self.problems.push(format!("{}: {key}: {what}", self.place));
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.table.and_then(|table| table.get(key))
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let text = self.value(key).and_then(Value::as_str).map(str::to_owned);
        if text.is_none() {
            self.problem(key, "is needed, as a string");
        }
        text
    }

    fn sha256(&mut self) -> Option<[u8; 32]> {
        let text = self.text("sha256")?;
        let mut sha256 = [0; 32];
        if hex::decode_to_slice(&text, &mut sha256).is_err() {
            self.problem("sha256", "must be the 64 hex digits of the token's SHA-256");
            return None;
        }
        Some(sha256)
    }

    fn org(&mut self) -> Option<OrgId> {
        let text = self.text("organization")?;
        text.parse()
            .map_err(|error| self.problem("organization", &format!("{error}")))
            .ok()
    }

    fn subject(&mut self) -> Option<String> {
        let text = self.text("subject")?;
        if text.is_empty() {
            self.problem("subject", "must not be empty");
        }
        Some(text)
    }

    fn scopes(&mut self) -> Option<BTreeSet<Scope>> {
        let known = Scope::ALL.map(Scope::as_str).join(", ");
        let Some(values) = self.value("scopes").and_then(Value::as_array).cloned() else {
            self.problem("scopes", &format!("is needed, as a list of: {known}"));
            return None;
        };
        let mut scopes = BTreeSet::new();
        for value in &values {
            match Scope::ALL
                .into_iter()
                .find(|scope| value.as_str() == Some(scope.as_str()))
            {
                Some(scope) => {
                    scopes.insert(scope);
                }
                None => self.problem("scopes", &format!("{value} is not a scope; known are {known}")),
            }
        }
        Some(scopes)
    }

    /// The outer `None` is a problem, the inner one a token without end.
    #[allow(clippy::option_option, reason = "absent and wrong are two things")]
    fn expires(&mut self) -> Option<Option<SystemTime>> {
        let text = match self.value("expires") {
            None => return Some(None),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Datetime(time)) => time.to_string(),
            Some(_) => String::new(),
        };
        let expires = rfc3339(&text);
        if expires.is_none() {
            self.problem(
                "expires",
                "must be a time with its zone, such as 2027-01-31T00:00:00Z",
            );
        }
        expires.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_told_together() {
        let hash = "ab".repeat(32);
        let text = format!(
            r#"
            colour = "red"
            [[token]]
            sha256 = "xyz"
            organization = "ACME"
            scopes = ["builds:read", "builds:fly"]
            expires = "soon"
            sope = 1
            [[token]]
            sha256 = "{hash}"
            organization = "acme"
            subject = "ci"
            scopes = []
            expires = 2027-01-31T00:00:00+02:00
            [[token]]
            sha256 = "{hash}"
            organization = "acme"
            subject = "ci"
            scopes = []
            expires = 2027-01-31
            [[token]]
            sha256 = "{hash}"
            organization = "acme"
            subject = "ci"
            scopes = []
            "#
        );
        insta::assert_snapshot!(parse(&text).unwrap_err().join("\n"));
    }

    #[test]
    fn a_file_that_is_not_toml_says_where() {
        let problems = parse("[[token").unwrap_err().join("\n");
        assert!(problems.contains("line 1"), "{problems}");
    }
}
