//! The least a validator can be: allows every build. Benchmarks measure the runtime with it, so it has no more in it than
//! the contract asks for.

mod bindings {
    #![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all, clippy::pedantic)]
    wit_bindgen::generate!({ world: "validator", path: "../../../wit" });
    use super::Trivial;
    export!(Trivial);
}

use bindings::exports::ignite::plugin::{
    describe::{ConfigProblem, Description, Guest as Describe},
    validate::{BuildRequest, Caller, Guest as Validate, Verdict},
};

struct Trivial;

impl Describe for Trivial {
    fn describe() -> Description {
        Description {
            name: "trivial".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Allows every build".to_owned(),
            config_schema: String::new(),
        }
    }

    fn check_config(_config: String) -> Result<(), Vec<ConfigProblem>> {
        Ok(())
    }
}

impl Validate for Trivial {
    fn validate(_config: String, _caller: Caller, _request: BuildRequest) -> Result<Verdict, String> {
        Ok(Verdict::Allow(Vec::new()))
    }
}
