//! Sets default build arguments and refuses forbidden ones.
//!
//! ```toml
//! [plugin.config]
//! forbidden = ["*_TOKEN", "HTTP_PROXY"]   # `*` stands for any text, `?` for any character
//! secret_only = ["NPM_AUTH"]              # only as a stored secret, never as text in the request
//! [plugin.config.defaults]
//! GOPROXY = "https://proxy.example"       # where the sender did not say
//! [plugin.config.secrets]
//! NPM_AUTH = "npm-read-token"             # likewise: the stored secret of this name
//! ```
//!
//! As `rewrite` it sets the defaults, as `validate` it refuses: name it for both hooks.

use std::collections::BTreeMap;

use ignite_plugin_sdk::{prelude::*, text::glob};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BuildArgs {
    /// Values of arguments that the sender did not set.
    #[serde(default)]
    defaults: BTreeMap<String, String>,
    /// For arguments that the sender did not set, the names of stored secrets.
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    /// Patterns of arguments that nobody may set.
    #[serde(default)]
    forbidden: Vec<String>,
    /// Patterns of arguments whose value may only be a stored secret.
    #[serde(default)]
    secret_only: Vec<String>,
}

// === impl BuildArgs ===

impl Plugin for BuildArgs {
    fn check(&self) -> Vec<ConfigProblem> {
        let at = |path: String, message: &str| ConfigProblem {
            path,
            message: message.to_owned(),
        };
        let mut problems = Vec::new();
        for name in self.defaults.keys() {
            if self.secrets.contains_key(name) {
                problems.push(at(
                    format!("/secrets/{name}"),
                    "has a default value too: keep one of them",
                ));
            }
            if fits(&self.secret_only, name) {
                problems.push(at(
                    format!("/defaults/{name}"),
                    "may only be a secret: name a stored one in `secrets`",
                ));
            }
        }
        for (field, names) in [("defaults", &self.defaults), ("secrets", &self.secrets)] {
            for name in names.keys().filter(|name| fits(&self.forbidden, name)) {
                problems.push(at(
                    format!("/{field}/{name}"),
                    "is forbidden: no build would pass",
                ));
            }
        }
        problems
    }
}

impl Rewrite for BuildArgs {
    fn rewrite(&self, _caller: &Caller, request: &BuildRequest) -> Result<Changes, String> {
        let plain = self
            .defaults
            .iter()
            .map(|(name, value)| (name, ArgValue::Plain(value.clone())));
        let secret = self
            .secrets
            .iter()
            .map(|(name, secret)| (name, ArgValue::Secret(secret.clone())));
        let missing = plain
            .chain(secret)
            .filter(|(name, _)| request.build_args.iter().all(|arg| arg.name != **name));
        Ok(Changes {
            changes: missing
                .map(|(name, value)| {
                    Change::SetArg(BuildArg {
                        name: name.clone(),
                        value,
                    })
                })
                .collect(),
            warnings: Vec::new(),
        })
    }
}

impl Validate for BuildArgs {
    fn validate(&self, _caller: &Caller, request: &BuildRequest) -> Result<Verdict, String> {
        let mut wrong = Violations::new();
        for BuildArg { name, value } in &request.build_args {
            let field = format!("build_args[{name:?}]");
            if fits(&self.forbidden, name) {
                wrong.add(field, format!("{name} may not be set: leave it out"));
            } else if fits(&self.secret_only, name) && matches!(value, ArgValue::Plain(_)) {
                wrong.add(
                    field,
                    format!("{name} may not be written in the request: store it as a build secret"),
                );
            }
        }
        Ok(wrong.into())
    }
}

fn fits(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| glob(pattern, name))
}

ignite_plugin_sdk::export!(BuildArgs: rewrite, validate);

#[cfg(test)]
mod tests {
    use ignite_plugin_sdk::testing;

    use super::*;

    fn plugin() -> BuildArgs {
        BuildArgs {
            defaults: [("GOPROXY".to_owned(), "https://proxy.example".to_owned())].into(),
            secrets: [("NPM_AUTH".to_owned(), "npm-read".to_owned())].into(),
            forbidden: vec!["*_TOKEN".to_owned()],
            secret_only: vec!["NPM_*".to_owned()],
        }
    }

    fn request(args: &[(&str, ArgValue)]) -> BuildRequest {
        let args = args.iter().map(|(name, value)| BuildArg {
            name: (*name).to_owned(),
            value: value.clone(),
        });
        BuildRequest {
            build_args: args.collect(),
            ..testing::request()
        }
    }

    fn plain(text: &str) -> ArgValue {
        ArgValue::Plain(text.to_owned())
    }

    fn secret(name: &str) -> ArgValue {
        ArgValue::Secret(name.to_owned())
    }

    #[test]
    fn defaults_and_secrets_fill_in_what_the_sender_left_out() {
        let changes = plugin()
            .rewrite(&testing::caller(), &request(&[]))
            .unwrap()
            .changes;
        let set = |name: &str, value| {
            Change::SetArg(BuildArg {
                name: name.to_owned(),
                value,
            })
        };
        assert_eq!(
            changes,
            [
                set("GOPROXY", plain("https://proxy.example")),
                set("NPM_AUTH", secret("npm-read"))
            ]
        );
    }

    #[test]
    fn what_the_sender_set_stays() {
        let sent = request(&[("GOPROXY", plain("direct")), ("NPM_AUTH", secret("NPM_AUTH"))]);
        assert_eq!(plugin().rewrite(&testing::caller(), &sent).unwrap().changes, []);
    }

    #[test]
    fn forbidden_arguments_and_secrets_as_text_are_refused_each_with_its_field() {
        let sent = request(&[
            ("A_TOKEN", secret("A_TOKEN")),
            ("NPM_AUTH", plain("x")),
            ("OTHER", plain("x")),
        ]);
        let Verdict::Deny(violations) = plugin().validate(&testing::caller(), &sent).unwrap() else {
            panic!("allowed");
        };
        let fields: Vec<_> = violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, [r#"build_args["A_TOKEN"]"#, r#"build_args["NPM_AUTH"]"#]);
    }

    #[test]
    fn what_the_plugin_sets_passes_its_own_check() {
        let sent = request(&[("NPM_AUTH", secret("npm-read")), ("GOPROXY", plain("direct"))]);
        assert_eq!(
            plugin().validate(&testing::caller(), &sent),
            Ok(Verdict::Allow(Vec::new()))
        );
    }

    #[test]
    fn a_configuration_that_contradicts_itself_is_refused() {
        assert_eq!(plugin().check(), Vec::new());
        let both = BuildArgs {
            defaults: [
                ("NPM_AUTH".to_owned(), "x".to_owned()),
                ("X_TOKEN".to_owned(), "y".to_owned()),
            ]
            .into(),
            ..plugin()
        };
        let paths: Vec<_> = both.check().into_iter().map(|problem| problem.path).collect();
        assert_eq!(
            paths,
            ["/secrets/NPM_AUTH", "/defaults/NPM_AUTH", "/defaults/X_TOKEN"]
        );
    }
}
