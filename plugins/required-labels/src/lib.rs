//! Requires labels, and names and tags of a given form.
//!
//! ```toml
//! [plugin.config]
//! name = "[a-z]+/[a-z][a-z0-9-]*"      # expressions fit the whole text
//! tag = '(v?\d+\.\d+\.\d+|dev-.+)'
//! other_labels = "warn"                # labels that are not named here: "allow", "warn" or "deny"
//! [plugin.config.labels]
//! team = "payments|search"
//! cost-center = '\d{4}'
//! ```

use std::collections::BTreeMap;

use ignite_plugin_sdk::prelude::*;
use regex_lite::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RequiredLabels {
    /// For each label that must be there, an expression that its whole value fits.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// What a label comes to that is not named above.
    #[serde(default)]
    other_labels: OtherLabels,
    /// Expression that the whole image name fits.
    name: Option<String>,
    /// Expression that every whole tag fits.
    tag: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum OtherLabels {
    #[default]
    Allow,
    Warn,
    Deny,
}

// === impl RequiredLabels ===

impl Plugin for RequiredLabels {
    fn check(&self) -> Vec<ConfigProblem> {
        let labels = self.labels.iter().map(|(key, text)| {
            (
                format!("/labels/{}", key.replace('~', "~0").replace('/', "~1")),
                text,
            )
        });
        let name = self.name.iter().map(|text| ("/name".to_owned(), text));
        let tag = self.tag.iter().map(|text| ("/tag".to_owned(), text));
        let compiled = labels
            .chain(name)
            .chain(tag)
            .map(|(path, text)| (path, whole(text)));
        compiled
            .filter_map(|(path, expression)| {
                Some(ConfigProblem {
                    path,
                    message: expression.err()?,
                })
            })
            .collect()
    }
}

impl Validate for RequiredLabels {
    fn validate(&self, _caller: &Caller, request: &BuildRequest) -> Result<Verdict, String> {
        let mut wrong = Violations::new();
        let mut warnings = Vec::new();
        for (key, text) in &self.labels {
            let field = format!("labels[{key:?}]");
            match request.labels.iter().find(|label| label.key == *key) {
                None => wrong.add(field, format!("this label is required; its value fits {text}")),
                Some(label) if !whole(text)?.is_match(&label.value) => {
                    wrong.add(field, format!("{:?} does not fit {text}", label.value));
                }
                Some(_) => {}
            }
        }
        for label in request
            .labels
            .iter()
            .filter(|label| !self.labels.contains_key(&label.key))
        {
            let known = self
                .labels
                .keys()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ");
            match self.other_labels {
                OtherLabels::Allow => {}
                OtherLabels::Warn => warnings.push(format!("the label {} is none of {known}", label.key)),
                OtherLabels::Deny => {
                    wrong.add(
                        format!("labels[{:?}]", label.key),
                        format!("leave it out: the labels are {known}"),
                    );
                }
            }
        }
        if let Some(text) = &self.name
            && !whole(text)?.is_match(&request.name)
        {
            wrong.add("name", format!("{:?} does not fit {text}", request.name));
        }
        if let Some(text) = &self.tag {
            let tag_form = whole(text)?;
            for (i, tag) in request
                .tags
                .iter()
                .enumerate()
                .filter(|(_, tag)| !tag_form.is_match(tag))
            {
                wrong.add(format!("tags[{i}]"), format!("{tag:?} does not fit {text}"));
            }
        }
        Ok(wrong.or_allow(warnings))
    }
}

/// An expression that fits whole texts only: one that fits a part by accident would let everything pass.
fn whole(text: &str) -> Result<Regex, String> {
    // By itself first, so that a stray bracket cannot lean on ours.
    Regex::new(text)
        .and_then(|_| Regex::new(&format!("^(?:{text})$")))
        .map_err(|e| format!("{text} is no expression: {e}"))
}

ignite_plugin_sdk::export!(RequiredLabels: validate);

#[cfg(test)]
mod tests {
    use ignite_plugin_sdk::testing;

    use super::*;

    fn plugin() -> RequiredLabels {
        RequiredLabels {
            labels: [("team".to_owned(), "payments|search".to_owned())].into(),
            other_labels: OtherLabels::Deny,
            name: Some("team/[a-z]+".to_owned()),
            tag: Some(r"\d+\.\d+".to_owned()),
        }
    }

    fn request(labels: &[(&str, &str)]) -> BuildRequest {
        let labels = labels.iter().map(|(key, value)| Label {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        });
        BuildRequest {
            labels: labels.collect(),
            tags: vec!["1.2".to_owned()],
            ..testing::request()
        }
    }

    fn fields(plugin: &RequiredLabels, request: &BuildRequest) -> Vec<String> {
        match plugin.validate(&testing::caller(), request).unwrap() {
            Verdict::Deny(violations) => violations.into_iter().map(|v| v.field).collect(),
            Verdict::Allow(_) => Vec::new(),
            Verdict::Hold(reason) => panic!("held: {reason}"),
        }
    }

    #[test]
    fn what_fits_passes() {
        assert_eq!(
            fields(&plugin(), &request(&[("team", "search")])),
            Vec::<String>::new()
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let mut request = request(&[("owner", "ann")]);
        request.name = "team/App".to_owned();
        request.tags.push("latest".to_owned());
        let expected = [r#"labels["team"]"#, r#"labels["owner"]"#, "name", "tags[1]"];
        assert_eq!(fields(&plugin(), &request), expected);
    }

    #[test]
    fn an_expression_that_fits_only_a_part_does_not_fit() {
        assert_eq!(
            fields(&plugin(), &request(&[("team", "my-search")])),
            [r#"labels["team"]"#]
        );
        assert_eq!(
            fields(&plugin(), &request(&[("team", "search\nx")])),
            [r#"labels["team"]"#]
        );
    }

    #[test]
    fn another_label_may_be_only_a_warning() {
        let plugin = RequiredLabels {
            other_labels: OtherLabels::Warn,
            ..plugin()
        };
        let verdict = plugin
            .validate(&testing::caller(), &request(&[("team", "search"), ("x", "y")]))
            .unwrap();
        assert_eq!(
            verdict,
            Verdict::Allow(vec!["the label x is none of team".to_owned()])
        );
    }

    #[test]
    fn an_expression_that_does_not_compile_is_named_by_its_pointer() {
        let plugin = RequiredLabels {
            labels: [("a/b".to_owned(), "x)|(y".to_owned())].into(),
            tag: Some("[".to_owned()),
            ..RequiredLabels::default()
        };
        let paths: Vec<_> = plugin.check().into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["/labels/a~1b", "/tag"]);
    }
}
