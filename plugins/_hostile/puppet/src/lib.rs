//! A hostile plugin, with every hook: does what its configuration says. The runtime's tests pull the strings.
//!
//! The configuration is an object: for each function a list of actions to do in turn, where the last one answers:
//!
//! ```json
//! { "validate": ["loop"], "rewrite": [{"answer": [{"AddTag": "x"}]}], "any": [{"sleep": 3}] }
//! ```
//!
//! Keys are `check-config`, `rewrite`, `validate`, `inspect`, `rules`, `scan`, `notify`, and `any` for those hooks that have no
//! key of their own; what has no key is done as a harmless plugin would. [`action::Action`] lists what can be done.

mod action;
mod call;
mod harm;

/// Generated from the contract.
mod bindings {
    #![allow(
        unreachable_pub,
        unsafe_code,
        unused_qualifications,
        clippy::all,
        clippy::pedantic
    )]
    wit_bindgen::generate!({
        inline: "
            package ignite:puppet;
            world puppet {
                include ignite:plugin/all@0.1.0;
                import wasi:random/random@0.2.12;
            }
        ",
        path: ["../../../wit", "wit"],
        generate_all,
        additional_derives: [serde::Serialize, serde::Deserialize],
        // It holds a resource.
        additional_derives_ignore: ["stream-error"],
    });
    use super::Puppet;
    export!(Puppet);
}

use std::fmt::Debug;

use bindings::exports::ignite::plugin::{
    describe::{ConfigProblem, Description, Guest as Describe},
    inspect::{Found, Guest as Inspect},
    notify::{Delivery, Failure, FinishedBuild, Guest as Notify},
    redact::{Guest as Redact, Rule},
    redact_scan::{Guest as RedactScan, Range},
    rewrite::{Changes, Guest as Rewrite},
    validate::{BuildRequest, Caller, Guest as Validate, Verdict},
};

/// Has no state, so that whatever lasts from one call to the next is the runtime's fault.
struct Puppet;

// === impl Puppet ===

impl Describe for Puppet {
    fn describe() -> Description {
        Description {
            name: "puppet".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Does what its configuration says".to_owned(),
            config_schema: r#"{"type": "object"}"#.to_owned(),
        }
    }

    fn check_config(config: String) -> Result<(), Vec<ConfigProblem>> {
        let problem = |message| {
            vec![ConfigProblem {
                path: String::new(),
                message,
            }]
        };
        let actions = action::of(&config, "check-config").map_err(problem)?;
        match action::play::<Vec<ConfigProblem>>(actions, &"") {
            Ok(Some(problems)) => Err(problems),
            Ok(None) => Ok(()),
            Err(message) => Err(problem(message)),
        }
    }
}

impl Rewrite for Puppet {
    fn rewrite(config: String, caller: Caller, request: BuildRequest) -> Result<Changes, String> {
        let actions = action::of(&config, "rewrite")?;
        Ok(action::play(actions, &(caller, request))?.unwrap_or(Changes {
            changes: Vec::new(),
            warnings: Vec::new(),
        }))
    }
}

impl Validate for Puppet {
    fn validate(config: String, caller: Caller, request: BuildRequest) -> Result<Verdict, String> {
        judge(&config, "validate", &(caller, request))
    }
}

impl Inspect for Puppet {
    fn inspect(
        config: String,
        caller: Caller,
        request: BuildRequest,
        found: Found,
    ) -> Result<Verdict, String> {
        judge(&config, "inspect", &(caller, request, found))
    }
}

impl Redact for Puppet {
    fn rules(config: String, caller: Caller, request: BuildRequest) -> Result<Vec<Rule>, String> {
        let actions = action::of(&config, "rules")?;
        Ok(action::play(actions, &(caller, request))?.unwrap_or_default())
    }
}

impl RedactScan for Puppet {
    fn scan(config: String, lines: Vec<u8>) -> Result<Vec<Range>, String> {
        let actions = action::of(&config, "scan")?;
        Ok(action::play(actions, &String::from_utf8_lossy(&lines))?.unwrap_or_default())
    }
}

impl Notify for Puppet {
    fn notify(config: String, delivery: Delivery, build: FinishedBuild) -> Result<(), Failure> {
        let actions = action::of(&config, "notify").map_err(Failure::Never)?;
        match action::play::<Failure>(actions, &(delivery, build)) {
            Ok(None) => Ok(()),
            Ok(Some(failure)) => Err(failure),
            Err(message) => Err(Failure::Never(message)),
        }
    }
}

fn judge(config: &str, hook: &str, seen: &impl Debug) -> Result<Verdict, String> {
    let actions = action::of(config, hook)?;
    Ok(action::play(actions, seen)?.unwrap_or(Verdict::Allow(Vec::new())))
}
