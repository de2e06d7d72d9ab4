//! The parts of one instruction, split as BuildKit's line parsers split them.

/// What reads as white space between words; nothing else of Unicode does.
const SPACES: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

pub(super) struct Command {
    pub(super) keyword: String,
    pub(super) flags: Vec<String>,
    pub(super) arguments: String,
}

pub(super) fn split_command(line: &str, escape: char) -> Command {
    let line = line.trim();
    let (keyword, rest) = match line.split_once(SPACES) {
        Some((keyword, rest)) => (keyword, rest.trim_start_matches(SPACES)),
        None => (line, ""),
    };
    let (flags, arguments) = split_flags(rest.as_bytes(), escape);
    Command {
        keyword: keyword.to_owned(),
        flags,
        arguments: String::from_utf8_lossy(arguments).trim().to_owned(),
    }
}

/// Leading words that begin with `--`. Goes byte by byte, as the builder does, so that a byte of a longer character may be
/// taken for white space.
fn split_flags(line: &[u8], escape: char) -> (Vec<String>, &[u8]) {
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).copied().is_some_and(is_space) {
            at += 1;
        }
        let rest = line.get(at..).unwrap_or_default();
        if !rest.starts_with(b"--") {
            return (flags, rest);
        }
        let (word, quoted, length) = flag(rest, escape);
        at += length;
        let ended = at >= line.len();
        if word == "--" {
            return (flags, line.get(at..).unwrap_or_default());
        }
        if quoted || !word.is_empty() {
            flags.push(word);
        }
        if ended {
            return (flags, &[]);
        }
    }
}

/// One word without its quotes, whether it had any, and how many bytes it takes.
fn flag(line: &[u8], escape: char) -> (String, bool, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut quoted = false;
    let mut bytes = line.iter().copied().enumerate();
    while let Some((index, byte)) = bytes.next() {
        match quote {
            None if is_space(byte) => return (word, quoted, index),
            None if matches!(byte, b'\'' | b'"') => {
                quote = Some(byte);
                quoted = true;
                continue;
            }
            Some(quote_byte) if byte == quote_byte => {
                quote = None;
                continue;
            }
            _ => {}
        }
        if char::from(byte) == escape {
            // At the end it is skipped.
            if let Some((_, escaped)) = bytes.next() {
                word.push(char::from(escaped));
            }
        } else {
            word.push(char::from(byte));
        }
    }
    (word, quoted, line.len())
}

/// Go's `unicode.IsSpace` of a byte taken for a character.
fn is_space(byte: u8) -> bool {
    char::from(byte).is_whitespace()
}

/// At white space, quotes and escapes kept.
pub(super) fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return words;
        }
        let mut word = String::new();
        let mut quote = None;
        let mut quoted = false;
        while let Some(c) = chars.next() {
            match quote {
                None if c.is_whitespace() => break,
                None if matches!(c, '\'' | '"') => {
                    quote = Some(c);
                    quoted = true;
                }
                Some(open) if c == open => quote = None,
                _ => {}
            }
            if c == escape && quote != Some('\'') {
                // At the end it is skipped.
                let Some(escaped) = chars.next() else { break };
                word.extend([c, escaped]);
            } else {
                word.push(c);
            }
        }
        if quoted || !word.is_empty() {
            words.push(word);
        }
    }
}

/// The arguments of FROM.
pub(super) fn plain_words(text: &str) -> Vec<&str> {
    // The text is trimmed, so that only runs in the middle make empty words.
    text.split(SPACES).filter(|word| !word.is_empty()).collect()
}

/// A JSON array of strings and nothing else, by Go's rules. (An array of other things is refused by the builder.)
pub(super) fn is_json_of_strings(text: &str) -> bool {
    const SPACES: [u8; 4] = [b' ', b'\t', b'\r', b'\n'];
    let mut bytes = text.trim().bytes().peekable();
    if bytes.next() != Some(b'[') {
        return false;
    }
    let mut first = true;
    loop {
        while bytes.next_if(|b| SPACES.contains(b)).is_some() {}
        match bytes.next() {
            Some(b']') if first => break,
            Some(b'"') => {}
            _ => return false,
        }
        first = false;
        loop {
            match bytes.next() {
                Some(b'"') => break,
                Some(b'\\') => match bytes.next() {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'u') => {
                        let hex = (0..4).all(|_| bytes.next().is_some_and(|b| b.is_ascii_hexdigit()));
                        if !hex {
                            return false;
                        }
                    }
                    _ => return false,
                },
                Some(0x20..) => {}
                _ => return false,
            }
        }
        while bytes.next_if(|b| SPACES.contains(b)).is_some() {}
        match bytes.next() {
            Some(b',') => {}
            Some(b']') => break,
            _ => return false,
        }
    }
    bytes.all(|b| SPACES.contains(&b))
}

/// Go's `strings.ToLower`: character by character, so that `İ` is `i` and `K` (the Kelvin sign) is `k`.
pub(super) fn lower(text: &str) -> String {
    let one = |c: char| match c {
        'İ' => 'i',
        other => {
            let mut lower = other.to_lowercase();
            match (lower.next(), lower.next()) {
                (Some(single), None) => single,
                _ => other,
            }
        }
    };
    text.chars().map(one).collect()
}
