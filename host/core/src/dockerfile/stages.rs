//! What each FROM builds on, as Kaniko works it out (`pkg/dockerfile/dockerfile.go`, `pkg/image/image_util.go`).
//!
//! The variables of a base are expanded twice, with different values: first those of build args up to a second `=`, empty
//! ones left out; then all of them, and ARGs without a value as empty. An earlier stage is looked for in between.

use std::collections::{BTreeMap, HashMap};

use super::{
    Base, Instruction, ParseError,
    lex::{self, LexError, Lookup, Mode},
    words,
};
use crate::spec::ArgValue;

/// Of all values together that are worked out for one Dockerfile. Values can double with each ARG.
const EXPANDED_CHARS_MAX: usize = 4 << 20;
/// References are shorter; so is every value that makes part of one.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// The parts of a FROM, as written.
pub(super) struct From {
    pub(super) base: String,
    pub(super) name: Option<String>,
    pub(super) platform: Option<String>,
}

/// A value, or None if it may not or cannot be known.
type Value = Option<String>;
type Values = HashMap<String, Value>;

/// `FROM base [AS name]`
pub(super) fn from(instruction: &Instruction) -> Result<From, ParseError> {
    let wrong = |message: &str| ParseError {
        line: instruction.line,
        message: message.to_owned(),
    };
    let (base, name) = match &words::plain_words(&instruction.arguments)[..] {
        [base] => (*base, None),
        [base, keyword, name] if is_as(keyword) => (*base, Some(*name)),
        _ => return Err(wrong("FROM takes a base, or a base, AS and a name")),
    };
    if name.is_some_and(|name| !is_stage_name(&words::lower(name))) {
        return Err(wrong(
            "the name of a stage must begin with a letter and hold letters, digits, '-', '_' and '.'",
        ));
    }
    let mut platforms = instruction
        .flags
        .iter()
        .rev()
        .filter_map(|flag| flag.strip_prefix("--platform="));
    Ok(From {
        base: base.to_owned(),
        name: name.map(str::to_owned),
        platform: platforms.next().map(str::to_owned),
    })
}

/// By Go's `strings.EqualFold`, for which `ſ` is an `s`.
fn is_as(keyword: &str) -> bool {
    keyword.eq_ignore_ascii_case("as") || words::lower(keyword) == "aſ"
}

/// `^[a-z][a-z0-9-_.]*$`
fn is_stage_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(inner)
}

/// The base of each FROM, in order.
pub(super) fn bases(
    global_args: &[Instruction],
    froms: &[From],
    escape: char,
    build_args: &BTreeMap<String, ArgValue>,
) -> Result<Vec<Base>, ParseError> {
    let given: Values = build_args
        .iter()
        .map(|(name, value)| {
            (
                name.clone(),
                (!value.is_secret()).then(|| value.reveal().to_owned()),
            )
        })
        .collect();
    let mut budget = EXPANDED_CHARS_MAX;
    let declared = declared(global_args, escape, &given, &mut budget)?;
    let first = first_values(&declared, &given);
    let second = second_values(&declared, &given);
    // The name of a stage without one is empty, and the first stage of a name counts.
    let mut stages: HashMap<String, u32> = HashMap::new();
    let mut bases = Vec::new();
    for (index, from) in (0_u32..).zip(froms) {
        bases.push(base(&from.base, &first, &second, &stages, &mut budget));
        let name = from.name.as_deref().map(words::lower).unwrap_or_default();
        stages.entry(name).or_insert(index);
    }
    Ok(bases)
}

fn base(
    written: &str,
    first: &Values,
    second: &Values,
    stages: &HashMap<String, u32>,
    budget: &mut usize,
) -> Base {
    let unresolved = || Base::Unresolved(written.to_owned());
    let Some(once) = expand(written, first, budget) else {
        return unresolved();
    };
    let stage = stages.get(&words::lower(&once)).copied();
    match (once.as_str(), stage) {
        // A stage may be named scratch, and then it depends.
        ("scratch", Some(_)) => return unresolved(),
        (_, Some(stage)) => return Base::Stage(stage),
        (_, None) => {}
    }
    match expand(&once, second, budget) {
        None => unresolved(),
        Some(twice) => match (once.as_str(), twice.as_str()) {
            (_, "") => unresolved(),
            ("scratch", "scratch") => Base::Scratch,
            // It is taken for an image in one place and for none in the other.
            (_, "scratch") => unresolved(),
            _ => Base::Image(twice),
        },
    }
}

/// ARGs before the first FROM with their defaults, these expanded, in order. None as the default if there is none.
fn declared(
    global_args: &[Instruction],
    escape: char,
    given: &Values,
    budget: &mut usize,
) -> Result<Vec<(String, Option<Value>)>, ParseError> {
    let mut declared = Vec::new();
    let mut before = Values::new();
    for instruction in global_args {
        for word in words::quoted_words(&instruction.arguments, escape) {
            let Some((name, default)) = word.split_once('=') else {
                declared.push((word, None));
                continue;
            };
            let default = without_quotes(default).ok_or_else(|| ParseError {
                line: instruction.line,
                message: format!("the quotes around the value of {name:?} do not match"),
            })?;
            let lookup = |name: &str| lookup(given.get(name).or_else(|| before.get(name)));
            let value = expand_with(default, &lookup, budget);
            before.insert(name.to_owned(), value.clone());
            declared.push((name.to_owned(), Some(value)));
        }
    }
    Ok(declared)
}

fn first_values(declared: &[(String, Option<Value>)], given: &Values) -> Values {
    let mut values: Values = declared
        .iter()
        .filter_map(|(name, default)| Some((name.clone(), default.clone()?)))
        .collect();
    for (name, value) in given {
        // What stands behind a second `=` is lost, and an empty value counts as none.
        let cut = value
            .as_ref()
            .map(|value| value.split('=').next().unwrap_or_default());
        if cut != Some("") {
            values.insert(name.clone(), cut.map(str::to_owned));
        }
    }
    values
}

fn second_values(declared: &[(String, Option<Value>)], given: &Values) -> Values {
    let empty = || Some(String::new());
    let defaults = declared
        .iter()
        .map(|(name, default)| (name.clone(), default.clone().unwrap_or_else(empty)));
    let mut values: Values = defaults.collect();
    values.extend(given.iter().map(|(name, value)| (name.clone(), value.clone())));
    values
}

fn lookup(value: Option<&Value>) -> Lookup {
    match value {
        None => Lookup::Unset,
        Some(None) => Lookup::Hidden,
        Some(Some(value)) => Lookup::Value(value.clone()),
    }
}

fn expand(text: &str, values: &Values, budget: &mut usize) -> Value {
    expand_with(text, &|name| lookup(values.get(name)), budget)
}

/// None too where the builder fails.
fn expand_with(text: &str, lookup: &dyn Fn(&str) -> Lookup, budget: &mut usize) -> Value {
    if text.len() > VALUE_BYTES_MAX {
        return None;
    }
    match lex::process(text, Mode::default(), lookup, budget) {
        Ok((value, _)) => Some(value).filter(|value| value.len() <= VALUE_BYTES_MAX),
        Err(LexError::Syntax | LexError::Unknown | LexError::TooMuch) => None,
    }
}

/// Without the quotes around it, if they are not escaped; None if they do not match.
fn without_quotes(value: &str) -> Option<&str> {
    const QUOTES: [char; 2] = ['\'', '"'];
    if value.len() < 2 {
        return Some(value);
    }
    let escaped = |text: &str| text == "\\'" || text == "\\\"";
    let leader = match value.get(..2).filter(|leader| escaped(leader)) {
        Some(leader) => leader,
        None => value
            .get(..1)
            .filter(|leader| leader.starts_with(QUOTES))
            .unwrap_or(""),
    };
    let tail = match leader.len() {
        2 => value.get(value.len() - 2..).filter(|tail| escaped(tail)),
        _ => value
            .get(value.len() - 1..)
            .filter(|tail| tail.starts_with(QUOTES)),
    };
    if leader != tail.unwrap_or("") {
        return None;
    }
    match leader.len() {
        1 => value.get(1..value.len() - 1),
        _ => Some(value),
    }
}
