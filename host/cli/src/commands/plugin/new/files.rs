//! The files of a new project, embedded: a released client needs nothing beside it.

use ignite_core::hook::Hook;

/// A file to write.
#[derive(Debug)]
pub(super) struct File {
    /// Relative to the project.
    pub(super) path: String,
    pub(super) text: String,
}

/// Path and text.
type Embedded = (&'static str, &'static str);

macro_rules! template {
    ($file:literal) => {
        include_str!(concat!("../../../../templates/", $file))
    };
}

macro_rules! wit {
    ($file:literal) => {
        (
            concat!("wit/", $file),
            include_str!(concat!("../../../../../../wit/", $file)),
        )
    };
}

const README: Embedded = ("README.md", template!("README.md"));

pub(super) const RUST: &[Embedded] = &[
    README,
    (".gitignore", template!("rust/gitignore")),
    ("Cargo.toml", template!("rust/Cargo.toml.in")),
    ("src/lib.rs", template!("rust/src/lib.rs")),
    ("src/http.rs", template!("rust/src/http.rs")),
];

pub(super) const JAVASCRIPT: &[Embedded] = &[
    README,
    (".gitignore", template!("javascript/gitignore")),
    ("package.json", template!("javascript/package.json")),
    ("build.js", template!("javascript/build.js")),
    ("src/plugin.js", template!("javascript/src/plugin.js")),
    ("src/http.js", template!("javascript/src/http.js")),
];

pub(super) const PYTHON: &[Embedded] = &[
    README,
    (".gitignore", template!("python/gitignore")),
    ("requirements.txt", template!("python/requirements.txt")),
    ("plugin.py", template!("python/plugin.py")),
    ("http_post.py", template!("python/http_post.py")),
];

/// A hook's test cases are the same in every language.
pub(super) const CASES: &[(Hook, Embedded)] = &[
    (
        Hook::Rewrite,
        ("tests/rewrite.toml", template!("tests/rewrite.toml")),
    ),
    (
        Hook::Validate,
        ("tests/validate.toml", template!("tests/validate.toml")),
    ),
    (
        Hook::Validate,
        (
            "tests/validate-allowed.toml",
            template!("tests/validate-allowed.toml"),
        ),
    ),
    (
        Hook::Inspect,
        ("tests/inspect.toml", template!("tests/inspect.toml")),
    ),
    (
        Hook::Redact,
        ("tests/redact.toml", template!("tests/redact.toml")),
    ),
    (
        Hook::RedactScan,
        ("tests/redact-scan.toml", template!("tests/redact-scan.toml")),
    ),
    (
        Hook::Notify,
        ("tests/notify.toml", template!("tests/notify.toml")),
    ),
];

pub(super) const WIT: &[Embedded] = &[
    wit!("README.md"),
    wit!("describe.wit"),
    wit!("inspect.wit"),
    wit!("notify.wit"),
    wit!("redact.wit"),
    wit!("rewrite.wit"),
    wit!("types.wit"),
    wit!("validate.wit"),
    wit!("worlds.wit"),
    wit!("deps/clocks.wit"),
    wit!("deps/http.wit"),
    wit!("deps/io.wit"),
];

// === impl File ===

impl File {
    pub(super) fn new(path: &str, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text,
        }
    }
}
