//! From text to instructions, as BuildKit's parser (`frontend/dockerfile/parser`) goes: directives, comments,
//! continuations, here-documents.

use std::iter::{Enumerate, Peekable};
use std::str::SplitInclusive;

use super::{
    Instruction, ParseError,
    lex::{self, LexError, Lookup, Mode},
    words,
};

const KEYWORDS: [&str; 18] = [
    "add",
    "arg",
    "cmd",
    "copy",
    "entrypoint",
    "env",
    "expose",
    "from",
    "healthcheck",
    "label",
    "maintainer",
    "onbuild",
    "run",
    "shell",
    "stopsignal",
    "user",
    "volume",
    "workdir",
];
const DIRECTIVES: [&str; 3] = ["syntax", "escape", "check"];

/// Directives are read until the first line that is none.
struct Directives {
    escape: char,
    seen: Vec<&'static str>,
    done: bool,
}

type Lines<'a> = Peekable<Enumerate<SplitInclusive<'a, char>>>;

/// All instructions, and the escape character.
pub(super) fn read(text: &str) -> Result<(Vec<Instruction>, char), ParseError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut directives = Directives {
        escape: '\\',
        seen: Vec::new(),
        done: false,
    };
    let mut instructions = Vec::new();
    let mut lines = text.split_inclusive('\n').enumerate().peekable();
    while let Some((index, first)) = lines.next() {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let first = trim_newline(first).trim_start();
        directives.read(first).map_err(|message| error(number, message))?;
        let first = if is_comment(first) { "" } else { first };
        let (start, mut goes_on) = continuation(first, directives.escape);
        if !goes_on && start.is_empty() {
            continue;
        }
        let mut line = start.to_owned();
        while goes_on && let Some((_, next)) = lines.next() {
            let next = trim_newline(next);
            if is_comment(next) || next.trim_start().is_empty() {
                continue;
            }
            let (part, more) = continuation(next, directives.escape);
            line.push_str(part);
            goes_on = more;
        }
        instructions.push(instruction(&line, number, directives.escape, &mut lines)?);
    }
    Ok((instructions, directives.escape))
}

fn instruction(
    line: &str,
    number: u32,
    escape: char,
    lines: &mut Lines<'_>,
) -> Result<Instruction, ParseError> {
    let command = words::split_command(line, escape);
    let keyword = words::lower(&command.keyword);
    if !KEYWORDS.contains(&keyword.as_str()) {
        let shown: String = command.keyword.chars().take(32).collect();
        return Err(error(number, format!("unknown instruction {shown:?}")));
    }
    let may_hold_heredocs = match keyword.as_str() {
        "onbuild" => {
            let inner = words::split_command(&command.arguments, escape);
            takes_heredocs(&words::lower(&inner.keyword), &inner.arguments)
        }
        keyword => takes_heredocs(keyword, &command.arguments),
    };
    let mut heredocs = Vec::new();
    if may_hold_heredocs && line.contains("<<") {
        for heredoc in heredocs_of(line).map_err(|message| error(number, message))? {
            heredocs.push(body(&heredoc, lines).ok_or_else(|| error(number, "unterminated here-document"))?);
        }
    }
    Ok(Instruction {
        keyword: keyword.to_ascii_uppercase(),
        flags: command.flags,
        arguments: command.arguments,
        heredocs,
        line: number,
    })
}

fn takes_heredocs(keyword: &str, arguments: &str) -> bool {
    matches!(keyword, "add" | "copy" | "run") && !words::is_json_of_strings(arguments)
}

struct Heredoc {
    terminator: String,
    /// Tabs before the terminator do not count.
    chomp: bool,
}

fn heredocs_of(line: &str) -> Result<Vec<Heredoc>, &'static str> {
    let mode = Mode {
        raw_quotes: true,
        raw_escapes: true,
        keep_variables: true,
    };
    let words = match lex_words(line, mode) {
        Ok(words) => words,
        // The builder looks no further either.
        Err(LexError::Syntax) => Vec::new(),
        Err(LexError::Unknown | LexError::TooMuch) => return Err("variables are nested too deep"),
    };
    let mut heredocs = Vec::new();
    for word in words {
        heredocs.extend(heredoc(&word)?);
    }
    Ok(heredocs)
}

/// `^(\d*)<<(-?)\s*([^<]*)$`, and what stands behind must be one word.
fn heredoc(word: &str) -> Result<Option<Heredoc>, &'static str> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = rest.strip_prefix("<<") else {
        return Ok(None);
    };
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let mode = Mode {
        keep_variables: true,
        ..Mode::default()
    };
    let refused = |_| "the word behind << cannot be read";
    let words = lex_words(rest, mode).map_err(refused)?;
    let [terminator] = &words[..] else {
        return Ok(None);
    };
    let quoted = Mode {
        raw_quotes: true,
        ..mode
    };
    match lex_words(rest, quoted).map_err(refused)?.len() {
        1 => Ok(Some(Heredoc {
            terminator: terminator.clone(),
            chomp,
        })),
        _ => Err("the word behind << cannot be read"),
    }
}

fn lex_words(text: &str, mode: Mode) -> Result<Vec<String>, LexError> {
    // Nothing is looked up, so what is nested is all that can grow.
    let mut budget = text.len().saturating_mul(64).saturating_add(4096);
    lex::process(text, mode, &|_| Lookup::Unset, &mut budget).map(|(_, words)| words)
}

/// The lines up to the terminator; None if it never comes.
fn body(heredoc: &Heredoc, lines: &mut Lines<'_>) -> Option<String> {
    let mut body = String::new();
    for (_, line) in lines.by_ref() {
        let end = trim_newline(line);
        let end = if heredoc.chomp {
            end.trim_start_matches('\t')
        } else {
            end
        };
        if end == heredoc.terminator {
            return Some(body);
        }
        body.push_str(line);
    }
    None
}

/// The line without its continuation mark, and whether it had one: an escape character at the end, white space behind it or
/// not, and no other escape character before it.
fn continuation(line: &str, escape: char) -> (&str, bool) {
    let marked = line.trim_end_matches([' ', '\t']);
    match marked.strip_suffix(escape) {
        Some(start) if !start.ends_with(escape) => (start, true),
        Some(_) | None => (line, false),
    }
}

fn trim_newline(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn error(line: u32, message: impl Into<String>) -> ParseError {
    ParseError {
        line,
        message: message.into(),
    }
}

// === impl Directives ===

impl Directives {
    fn read(&mut self, line: &str) -> Result<(), &'static str> {
        if self.done {
            return Ok(());
        }
        let Some((key, value)) = directive(line) else {
            self.done = true;
            return Ok(());
        };
        if self.seen.contains(&key) {
            return Err("a parser directive is there twice");
        }
        self.seen.push(key);
        match (key, value) {
            ("escape", "\\") => self.escape = '\\',
            ("escape", "`") => self.escape = '`',
            ("escape", _) => return Err("the escape directive must be ` or \\"),
            _ => {}
        }
        Ok(())
    }
}

/// `^([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$` behind the `#`; other keys than the known make it a comment.
fn directive(line: &str) -> Option<(&'static str, &str)> {
    const SPACES: [char; 5] = ['\t', '\n', '\u{c}', '\r', ' '];
    let line = line.strip_prefix('#')?.trim_start();
    let (key, value) = line.split_once('=')?;
    let key = key.trim_end_matches(SPACES);
    let known = DIRECTIVES.iter().find(|known| known.eq_ignore_ascii_case(key))?;
    let trimmed = value.trim_matches(SPACES);
    // White space alone is a value of one space.
    let trimmed = if trimmed.is_empty() {
        value.get(..1)?
    } else {
        trimmed
    };
    Some((known, trimmed))
}
