//! Was built for `ignite:plugin@0.2.0`.

mod bindings {
    #![allow(
        unreachable_pub,
        unsafe_code,
        unused_qualifications,
        clippy::all,
        clippy::pedantic
    )]
    wit_bindgen::generate!({ world: "validator", path: "wit" });
    use super::Next;
    export!(Next);
}

use bindings::exports::ignite::plugin::{describe, validate};

struct Next;

impl describe::Guest for Next {
    fn describe() -> describe::Description {
        describe::Description {
            name: "next-version".to_owned(),
            version: "0.1.0".to_owned(),
        }
    }
}

impl validate::Guest for Next {
    fn validate(_config: String) -> bool {
        true
    }
}
