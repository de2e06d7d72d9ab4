//! Holds a configuration against a plugin's JSON Schema, in a child process.
//!
//! A schema comes from whoever wrote the plugin, and references or nested alternatives make validation take as long as they like,
//! with no way to stop it from inside. A child with limits is simply ended. Nothing is ever fetched for a schema.

use std::{
    io::{self, Read as _, Write as _},
    process::{ExitCode, Stdio},
    time::Duration,
};

use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command};

/// The hidden subcommand of the child, for the binaries that ship.
pub const CHILD_COMMAND: &str = "check-schema";

const CPU_SECS_MAX: u64 = 2;
const MEMORY_BYTES_MAX: u64 = 512 << 20;
/// Of the child's whole life: it may have to wait for a processor.
const WALL_TIME_MAX: Duration = Duration::from_secs(20);
const PROBLEMS_MAX: usize = 32;
const MESSAGE_CHARS_MAX: usize = 512;
const PATTERN_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    schema: String,
    config: String,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// JSON Pointer into the configuration.
    pub path: String,
    pub message: String,
}

/// What is wrong with `config` by `schema`, both JSON. An empty schema takes no configuration at all. `checker` is the program, and
/// its arguments, that ends up in [`child`].
///
/// # Errors
/// If there can be no child, or what it says is nonsense.
pub async fn check(checker: &[String], schema: &str, config: &str) -> io::Result<Vec<Problem>> {
    if schema.trim().is_empty() {
        return Ok(match config.trim() {
            "{}" | "" => Vec::new(),
            _ => vec![problem("", "the plugin takes no configuration: leave it out")],
        });
    }
    let question = Question {
        schema: schema.to_owned(),
        config: config.to_owned(),
    };
    let question = serde_json::to_vec(&question)?;
    let answer = tokio::time::timeout(WALL_TIME_MAX, ask(checker, &question)).await;
    let Ok(answer) = answer else {
        return Ok(vec![too_costly()]);
    };
    let (succeeded, answer) = answer?;
    match succeeded {
        true => Ok(serde_json::from_slice(&answer)?),
        false => Ok(vec![too_costly()]),
    }
}

async fn ask(checker: &[String], question: &[u8]) -> io::Result<(bool, Vec<u8>)> {
    let (program, arguments) = checker.split_first().ok_or(io::ErrorKind::NotFound)?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that ended early says why by its status.
        let _ = stdin.write_all(question).await;
    }
    let output = child.wait_with_output().await?;
    Ok((output.status.success(), output.stdout))
}

/// The child's whole work: a question on standard input, what is wrong on standard output.
pub fn child() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn answer() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CPU, CPU_SECS_MAX, CPU_SECS_MAX)?;
    setrlimit(Resource::RLIMIT_AS, MEMORY_BYTES_MAX, MEMORY_BYTES_MAX)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let mut text = Vec::new();
    io::stdin().lock().read_to_end(&mut text)?;
    let question: Question = serde_json::from_slice(&text)?;
    let problems = problems(&question.schema, &question.config);
    io::stdout().lock().write_all(&serde_json::to_vec(&problems)?)
}

fn problems(schema: &str, config: &str) -> Vec<Problem> {
    let Ok(schema) = serde_json::from_str::<Value>(schema) else {
        return vec![problem(
            "",
            "the plugin's own schema is not JSON: it needs mending",
        )];
    };
    let Ok(config) = serde_json::from_str::<Value>(config) else {
        return vec![problem("", "must be JSON")];
    };
    let built = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .offline()
        // Patterns in linear time: no look-around, no back-references.
        .with_pattern_options(jsonschema::PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
        .build(&schema);
    match built {
        Ok(validator) => validator
            .iter_errors(&config)
            .take(PROBLEMS_MAX)
            .map(|error| problem(error.instance_path().as_str(), &error.to_string()))
            .collect(),
        Err(error) => vec![problem(
            "",
            &format!("the plugin's own schema cannot be used: {error}"),
        )],
    }
}

fn problem(path: &str, message: &str) -> Problem {
    Problem {
        path: path.to_owned(),
        message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
    }
}

fn too_costly() -> Problem {
    problem(
        "",
        "could not be held against the plugin's schema: that takes too long or too much memory",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{
        "type": "object",
        "properties": {"allow": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}}},
        "required": ["allow"],
        "additionalProperties": false
    }"#;

    #[test]
    fn each_problem_has_its_pointer() {
        assert_eq!(problems(SCHEMA, r#"{"allow": ["debian"]}"#), []);
        let wrong = problems(SCHEMA, r#"{"allow": ["debian", 7, "A"], "deny": []}"#);
        let mut paths: Vec<&str> = wrong.iter().map(|problem| problem.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["", "/allow/1", "/allow/2"]);
        assert!(wrong.iter().any(|problem| problem.message.contains("deny")));
    }

    #[test]
    fn a_schema_that_is_none_is_the_plugins_fault_and_nothing_is_fetched() {
        for schema in [
            "{",
            r#"{"type": 7}"#,
            r#"{"$ref": "https://127.0.0.1:1/schema.json"}"#,
            r#"{"$ref": "file:///etc/hostname"}"#,
        ] {
            let found = problems(schema, "{}");
            assert!(found[0].message.contains("the plugin's own schema"), "{found:?}");
        }
    }

    #[tokio::test]
    async fn a_plugin_without_a_schema_takes_no_configuration() {
        assert_eq!(check(&[], "", "{}").await.unwrap(), []);
        let found = check(&[], " ", r#"{"a": 1}"#).await.unwrap();
        assert!(found[0].message.contains("takes no configuration"));
    }
}
