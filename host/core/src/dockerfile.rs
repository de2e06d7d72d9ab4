//! What a Dockerfile says, read as Kaniko reads it.
//!
//! Kaniko uses BuildKit's parser and expands the variables of a FROM itself, twice. Both are followed here step for step; the
//! corpus beside this file holds what they themselves make of it (`tests/env/dockerfile-ast`).

use std::collections::BTreeMap;

use crate::spec::ArgValue;

mod lex;
mod lines;
mod secrets;
mod stages;
mod words;

#[cfg(test)]
mod tests;

pub use secrets::{SecretMounts, SecretUse};

/// A Dockerfile that Kaniko would not take either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    pub line: u32,
    pub message: String,
}

/// A parsed Dockerfile, its stages' bases resolved as far as they can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    pub text: String,
    /// ARGs before the first FROM.
    pub global_args: Vec<Instruction>,
    pub stages: Vec<Stage>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub name: Option<String>,
    pub base: Base,
    pub platform: Option<String>,
    /// Of the FROM, from 1.
    pub line: u32,
    pub instructions: Vec<Instruction>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    Scratch,
    /// Index of an earlier stage.
    Stage(u32),
    Image(String),
    /// Depends on an argument without a value or with a secret one; as written.
    Unresolved(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Upper case.
    pub keyword: String,
    pub flags: Vec<String>,
    pub arguments: String,
    pub heredocs: Vec<String>,
    /// Of its first line, from 1.
    pub line: u32,
}

/// Reads `text`, with `build_args` over the defaults of its ARGs where a FROM names variables.
///
/// Never says of a base what the builder would read otherwise: what is not certain is [`Base::Unresolved`]. What is wrong
/// further inside an instruction (the form of an ENV, an unknown flag) is not looked for.
///
/// # Errors
/// Names the line and what is wrong. Nearly always the builder fails on it too; but whoever judges a Dockerfile should refuse
/// one that does not parse rather than let it pass unseen.
pub fn parse(text: &str, build_args: &BTreeMap<String, ArgValue>) -> Result<Dockerfile, ParseError> {
    let (instructions, escape) = lines::read(text)?;
    let mut global_args = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    let mut froms = Vec::new();
    for instruction in instructions {
        match (instruction.keyword.as_str(), stages.last_mut()) {
            ("FROM", _) => {
                let from = stages::from(&instruction)?;
                stages.push(Stage {
                    name: from.name.clone(),
                    base: Base::Unresolved(from.base.clone()),
                    platform: from.platform.clone(),
                    line: instruction.line,
                    instructions: Vec::new(),
                });
                froms.push(from);
            }
            (_, Some(stage)) => stage.instructions.push(instruction),
            ("ARG", None) => global_args.push(instruction),
            (keyword, None) => {
                return Err(ParseError {
                    line: instruction.line,
                    message: format!("{keyword} before the first FROM: only ARG may stand there"),
                });
            }
        }
    }
    if stages.is_empty() {
        return Err(ParseError {
            line: 1,
            message: "there is no FROM".to_owned(),
        });
    }
    let bases = stages::bases(&global_args, &froms, escape, build_args)?;
    for (stage, base) in stages.iter_mut().zip(bases) {
        stage.base = base;
    }
    Ok(Dockerfile {
        text: text.to_owned(),
        global_args,
        stages,
    })
}
