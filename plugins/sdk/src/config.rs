//! The configuration: JSON in every call, checked against its type.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use crate::{ConfigProblem, Plugin};

/// The JSON Schema (draft 2020-12) of a configuration.
pub fn schema<T: JsonSchema>() -> String {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>()
        .as_value()
        .to_string()
}

/// Reads a configuration.
///
/// # Errors
///
/// The first thing that is wrong, with its place.
pub fn parse<T: DeserializeOwned>(config: &str) -> Result<T, ConfigProblem> {
    let mut json = serde_json::Deserializer::from_str(config);
    serde_path_to_error::deserialize(&mut json).map_err(|e| ConfigProblem {
        path: pointer(e.path()),
        message: e.inner().to_string(),
    })
}

/// What `check-config` answers.
///
/// # Errors
///
/// What is wrong: the one thing that keeps it from being read, else all that [`Plugin::check`] finds.
pub fn check_config<T: DeserializeOwned + Plugin>(config: &str) -> Result<(), Vec<ConfigProblem>> {
    let plugin: T = parse(config).map_err(|problem| vec![problem])?;
    let problems = plugin.check();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

/// As a JSON Pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            // Not places in the document.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Limits {
        /// Never above ten.
        #[serde(default)]
        by_name: BTreeMap<String, Vec<u8>>,
    }

    impl Plugin for Limits {
        fn check(&self) -> Vec<ConfigProblem> {
            let above = self.by_name.values().flatten().filter(|n| **n > 10);
            above
                .map(|n| ConfigProblem {
                    path: "/by_name".to_owned(),
                    message: format!("{n} is above 10"),
                })
                .collect()
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_by_its_pointer() {
        let problems = check_config::<Limits>(r#"{"by_name": {"a/b": [1, "two"]}}"#).unwrap_err();
        assert_eq!(problems[0].path, "/by_name/a~1b/1");
        assert!(
            problems[0].message.contains("invalid type: string"),
            "{problems:?}"
        );
    }

    #[test]
    fn every_problem_of_the_check_is_told_and_none_means_fine() {
        let problems = check_config::<Limits>(r#"{"by_name": {"a": [11, 12]}}"#).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert_eq!(check_config::<Limits>("{}"), Ok(()));
    }

    #[test]
    fn an_unknown_field_is_a_problem() {
        let problems = check_config::<Limits>(r#"{"by_nmae": {}}"#).unwrap_err();
        assert!(
            problems[0].message.contains("unknown field `by_nmae`"),
            "{problems:?}"
        );
    }

    #[test]
    fn the_schema_has_the_fields_and_what_their_comments_say() {
        let schema: serde_json::Value = serde_json::from_str(&schema::<Limits>()).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["properties"]["by_name"]["description"], "Never above ten.");
        assert_eq!(schema["additionalProperties"], false);
    }
}
