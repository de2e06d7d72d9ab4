//! Query parameters as the JSON object they stand for.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::{
    DecodeError, Violation,
    walk::{find, unknown, violation},
};

pub(super) fn bind<K: AsRef<str>, V: AsRef<str>>(
    pairs: impl IntoIterator<Item = (K, V)>,
    descriptor: &MessageDescriptor,
) -> Result<Map<String, Value>, DecodeError> {
    let mut bound = Map::new();
    let mut violations = Vec::new();
    for (parameter, text) in pairs {
        if let Err(violation) = bind_one(parameter.as_ref(), text.as_ref(), descriptor, &mut bound) {
            violations.push(violation);
        }
    }
    if violations.is_empty() {
        Ok(bound)
    } else {
        Err(DecodeError { violations })
    }
}

fn bind_one(
    parameter: &str,
    text: &str,
    descriptor: &MessageDescriptor,
    bound: &mut Map<String, Value>,
) -> Result<(), Violation> {
    let (name, key) = match parameter.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
        Some((name, key)) => (name, Some(key)),
        None => (parameter, None),
    };
    let field = find(descriptor, name).ok_or_else(|| unknown(descriptor, "", name))?;
    let twice = || violation(field.name(), "is there twice".to_owned());
    match key {
        Some(key) if field.is_map() => {
            let value = typed(text, &map_value_kind(&field));
            let entries = bound
                .entry(field.json_name())
                .or_insert_with(|| Value::Object(Map::new()));
            match entries
                .as_object_mut()
                .and_then(|entries| entries.insert(key.to_owned(), value))
            {
                Some(_) => Err(twice()),
                None => Ok(()),
            }
        }
        Some(_) => Err(violation(field.name(), "takes no [key]".to_owned())),
        None if field.is_map() => Err(violation(
            field.name(),
            format!("is a map: write {name}[key]=value"),
        )),
        None if matches!(field.kind(), Kind::Message(_)) => {
            Err(violation(field.name(), "cannot be given in the query".to_owned()))
        }
        None if field.is_list() => {
            let items = bound
                .entry(field.json_name())
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Some(items) = items.as_array_mut() {
                items.push(typed(text, &field.kind()));
            }
            Ok(())
        }
        None => match bound.insert(field.json_name().to_owned(), typed(text, &field.kind())) {
            Some(_) => Err(twice()),
            None => Ok(()),
        },
    }
}

fn map_value_kind(field: &FieldDescriptor) -> Kind {
    match field.kind() {
        Kind::Message(entry) => entry.map_entry_value_field().kind(),
        scalar => scalar,
    }
}

/// What JSON would not write as a string; all else is checked, and refused, as the string it is.
fn typed(text: &str, kind: &Kind) -> Value {
    match (kind, text) {
        (Kind::Bool, "true") => Value::Bool(true),
        (Kind::Bool, "false") => Value::Bool(false),
        (Kind::Enum(_), number) => number
            .parse::<i32>()
            .map_or_else(|_| Value::String(text.to_owned()), Value::from),
        (_, text) => Value::String(text.to_owned()),
    }
}
