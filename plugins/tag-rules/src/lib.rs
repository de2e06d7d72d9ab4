//! Adds tags made of version, branch, commit and date.
//!
//! ```toml
//! [plugin.config]
//! remove = ["latest"]
//! [[plugin.config.rules]]
//! tags = ["{major}.{minor}", "{major}"]   # for `v1.4.2` also `1.4` and `1`
//! [[plugin.config.rules]]
//! tags = ["{branch}-{date}"]
//! branches = ["main", "release/*"]        # only on these; everywhere if left out
//! ```
//!
//! A template is used where all its fields are known, and left out otherwise:
//!
//! | field | from |
//! | --- | --- |
//! | `version`, `major`, `minor`, `patch` | the first tag, else the git reference, that is a semantic version without a pre-release, `v` before it or not |
//! | `branch` | the git reference if it is `refs/heads/…`, or a name that is neither a version nor may be a commit, with what a tag cannot hold replaced by `-` |
//! | `commit`, `short` | the git reference if it is a full commit id; the first 12 digits of it. What a branch stands for is not known before it is fetched, and no tag is made of it |
//! | `date`, `time` | when the build was submitted, UTC, `20260302` and `103000` |
//! | `subject` | who submitted it, likewise with `-` |
//!
//! A rule of a build without a version whose templates want one adds nothing: mixed pipelines need no second policy.

mod facts;
mod template;

use ignite_plugin_sdk::{prelude::*, text::glob};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    facts::{Facts, Reference},
    template::Template,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TagRules {
    /// At least one.
    #[schemars(length(min = 1))]
    rules: Vec<Rule>,
    /// Tags to take away, if another remains.
    #[serde(default)]
    remove: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// Templates, such as `{branch}-{date}`.
    tags: Vec<String>,
    /// Patterns of branches on which the rule acts; on everything if left out.
    branches: Option<Vec<String>>,
}

// === impl TagRules ===

impl Plugin for TagRules {
    fn check(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        for (i, rule) in self.rules.iter().enumerate() {
            for (j, text) in rule.tags.iter().enumerate() {
                if let Err(message) = Template::parse(text) {
                    problems.push(ConfigProblem {
                        path: format!("/rules/{i}/tags/{j}"),
                        message,
                    });
                }
            }
        }
        problems
    }
}

impl Rewrite for TagRules {
    fn rewrite(&self, caller: &Caller, request: &BuildRequest) -> Result<Changes, String> {
        let facts = Facts::new(caller, request)?;
        let mut tags: Vec<String> = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.acts(request)) {
            for text in &rule.tags {
                let tag = Template::parse(text)?.fill(&facts);
                tags.extend(tag.filter(|tag| !request.tags.contains(tag) && !tags.contains(tag)));
            }
        }

        let mut warnings = Vec::new();
        let removable = self
            .remove
            .iter()
            .filter(|tag| request.tags.contains(tag) && !tags.contains(tag));
        let mut removed: Vec<&String> = removable.collect();
        if removed.len() == request.tags.len() && tags.is_empty() {
            // The last tag cannot go.
            let kept = removed.pop();
            warnings.extend(kept.map(|tag| format!("{tag} stays: no rule gave the build another tag")));
        }
        let added = tags.into_iter().map(Change::AddTag);
        let removed = removed.into_iter().cloned().map(Change::RemoveTag);
        Ok(Changes {
            changes: added.chain(removed).collect(),
            warnings,
        })
    }
}

impl Rule {
    fn acts(&self, request: &BuildRequest) -> bool {
        let Some(patterns) = &self.branches else {
            return true;
        };
        match &request.source {
            Source::Git(git) => match Reference::of(&git.reference) {
                Reference::Branch(branch) => patterns.iter().any(|pattern| glob(pattern, branch)),
                Reference::Version(_) | Reference::Commit(_) | Reference::Unknown => false,
            },
            Source::Archive(_) => false,
        }
    }
}

ignite_plugin_sdk::export!(TagRules: rewrite);

#[cfg(test)]
mod tests {
    use ignite_plugin_sdk::testing;

    use super::*;

    fn rule(tags: &[&str], branches: Option<&[&str]>) -> Rule {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Rule {
            tags: owned(tags),
            branches: branches.map(owned),
        }
    }

    fn request(reference: &str, tags: &[&str]) -> BuildRequest {
        BuildRequest {
            source: Source::Git(GitSource {
                url: "https://git.example/app".to_owned(),
                reference: reference.to_owned(),
                context_dir: String::new(),
            }),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..testing::request()
        }
    }

    fn changes(rules: Vec<Rule>, remove: &[&str], request: &BuildRequest) -> Changes {
        let remove = remove.iter().map(|tag| (*tag).to_owned()).collect();
        TagRules { rules, remove }
            .rewrite(&testing::caller(), request)
            .unwrap()
    }

    fn add(tag: &str) -> Change {
        Change::AddTag(tag.to_owned())
    }

    #[test]
    fn a_version_gives_its_shorter_forms_once() {
        let rules = vec![
            rule(&["{major}.{minor}", "{major}"], None),
            rule(&["{major}"], None),
        ];
        let changed = changes(rules, &[], &request("main", &["dev", "v1.4.2", "1"]));
        assert_eq!(changed.changes, [add("1.4")]);
    }

    #[test]
    fn a_template_with_an_unknown_fact_is_left_out() {
        let rules = vec![rule(&["{major}", "{branch}-{date}", "{short}"], None)];
        let changed = changes(rules, &[], &request("feature/Größe", &["dev"]));
        assert_eq!(changed.changes, [add("feature-Gr--e-20260302")]);
    }

    #[test]
    fn a_rule_for_branches_acts_on_those_only_and_on_no_version() {
        let on = |reference: &str| {
            let rules = vec![rule(&["{time}"], Some(&["main", "release/*"]))];
            changes(rules, &[], &request(reference, &["dev"])).changes
        };
        assert_eq!(on("main"), [add("103000")]);
        assert_eq!(on("release/1"), [add("103000")]);
        assert_eq!(on("develop"), []);
        assert_eq!(on("1.2.3"), []);
        assert_eq!(on("refs/tags/main"), []);
    }

    #[test]
    fn a_commit_gives_tags_only_where_it_is_named_in_full() {
        let on = |reference: &str| {
            let rules = vec![rule(&["{short}", "sha-{commit}", "{branch}"], None)];
            changes(rules, &[], &request(reference, &["dev"])).changes
        };
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(on(commit), [add(&commit[..12]), add(&format!("sha-{commit}"))]);
        assert_eq!(on("main"), [add("main")]);
        // The beginning of a commit's id, or a branch of that name.
        assert_eq!(on(&commit[..12]), []);
        assert_eq!(on("refs/tags/nightly"), []);
    }

    #[test]
    fn a_tag_is_taken_away_if_another_remains() {
        let remove = |rules, tags: &[&str]| changes(rules, &["latest"], &request("main", tags));
        let taken = Change::RemoveTag("latest".to_owned());
        assert_eq!(
            remove(vec![rule(&["{branch}"], None)], &["latest"]).changes,
            [add("main"), taken.clone()]
        );
        assert_eq!(
            remove(vec![rule(&["{major}"], None)], &["latest", "dev"]).changes,
            [taken]
        );
        let kept = remove(vec![rule(&["{major}"], None)], &["latest"]);
        assert_eq!((kept.changes, kept.warnings.len()), (Vec::new(), 1));
    }

    #[test]
    fn a_template_that_could_never_be_a_tag_is_named_by_its_pointer() {
        let rules = vec![rule(&["{major}", "{nope}"], None), rule(&["-{date}"], None)];
        let paths: Vec<_> = TagRules {
            rules,
            remove: Vec::new(),
        }
        .check()
        .into_iter()
        .map(|p| p.path)
        .collect();
        assert_eq!(paths, ["/rules/0/tags/1", "/rules/1/tags/0"]);
    }
}
