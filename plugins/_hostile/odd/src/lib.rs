//! What the odd components share: a validator whose description and verdict are the caller's.

/// Exports a validator that is described and judges by these two expressions.
#[macro_export]
macro_rules! validator {
    (describe: $describe:expr, validate: $validate:expr) => {
        mod bindings {
            #![allow(unreachable_pub, unsafe_code, unused_qualifications, clippy::all, clippy::pedantic)]
            wit_bindgen::generate!({ world: "validator", path: "../../../wit" });
            use super::Odd;
            export!(Odd);
        }

        use bindings::exports::ignite::plugin::{describe, validate};

        struct Odd;

        impl describe::Guest for Odd {
            fn describe() -> describe::Description {
                let (name, version) = $describe;
                describe::Description {
                    name: String::from(name),
                    version: String::from(version),
                    summary: String::from("Must not be taken"),
                    config_schema: String::new(),
                }
            }

            fn check_config(_config: String) -> Result<(), Vec<describe::ConfigProblem>> {
                Ok(())
            }
        }

        impl validate::Guest for Odd {
            fn validate(
                _config: String,
                _caller: validate::Caller,
                _request: validate::BuildRequest,
            ) -> Result<validate::Verdict, String> {
                Ok(validate::Verdict::Allow($validate))
            }
        }
    };
}
