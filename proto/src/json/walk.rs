//! Walks a JSON value along a message's descriptor: collects what is wrong, rewrites what is legal but unusual.

use std::collections::BTreeMap;

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::{Violation, scalar};

/// `value` in the one form that the generated code takes. What it returns is of use only if nothing was added to `violations`.
pub(super) fn message(
    value: Value,
    descriptor: &MessageDescriptor,
    path: &str,
    violations: &mut Vec<Violation>,
) -> Value {
    let Value::Object(fields) = value else {
        violations.push(violation(
            path,
            format!("must be an object, not {}", kind_of(&value)),
        ));
        return Value::Null;
    };
    let mut walked = Map::new();
    let mut oneofs = BTreeMap::new();
    for (name, value) in fields {
        let Some(field) = find(descriptor, &name) else {
            violations.push(unknown(descriptor, path, &name));
            continue;
        };
        if value.is_null() {
            continue;
        }
        let field_path = join(path, field.name());
        if let Some(oneof) = field.containing_oneof()
            && let Some(other) = oneofs.insert(oneof.full_name().to_owned(), field.name().to_owned())
            && other != field.name()
        {
            violations.push(violation(
                &field_path,
                format!("cannot be combined with {other}: send one of them"),
            ));
        }
        let json_name = field.json_name().to_owned();
        if walked.contains_key(&json_name) {
            violations.push(violation(&field_path, "is there twice".to_owned()));
        }
        let value = value_of(value, &field, &field_path, violations);
        walked.insert(json_name, value);
    }
    Value::Object(walked)
}

/// The field of that camelCase or snake_case name.
pub(super) fn find(descriptor: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    descriptor
        .get_field_by_json_name(name)
        .or_else(|| descriptor.get_field_by_name(name))
}

pub(super) fn unknown(descriptor: &MessageDescriptor, path: &str, name: &str) -> Violation {
    let near = descriptor
        .fields()
        .map(|field| (strsim::jaro_winkler(field.name(), name), field.name().to_owned()))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let hint = near.map_or_else(String::new, |(_, near)| format!("; did you mean {near}?"));
    violation(
        &join(path, name),
        format!("{} has no such field{hint}", descriptor.name()),
    )
}

fn value_of(value: Value, field: &FieldDescriptor, path: &str, violations: &mut Vec<Violation>) -> Value {
    if field.is_map() {
        return map(value, field, path, violations);
    }
    match field.cardinality() {
        Cardinality::Repeated => list(value, &field.kind(), path, violations),
        Cardinality::Optional | Cardinality::Required => single(value, &field.kind(), path, violations),
    }
}

fn list(value: Value, kind: &Kind, path: &str, violations: &mut Vec<Violation>) -> Value {
    let Value::Array(items) = value else {
        violations.push(violation(
            path,
            format!("must be a list, not {}", kind_of(&value)),
        ));
        return Value::Null;
    };
    let walked = items
        .into_iter()
        .enumerate()
        .map(|(index, item)| single(item, kind, &format!("{path}[{index}]"), violations))
        .collect();
    Value::Array(walked)
}

fn map(value: Value, field: &FieldDescriptor, path: &str, violations: &mut Vec<Violation>) -> Value {
    let Value::Object(entries) = value else {
        violations.push(violation(
            path,
            format!("must be an object, not {}", kind_of(&value)),
        ));
        return Value::Null;
    };
    let kind = match field.kind() {
        Kind::Message(entry) => entry.map_entry_value_field().kind(),
        scalar => scalar,
    };
    let walked = entries
        .into_iter()
        .map(|(key, item)| {
            let item = single(item, &kind, &format!("{path}[{key:?}]"), violations);
            (key, item)
        })
        .collect();
    Value::Object(walked)
}

fn single(value: Value, kind: &Kind, path: &str, violations: &mut Vec<Violation>) -> Value {
    if let Kind::Message(descriptor) = kind {
        return message(value, descriptor, path, violations);
    }
    scalar::check(value, kind).unwrap_or_else(|description| {
        violations.push(violation(path, description));
        Value::Null
    })
}

pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

pub(super) fn violation(path: &str, description: String) -> Violation {
    let field = if path.is_empty() { "body" } else { path };
    Violation {
        field: field.to_owned(),
        description,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
