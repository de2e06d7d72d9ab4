//! Generated from `wit/`: a module for each interface, so that a plugin exports those it has and no other.
//!
//! Each comes from a world of its own that exports nothing else; the tool that makes a component unites the worlds it finds.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    unsafe_code,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction
)]

/// The types that several hooks use.
pub mod shared {
    wit_bindgen::generate!({
        inline: "package ignite:sdk; world shared { import ignite:plugin/types@0.1.0; }",
        path: "../../wit",
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq, Eq],
    });
}

/// What plugins call out with.
pub mod outgoing {
    wit_bindgen::generate!({
        inline: "package ignite:sdk; world outgoing { import wasi:http/outgoing-handler@0.2.12; }",
        path: "../../wit",
        generate_all,
    });
}

/// What every plugin exports.
pub mod describe {
    wit_bindgen::generate!({
        inline: "package ignite:sdk; world exports-describe { export ignite:plugin/describe@0.1.0; }",
        path: "../../wit",
        generate_all,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}

/// Changes a request.
pub mod rewrite {
    wit_bindgen::generate!({
        inline: "package ignite:sdk; world exports-rewrite { export ignite:plugin/rewrite@0.1.0; }",
        path: "../../wit",
        with: { "ignite:plugin/types@0.1.0": crate::bindings::shared::ignite::plugin::types },
        generate_all,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}

/// Judges a request.
pub mod validate {
    wit_bindgen::generate!({
        inline: "package ignite:sdk; world exports-validate { export ignite:plugin/validate@0.1.0; }",
        path: "../../wit",
        with: { "ignite:plugin/types@0.1.0": crate::bindings::shared::ignite::plugin::types },
        generate_all,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}

/// Judges a Dockerfile.
pub mod inspect {
    wit_bindgen::generate!({
        inline: "package ignite:sdk; world exports-inspect { export ignite:plugin/inspect@0.1.0; }",
        path: "../../wit",
        with: { "ignite:plugin/types@0.1.0": crate::bindings::shared::ignite::plugin::types },
        generate_all,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}

/// Gives redaction rules.
pub mod redact {
    wit_bindgen::generate!({
        inline: "package ignite:sdk; world exports-redact { export ignite:plugin/redact@0.1.0; }",
        path: "../../wit",
        with: { "ignite:plugin/types@0.1.0": crate::bindings::shared::ignite::plugin::types },
        generate_all,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}

/// Looks at the log itself.
pub mod redact_scan {
    wit_bindgen::generate!({
        inline: "package ignite:sdk; world exports-redact-scan { export ignite:plugin/redact-scan@0.1.0; }",
        path: "../../wit",
        generate_all,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}

/// Announces builds.
pub mod notify {
    wit_bindgen::generate!({
        inline: "package ignite:sdk; world exports-notify { export ignite:plugin/notify@0.1.0; }",
        path: "../../wit",
        with: { "ignite:plugin/types@0.1.0": crate::bindings::shared::ignite::plugin::types },
        generate_all,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}
