//! Well-known tokens, by who issues them.

use ignite_plugin_sdk::{Expression, Pattern, Rule};
use schemars::JsonSchema;
use serde::Deserialize;

/// Who issues them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Group {
    Aws,
    Gcp,
    Azure,
    Github,
    Gitlab,
    Slack,
    Npm,
    Pypi,
    PrivateKeys,
}

/// Name, expression, longest match in bytes, replacement.
type Known = (&'static str, &'static str, u32, Option<&'static str>);

const AWS: &[Known] = &[
    (
        "aws-access-key-id",
        "(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
        20,
        None,
    ),
    // Without its name it is forty letters like any other.
    (
        "aws-secret-access-key",
        r#"(?:SECRET_ACCESS_KEY|secret_access_key|[sS]ecretAccessKey)["']?\s{0,4}[:=]\s{0,4}["']?[A-Za-z0-9/+=]{40}"#,
        96,
        Some("secret_access_key=***"),
    ),
];
const GCP: &[Known] = &[
    ("gcp-api-key", "AIza[0-9A-Za-z_-]{35}", 39, None),
    ("gcp-access-token", r"ya29\.[0-9A-Za-z_.-]{20,}", 2048, None),
];
const AZURE: &[Known] = &[
    (
        "azure-account-key",
        "AccountKey=[A-Za-z0-9+/]{86}==",
        99,
        Some("AccountKey=***"),
    ),
    (
        "azure-client-secret",
        "[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}",
        40,
        None,
    ),
    (
        "azure-shared-access-signature",
        "sig=[A-Za-z0-9%]{43,63}(?:%3D|=)",
        70,
        Some("sig=***"),
    ),
];
const GITHUB: &[Known] = &[
    ("github-token", "gh[opusr]_[A-Za-z0-9]{36,251}", 255, None),
    (
        "github-fine-grained-token",
        "github_pat_[A-Za-z0-9_]{22,244}",
        255,
        None,
    ),
];
const GITLAB: &[Known] = &[(
    "gitlab-token",
    "gl(?:pat|dt|rt|rtr|cbt|ptt|ft|imt|agent|oas|soat)-[0-9A-Za-z_.-]{20,300}",
    320,
    None,
)];
const SLACK: &[Known] = &[
    ("slack-token", "xox[abeoprs]-[0-9A-Za-z-]{10,250}", 255, None),
    ("slack-app-token", "xapp-[0-9]-[0-9A-Za-z-]{10,245}", 255, None),
    (
        "slack-webhook",
        r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[0-9A-Za-z/_+-]{20,200}",
        250,
        Some("https://hooks.slack.com/***"),
    ),
];
const NPM: &[Known] = &[("npm-token", "npm_[A-Za-z0-9]{36}", 40, None)];
const PYPI: &[Known] = &[("pypi-token", "pypi-AgE[A-Za-z0-9_-]{50,500}", 508, None)];
// Up to the end line or to where no key could go on: a log may be cut before it. `\` and `n` for keys in JSON.
const PRIVATE_KEYS: &[Known] = &[(
    "private-key",
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s\\]*(?:-----END (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----)?",
    4096,
    None,
)];

/// Every group.
pub(crate) fn all() -> Vec<Group> {
    use Group::{Aws, Azure, Gcp, Github, Gitlab, Npm, PrivateKeys, Pypi, Slack};
    vec![Aws, Gcp, Azure, Github, Gitlab, Slack, Npm, Pypi, PrivateKeys]
}

// === impl Group ===

impl Group {
    pub(crate) fn rules(self) -> impl Iterator<Item = Rule> {
        let known = match self {
            Self::Aws => AWS,
            Self::Gcp => GCP,
            Self::Azure => AZURE,
            Self::Github => GITHUB,
            Self::Gitlab => GITLAB,
            Self::Slack => SLACK,
            Self::Npm => NPM,
            Self::Pypi => PYPI,
            Self::PrivateKeys => PRIVATE_KEYS,
        };
        known.iter().map(|(name, text, length_max, replacement)| Rule {
            name: (*name).to_owned(),
            pattern: Pattern::Expression(Expression {
                text: (*text).to_owned(),
                length_max: *length_max,
            }),
            replacement: replacement.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the rules that match, and what the first match takes out.
    fn found(text: &str) -> Vec<(String, String)> {
        let rules = all().into_iter().flat_map(Group::rules);
        rules
            .filter_map(|rule| {
                let Pattern::Expression(expression) = rule.pattern else {
                    return None;
                };
                let matched = regex_lite::Regex::new(&expression.text).unwrap().find(text)?;
                assert!(matched.len() <= expression.length_max as usize, "{}", rule.name);
                Some((rule.name, matched.as_str().to_owned()))
            })
            .collect()
    }

    /// Put together here, so that no scanner of this repository finds a token.
    fn sample(start: &str, bytes: usize) -> String {
        format!(
            "{start}{}",
            "A2b3C4d5E6".chars().cycle().take(bytes).collect::<String>()
        )
    }

    #[test]
    fn each_token_is_found_whole_amid_other_text() {
        let upper = |start: &str| format!("{start}{}", "ABCDEFGH234567QR");
        let samples = [
            ("aws-access-key-id", upper("AKIA")),
            ("aws-secret-access-key", sample("SECRET_ACCESS_KEY\": \"", 40)),
            ("gcp-api-key", sample("AIza", 35)),
            ("gcp-access-token", sample("ya29.", 100)),
            ("azure-account-key", format!("{}==", sample("AccountKey=", 86))),
            ("azure-client-secret", sample("abc8Q~", 34)),
            (
                "azure-shared-access-signature",
                format!("{}%3D", sample("sig=", 43)),
            ),
            ("github-token", sample("ghp_", 36)),
            ("github-fine-grained-token", sample("github_pat_", 82)),
            ("gitlab-token", sample("glpat-", 20)),
            ("slack-token", sample("xoxb-", 40)),
            ("slack-app-token", sample("xapp-1-", 40)),
            ("slack-webhook", sample("https://hooks.slack.com/services/", 40)),
            ("npm-token", sample("npm_", 36)),
            ("pypi-token", sample("pypi-AgEIcHlwaS5vcmc", 120)),
        ];
        for (name, token) in &samples {
            let text = format!("before>{token}<behind");
            assert_eq!(found(&text), [((*name).to_owned(), token.clone())], "{text}");
        }
        let tested: Vec<&str> = samples
            .iter()
            .map(|(name, _)| *name)
            .chain(["private-key"])
            .collect();
        let all: Vec<String> = all()
            .into_iter()
            .flat_map(Group::rules)
            .map(|rule| rule.name)
            .collect();
        assert_eq!(tested, all);
    }

    #[test]
    fn a_private_key_goes_whole_also_in_json_and_without_its_end() {
        let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
        for (begin, line, end) in [
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----",
                "\n",
                "-----END OPENSSH PRIVATE KEY-----",
            ),
            ("-----BEGIN PRIVATE KEY-----", "\\n", "-----END PRIVATE KEY-----"),
            ("-----BEGIN EC PRIVATE KEY-----", "\r\n", ""),
        ] {
            let key = format!("{begin}{line}{body}{line}{body}{line}{end}");
            assert_eq!(found(&format!("x: {key}!")), [("private-key".to_owned(), key)]);
        }
    }

    #[test]
    fn what_only_looks_alike_stays() {
        for text in [
            "AKIA is a prefix",
            "npm_config_cache=/tmp/npm_cache_directory_of_this_build",
            "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
            "glad-to-see-you-all-here-tonight-again",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
