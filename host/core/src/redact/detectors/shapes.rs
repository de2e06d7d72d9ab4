//! The shapes that are looked for. At most 64 beginnings, for that is what can be searched for at once.

use super::{
    checks,
    shape::{Class, Part, Shape},
};

const DIGIT: Class = Class::new("0-9");
const LOWER_HEX: Class = Class::new("0-9a-f");
const HEX: Class = Class::new("0-9a-fA-F");
const UPPER: Class = Class::new("0-9A-Z");
const BASE32: Class = Class::new("A-Z2-7");
const LOWER: Class = Class::new("0-9a-z");
const ALPHA: Class = Class::new("A-Za-z");
const ALNUM: Class = Class::new("0-9A-Za-z");
const WORD: Class = Class::new("0-9A-Za-z_");
const NAME: Class = Class::new("0-9A-Za-z-");
const URL64: Class = Class::new("0-9A-Za-z_-");
const BASE64: Class = Class::new("0-9A-Za-z+/");
const BASE64_PADDED: Class = Class::new("0-9A-Za-z+/=");
/// Of bech32.
const BECH32: Class = Class::new("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L");
/// RFC 6750's `b64token`, and what others put there.
const BEARER: Class = Class::new("0-9A-Za-z._~+/=:|-");
const BLANK: Class = Class::new(" \t");
/// Between a name and its value.
const ASSIGN: Class = Class::new(" \t:=\"'\\>,");
/// RFC 3986's user information, with what people forget to encode.
const USER: Class = Class::new("0-9A-Za-z._~!&*+=%-");
const PASSWORD: Class = Class::new("!#-&(-.0-9;=?A-Z[]^_a-z{|}~");
const KEY_KIND: Class = Class::new("A-Z0-9 ");
/// Lines of base64, headers, and line ends as JSON escapes them.
const PEM: Class = Class::new("0-9A-Za-z+/= \t\r\n\\:,.-");

const fn some(class: Class, min: usize, max: usize) -> Part {
    Part::Some { class, min, max }
}

const fn just(class: Class, count: usize) -> Part {
    some(class, count, count)
}

/// A token that is a secret as a whole.
const fn token(kind: &'static str, parts: &'static [Part], not_before: Class) -> Shape {
    Shape {
        kind,
        parts,
        hidden: None,
        not_before,
        check: checks::none,
    }
}

const fn checked(shape: Shape, check: fn(&[u8], &[u8]) -> bool) -> Shape {
    Shape { check, ..shape }
}

/// A secret behind what tells that it is one.
const fn value(kind: &'static str, parts: &'static [Part], hidden: usize, not_before: Class) -> Shape {
    Shape {
        kind,
        parts,
        hidden: Some(hidden),
        not_before,
        check: checks::random,
    }
}

macro_rules! tokens {
    ($kind:literal, $check:path, $not_before:expr; $($anchor:literal => $($part:expr),+;)+) => {
        [$(checked(token($kind, &[Part::Text($anchor), $($part),+], $not_before), $check)),+]
    };
}

const GITHUB: [Shape; 5] = tokens! {
    "github-token", checks::crc32_base62, ALNUM;
    "ghp_" => just(ALNUM, 36);
    "gho_" => just(ALNUM, 36);
    "ghu_" => just(ALNUM, 36);
    "ghs_" => just(ALNUM, 36);
    "ghr_" => just(ALNUM, 36);
};

const GITHUB_FINE: [Shape; 1] = tokens! {
    "github-token", checks::random, WORD;
    "github_pat_" => just(ALNUM, 22), Part::Text("_"), just(ALNUM, 59);
};

const GITLAB: [Shape; 9] = tokens! {
    "gitlab-token", checks::random, Class::NONE;
    "glpat-" => some(URL64, 20, 300);
    "gldt-" => some(URL64, 20, 64);
    "glrt-" => some(URL64, 20, 300);
    "glcbt-" => some(URL64, 20, 64);
    "glptt-" => just(LOWER_HEX, 40);
    "glft-" => some(URL64, 20, 64);
    "glsoat-" => some(URL64, 20, 64);
    "glagent-" => some(URL64, 50, 300);
    "gloas-" => some(LOWER_HEX, 64, 64);
};

const PACKAGES: [Shape; 4] = tokens! {
    "package-registry-token", checks::random, ALNUM;
    "pypi-AgEIcHlwaS5vcmc" => some(URL64, 50, 1000);
    "rubygems_" => just(LOWER_HEX, 48);
    "dckr_pat_" => some(URL64, 27, 64);
    "dckr_oat_" => some(URL64, 27, 64);
};

const NPM: [Shape; 1] = tokens! {
    "npm-token", checks::crc32_base62, ALNUM;
    "npm_" => just(ALNUM, 36);
};

const CLOUD: [Shape; 12] = tokens! {
    "cloud-token", checks::random, ALNUM;
    "AKIA" => just(BASE32, 16);
    "ASIA" => just(BASE32, 16);
    "AIza" => just(URL64, 35);
    "GOCSPX-" => just(URL64, 28);
    "ya29." => some(URL64, 40, 1000);
    "dop_v1_" => just(LOWER_HEX, 64);
    "doo_v1_" => just(LOWER_HEX, 64);
    "dor_v1_" => just(LOWER_HEX, 64);
    "hvs." => some(URL64, 24, 300);
    "tskey-" => some(LOWER, 3, 10), Part::Text("-"), some(NAME, 20, 100);
    "pul-" => just(LOWER_HEX, 40);
    "ABSK" => some(BASE64_PADDED, 109, 132);
};

const CHAT: [Shape; 2] = tokens! {
    "slack-token", checks::random, URL64;
    "xox" => just(Class::new("abprs"), 1), Part::Text("-"), some(DIGIT, 1, 14), Part::Text("-"), some(NAME, 16, 200);
    "xapp-" => some(DIGIT, 1, 2), Part::Text("-"), some(UPPER, 8, 14), Part::Text("-"), some(DIGIT, 8, 14), Part::Text("-"), some(LOWER_HEX, 32, 80);
};

const SERVICES: [Shape; 10] = tokens! {
    "service-token", checks::random, ALNUM;
    "sk_live_" => some(ALNUM, 24, 120);
    "rk_live_" => some(ALNUM, 24, 120);
    "sk_test_" => some(ALNUM, 24, 120);
    "whsec_" => some(BASE64_PADDED, 32, 60);
    "SG." => just(URL64, 22), Part::Text("."), just(URL64, 43);
    "shpat_" => just(HEX, 32);
    "sntrys_eyJ" => some(BASE64_PADDED, 60, 400), Part::Text("_"), some(BASE64, 43, 44);
    "ATATT3xFfGF0" => some(Class::new("0-9A-Za-z_=-"), 80, 240);
    "lin_api_" => just(ALNUM, 40);
    "PMAK-" => just(LOWER_HEX, 24), Part::Text("-"), just(LOWER_HEX, 34);
};

const GRAFANA: [Shape; 1] = tokens! {
    "service-token", checks::crc32_hex, ALNUM;
    "glsa_" => just(ALNUM, 32), Part::Text("_"), just(LOWER_HEX, 8);
};

const MODELS: [Shape; 7] = tokens! {
    "model-service-token", checks::random, ALNUM;
    "sk-ant-" => some(LOWER, 3, 10), Part::Text("-"), some(URL64, 80, 140);
    "sk-proj-" => some(URL64, 40, 200);
    "sk-svcacct-" => some(URL64, 40, 200);
    "sk-admin-" => some(URL64, 40, 200);
    "sk-" => just(ALNUM, 20), Part::Text("T3BlbkFJ"), just(ALNUM, 20);
    "gsk_" => just(ALNUM, 52);
    "r8_" => just(ALNUM, 37);
};

const OTHERS: [Shape; 3] = [
    token("model-service-token", &[Part::Text("hf_"), just(ALPHA, 34)], WORD),
    token(
        "age-key",
        &[Part::Text("AGE-SECRET-KEY-1"), just(BECH32, 58)],
        UPPER,
    ),
    checked(
        token(
            "json-web-token",
            &[
                Part::Text("eyJ"),
                some(URL64, 9, 512),
                Part::Text("."),
                some(URL64, 2, 8192),
                Part::Text("."),
                some(URL64, 20, 1024),
            ],
            Class::NONE,
        ),
        checks::json_web_token,
    ),
];

macro_rules! authorization {
    ($($anchor:literal),+) => {
        [$(
            value(
                "authorization-header",
                &[Part::Text($anchor), some(ASSIGN, 1, 8), Part::AnyCase("bearer"), some(BLANK, 1, 4), some(BEARER, 16, 4096)],
                4,
                Class::NONE,
            ),
            value(
                "authorization-header",
                &[Part::Text($anchor), some(ASSIGN, 1, 8), Part::AnyCase("token"), some(BLANK, 1, 4), some(BEARER, 16, 4096)],
                4,
                Class::NONE,
            ),
            checked(
                value(
                    "authorization-header",
                    &[Part::Text($anchor), some(ASSIGN, 1, 8), Part::AnyCase("basic"), some(BLANK, 1, 4), some(BASE64_PADDED, 4, 4096)],
                    4,
                    Class::NONE,
                ),
                checks::basic,
            ),
        )+]
    };
}

const AUTHORIZATION: [Shape; 9] = authorization!["Authorization", "authorization", "AUTHORIZATION"];

macro_rules! aws_secrets {
    ($($anchor:literal),+) => {
        [$(value("aws-secret-key", &[Part::Text($anchor), some(ASSIGN, 1, 8), just(BASE64, 40)], 2, BASE64_PADDED)),+]
    };
}

const AWS_SECRETS: [Shape; 3] =
    aws_secrets!["aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "ecretAccessKey"];

const VALUES: [Shape; 4] = [
    value(
        "azure-key",
        &[Part::Text("AccountKey="), some(BASE64, 86, 86), Part::Text("==")],
        1,
        Class::NONE,
    ),
    value(
        "azure-key",
        &[
            Part::Text("SharedAccessKey="),
            some(BASE64, 43, 43),
            Part::Text("="),
        ],
        1,
        Class::NONE,
    ),
    value(
        "slack-hook",
        &[
            Part::Text("hooks.slack.com/services/"),
            some(Class::new("0-9A-Za-z/"), 40, 80),
        ],
        1,
        Class::NONE,
    ),
    checked(
        value(
            "url-password",
            &[
                Part::Text("://"),
                some(USER, 0, 128),
                Part::Text(":"),
                some(PASSWORD, 6, 256),
                Part::Text("@"),
                some(Class::new("0-9A-Za-z["), 1, 1),
            ],
            3,
            Class::NONE,
        ),
        checks::password,
    ),
];

const PRIVATE_KEYS: [Shape; 1] = [checked(
    value(
        "private-key",
        &[
            Part::Text("-----BEGIN "),
            some(KEY_KIND, 11, 40),
            Part::Text("-----"),
            Part::Body {
                class: PEM,
                min: 64,
                max: 16 * 1024,
            },
        ],
        3,
        Class::NONE,
    ),
    checks::private_key,
)];

const GROUPS: [&[Shape]; 15] = [
    &GITHUB,
    &GITHUB_FINE,
    &GITLAB,
    &PACKAGES,
    &NPM,
    &CLOUD,
    &CHAT,
    &SERVICES,
    &GRAFANA,
    &MODELS,
    &OTHERS,
    &AUTHORIZATION,
    &AWS_SECRETS,
    &VALUES,
    &PRIVATE_KEYS,
];

/// All shapes.
pub(super) fn all() -> impl Iterator<Item = &'static Shape> {
    GROUPS.into_iter().flatten()
}
