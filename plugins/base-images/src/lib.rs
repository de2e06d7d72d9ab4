//! Takes base images from allowed registries and repositories only.
//!
//! ```toml
//! [plugin.config]
//! allow = ["registry.example/base/*", "docker.io/library/debian:12*"]
//! require_digest = true      # every base is pinned by `@sha256:…`
//! allow_unresolved = false   # bases that are known only during the build
//! ```
//!
//! A pattern is compared with the full reference, so `debian:12` is `docker.io/library/debian:12` first; `*` stands for any text. A pattern
//! without a tag or digest allows all of them. `scratch` and earlier stages are always allowed; so is an image that a stage names in
//! `COPY --from`, unless `check_copies` is set (it is by default).

mod reference;

use ignite_plugin_sdk::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BaseImages {
    /// Patterns of full references, such as `registry.example/base/*`. At least one.
    #[schemars(length(min = 1))]
    allow: Vec<String>,
    /// Whether every image must be pinned by digest.
    #[serde(default)]
    require_digest: bool,
    /// Whether a base may depend on an argument whose value is not known before the build.
    #[serde(default)]
    allow_unresolved: bool,
    /// Whether images named in `COPY --from` are judged too.
    #[serde(default = "yes")]
    check_copies: bool,
}

fn yes() -> bool {
    true
}

// === impl BaseImages ===

impl Plugin for BaseImages {
    fn check(&self) -> Vec<ConfigProblem> {
        let at = |path: String, message: &str| ConfigProblem {
            path,
            message: message.to_owned(),
        };
        if self.allow.is_empty() {
            return vec![at(
                "/allow".to_owned(),
                "at least one pattern: an empty list would refuse every image",
            )];
        }
        let wrong = self
            .allow
            .iter()
            .enumerate()
            .filter(|(_, pattern)| !pattern.contains('/'));
        wrong
            .map(|(i, pattern)| {
                at(
                    format!("/allow/{i}"),
                    &format!("a pattern begins with a registry, such as `docker.io/library/{pattern}`"),
                )
            })
            .collect()
    }
}

impl Inspect for BaseImages {
    fn inspect(&self, _caller: &Caller, _request: &BuildRequest, found: &Found) -> Result<Verdict, String> {
        let mut wrong = Violations::new();
        for stage in &found.dockerfile.stages {
            let field = format!("dockerfile:{}", stage.line);
            match &stage.base {
                Base::Scratch | Base::Stage(_) => {}
                Base::Image(image) => self.judge(image, &field, &mut wrong),
                Base::Unresolved(text) if !self.allow_unresolved => wrong.add(
                    field,
                    format!("the base `{text}` is not known before the build: give its argument a default or a plain value"),
                ),
                Base::Unresolved(_) => {}
            }
        }
        if self.check_copies {
            for (line, image) in copied(found) {
                self.judge(image, &format!("dockerfile:{line}"), &mut wrong);
            }
        }
        Ok(wrong.into())
    }
}

impl BaseImages {
    fn judge(&self, image: &str, field: &str, wrong: &mut Violations) {
        let full = reference::full(image);
        if !self
            .allow
            .iter()
            .any(|pattern| reference::matches(pattern, &full))
        {
            let allowed = self.allow.join(", ");
            wrong.add(
                field,
                format!("the image {full} is not allowed: take one of {allowed}"),
            );
        } else if self.require_digest && !full.contains("@sha256:") {
            wrong.add(
                field,
                format!("the image {full} is not pinned: write {image}@sha256:…"),
            );
        }
    }
}

/// Line and image of each `COPY --from` that names neither an earlier stage nor a variable.
fn copied(found: &Found) -> Vec<(u32, &str)> {
    let stages = &found.dockerfile.stages;
    let is_stage = |name: &str| {
        name.parse::<usize>().is_ok()
            || stages.iter().any(|stage| {
                stage
                    .name
                    .as_deref()
                    .is_some_and(|n| n.eq_ignore_ascii_case(name))
            })
    };
    stages
        .iter()
        .flat_map(|stage| &stage.instructions)
        .filter(|instruction| instruction.keyword == "COPY")
        .flat_map(|instruction| instruction.flags.iter().map(move |flag| (instruction.line, flag)))
        .filter_map(|(line, flag)| Some((line, flag.strip_prefix("--from=")?)))
        .filter(|(_, from)| !is_stage(from))
        .collect()
}

ignite_plugin_sdk::export!(BaseImages: inspect);

#[cfg(test)]
mod tests {
    use ignite_plugin_sdk::{Instruction, testing};

    use super::*;

    fn plugin() -> BaseImages {
        BaseImages {
            allow: vec![
                "registry.example/base/*".to_owned(),
                "docker.io/library/debian".to_owned(),
            ],
            require_digest: false,
            allow_unresolved: false,
            check_copies: true,
        }
    }

    fn judge(plugin: &BaseImages, found: &Found) -> Verdict {
        plugin
            .inspect(&testing::caller(), &testing::request(), found)
            .unwrap()
    }

    fn image(text: &str) -> Base {
        Base::Image(text.to_owned())
    }

    #[test]
    fn allowed_images_scratch_and_earlier_stages_pass() {
        let bases = vec![
            image("registry.example/base/go:1.25"),
            image("debian:12"),
            Base::Stage(0),
            Base::Scratch,
        ];
        assert_eq!(
            judge(&plugin(), &testing::found(bases)),
            Verdict::Allow(Vec::new())
        );
    }

    #[test]
    fn every_forbidden_base_is_named_with_its_line_and_full_reference() {
        let bases = vec![
            image("alpine"),
            image("debian"),
            image("registry.example:5000/base/go"),
        ];
        let Verdict::Deny(violations) = judge(&plugin(), &testing::found(bases)) else {
            panic!("allowed");
        };
        let fields: Vec<_> = violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["dockerfile:1", "dockerfile:3"]);
        assert!(
            violations[0].message.contains("docker.io/library/alpine"),
            "{violations:?}"
        );
    }

    #[test]
    fn an_unresolved_base_is_refused_unless_allowed() {
        let found = testing::found(vec![Base::Unresolved("${BASE}".to_owned())]);
        assert!(matches!(judge(&plugin(), &found), Verdict::Deny(_)));
        let lenient = BaseImages {
            allow_unresolved: true,
            ..plugin()
        };
        assert!(matches!(judge(&lenient, &found), Verdict::Allow(_)));
    }

    #[test]
    fn a_base_without_a_digest_is_refused_where_digests_are_required() {
        let strict = BaseImages {
            require_digest: true,
            ..plugin()
        };
        let pinned = format!("debian@sha256:{}", "a".repeat(64));
        assert!(matches!(
            judge(&strict, &testing::found(vec![image(&pinned)])),
            Verdict::Allow(_)
        ));
        assert!(matches!(
            judge(&strict, &testing::found(vec![image("debian:12")])),
            Verdict::Deny(_)
        ));
    }

    #[test]
    fn an_image_that_only_a_copy_names_is_judged_too() {
        let mut found = testing::found(vec![image("debian")]);
        let copy = |from: &str| Instruction {
            keyword: "COPY".to_owned(),
            flags: vec![format!("--from={from}")],
            arguments: "/a /b".to_owned(),
            heredocs: Vec::new(),
            line: 7,
        };
        found.dockerfile.stages[0].name = Some("Build".to_owned());
        found.dockerfile.stages[0].instructions = vec![copy("build"), copy("0")];
        assert!(matches!(judge(&plugin(), &found), Verdict::Allow(_)));
        found.dockerfile.stages[0]
            .instructions
            .push(copy("evil.example/x"));
        let Verdict::Deny(violations) = judge(&plugin(), &found) else {
            panic!("allowed");
        };
        assert_eq!(violations[0].field, "dockerfile:7");
    }

    #[test]
    fn a_pattern_without_a_registry_is_refused_when_the_policy_is_put() {
        let loose = BaseImages {
            allow: vec!["debian".to_owned()],
            ..plugin()
        };
        assert_eq!(loose.check()[0].path, "/allow/0");
        assert_eq!(plugin().check(), Vec::new());
    }
}
