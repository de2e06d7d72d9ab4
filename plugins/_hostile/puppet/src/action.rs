//! What the puppet can be told to do.

use std::fmt::Debug;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{call, harm};

/// In the configuration as the name alone, or as `{"name": value}` where there is a value.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Turns for ever without asking the host for anything.
    Loop,
    /// Asks for the time for ever.
    LoopClock,
    /// Asks for so many random bytes at a time, for ever.
    LoopRandom(u64),
    /// Turns for so many million steps, then goes on.
    Spin(u64),
    /// Sleeps for so many seconds in the host.
    Sleep(f64),
    /// Makes timers for ever and keeps them all: each takes an entry in the host's table.
    HoardTimers,
    /// Allocates and touches so many bytes; what cannot be had traps.
    Allocate(usize),
    /// The same without touching them.
    Reserve(usize),
    /// Calls itself until the stack is full.
    Recurse,
    /// Executes `unreachable`.
    Trap,
    /// Panics with this message.
    Panic(String),
    /// Leaves by `wasi:cli/exit`.
    Exit(i32),
    /// Writes this to standard error.
    Print(String),
    /// Writes so many bytes to standard output, in lines of 100.
    PrintMany(u64),
    /// Writes to standard error for ever.
    PrintForever,
    /// Fails with the names and values of the environment, the arguments and what standard input holds, as JSON; each empty
    /// if the host is right.
    Environment,
    /// Fails with how often this instance was called, this call included: more than `1` is a reused instance.
    Count,
    /// Fails with what it was shown, as Rust prints it.
    Echo,
    /// Fails with this message.
    Fail(String),
    /// Fails with a message of so many bytes.
    FailLong(usize),
    /// Fails with a message that is not UTF-8.
    FailInvalid,
    /// Calls out; fails with what came back if `tell` is set, or if that was not a 2xx.
    Call(call::Call),
    /// Answers with this: as serde would write the type of the hook's answer in the generated bindings.
    Answer(Value),
    /// Answers with so many copies of the one element: inside the variant or the field of this name, if there is one.
    AnswerMany {
        element: Value,
        count: usize,
        wrap: Option<String>,
    },
    /// Answers with the answer, wherever it has the text `@long` replaced by so many `a`.
    AnswerLong { answer: Value, bytes: usize },
}

/// The actions for a function.
pub(crate) fn of(config: &str, function: &str) -> Result<Vec<Action>, String> {
    let mut config: serde_json::Map<String, Value> =
        serde_json::from_str(config).map_err(|e| e.to_string())?;
    let any = if function == "check-config" {
        None
    } else {
        config.remove("any")
    };
    match config.remove(function).or(any) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.into_iter().map(action).collect(),
        Some(one) => Ok(vec![action(one)?]),
    }
}

fn action(value: Value) -> Result<Action, String> {
    let text = value.to_string();
    serde_json::from_value(value).map_err(|e| format!("{text}: {e}"))
}

/// Does them in turn. None: no action answered.
pub(crate) fn play<T: DeserializeOwned>(
    actions: Vec<Action>,
    seen: &(impl Debug + ?Sized),
) -> Result<Option<T>, String> {
    for action in actions {
        match action {
            Action::Loop => harm::turn_for_ever(),
            Action::LoopClock => harm::ask_the_time_for_ever(),
            Action::LoopRandom(bytes) => harm::ask_for_random_for_ever(bytes),
            Action::Spin(million) => harm::spin(million),
            Action::Sleep(seconds) => std::thread::sleep(std::time::Duration::from_secs_f64(seconds)),
            Action::HoardTimers => harm::hoard_timers(),
            Action::Allocate(bytes) => harm::allocate(bytes, true),
            Action::Reserve(bytes) => harm::allocate(bytes, false),
            Action::Recurse => {
                harm::recurse(1);
            }
            Action::Trap => core::arch::wasm32::unreachable(),
            Action::Panic(message) => harm::fall_over(&message),
            Action::Exit(status) => std::process::exit(status),
            Action::Print(text) => eprintln!("{text}"),
            Action::PrintMany(bytes) => harm::print_many(bytes),
            Action::PrintForever => harm::print_for_ever(),
            Action::Environment => return Err(harm::environment()),
            Action::Count => return Err(harm::count()),
            Action::Echo => return Err(format!("{seen:?}")),
            Action::Fail(message) => return Err(message),
            Action::FailLong(bytes) => return Err("a".repeat(bytes)),
            Action::FailInvalid => return Err(harm::invalid_text()),
            Action::Call(call) => call.make()?,
            Action::Answer(answer) => return parse(answer),
            Action::AnswerMany { element, count, wrap } => {
                let list = Value::Array(vec![element; count]);
                return parse(match wrap.as_deref() {
                    // The one answer that is a record.
                    Some("changes") => serde_json::json!({ "changes": list, "warnings": [] }),
                    Some("warnings") => serde_json::json!({ "changes": [], "warnings": list }),
                    Some(variant) => serde_json::json!({ variant: list }),
                    None => list,
                });
            }
            Action::AnswerLong { answer, bytes } => {
                let long = "a".repeat(bytes);
                return parse(lengthen(answer, &long));
            }
        }
    }
    Ok(None)
}

fn parse<T: DeserializeOwned>(answer: Value) -> Result<Option<T>, String> {
    serde_json::from_value(answer)
        .map(Some)
        .map_err(|e| format!("not an answer of this hook: {e}"))
}

fn lengthen(value: Value, long: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("@long", long)),
        Value::Array(list) => list.into_iter().map(|each| lengthen(each, long)).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, each)| (key, lengthen(each, long)))
            .collect(),
        other => other,
    }
}
