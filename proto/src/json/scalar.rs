//! One scalar of proto3 JSON: is it of the field's type, and what is its plain form?

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost_reflect::{EnumDescriptor, Kind};
use serde_json::{Number, Value};

use super::walk::kind_of;

const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, ANY_PADDING);

/// The value as the generated code takes it, or what it must be. The description never repeats a string value:
/// it may be a secret.
pub(super) fn check(value: Value, kind: &Kind) -> Result<Value, String> {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => integer(&value, i32::MIN.into(), i32::MAX.into()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => integer(&value, i64::MIN.into(), i64::MAX.into()),
        Kind::Uint32 | Kind::Fixed32 => integer(&value, 0, u32::MAX.into()),
        Kind::Uint64 | Kind::Fixed64 => integer(&value, 0, u64::MAX.into()),
        Kind::Double | Kind::Float => match value {
            Value::Number(_) | Value::String(_) => Ok(value),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                Err(format!("must be a number, not {}", kind_of(&value)))
            }
        },
        Kind::Bool if value.is_boolean() => Ok(value),
        Kind::Bool => Err(format!("must be true or false, not {}", kind_of(&value))),
        Kind::String if value.is_string() => Ok(value),
        Kind::String => Err(format!("must be a string, not {}", kind_of(&value))),
        Kind::Bytes => bytes(value),
        Kind::Enum(descriptor) => enumeration(value, descriptor),
        Kind::Message(descriptor) => Err(format!("must be a {}", descriptor.name())),
    }
}

fn integer(value: &Value, min: i128, max: i128) -> Result<Value, String> {
    let whole = match value {
        Value::Number(number) => whole(number),
        Value::String(digits) => digits.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let number = whole
        .filter(|whole| (min..=max).contains(whole))
        .and_then(Number::from_i128);
    number.map(Value::Number).ok_or_else(|| match value {
        // Of a string only its digits were wrong, and it may come from a query, where all is strings.
        Value::String(_) => format!("must be a whole number from {min} to {max}"),
        other => format!("must be a whole number from {min} to {max}, not {}", shown(other)),
    })
}

/// `1e2` and `100.0` as 100; nothing with a fraction, and no float past 2^53, where floats stop being exact.
#[allow(clippy::cast_possible_truncation, reason = "checked: whole and within 2^53")]
fn whole(number: &Number) -> Option<i128> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if let Some(exact) = number.as_i128() {
        return Some(exact);
    }
    let float = number.as_f64()?;
    (float.fract() == 0.0 && float.abs() <= EXACT_MAX).then_some(float as i128)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        other @ (Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
            kind_of(other).to_owned()
        }
    }
}

fn bytes(value: Value) -> Result<Value, String> {
    let Value::String(text) = value else {
        return Err(format!("must be base64 in a string, not {}", kind_of(&value)));
    };
    // The generated code decodes the same two ways; tried here because only here the field's path is known.
    if STANDARD.decode(&text).is_ok() || URL_SAFE.decode(&text).is_ok() {
        Ok(Value::String(text))
    } else {
        Err("is not base64".to_owned())
    }
}

fn enumeration(value: Value, descriptor: &EnumDescriptor) -> Result<Value, String> {
    let known = match &value {
        Value::String(name) => descriptor.get_value_by_name(name).is_some(),
        Value::Number(number) => whole(number)
            .and_then(|number| i32::try_from(number).ok())
            .is_some_and(|number| descriptor.get_value(number).is_some()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    };
    if !known {
        let names: Vec<String> = descriptor.values().map(|value| value.name().to_owned()).collect();
        return Err(format!("must be one of {}, or its number", names.join(", ")));
    }
    Ok(match value {
        Value::Number(number) => whole(&number)
            .and_then(Number::from_i128)
            .map_or(Value::Null, Value::Number),
        other @ (Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
            other
        }
    })
}
