//! Holds builds that push release tags until somebody with the right to do so approves them.
//!
//! ```toml
//! [plugin.config]
//! tags = ["v*", "release-*", "latest"]
//! names = ["payments/*"]          # only these images; all if left out
//! exempt_subjects = ["release-bot"]
//! ```
//!
//! In patterns `*` stands for any text, `?` for any character.

use ignite_plugin_sdk::{prelude::*, text::glob};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReleaseApproval {
    /// Patterns of tags that wait for approval. At least one.
    #[schemars(length(min = 1))]
    tags: Vec<String>,
    /// Patterns of image names that this is about; all if left out.
    #[serde(default = "all")]
    names: Vec<String>,
    /// Subjects whose builds never wait, such as a release pipeline.
    #[serde(default)]
    exempt_subjects: Vec<String>,
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

// === impl ReleaseApproval ===

impl Plugin for ReleaseApproval {
    fn check(&self) -> Vec<ConfigProblem> {
        let empty = [("/tags", self.tags.is_empty()), ("/names", self.names.is_empty())];
        let empty = empty.into_iter().filter(|(_, empty)| *empty);
        empty
            .map(|(path, _)| ConfigProblem {
                path: path.to_owned(),
                message: "at least one pattern: an empty list would hold nothing".to_owned(),
            })
            .collect()
    }
}

impl Validate for ReleaseApproval {
    fn validate(&self, caller: &Caller, request: &BuildRequest) -> Result<Verdict, String> {
        let concerned = self.names.iter().any(|pattern| glob(pattern, &request.name));
        if !concerned || self.exempt_subjects.contains(&caller.subject) {
            return Ok(Verdict::Allow(Vec::new()));
        }
        let releases = request
            .tags
            .iter()
            .filter(|tag| self.tags.iter().any(|pattern| glob(pattern, tag)));
        let releases: Vec<&str> = releases.map(String::as_str).collect();
        Ok(if releases.is_empty() {
            Verdict::Allow(Vec::new())
        } else {
            let (name, tags) = (&request.name, releases.join(", "));
            Verdict::Hold(format!(
                "{name} would be released as {tags}: a release needs an approval"
            ))
        })
    }
}

ignite_plugin_sdk::export!(ReleaseApproval: validate);

#[cfg(test)]
mod tests {
    use ignite_plugin_sdk::testing;

    use super::*;

    fn plugin() -> ReleaseApproval {
        ReleaseApproval {
            tags: vec!["v*".to_owned(), "latest".to_owned()],
            names: vec!["team/*".to_owned()],
            exempt_subjects: vec!["release-bot".to_owned()],
        }
    }

    fn judge(subject: &str, name: &str, tags: &[&str]) -> Verdict {
        let caller = Caller {
            subject: subject.to_owned(),
            ..testing::caller()
        };
        let request = BuildRequest {
            name: name.to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..testing::request()
        };
        plugin().validate(&caller, &request).unwrap()
    }

    #[test]
    fn a_release_tag_among_others_holds_the_build_and_is_named() {
        let Verdict::Hold(reason) = judge("ann", "team/app", &["dev", "v1.2", "latest"]) else {
            panic!("not held");
        };
        assert!(reason.contains("released as v1.2, latest:"), "{reason}");
    }

    #[test]
    fn other_tags_other_images_and_exempt_subjects_pass() {
        for (subject, name, tag) in [
            ("ann", "team/app", "dev-v1"),
            ("ann", "other/app", "v1"),
            ("release-bot", "team/app", "v1"),
        ] {
            assert_eq!(
                judge(subject, name, &[tag]),
                Verdict::Allow(Vec::new()),
                "{subject} {name} {tag}"
            );
        }
    }

    #[test]
    fn an_empty_list_is_refused_when_the_policy_is_put() {
        let empty = ReleaseApproval {
            tags: Vec::new(),
            ..plugin()
        };
        assert_eq!(empty.check()[0].path, "/tags");
        assert_eq!(plugin().check(), Vec::new());
    }
}
