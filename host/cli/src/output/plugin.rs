//! Plugins as humans read them.

use ignite_proto::v1;

use super::{
    Detail,
    table::{columns, record},
    text::{age, between, bytes, line, timestamp},
};

/// One row a version. `now_ms` is in ms since the epoch.
pub(crate) fn list(plugins: &[v1::Plugin], detail: Detail, now_ms: i64) -> String {
    if plugins.is_empty() {
        return "No plugins.\n".to_owned();
    }
    match detail {
        Detail::Table => {
            let rows: Vec<_> = plugins.iter().map(|plugin| row(plugin, now_ms)).collect();
            columns(["NAME", "VERSION", "HOOKS", "SIZE", "AGE", "SUMMARY"], &rows)
        }
        Detail::Wide => {
            let header = [
                "NAME", "VERSION", "HOOKS", "SIZE", "AGE", "DIGEST", "BY", "FROM", "SUMMARY",
            ];
            let rows: Vec<_> = plugins
                .iter()
                .map(|plugin| {
                    let [name, version, hooks, size, age, summary] = row(plugin, now_ms);
                    let (digest, by) = (cell(&plugin.digest), cell(&plugin.created_by));
                    let from = cell(&plugin.imported_from);
                    [name, version, hooks, size, age, digest, by, from, summary]
                })
                .collect();
            columns(header, &rows)
        }
    }
}

fn row(plugin: &v1::Plugin, now_ms: i64) -> [String; 6] {
    [
        cell(&plugin.name),
        cell(&plugin.version),
        cell(&plugin.hooks.join(",")),
        size(plugin),
        between(plugin.created_at_ms, now_ms).map_or_else(|| "-".to_owned(), age),
        cell(&plugin.summary),
    ]
}

/// Everything about one version. Its schema is shown as it is written, for it is long: with `wide` only.
pub(crate) fn detail(plugin: &v1::Plugin, detail: Detail) -> String {
    let schema = match (plugin.config_schema.as_str(), detail) {
        ("", _) => "takes none".to_owned(),
        (text, Detail::Wide) => pretty(text),
        (_, Detail::Table) => "see -o wide".to_owned(),
    };
    record(&[
        ("Plugin", line(&plugin.name).into_owned()),
        ("Version", line(&plugin.version).into_owned()),
        ("Summary", line(&plugin.summary).into_owned()),
        ("Digest", line(&plugin.digest).into_owned()),
        ("Size", size(plugin)),
        ("Hooks", safe(&plugin.hooks, ", ")),
        ("Imports", safe(&plugin.imports, "\n")),
        ("Configuration", schema),
        ("Created", timestamp(plugin.created_at_ms).unwrap_or_default()),
        ("Created by", line(&plugin.created_by).into_owned()),
        ("Imported from", line(&plugin.imported_from).into_owned()),
    ])
}

/// JSON on lines of its own; what is not JSON as it is. Control characters become visible.
fn pretty(schema: &str) -> String {
    let parsed = serde_json::from_str::<serde_json::Value>(schema);
    let text = parsed
        .ok()
        .and_then(|value| super::json(&value, true).ok())
        .unwrap_or_else(|| schema.to_owned());
    super::text::lines(&text).into_owned()
}

fn size(plugin: &v1::Plugin) -> String {
    u64::try_from(plugin.size_bytes).map_or_else(|_| "-".to_owned(), bytes)
}

fn safe(texts: &[String], between: &str) -> String {
    texts
        .iter()
        .map(|text| line(text))
        .collect::<Vec<_>>()
        .join(between)
}

fn cell(text: &str) -> String {
    match text {
        "" => "-".to_owned(),
        text => line(text).into_owned(),
    }
}
