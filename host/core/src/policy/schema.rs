//! The policy document's JSON Schema, for editors. Published as `docs/policy.schema.json`.

use serde_json::{Value, json};

use super::{ENTRIES_MAX, HOSTS_MAX};
use crate::hook::Hook;

/// Draft 2020-12. What passes [`super::Policy::parse`] matches it; a few bounds only the gateway checks.
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ignite policy",
        "description": "Which plugins act on an organization's builds, where, in which order, with what configuration.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "plugin": {
                "description": "One [[plugin]] for each; they are called in this order.",
                "type": "array",
                "maxItems": ENTRIES_MAX,
                "items": { "$ref": "#/$defs/plugin" }
            }
        },
        "$defs": { "plugin": plugin() }
    })
}

fn plugin() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "oneOf": [{ "required": ["digest"] }, { "required": ["version"] }],
        "properties": {
            "name": {
                "description": "As the plugin describes itself.",
                "type": "string",
                "pattern": "^[a-z0-9-]{1,63}$"
            },
            "digest": {
                "description": "The exact component. Either this or version.",
                "type": "string",
                "pattern": "^sha256:[0-9a-f]{64}$"
            },
            "version": {
                "description": "A stored version; it is resolved to its digest when the policy is put.",
                "type": "string",
                "pattern": "^[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.-]+)?(\\+[0-9A-Za-z.-]+)?$"
            },
            "hooks": {
                "description": "Where the plugin acts; all that it exports if left out.",
                "type": "array",
                "minItems": 1,
                "uniqueItems": true,
                "items": { "enum": Hook::ALL.map(Hook::as_str) }
            },
            "mode": {
                "description": "monitor: called and reported, but changes, refuses and holds nothing.",
                "enum": ["enforce", "monitor"],
                "default": "enforce"
            },
            "on_failure": {
                "description": "Whether a call that fails refuses the build.",
                "enum": ["reject", "ignore"],
                "default": "reject"
            },
            "hosts": {
                "description": "What notify may reach by https, with an optional port; by plain http where it begins with http://.",
                "type": "array",
                "maxItems": HOSTS_MAX,
                "uniqueItems": true,
                "items": { "type": "string", "pattern": "^([Hh][Tt][Tt][Pp]://)?([A-Za-z0-9.-]{1,253}|\\[[0-9A-Fa-f:.]+\\])(:[1-9][0-9]{0,4})?$" }
            },
            "config": {
                "description": "Handed to the plugin as JSON; its own schema says what it may hold.",
                "type": "object"
            },
            "limits": limits()
        }
    })
}

fn limits() -> Value {
    json!({
        "description": "What one call may take.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "timeout": {
                "description": "Wall time of the whole call, 10ms to 60s.",
                "type": "string",
                "pattern": "^[0-9]{1,9}(ms|s|m)$",
                "default": "2s"
            },
            "memory": {
                "description": "Of all its memories together, 1MiB to 512MiB.",
                "type": "string",
                "pattern": "^[0-9]{1,9}(KiB|MiB)$",
                "default": "64MiB"
            }
        }
    })
}
