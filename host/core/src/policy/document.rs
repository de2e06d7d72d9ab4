//! A policy's document: TOML in, a policy or all that is wrong with it out.

use toml::{Table, Value};

use super::{DOCUMENT_BYTES_MAX, ENTRIES_MAX, Policy, entry};
use crate::request::FieldViolation;

/// More would help nobody, and a hostile document could cause a hundred thousand.
const PROBLEMS_MAX: usize = 100;

/// What is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<FieldViolation>);

/// A table of the document and where it stands.
pub(super) struct Section<'a> {
    pub(super) table: &'a Table,
    /// Empty for the document itself.
    pub(super) place: String,
}

impl Policy {
    /// Reads and checks a document. An empty one is a policy in which no plugin acts.
    ///
    /// # Errors
    /// All that is wrong (up to a hundred problems), each with its place in the document, such as
    /// `plugin[2].limits.timeout`, counted from 0; `line 3` where it is not TOML.
    pub fn parse(text: &str) -> Result<Self, Vec<FieldViolation>> {
        let mut found = Problems::default();
        let policy = read(text, &mut found);
        match found.0.is_empty() {
            true => Ok(policy),
            false => Err(found.0),
        }
    }
}

fn read(text: &str, found: &mut Problems) -> Policy {
    if text.len() > DOCUMENT_BYTES_MAX {
        found.add(
            "",
            format!("the document must be at most {DOCUMENT_BYTES_MAX} bytes"),
        );
        return Policy::default();
    }
    let table = match text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => {
            let before = error.span().and_then(|span| text.get(..span.start));
            let place = before.map(|before| format!("line {}", before.matches('\n').count() + 1));
            found.add(
                &place.unwrap_or_default(),
                format!("must be TOML: {}", error.message()),
            );
            return Policy::default();
        }
    };
    let document = Section {
        table: &table,
        place: String::new(),
    };
    document.refuse_unknown_keys(&["plugin"], found);
    let entries = match table.get("plugin") {
        None => &[][..],
        Some(Value::Array(entries)) => entries,
        Some(_) => {
            found.add(
                "plugin",
                "must be an array of tables: write [[plugin]] above each entry",
            );
            &[]
        }
    };
    if entries.len() > ENTRIES_MAX {
        found.add("plugin", format!("must be at most {ENTRIES_MAX} entries"));
        return Policy::default();
    }
    let entries = entries.iter().enumerate().filter_map(|(index, value)| {
        let place = format!("plugin[{index}]");
        let Value::Table(table) = value else {
            found.add(&place, "must be a table: write [[plugin]] above each entry");
            return None;
        };
        entry::read(&Section { table, place }, found)
    });
    Policy {
        entries: entries.collect(),
    }
}

// === impl Section ===

impl Section<'_> {
    /// Where `key` of this table stands.
    pub(super) fn place_of(&self, key: &str) -> String {
        let key = shown(key);
        match self.place.is_empty() {
            true => key,
            false => format!("{}.{key}", self.place),
        }
    }

    /// The text under `key`; a problem if there is something else.
    pub(super) fn text(&self, key: &str, found: &mut Problems) -> Option<&str> {
        match self.table.get(key)? {
            Value::String(text) => Some(text),
            other => {
                let kind = other.type_str();
                found.add(
                    &self.place_of(key),
                    format!("must be a string in quotes, not of type {kind}"),
                );
                None
            }
        }
    }

    /// The texts of the array under `key`, each with its place.
    pub(super) fn texts(&self, key: &str, found: &mut Problems) -> Option<Vec<(String, &str)>> {
        let place = self.place_of(key);
        let Value::Array(values) = self.table.get(key)? else {
            found.add(
                &place,
                format!("must be an array of strings, such as {key} = [\"…\"]"),
            );
            return None;
        };
        let texts = values.iter().enumerate().filter_map(|(index, value)| {
            let place = format!("{place}[{index}]");
            match value {
                Value::String(text) => Some((place, text.as_str())),
                _ => {
                    found.add(&place, "must be a string in quotes");
                    None
                }
            }
        });
        Some(texts.collect())
    }

    pub(super) fn refuse_unknown_keys(&self, known: &[&str], found: &mut Problems) {
        for key in self.table.keys().filter(|key| !known.contains(&key.as_str())) {
            found.add(&self.place_of(key), unknown(key, known));
        }
    }
}

// === impl Problems ===

impl Problems {
    pub(super) fn add(&mut self, place: &str, description: impl Into<String>) {
        if self.0.len() < PROBLEMS_MAX {
            self.0.push(FieldViolation {
                field: place.to_owned(),
                description: description.into(),
            });
        }
    }

    pub(super) fn into_inner(self) -> Vec<FieldViolation> {
        self.0
    }
}

/// `must be one of …`, and which of them `text` is likely meant to be.
pub(super) fn unknown(text: &str, known: &[&str]) -> String {
    let list = known.join(", ");
    let text = text.to_lowercase();
    let nearest = known
        .iter()
        .map(|word| (strsim::osa_distance(&shortened(&text, 64), word), *word))
        .min();
    match nearest {
        // A third of the letters may be wrong.
        Some((distance, word)) if distance <= word.len().div_ceil(3) => {
            format!("is not known; did you mean {word:?}? Known are: {list}")
        }
        _ => format!("is not known; known are: {list}"),
    }
}

/// A key as TOML would write it in a path, of bounded length.
fn shown(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match !key.is_empty() && key.chars().all(bare) {
        true => shortened(key, 64),
        false => format!("{:?}", shortened(key, 64)),
    }
}

fn shortened(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}
