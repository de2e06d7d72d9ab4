//! The Rust side of `wit/`: one set of types for all hooks. Which hooks a component exports is looked up one by one, so
//! no component needs all of this world.

// Generated code: its names and shapes are not ours.
#![allow(missing_debug_implementations, unreachable_pub, unused_qualifications)]

wasmtime::component::bindgen!({
    inline: "
        package ignite:host;
        world hooks {
            export ignite:plugin/describe@0.1.0;
            export ignite:plugin/rewrite@0.1.0;
            export ignite:plugin/validate@0.1.0;
            export ignite:plugin/inspect@0.1.0;
            export ignite:plugin/redact@0.1.0;
            export ignite:plugin/redact-scan@0.1.0;
            export ignite:plugin/notify@0.1.0;
        }
    ",
    path: "../../wit",
    exports: { default: async },
});

pub(crate) use exports::ignite::plugin as hooks;
pub(crate) use ignite::plugin::types;
