//! proto3 JSON and query parameters in, as the specification has them.
//!
//! The generated code refuses legal forms (`null` for a scalar, list or map; integers written as `1e2` or `100.0`) and
//! stops at the first fault without saying where it is. So what it refuses is walked against the message's descriptor: that
//! names every fault by its field's path and leaves only what the generated code takes.

use std::fmt;

use prost_reflect::MessageDescriptor;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

mod query;
mod scalar;
#[cfg(test)]
mod tests;
mod walk;

/// Why a body or query is not the message it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// At least one.
    pub violations: Vec<Violation>,
}

/// One wrong field: which, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path in the message, in proto names: `git_source.url`, `tags[1]`, `build_args["A B"]`; `body` for the whole.
    pub field: String,
    pub description: String,
}

/// Decodes a message from proto3 JSON. An empty body means the empty message.
///
/// Names may be camelCase or snake_case; unknown ones are errors that name the field.
pub fn from_slice<T: DeserializeOwned + prost::Name>(body: &[u8]) -> Result<T, DecodeError> {
    from_slice_under(body, &[])
}

/// [`from_slice`], where `path` gives some string fields already, by proto name: the body must agree or leave them out.
pub fn from_slice_under<T: DeserializeOwned + prost::Name>(
    body: &[u8],
    path: &[(&str, &str)],
) -> Result<T, DecodeError> {
    // Most bodies are as the generated code wants them, and the walk costs several times as much as that.
    if path.is_empty()
        && let Ok(message) = serde_json::from_slice(body)
    {
        return Ok(message);
    }
    let mut value = if body.iter().all(u8::is_ascii_whitespace) {
        Value::Object(Map::new())
    } else {
        serde_json::from_slice(body)
            .map_err(|error| DecodeError::one("body", format!("is not JSON: {error}")))?
    };
    if let Value::Object(fields) = &mut value {
        bind_path(fields, path, &descriptor::<T>()?)?;
    }
    from_value(value)
}

/// Decodes a message from an already parsed value; see [`from_slice`].
pub fn from_value<T: DeserializeOwned + prost::Name>(value: Value) -> Result<T, DecodeError> {
    let mut violations = Vec::new();
    let walked = walk::message(value, &descriptor::<T>()?, "", &mut violations);
    if !violations.is_empty() {
        return Err(DecodeError { violations });
    }
    serde_json::from_value(walked).map_err(|error| DecodeError::one("body", error.to_string()))
}

/// Decodes a message from the pairs of a query string, already percent-decoded. For `path` see [`from_slice_under`].
///
/// Parameters bind like JSON fields, in either case style: `limit=5`, `statusFilter=BUILD_STATUS_FAILED`, `status_filter=4`,
/// `tags=a&tags=b`, `label_filter[team]=x`.
pub fn from_query<T, K, V>(
    pairs: impl IntoIterator<Item = (K, V)>,
    path: &[(&str, &str)],
) -> Result<T, DecodeError>
where
    T: DeserializeOwned + prost::Name,
    K: AsRef<str>,
    V: AsRef<str>,
{
    let descriptor = descriptor::<T>()?;
    let mut fields = query::bind(pairs, &descriptor)?;
    bind_path(&mut fields, path, &descriptor)?;
    from_value(Value::Object(fields))
}

fn bind_path(
    fields: &mut Map<String, Value>,
    path: &[(&str, &str)],
    descriptor: &MessageDescriptor,
) -> Result<(), DecodeError> {
    for (name, value) in path {
        let field = walk::find(descriptor, name)
            .ok_or_else(|| DecodeError::one(name, format!("{} has no such field", descriptor.name())))?;
        for spelling in [field.name(), field.json_name()] {
            match fields.remove(spelling) {
                None | Some(Value::Null) => {}
                Some(Value::String(given)) if given == *value => {}
                Some(_) => {
                    return Err(DecodeError::one(
                        name,
                        "differs from the one in the path".to_owned(),
                    ));
                }
            }
        }
        fields.insert(field.json_name().to_owned(), Value::from(*value));
    }
    Ok(())
}

fn descriptor<T: prost::Name>() -> Result<MessageDescriptor, DecodeError> {
    let name = T::full_name();
    crate::descriptor_pool()
        .get_message_by_name(&name)
        .ok_or_else(|| DecodeError::one("body", format!("{name} is not a message of this contract")))
}

// === impl DecodeError ===

impl DecodeError {
    fn one(field: &str, description: String) -> Self {
        Self {
            violations: vec![Violation {
                field: field.to_owned(),
                description,
            }],
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.violations.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

impl std::error::Error for DecodeError {}
