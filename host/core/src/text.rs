//! Text of others made safe for a terminal.

use std::borrow::Cow;

/// Characters that steer a terminal or reorder what it shows.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// On one line, with control characters visible: `\u{1b}`, `\n`.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    clean(text, |_| false)
}

/// The same, but line feeds and tabs stay.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    clean(text, |c| matches!(c, '\n' | '\t'))
}

fn clean(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|c| is_unsafe(c) && !stays(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) && !stays(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        let hostile = "a\u{1b}]0;x\u{7}b\u{9b}31mc\rd\u{202e}e\nf\tg\u{7f}";
        for text in [line(hostile), lines(hostile)] {
            assert!(
                !text.chars().any(|c| c != '\n' && c != '\t' && is_unsafe(c)),
                "{text:?}"
            );
        }
        assert_eq!(line("a\nb\u{1b}c"), "a\\nb\\u{1b}c");
        assert_eq!(lines("a\nb\u{1b}c"), "a\nb\\u{1b}c");
        assert!(matches!(line("größe ✓"), Cow::Borrowed("größe ✓")));
    }
}
