use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const DIGEST: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// Names every key there is.
const SAMPLE: &str = include_str!("sample.toml");

fn entry(more: &str) -> String {
    format!("[[plugin]]\nname = \"a\"\nversion = \"1.2.0\"\n{more}")
}

/// Places and descriptions of what is wrong.
fn problems(text: &str) -> Vec<(String, String)> {
    match Policy::parse(text) {
        Ok(_) => Vec::new(),
        Err(found) => found
            .into_iter()
            .map(|one| (one.field, one.description))
            .collect(),
    }
}

#[track_caller]
fn refused(text: &str, places: &[&str]) {
    let found = problems(text);
    let found: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(found, places, "{text}");
}

#[track_caller]
fn refused_with(text: &str, place: &str, description: &str) {
    let found = problems(text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, place);
    assert!(found[0].1.contains(description), "{found:?}");
}

#[test]
fn the_sample_says_what_it_says() {
    let policy = Policy::parse(SAMPLE).unwrap();
    let [images, announce] = &policy.entries[..] else {
        panic!("{policy:?}");
    };
    assert_eq!(images.plugin, "base-images");
    assert_eq!(images.pin, Pin::Digest(DIGEST.parse().unwrap()));
    assert_eq!(images.hooks, Some(BTreeSet::from([Hook::Inspect])));
    assert_eq!(images.settings.mode, Mode::Monitor);
    assert_eq!(images.settings.on_failure, OnFailure::Ignore);
    assert_eq!(
        serde_json::from_str::<Value>(&images.settings.config).unwrap(),
        serde_json::json!({
            "allow": ["registry.example/base/", 7, 1.5, true],
            "since": "2026-01-02T03:04:05Z",
            "nested": { "deep": { "a b": "c" } }
        })
    );
    assert_eq!(images.settings.limits.timeout, Duration::from_millis(500));
    assert_eq!(images.settings.limits.memory_bytes, 32 << 20);
    assert_eq!(announce.pin, Pin::Version(semver::Version::new(1, 2, 0)));
    assert_eq!(announce.hooks, None);
    assert_eq!(
        announce.settings.hosts,
        ["hooks.example.com", "hooks.example.com:8443"]
    );
    assert_eq!(announce.settings.config, "{}");
    assert_eq!(announce.settings.limits, CallLimits::default());
    assert_eq!(
        (announce.settings.mode, announce.settings.on_failure),
        (Mode::Enforce, OnFailure::Reject)
    );
}

#[test]
fn an_empty_document_is_a_policy_without_plugins() {
    assert_eq!(Policy::parse(""), Ok(Policy::default()));
    assert_eq!(Policy::parse("# nothing\n"), Ok(Policy::default()));
}

#[test]
fn all_that_is_wrong_comes_together_each_with_its_place() {
    let text = "
        [[plugin]]
        name = 'Upper'
        digest = 'sha256:1'
        [[plugin]]
        hooks = []
        [[plugin]]
        name = 'a'
        version = '1.2'
        mode = 1
        [plugin.limits]
        timeout = '2'
        memory = 64
        [plugin.config]
        rate = nan
        'a b' = [1, inf]
    ";
    refused(
        text,
        &[
            "plugin[0].name",
            "plugin[0].digest",
            "plugin[1].name",
            "plugin[1]",
            "plugin[1].hooks",
            "plugin[2].version",
            "plugin[2].mode",
            "plugin[2].config.\"a b\"[1]",
            "plugin[2].config.rate",
            "plugin[2].limits.timeout",
            "plugin[2].limits.memory",
        ],
    );
}

#[test]
fn unknown_words_are_refused_with_what_was_likely_meant() {
    refused_with(
        &entry("on_failures = 'reject'"),
        "plugin[0].on_failures",
        "mean \"on_failure\"?",
    );
    refused_with(&entry("hook = ['inspect']"), "plugin[0].hook", "mean \"hooks\"?");
    refused_with(&entry("mode = 'Enforce'"), "plugin[0].mode", "mean \"enforce\"?");
    refused_with(
        &entry("mode = 'warn'"),
        "plugin[0].mode",
        "known are: enforce, monitor",
    );
    refused_with(
        &entry("hooks = ['redact_scan']"),
        "plugin[0].hooks[0]",
        "mean \"redact-scan\"?",
    );
    refused_with(
        &entry("limits.timeouts = '1s'"),
        "plugin[0].limits.timeouts",
        "mean \"timeout\"?",
    );
    refused_with("[[plugins]]", "plugins", "mean \"plugin\"?");
    refused_with("'a\\nb' = 1", "\"a\\\\nb\"", "known are: plugin");
}

#[test]
fn a_pin_is_exactly_one_of_digest_and_version() {
    let both = entry(&format!("digest = \"{DIGEST}\""));
    refused(&both, &["plugin[0]"]);
    refused("[[plugin]]\nname = \"a\"", &["plugin[0]"]);
    let upper = format!("[[plugin]]\nname = \"a\"\ndigest = \"{}\"", DIGEST.to_uppercase());
    refused(&upper, &["plugin[0].digest"]);
}

#[test]
fn hooks_and_hosts_are_there_once() {
    refused(&entry("hooks = ['inspect', 'inspect']"), &["plugin[0].hooks[1]"]);
    refused(
        &entry("hosts = ['a.example', 'A.example']"),
        &["plugin[0].hosts[1]"],
    );
    let many: Vec<String> = (0..=HOSTS_MAX).map(|n| format!("'h{n}.example'")).collect();
    refused(
        &entry(&format!("hosts = [{}]", many.join(","))),
        &["plugin[0].hosts"],
    );
}

#[test]
fn a_host_is_a_name_or_an_address_and_nothing_around_it() {
    for good in [
        "a",
        "a.b-c.example",
        "a.example:1",
        "a.example:65535",
        "192.0.2.1:80",
        "[2001:db8::1]",
        "[2001:db8::1]:8443",
        "http://a.example",
        "http://a.example:8080",
    ] {
        refused(&entry(&format!("hosts = ['{good}']")), &[]);
    }
    for bad in [
        "",
        "https://a.example",
        "http://http://a.example",
        "http://a.example/",
        "a.example/x",
        "*.example",
        "a.example:0",
        "a.example:65536",
        "a.example:",
        "a.example:+1",
        "a.example:080",
        "user@a.example",
        "a b",
        "a..b",
        "-a",
        "0x7f.1",
        "127.1",
        "2001:db8::1",
        "[2001:DB8:0::1]x",
        "ä.example",
        "a%2eb",
        ".a",
        "a.",
        ":80",
    ] {
        refused(&entry(&format!("hosts = ['{bad}']")), &["plugin[0].hosts[0]"]);
    }
}

#[test]
fn limits_are_obeyed_on_both_sides() {
    for (timeout, ms) in [("10ms", 10), ("60s", 60_000), ("1m", 60_000), ("060s", 60_000)] {
        let policy = Policy::parse(&entry(&format!("limits.timeout = '{timeout}'"))).unwrap();
        assert_eq!(policy.entries[0].settings.limits.timeout.as_millis(), ms);
    }
    for timeout in [
        "9ms",
        "61s",
        "60001ms",
        "",
        "s",
        "1 s",
        "1.5s",
        "-1s",
        "+1s",
        "1h",
        "1S",
        "9999999999s",
    ] {
        refused(
            &entry(&format!("limits.timeout = '{timeout}'")),
            &["plugin[0].limits.timeout"],
        );
    }
    for (memory, bytes) in [("1MiB", 1 << 20), ("512MiB", 512 << 20), ("1024KiB", 1 << 20)] {
        let policy = Policy::parse(&entry(&format!("limits.memory = '{memory}'"))).unwrap();
        assert_eq!(policy.entries[0].settings.limits.memory_bytes, bytes);
    }
    for memory in [
        "1023KiB",
        "513MiB",
        "1MB",
        "1GiB",
        "64",
        "999999999999999999999MiB",
    ] {
        refused(
            &entry(&format!("limits.memory = '{memory}'")),
            &["plugin[0].limits.memory"],
        );
    }
}

#[test]
fn sizes_are_bounded() {
    let comment = format!("#{}", "x".repeat(DOCUMENT_BYTES_MAX - 1));
    refused(&comment, &[]);
    refused(&format!("{comment}x"), &[""]);
    refused(&entry("").repeat(ENTRIES_MAX), &[]);
    refused(&entry("").repeat(ENTRIES_MAX + 1), &["plugin"]);
    let config = |bytes: usize| {
        entry(&format!(
            "config.a = '{}'",
            "x".repeat(bytes - r#"{"a":""}"#.len())
        ))
    };
    refused(&config(CONFIG_BYTES_MAX), &[]);
    refused(&config(CONFIG_BYTES_MAX + 1), &["plugin[0].config"]);
    let wrong: String = (0..10_000).map(|n| format!("k{n} = 1\n")).collect();
    assert_eq!(problems(&wrong).len(), 100);
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    refused("a = 1\nb = ", &["line 2"]);
    refused(&format!("a = {}1", "[".repeat(100_000)), &["line 1"]);
    refused("plugin = 1", &["plugin"]);
    refused("plugin = [1]", &["plugin[0]"]);
    refused(
        &entry("config = 1\nlimits = 2"),
        &["plugin[0].config", "plugin[0].limits"],
    );
}

fn stored(hooks: &[Hook]) -> StoredPlugin {
    StoredPlugin {
        version: "1.2.0".to_owned(),
        digest: DIGEST.parse().unwrap(),
        hooks: hooks.iter().copied().collect(),
    }
}

/// Places of what is wrong when every entry means a plugin with these hooks.
fn unresolved(text: &str, hooks: &[Hook]) -> Vec<String> {
    let policy = Policy::parse(text).unwrap();
    match policy.resolve(1, |_, _| Some(stored(hooks))) {
        Ok(_) => Vec::new(),
        Err(found) => found.into_iter().map(|one| one.field).collect(),
    }
}

#[test]
fn entries_are_resolved_to_the_stored_component_and_its_hooks() {
    let policy = Policy::parse(SAMPLE).unwrap();
    let resolved = policy.resolve(7, |_, pin| {
        Some(stored(match pin {
            Pin::Digest(_) => &[Hook::Inspect, Hook::Validate],
            Pin::Version(_) => &[Hook::Notify],
        }))
    });
    let resolved = resolved.unwrap();
    assert_eq!(resolved.revision, 7);
    let hooks: Vec<&BTreeSet<Hook>> = resolved.entries.iter().map(|entry| &entry.hooks).collect();
    assert_eq!(
        hooks,
        [&BTreeSet::from([Hook::Inspect]), &BTreeSet::from([Hook::Notify])]
    );
    assert_eq!(resolved.entries[1].digest.to_string(), DIGEST);
    assert_eq!(resolved.at(Hook::Notify).count(), 1);
    let kept: ResolvedPolicy = serde_json::from_str(&serde_json::to_string(&resolved).unwrap()).unwrap();
    assert_eq!(kept, resolved);
}

#[test]
fn what_cannot_be_called_is_not_resolved() {
    let absent = Policy::parse(SAMPLE)
        .unwrap()
        .resolve(1, |_, _| None)
        .unwrap_err();
    let places: Vec<&str> = absent.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(places, ["plugin[0].digest", "plugin[1].version"]);
    assert_eq!(
        unresolved(&entry("hooks = ['inspect']"), &[Hook::Notify]),
        ["plugin[0].hooks"]
    );
    assert_eq!(unresolved(&entry(""), &[]), ["plugin[0]"]);
}

#[test]
fn hosts_are_granted_to_notify_only() {
    let hosts = entry("hosts = ['a.example']");
    assert_eq!(unresolved(&hosts, &[Hook::Notify]), [""; 0]);
    assert_eq!(unresolved(&hosts, &[Hook::Inspect]), ["plugin[0].hosts"]);
    let other = entry("hosts = ['a.example']\nhooks = ['inspect']");
    assert_eq!(
        unresolved(&other, &[Hook::Notify, Hook::Inspect]),
        ["plugin[0].hosts"]
    );
}

#[test]
fn the_published_schema_is_the_schema() {
    let published: Value = serde_json::from_str(include_str!("../../../../docs/policy.schema.json")).unwrap();
    let schema = schema();
    assert!(
        published == schema,
        "docs/policy.schema.json should be:\n{schema:#}"
    );
}

/// Enough of JSON Schema for ours; every keyword of it must be known here.
fn matches(schema: &Value, root: &Value, value: &Value) -> Result<(), String> {
    let fail = |why: &str| Err(format!("{why}: {value}"));
    for (keyword, wanted) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" => {}
            "$ref" => {
                let pointer = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                matches(root.pointer(pointer).unwrap(), root, value)?;
            }
            "type" => {
                let fits = match wanted.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    other => panic!("{other}"),
                };
                if !fits {
                    return fail("type");
                }
            }
            "required" => {
                for key in wanted.as_array().unwrap() {
                    if value.get(key.as_str().unwrap()).is_none() {
                        return fail("required");
                    }
                }
            }
            "oneOf" => {
                let fitting = wanted.as_array().unwrap().iter();
                if fitting.filter(|one| matches(one, root, value).is_ok()).count() != 1 {
                    return fail("oneOf");
                }
            }
            "properties" => {
                for (key, value) in value.as_object().unwrap() {
                    match wanted.get(key) {
                        Some(schema) => matches(schema, root, value)?,
                        None => return fail("unknown key"),
                    }
                }
            }
            "additionalProperties" => assert_eq!(wanted, &Value::Bool(false)),
            "items" => {
                for value in value.as_array().unwrap() {
                    matches(wanted, root, value)?;
                }
            }
            "enum" if !wanted.as_array().unwrap().contains(value) => return fail("enum"),
            "pattern" => {
                let pattern = regex::Regex::new(wanted.as_str().unwrap()).unwrap();
                if !pattern.is_match(value.as_str().unwrap_or_default()) {
                    return fail("pattern");
                }
            }
            "maxItems" if value.as_array().unwrap().len() as u64 > wanted.as_u64().unwrap() => {
                return fail("many");
            }
            "minItems" if (value.as_array().unwrap().len() as u64) < wanted.as_u64().unwrap() => {
                return fail("few");
            }
            "uniqueItems" => {
                let items = value.as_array().unwrap();
                let unique: BTreeSet<String> = items.iter().map(Value::to_string).collect();
                if unique.len() < items.len() {
                    return fail("twice");
                }
            }
            "enum" | "maxItems" | "minItems" => {}
            other => panic!("{other} is not known here"),
        }
    }
    Ok(())
}

fn matches_schema(text: &str) -> Result<(), String> {
    let value = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
    let schema = schema();
    matches(&schema, &schema, &value)
}

#[test]
fn the_schema_knows_each_key_that_the_sample_shows_and_no_other() {
    matches_schema(SAMPLE).unwrap();
    let schema = schema();
    let keys = |pointer: &str| -> BTreeSet<String> {
        let properties = schema.pointer(pointer).unwrap().as_object().unwrap();
        properties.keys().cloned().collect()
    };
    let sample: toml::Table = SAMPLE.parse().unwrap();
    let mut shown = BTreeMap::new();
    for plugin in sample["plugin"].as_array().unwrap() {
        shown.extend(plugin.as_table().unwrap().clone());
    }
    assert_eq!(keys("/$defs/plugin/properties"), shown.keys().cloned().collect());
    assert_eq!(
        keys("/$defs/plugin/properties"),
        entry::KEYS.map(str::to_owned).into()
    );
    let limits = keys("/$defs/plugin/properties/limits/properties");
    assert_eq!(limits, entry::LIMIT_KEYS.map(str::to_owned).into());
    assert_eq!(
        limits,
        shown["limits"].as_table().unwrap().keys().cloned().collect()
    );
}

#[test]
fn the_schema_refuses_what_the_gateway_refuses() {
    for text in [
        "other = 1".to_owned(),
        "[[plugin]]\nname = 'a'".to_owned(),
        entry(&format!("digest = '{DIGEST}'")),
        entry("hooks = []"),
        entry("hooks = ['inspect', 'inspect']"),
        entry("hooks = ['describe']"),
        entry("mode = 'x'"),
        entry("on_failure = 'x'"),
        entry("hosts = ['https://a.example']"),
        entry("config = 1"),
        entry("limits.timeout = '2'"),
        entry("limits.memory = '1MB'"),
        entry("limits.other = 1"),
    ] {
        assert!(matches_schema(&text).is_err(), "{text}");
        assert!(Policy::parse(&text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "(\\[\\[plugin\\]\\]|\\[plugin\\.config\\]|name|hooks|limits|config|=|\\.|\\[|\\]|'|\n| |1|a|\\{|\\}|,|ä){0,40}") {
        let _ = Policy::parse(&text);
    }

    #[test]
    fn what_is_taken_matches_the_schema(
        version in "[0-9]{1,2}\\.[0-9]\\.[0-9](-[a-z0-9.]{1,3})?",
        host in "[a-z0-9.:\\[\\]-]{1,12}",
        timeout in "[0-9]{1,3}(ms|s|m|h)",
    ) {
        let text = format!("[[plugin]]\nname = 'a'\nversion = '{version}'\nhosts = ['{host}']\nlimits.timeout = '{timeout}'");
        if Policy::parse(&text).is_ok() {
            prop_assert_eq!(matches_schema(&text), Ok(()));
        }
    }
}
