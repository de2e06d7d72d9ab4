//! Whether a component is a plugin: what it exports, and what it may import.

use std::collections::BTreeSet;

use ignite_core::hook::Hook;
use semver::Version;
use wasmtime::component::Component;

/// Of the contract in `wit/`. Plugins of any `0.1.x` fit.
const CONTRACT: Version = Version::new(0, 1, 0);
const CONTRACT_PREFIX: &str = "ignite:plugin/";

/// What plugins may import of WASI 0.2, without version.
const IMPORTS: [&str; 19] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    // Types only; no function stands behind it.
    "ignite:plugin/types",
];
/// Only for plugins that export `notify`.
const NOTIFY_IMPORTS: [&str; 2] = ["wasi:http/types", "wasi:http/outgoing-handler"];

/// First bytes of every module and component; the next four tell which.
const MAGIC: &[u8] = b"\0asm";
const COMPONENT_LAYER: &[u8] = &[0x0d, 0, 1, 0];

#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) hooks: BTreeSet<Hook>,
    /// As written, with versions.
    pub(crate) imports: Vec<String>,
}

/// Looks at the first bytes only: spares a compiler for what is something else altogether.
pub(crate) fn check_header(bytes: &[u8]) -> Result<(), String> {
    if !bytes.starts_with(MAGIC) {
        return Err("this is not WebAssembly: upload the component itself, a .wasm file".to_owned());
    }
    if bytes.get(4..8) != Some(COMPONENT_LAYER) {
        return Err(
            "this is a core WebAssembly module, not a component: build for wasm32-wasip2, or make it one with \
             `wasm-tools component new`"
                .to_owned(),
        );
    }
    Ok(())
}

/// What the component offers, or why it is refused, for who uploads it.
pub(crate) fn check(component: &Component) -> Result<Shape, String> {
    let engine = component.engine();
    let kind = component.component_type();
    let hooks = hooks(kind.exports(engine).map(|(name, _)| name))?;
    let imports: Vec<String> = kind.imports(engine).map(|(name, _)| name.to_owned()).collect();
    check_imports(&imports, hooks.contains(&Hook::Notify))?;
    Ok(Shape { hooks, imports })
}

fn hooks<'a>(exports: impl Iterator<Item = &'a str>) -> Result<BTreeSet<Hook>, String> {
    let mut hooks = BTreeSet::new();
    let mut described = false;
    for export in exports {
        let Some(rest) = export.strip_prefix(CONTRACT_PREFIX) else {
            continue;
        };
        let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
        check_version(export, version)?;
        match interface {
            "describe" => described = true,
            other => match other.parse() {
                Ok(hook) => {
                    hooks.insert(hook);
                }
                Err(_) => {
                    return Err(format!(
                        "the component exports {export}, which this gateway does not know: it calls {}",
                        Hook::ALL.map(Hook::as_str).join(", ")
                    ));
                }
            },
        }
    }
    if !described {
        return Err(format!(
            "the component does not export {CONTRACT_PREFIX}describe@{CONTRACT}: every plugin does"
        ));
    }
    if hooks.is_empty() {
        return Err(format!(
            "the component exports no hook: a plugin exports at least one of {}",
            Hook::ALL.map(Hook::as_str).join(", ")
        ));
    }
    Ok(hooks)
}

fn check_version(name: &str, version: &str) -> Result<(), String> {
    let fits = Version::parse(version).is_ok_and(|v| (v.major, v.minor) == (CONTRACT.major, CONTRACT.minor));
    if fits {
        Ok(())
    } else {
        Err(format!(
            "the component has {name}; this gateway speaks ignite:plugin@{CONTRACT}: build it against that version"
        ))
    }
}

fn check_imports(imports: &[String], notifies: bool) -> Result<(), String> {
    for import in imports {
        let (interface, version) = import.split_once('@').unwrap_or((import, ""));
        if NOTIFY_IMPORTS.contains(&interface) && !notifies {
            return Err(format!(
                "the component imports {import}: only plugins that export notify may call out"
            ));
        }
        if !IMPORTS.contains(&interface) && !NOTIFY_IMPORTS.contains(&interface) {
            return Err(format!(
                "the component imports {import}, which plugins do not have: of WASI 0.2 there are clocks, random \
                 numbers, standard streams and an empty environment"
            ));
        }
        if interface.starts_with(CONTRACT_PREFIX) {
            check_version(import, version)?;
        } else if !Version::parse(version).is_ok_and(|v| (v.major, v.minor) == (0, 2)) {
            return Err(format!(
                "the component imports {import}; this gateway has WASI 0.2: build it against that version"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(name: &str, notifies: bool) -> Result<(), String> {
        check_imports(&[name.to_owned()], notifies)
    }

    #[test]
    fn hooks_are_what_is_exported() {
        let exports = [
            "ignite:plugin/describe@0.1.0",
            "ignite:plugin/redact-scan@0.1.7",
            "wasi:cli/run@0.2.0",
        ];
        assert_eq!(hooks(exports.into_iter()), Ok(BTreeSet::from([Hook::RedactScan])));
    }

    #[test]
    fn a_component_that_is_no_plugin_is_refused_with_what_is_missing() {
        let refused = |exports: &[&'static str]| hooks(exports.iter().copied()).unwrap_err();
        assert!(refused(&["ignite:plugin/validate@0.1.0"]).contains("ignite:plugin/describe@0.1.0"));
        assert!(refused(&["ignite:plugin/describe@0.1.0"]).contains("no hook"));
        let newer = refused(&["ignite:plugin/describe@0.2.0", "ignite:plugin/validate@0.2.0"]);
        assert!(newer.contains("speaks ignite:plugin@0.1.0"), "{newer}");
        assert!(refused(&["ignite:plugin/dance@0.1.0"]).contains("does not know"));
    }

    #[test]
    fn only_harmless_imports_are_taken() {
        for name in [
            "wasi:io/streams@0.2.0",
            "wasi:random/insecure-seed@0.2.12",
            "ignite:plugin/types@0.1.0",
        ] {
            assert_eq!(imports(name, false), Ok(()));
        }
        for name in [
            "wasi:filesystem/types@0.2.3",
            "wasi:sockets/tcp@0.2.3",
            "wasi:clocks/monotonic-clock@0.3.0",
            "wasi:http/incoming-handler@0.2.0",
            "acme:secrets/read",
            "",
        ] {
            assert!(imports(name, true).unwrap_err().contains(name), "{name}");
        }
    }

    #[test]
    fn only_plugins_that_notify_may_call_out() {
        assert_eq!(imports("wasi:http/outgoing-handler@0.2.12", true), Ok(()));
        assert!(imports("wasi:http/outgoing-handler@0.2.12", false).is_err());
    }

    #[test]
    fn what_is_no_component_is_told_apart_before_it_is_compiled() {
        assert!(
            check_header(b"#!/bin/sh")
                .unwrap_err()
                .contains("not WebAssembly")
        );
        assert!(check_header(b"\0asm\x01\0\0\0").unwrap_err().contains("core"));
        assert_eq!(check_header(b"\0asm\x0d\0\x01\0"), Ok(()));
    }
}
