//! One `[[plugin]]` of a policy's document.

use std::{collections::BTreeSet, time::Duration};

use toml::Value;

use super::{
    CONFIG_BYTES_MAX, CallLimits, Entry, HOSTS_MAX, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, Mode, OnFailure, Pin,
    Settings, TIMEOUT_MAX, TIMEOUT_MIN,
    document::{Problems, Section, unknown},
};
use crate::hook::Hook;

pub(super) const KEYS: [&str; 9] = [
    "name",
    "digest",
    "version",
    "hooks",
    "mode",
    "on_failure",
    "hosts",
    "config",
    "limits",
];
pub(super) const LIMIT_KEYS: [&str; 2] = ["timeout", "memory"];
const NAME_BYTES_MAX: usize = 63;
const HOST_BYTES_MAX: usize = 253;

/// None if anything without a default is missing or wrong; then a problem says so.
pub(super) fn read(section: &Section<'_>, found: &mut Problems) -> Option<Entry> {
    section.refuse_unknown_keys(&KEYS, found);
    let plugin = name(section, found);
    let pin = pin(section, found);
    let hooks = hooks(section, found);
    let modes = [("enforce", Mode::Enforce), ("monitor", Mode::Monitor)];
    let failures = [("reject", OnFailure::Reject), ("ignore", OnFailure::Ignore)];
    let settings = Settings {
        mode: choice(section, "mode", &modes, found).unwrap_or_default(),
        on_failure: choice(section, "on_failure", &failures, found).unwrap_or_default(),
        hosts: hosts(section, found),
        config: config(section, found),
        limits: limits(section, found),
    };
    Some(Entry {
        plugin: plugin?,
        pin: pin?,
        hooks,
        settings,
    })
}

fn name(section: &Section<'_>, found: &mut Problems) -> Option<String> {
    let place = section.place_of("name");
    if !section.table.contains_key("name") {
        found.add(&place, "is required: the plugin's name, such as \"base-images\"");
    }
    let name = section.text("name", found)?;
    let well_formed = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !well_formed {
        found.add(
            &place,
            format!("must be 1 to {NAME_BYTES_MAX} lower-case letters, digits and '-'"),
        );
    }
    well_formed.then(|| name.to_owned())
}

fn pin(section: &Section<'_>, found: &mut Problems) -> Option<Pin> {
    let has = |key| section.table.contains_key(key);
    if has("digest") == has("version") {
        let description = "exactly one of digest and version is required";
        found.add(&section.place, description);
    }
    let digest = section.text("digest", found).and_then(|text| {
        let place = section.place_of("digest");
        let wrong = |invalid: crate::ids::InvalidId| found.add(&place, format!("must be {}", invalid.form));
        text.parse().map(Pin::Digest).map_err(wrong).ok()
    });
    let version = section.text("version", found).and_then(|text| {
        let place = section.place_of("version");
        let wrong = |_| found.add(&place, "must be one semantic version, such as \"1.2.0\"");
        text.parse().map(Pin::Version).map_err(wrong).ok()
    });
    digest.or(version)
}

fn hooks(section: &Section<'_>, found: &mut Problems) -> Option<BTreeSet<Hook>> {
    let texts = section.texts("hooks", found)?;
    if texts.is_empty() {
        let description = "must name at least one hook; leave it out for all that the plugin has";
        found.add(&section.place_of("hooks"), description);
    }
    let mut hooks = BTreeSet::new();
    for (place, text) in texts {
        match text.parse::<Hook>() {
            Ok(hook) if hooks.insert(hook) => {}
            Ok(_) => found.add(&place, "is there twice"),
            Err(_) => found.add(&place, unknown(text, &Hook::ALL.map(Hook::as_str))),
        }
    }
    Some(hooks)
}

/// The value that the text under `key` stands for.
fn choice<T: Copy>(section: &Section<'_>, key: &str, words: &[(&str, T)], found: &mut Problems) -> Option<T> {
    let text = section.text(key, found)?;
    let chosen = words.iter().find(|(word, _)| *word == text);
    if chosen.is_none() {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        found.add(&section.place_of(key), unknown(text, &known));
    }
    chosen.map(|(_, value)| *value)
}

fn hosts(section: &Section<'_>, found: &mut Problems) -> Vec<String> {
    let Some(texts) = section.texts("hosts", found) else {
        return Vec::new();
    };
    if texts.len() > HOSTS_MAX {
        found.add(&section.place_of("hosts"), format!("must be at most {HOSTS_MAX}"));
        return Vec::new();
    }
    let mut hosts = Vec::new();
    for (place, text) in texts {
        let host = text.to_ascii_lowercase();
        // The runtime reads a grant the same way.
        if !is_host(host.strip_prefix("http://").unwrap_or(&host)) {
            found.add(
                &place,
                "must be a host with an optional port, such as hooks.example.com or hooks.example.com:8443, reached by https; \
                 http://hooks.example.com for plain http; no path, no wildcard",
            );
        } else if hosts.contains(&host) {
            found.add(&place, "is there twice");
        } else {
            hosts.push(host);
        }
    }
    hosts
}

/// A DNS name or an address in its usual form, with an optional port. An address in another form (`0x7f.1`) is none:
/// what is granted should be what it looks like.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_fits = port.is_none_or(|port| {
        let number = port.parse::<u16>().is_ok_and(|number| number > 0);
        number && !port.starts_with(['0', '+'])
    });
    let canonical = match url::Host::parse(host) {
        Ok(url::Host::Domain(name)) => {
            let label = |label: &str| {
                (1..=63).contains(&label.len())
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            };
            name == host && name.split('.').all(label)
        }
        Ok(address) => address.to_string() == host,
        Err(_) => false,
    };
    port_fits && canonical && host.len() <= HOST_BYTES_MAX
}

/// As JSON text; `{}` without one.
fn config(section: &Section<'_>, found: &mut Problems) -> String {
    let none = "{}".to_owned();
    let place = section.place_of("config");
    let json = match section.table.get("config") {
        None => return none,
        Some(table @ Value::Table(_)) => json(table, &place, found),
        Some(_) => {
            found.add(&place, "must be a table: write [plugin.config] above its keys");
            return none;
        }
    };
    let text = json.to_string();
    if text.len() > CONFIG_BYTES_MAX {
        found.add(
            &place,
            format!("must be at most {CONFIG_BYTES_MAX} bytes as JSON"),
        );
        return none;
    }
    text
}

/// JSON knows no dates, which become strings, and no endless numbers, which are refused.
fn json(value: &Value, place: &str, found: &mut Problems) -> serde_json::Value {
    match value {
        Value::String(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => {
            if !number.is_finite() {
                found.add(place, "must be a finite number: it is handed over as JSON");
            }
            (*number).into()
        }
        Value::Boolean(yes) => (*yes).into(),
        Value::Datetime(date) => date.to_string().into(),
        Value::Array(values) => (0_usize..)
            .zip(values)
            .map(|(index, value)| json(value, &format!("{place}[{index}]"), found))
            .collect(),
        Value::Table(table) => {
            let section = Section {
                table,
                place: place.to_owned(),
            };
            let pair =
                |(key, value): (&String, &Value)| (key.clone(), json(value, &section.place_of(key), found));
            table.iter().map(pair).collect()
        }
    }
}

fn limits(section: &Section<'_>, found: &mut Problems) -> CallLimits {
    let place = section.place_of("limits");
    let default = CallLimits::default();
    let table = match section.table.get("limits") {
        None => return default,
        Some(Value::Table(table)) => table,
        Some(_) => {
            found.add(&place, "must be a table: write [plugin.limits] above its keys");
            return default;
        }
    };
    let limits = Section { table, place };
    limits.refuse_unknown_keys(&LIMIT_KEYS, found);
    let range = (TIMEOUT_MIN.as_millis(), TIMEOUT_MAX.as_millis());
    let timeout =
        quantity(&limits, "timeout", &TIMES, range, "10ms to 60s", found).map(Duration::from_millis);
    let range = (MEMORY_BYTES_MIN.into(), MEMORY_BYTES_MAX.into());
    let memory = quantity(&limits, "memory", &SIZES, range, "1MiB to 512MiB", found);
    CallLimits {
        timeout: timeout.unwrap_or(default.timeout),
        memory_bytes: memory.unwrap_or(default.memory_bytes),
    }
}

/// In milliseconds.
const TIMES: [(&str, u128); 3] = [("ms", 1), ("s", 1000), ("m", 60_000)];
const SIZES: [(&str, u128); 2] = [("KiB", 1 << 10), ("MiB", 1 << 20)];

/// A whole number and a unit, in the least unit.
fn quantity(
    section: &Section<'_>,
    key: &str,
    units: &[(&str, u128)],
    (min, max): (u128, u128),
    bounds: &str,
    found: &mut Problems,
) -> Option<u64> {
    let text = section.text(key, found)?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| *factor);
    // Nine digits hold every number within the bounds, and no product of one overflows.
    let number = number.parse::<u128>().ok().filter(|_| digits <= 9);
    let amount = number.zip(factor).map(|(number, factor)| number * factor);
    let fits = amount.filter(|amount| (min..=max).contains(amount));
    if fits.is_none() {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        found.add(
            &section.place_of(key),
            format!(
                "must be a whole number with a unit ({}), from {bounds}",
                names.join(", ")
            ),
        );
    }
    fits.and_then(|amount| u64::try_from(amount).ok())
}
