//! From one pattern to what matches it.

use std::{iter::Peekable, str::Chars};

use regex::Regex;

use super::Kind;

const MALFORMED: &str =
    "malformed pattern: '[' needs a ']', a range two ends in order, and '\\' a character after it";

pub(super) fn compile(pattern: &str) -> Result<Kind, &'static str> {
    let mut regex = String::from("^");
    let mut kind = Shape::Exact;
    let mut chars = pattern.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                kind = double_star(&mut chars, &mut regex, kind, first);
            }
            '*' => {
                regex.push_str("[^/]*");
                kind = Shape::Regex;
            }
            '?' => {
                regex.push_str("[^/]");
                kind = Shape::Regex;
            }
            '[' => {
                class(&mut chars, &mut regex)?;
                kind = Shape::Regex;
            }
            '\\' => {
                push_literal(&mut regex, chars.next().ok_or(MALFORMED)?);
                kind = Shape::Regex;
            }
            literal => push_literal(&mut regex, literal),
        }
        first = false;
    }
    Ok(match kind {
        Shape::Exact => Kind::Exact,
        Shape::Prefix => Kind::Prefix(pattern.strip_suffix("**").unwrap_or(pattern).to_owned()),
        Shape::Suffix => Kind::Suffix(pattern.strip_prefix("**").unwrap_or(pattern).to_owned()),
        Shape::Regex => {
            regex.push('$');
            Kind::Regex(Regex::new(&regex).map_err(|_| MALFORMED)?)
        }
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Exact,
    Prefix,
    Suffix,
    Regex,
}

/// `**`, with the slash after it if there is one.
fn double_star(chars: &mut Peekable<Chars<'_>>, regex: &mut String, kind: Shape, first: bool) -> Shape {
    chars.next_if_eq(&'/');
    let kind = match chars.peek() {
        None if kind == Shape::Exact => Shape::Prefix,
        None => {
            regex.push_str(".*");
            Shape::Regex
        }
        Some(_) => {
            regex.push_str("(.*/)?");
            Shape::Regex
        }
    };
    if first { Shape::Suffix } else { kind }
}

/// The rest of `[…]`, by the rules of Go's `filepath.Match`.
fn class(chars: &mut Peekable<Chars<'_>>, regex: &mut String) -> Result<(), &'static str> {
    regex.push('[');
    if chars.next_if_eq(&'^').is_some() {
        regex.push('^');
    }
    let mut empty = true;
    loop {
        if !empty && chars.next_if_eq(&']').is_some() {
            regex.push(']');
            return Ok(());
        }
        let low = class_char(chars)?;
        let high = match chars.next_if_eq(&'-') {
            Some(_) => class_char(chars)?,
            None => low,
        };
        if low > high {
            return Err(MALFORMED);
        }
        push_literal(regex, low);
        regex.push('-');
        push_literal(regex, high);
        empty = false;
    }
}

fn class_char(chars: &mut Peekable<Chars<'_>>) -> Result<char, &'static str> {
    match chars.next() {
        None | Some('-' | ']') => Err(MALFORMED),
        Some('\\') => chars.next().ok_or(MALFORMED),
        Some(c) => Ok(c),
    }
}

fn push_literal(regex: &mut String, c: char) {
    regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}
