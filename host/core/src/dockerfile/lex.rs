//! BuildKit's shell lexer (`frontend/dockerfile/shell/lex.go`), step for step: what it does with odd input decides which
//! image is built from and where a here-document ends, so its oddities are kept and named.

use std::sync::LazyLock;

use regex::Regex;

/// Of `${a:-${b:-…}}`.
const DEPTH_MAX: usize = 256;

/// What a variable is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lookup {
    Value(String),
    Unset,
    /// It may not or cannot be known.
    Hidden,
}

/// Why a word has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LexError {
    /// The builder refuses it too.
    Syntax,
    /// Depends on what is not known here, or on a substitution that is not done here.
    Unknown,
    /// It nests deeper or grows larger than is followed here.
    TooMuch,
}

/// How to read; the defaults are those for the value of a word.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mode {
    pub(super) raw_quotes: bool,
    pub(super) raw_escapes: bool,
    /// Variables stay as they are written.
    pub(super) keep_variables: bool,
}

pub(super) struct Lexer<'a> {
    chars: Vec<char>,
    at: usize,
    mode: Mode,
    lookup: &'a dyn Fn(&str) -> Lookup,
    /// Shared by nested words, which so forget what was collected around them.
    word: String,
    depth: usize,
    /// Characters that may still be written.
    budget: &'a mut usize,
}

/// The words of a text, as far as one call collects them.
#[derive(Default)]
struct Words {
    words: Vec<String>,
    in_word: bool,
}

/// The value of `text`, and its words.
pub(super) fn process(
    text: &str,
    mode: Mode,
    lookup: &dyn Fn(&str) -> Lookup,
    budget: &mut usize,
) -> Result<(String, Vec<String>), LexError> {
    let mut lexer = Lexer {
        // Go's scanner skips one at the very beginning.
        chars: text.strip_prefix('\u{feff}').unwrap_or(text).chars().collect(),
        at: 0,
        mode,
        lookup,
        word: String::new(),
        depth: 0,
        budget,
    };
    lexer.until(None, mode.raw_escapes)
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        if next.is_some() {
            self.at += 1;
        }
        next
    }

    fn spend(&mut self, chars: usize) -> Result<(), LexError> {
        *self.budget = self.budget.checked_sub(chars).ok_or(LexError::TooMuch)?;
        Ok(())
    }

    /// Up to the end, or behind `stop`.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), LexError> {
        if self.depth >= DEPTH_MAX {
            return Err(LexError::TooMuch);
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.mode.raw_escapes, raw_escapes);
        let result = self.until_stop(stop);
        self.mode.raw_escapes = outer;
        self.depth -= 1;
        result
    }

    fn until_stop(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), LexError> {
        let mut result = String::new();
        self.word.clear();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            if stop == Some(c) {
                self.next();
                return Ok((result, self.words_of(words)));
            }
            let special = match c {
                '$' => Some(self.dollar()?),
                '<' => Some(self.possible_heredoc()),
                '\'' => Some(self.single_quoted()?),
                '"' => Some(self.double_quoted()?),
                _ => None,
            };
            if let Some(text) = special {
                self.spend(text.len())?;
                result.push_str(&text);
                if c == '$' {
                    text.chars().for_each(|c| self.add(&mut words, c));
                } else {
                    self.word.push_str(&text);
                    words.in_word = true;
                }
                continue;
            }
            self.next();
            self.spend(1)?;
            if c != '\\' {
                self.add(&mut words, c);
                result.push(c);
                continue;
            }
            if self.mode.raw_escapes {
                self.word.push(c);
                words.in_word = true;
                result.push(c);
            }
            let Some(escaped) = self.next() else { break };
            self.word.push(escaped);
            words.in_word = true;
            result.push(escaped);
        }
        match stop {
            Some(_) => Err(LexError::Syntax),
            None => Ok((result, self.words_of(words))),
        }
    }

    fn add(&mut self, words: &mut Words, c: char) {
        if !c.is_whitespace() {
            self.word.push(c);
            words.in_word = true;
        } else if words.in_word && !self.word.is_empty() {
            words.words.push(std::mem::take(&mut self.word));
            words.in_word = false;
        }
    }

    fn words_of(&mut self, mut words: Words) -> Vec<String> {
        if !self.word.is_empty() {
            words.words.push(std::mem::take(&mut self.word));
        }
        words.words
    }

    fn single_quoted(&mut self) -> Result<String, LexError> {
        let mut result = String::new();
        self.next();
        if self.mode.raw_quotes {
            result.push('\'');
        }
        loop {
            match self.next().ok_or(LexError::Syntax)? {
                '\'' => break,
                c => result.push(c),
            }
        }
        if self.mode.raw_quotes {
            result.push('\'');
        }
        Ok(result)
    }

    fn double_quoted(&mut self) -> Result<String, LexError> {
        let mut result = String::new();
        self.next();
        if self.mode.raw_quotes {
            result.push('"');
        }
        loop {
            match self.peek().ok_or(LexError::Syntax)? {
                '"' => break,
                '$' => {
                    let value = self.dollar()?;
                    self.spend(value.len())?;
                    result.push_str(&value);
                }
                c => {
                    self.next();
                    let mut c = c;
                    if c == '\\' {
                        if self.mode.raw_escapes {
                            result.push(c);
                        }
                        match self.peek() {
                            None => continue,
                            Some(escaped @ ('"' | '$' | '\\')) => {
                                self.next();
                                c = escaped;
                            }
                            Some(_) => {}
                        }
                    }
                    result.push(c);
                }
            }
        }
        self.next();
        if self.mode.raw_quotes {
            result.push('"');
        }
        Ok(result)
    }

    fn dollar(&mut self) -> Result<String, LexError> {
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return match self.mode.keep_variables {
                true => Ok(format!("${name}")),
                false => self.plain_value(&name),
            };
        }
        self.next();
        if let None | Some('{' | '}' | ':') = self.peek() {
            return Err(LexError::Syntax);
        }
        let name = self.name();
        let mut modifier = self.next().ok_or(LexError::Syntax)?;
        let mut shown = modifier.to_string();
        let colon = modifier == ':';
        if colon {
            modifier = self.next().ok_or(LexError::Syntax)?;
            shown.push(modifier);
        }
        match modifier {
            '}' if !colon => match self.mode.keep_variables {
                true => Ok(format!("${{{name}}}")),
                false => self.plain_value(&name),
            },
            '/' if !colon => self.replaced(&name),
            '#' | '%' if colon => Err(LexError::Syntax),
            // Behind a colon anything is read on, and refused at the end.
            _ if colon || matches!(modifier, '+' | '-' | '?' | '#' | '%') => {
                let (word, _) = self.until(Some('}'), matches!(modifier, '#' | '%'))?;
                if self.mode.keep_variables {
                    return Ok(format!("${{{name}{shown}{word}}}"));
                }
                self.modified(&name, modifier, colon, word)
            }
            _ => Err(LexError::Syntax),
        }
    }

    fn plain_value(&self, name: &str) -> Result<String, LexError> {
        match (self.lookup)(name) {
            Lookup::Value(value) => Ok(value),
            // The builder takes it for empty, but it is known only then that nothing sets it.
            Lookup::Unset | Lookup::Hidden => Err(LexError::Unknown),
        }
    }

    fn modified(&self, name: &str, modifier: char, colon: bool, word: String) -> Result<String, LexError> {
        let value = match (self.lookup)(name) {
            Lookup::Value(value) => Some(value),
            Lookup::Unset => None,
            Lookup::Hidden => return Err(LexError::Unknown),
        };
        let value = value.filter(|value| !(colon && value.is_empty()));
        match (modifier, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', None) => Ok(String::new()),
            ('+', Some(_)) => Ok(word),
            ('?', value) => value.ok_or(LexError::Syntax),
            // Patterns are not done here.
            ('#' | '%', _) => Err(LexError::Unknown),
            (_, _) => Err(LexError::Syntax),
        }
    }

    /// `${name/pattern/replacement}`
    fn replaced(&mut self, name: &str) -> Result<String, LexError> {
        if self.peek() == Some('/') {
            self.next();
        }
        let (pattern, _) = self.until(Some('/'), true)?;
        let (replacement, _) = self.until(Some('}'), true)?;
        match self.mode.keep_variables {
            true => Ok(format!("${{{name}/{pattern}/{replacement}}}")),
            false => Err(LexError::Unknown),
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        let Some(first) = self.peek() else {
            return name;
        };
        if is_digit(first) {
            while let Some(c) = self.peek().filter(|c| is_digit(*c)) {
                self.next();
                name.push(c);
            }
            return name;
        }
        if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
            self.next();
            return first.to_string();
        }
        while let Some(c) = self.peek().filter(|c| is_letter(*c) || is_digit(*c) || *c == '_') {
            self.next();
            name.push(c);
        }
        name
    }

    fn possible_heredoc(&mut self) -> String {
        self.next();
        if self.peek() != Some('<') {
            return "<".to_owned();
        }
        self.next();
        let mut result = "<<".to_owned();
        while let Some(c) = self.peek().filter(|c| matches!(c, '\t' | '\r' | ' ')) {
            self.next();
            result.push(c);
        }
        result
    }
}

/// Go's `unicode.IsLetter`; another idea of what is one would end names elsewhere.
fn is_letter(c: char) -> bool {
    static LETTER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\A\p{L}\z").ok());
    c.is_ascii_alphabetic() || !c.is_ascii() && is_match(&LETTER, c)
}

/// Go's `unicode.IsDigit`.
fn is_digit(c: char) -> bool {
    static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\A\p{Nd}\z").ok());
    c.is_ascii_digit() || !c.is_ascii() && is_match(&DIGIT, c)
}

fn is_match(class: &Option<Regex>, c: char) -> bool {
    let mut bytes = [0; 4];
    let text = c.encode_utf8(&mut bytes);
    class.as_ref().is_some_and(|class| class.is_match(text))
}
