//! From traits to exports.

/// Exports a plugin with the hooks it has: `export!(MyPlugin: rewrite, validate)`. Once in a crate.
///
/// The hooks are `rewrite`, `validate`, `inspect`, `redact`, `redact_scan` and `notify`. Name, version and summary are those of
/// the crate's manifest.
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($hook:ident),+ $(,)?) => {
        // On the machine that runs the unit tests the functions would be there for nobody.
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::bindings;

            struct Exported;

            impl bindings::describe::exports::ignite::plugin::describe::Guest for Exported {
                fn describe() -> $crate::Description {
                    $crate::Description {
                        name: env!("CARGO_PKG_NAME").to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        summary: env!("CARGO_PKG_DESCRIPTION").to_owned(),
                        config_schema: $crate::schema::<$plugin>(),
                    }
                }

                fn check_config(config: String) -> Result<(), Vec<$crate::ConfigProblem>> {
                    $crate::check_config::<$plugin>(&config)
                }
            }

            $crate::__export_exports_describe_impl!(Exported with_types_in $crate::bindings::describe);
            $($crate::__export_hook!($hook, $plugin, Exported);)+
        };

        // There the compiler is told the same of what is used.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || {
            let _ = ($crate::schema::<$plugin>, $crate::check_config::<$plugin>);
            $($crate::__use_hook!($hook, $plugin);)+
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __use_hook {
    (rewrite, $plugin:ty) => {
        let _ = <$plugin as $crate::Rewrite>::rewrite;
    };
    (validate, $plugin:ty) => {
        let _ = <$plugin as $crate::Validate>::validate;
    };
    (inspect, $plugin:ty) => {
        let _ = <$plugin as $crate::Inspect>::inspect;
    };
    (redact, $plugin:ty) => {
        let _ = <$plugin as $crate::Redact>::rules;
    };
    (redact_scan, $plugin:ty) => {
        let _ = <$plugin as $crate::RedactScan>::scan;
    };
    (notify, $plugin:ty) => {
        let _ = <$plugin as $crate::Notify>::notify;
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    (rewrite, $plugin:ty, $exported:ident) => {
        impl bindings::rewrite::exports::ignite::plugin::rewrite::Guest for $exported {
            fn rewrite(
                config: String,
                caller: $crate::Caller,
                request: $crate::BuildRequest,
            ) -> Result<$crate::Changes, String> {
                <$plugin as $crate::Rewrite>::rewrite(&$crate::__configured(&config)?, &caller, &request)
            }
        }
        $crate::__export_exports_rewrite_impl!($exported with_types_in $crate::bindings::rewrite);
    };
    (validate, $plugin:ty, $exported:ident) => {
        impl bindings::validate::exports::ignite::plugin::validate::Guest for $exported {
            fn validate(
                config: String,
                caller: $crate::Caller,
                request: $crate::BuildRequest,
            ) -> Result<$crate::Verdict, String> {
                <$plugin as $crate::Validate>::validate(&$crate::__configured(&config)?, &caller, &request)
            }
        }
        $crate::__export_exports_validate_impl!($exported with_types_in $crate::bindings::validate);
    };
    (inspect, $plugin:ty, $exported:ident) => {
        impl bindings::inspect::exports::ignite::plugin::inspect::Guest for $exported {
            fn inspect(
                config: String,
                caller: $crate::Caller,
                request: $crate::BuildRequest,
                found: $crate::Found,
            ) -> Result<$crate::Verdict, String> {
                <$plugin as $crate::Inspect>::inspect(&$crate::__configured(&config)?, &caller, &request, &found)
            }
        }
        $crate::__export_exports_inspect_impl!($exported with_types_in $crate::bindings::inspect);
    };
    (redact, $plugin:ty, $exported:ident) => {
        impl bindings::redact::exports::ignite::plugin::redact::Guest for $exported {
            fn rules(
                config: String,
                caller: $crate::Caller,
                request: $crate::BuildRequest,
            ) -> Result<Vec<$crate::Rule>, String> {
                <$plugin as $crate::Redact>::rules(&$crate::__configured(&config)?, &caller, &request)
            }
        }
        $crate::__export_exports_redact_impl!($exported with_types_in $crate::bindings::redact);
    };
    (redact_scan, $plugin:ty, $exported:ident) => {
        impl bindings::redact_scan::exports::ignite::plugin::redact_scan::Guest for $exported {
            fn scan(config: String, lines: Vec<u8>) -> Result<Vec<$crate::Range>, String> {
                let ranges = <$plugin as $crate::RedactScan>::scan(&$crate::__configured(&config)?, &lines)?;
                Ok(ranges.into_iter().map(|r| $crate::Range { start: r.start, end: r.end }).collect())
            }
        }
        $crate::__export_exports_redact_scan_impl!($exported with_types_in $crate::bindings::redact_scan);
    };
    (notify, $plugin:ty, $exported:ident) => {
        impl bindings::notify::exports::ignite::plugin::notify::Guest for $exported {
            fn notify(
                config: String,
                delivery: $crate::Delivery,
                build: $crate::FinishedBuild,
            ) -> Result<(), $crate::Failure> {
                // The same configuration would fail in every attempt.
                let plugin = $crate::__configured(&config).map_err($crate::Failure::Never)?;
                <$plugin as $crate::Notify>::notify(&plugin, &delivery, &build)
            }
        }
        $crate::__export_exports_notify_impl!($exported with_types_in $crate::bindings::notify);
    };
}

/// The configuration of a call.
#[doc(hidden)]
pub fn __configured<T: serde::de::DeserializeOwned>(config: &str) -> Result<T, String> {
    crate::parse(config).map_err(|problem| match problem.path.as_str() {
        "" => format!("configuration: {}", problem.message),
        path => format!("configuration, {path}: {}", problem.message),
    })
}
