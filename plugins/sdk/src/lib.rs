//! Makes a plugin a few lines of Rust.
//!
//! A plugin is a type that holds its configuration, with a trait for each hook it wants:
//!
//! ```
//! use ignite_plugin_sdk::prelude::*;
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//!
//! /// Lower-case letters only.
//! #[derive(Debug, Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct NoLatest {
//!     /// The tag that nobody may push.
//!     forbidden: String,
//! }
//!
//! impl Plugin for NoLatest {}
//!
//! impl Validate for NoLatest {
//!     fn validate(&self, _caller: &Caller, request: &BuildRequest) -> Result<Verdict, String> {
//!         let mut found = Violations::new();
//!         for (i, tag) in request.tags.iter().enumerate() {
//!             if *tag == self.forbidden {
//!                 found.add(format!("tags[{i}]"), format!("{tag} may not be pushed; choose a version"));
//!             }
//!         }
//!         Ok(found.into())
//!     }
//! }
//!
//! ignite_plugin_sdk::export!(NoLatest: validate);
//! ```
//!
//! The crate's name, version and description in its manifest are the plugin's. Build it as a `cdylib` for `wasm32-wasip2`.
//!
//! - The configuration is deserialized anew in every call; its JSON Schema is derived. What neither says goes into
//!   [`Plugin::check`].
//! - Nothing lasts from one call to the next: every call has a fresh instance.
//! - Take the time from [`Caller::submitted_at_ms`]: then a dry run and a retry decide alike.
//! - The traits are plain functions over plain records, so `cargo test` on your own machine tests them; [`testing`] makes records
//!   to start from.

pub mod bindings;
mod config;
mod export;
mod hooks;
pub mod http;
pub mod testing;
pub mod text;
mod verdict;

pub use bindings::{
    describe::exports::ignite::plugin::describe::{ConfigProblem, Description},
    inspect::exports::ignite::plugin::inspect::{Base, Dockerfile, Found, Instruction, Stage},
    notify::exports::ignite::plugin::notify::{Delivery, Failure, FinishedBuild, Image, Status},
    redact::exports::ignite::plugin::redact::{Expression, Pattern, Rule},
    redact_scan::exports::ignite::plugin::redact_scan::Range,
    rewrite::exports::ignite::plugin::rewrite::{Change, Changes},
    shared::ignite::plugin::types::{
        ArgValue, BuildArg, BuildRequest, Caller, GitSource, Label, Source, Verdict, Violation,
    },
};
pub use hooks::{Inspect, Notify, Plugin, Redact, RedactScan, Rewrite, Validate};
pub use verdict::Violations;

// For `export!`.
pub use config::{check_config, parse, schema};
#[doc(hidden)]
pub use export::__configured;

/// What most plugins need.
pub mod prelude {
    pub use crate::{
        ArgValue, Base, BuildArg, BuildRequest, Caller, Change, Changes, ConfigProblem, Delivery, Expression,
        Failure, FinishedBuild, Found, GitSource, Inspect, Label, Notify, Pattern, Plugin, Redact,
        RedactScan, Rewrite, Rule, Source, Status, Validate, Verdict, Violation, Violations,
    };
}
