//! What comes out, by definition, as slowly and plainly as it can be said; shares no code with the redactor but the forms of
//! secrets and what the detectors check beside shapes.

use std::{cmp::Reverse, sync::LazyLock};

use regex::bytes::Regex;

use super::super::{detectors::Check, *};
use crate::hook::{Pattern, Rule};

/// Hidden bytes `start..end`; what is read to find them begins at `from`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Hidden {
    start: usize,
    end: usize,
    from: usize,
    rule: Option<usize>,
}

/// All that is looked for.
pub(crate) struct Oracle {
    needles: Vec<Vec<u8>>,
    literals: Vec<(Vec<u8>, usize)>,
    expressions: Vec<(Regex, usize, usize)>,
    replacements: Vec<String>,
    tokens: &'static [Token],
    range_bytes_max: usize,
}

/// The next byte of the stream, or the next control sequence.
static NEXT: LazyLock<Regex> = LazyLock::new(|| {
    let next =
        r"(?s-u)\A(?:(?P<sequence>\x1b\[[\x20-\x3f]{0,32}[\x40-\x7e])|(?P<line>[\r\n])|(?P<blank>[ \t])|.)";
    Regex::new(next).unwrap()
});
static KEY_HEADER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?-u)\A-----BEGIN [A-Z0-9 ]{11,40}-----").unwrap());
static TOKENS: LazyLock<Vec<Token>> = LazyLock::new(tokens);

/// A few detectors, as expressions.
struct Token {
    /// Its first group is hidden.
    expression: Regex,
    not_before: Regex,
    check: Check,
}

impl Oracle {
    pub(crate) fn new(secrets: &[&str], rules: &[Rule], options: Options, range_bytes_max: usize) -> Self {
        let forms = secrets.iter().filter_map(|secret| {
            let mut forms = forms::needles(secret, options.length_min, usize::MAX)?;
            forms.extend(forms::wrapped(secret, options.length_min, usize::MAX));
            Some(forms)
        });
        let mut oracle = Self {
            needles: forms.flatten().map(|form| form.to_vec()).collect(),
            literals: Vec::new(),
            expressions: Vec::new(),
            replacements: Vec::new(),
            tokens: if options.detectors { &TOKENS } else { &[] },
            range_bytes_max,
        };
        oracle.needles.sort();
        oracle.needles.dedup();
        for (number, rule) in rules.iter().enumerate() {
            oracle
                .replacements
                .push(rule.replacement.clone().unwrap_or("***".to_owned()));
            match &rule.pattern {
                Pattern::Literal(text) => oracle.literals.push((text.clone().into_bytes(), number)),
                Pattern::Expression { text, length_max } => {
                    let anchored = Regex::new(&format!(r"\A(?:{text})")).unwrap();
                    oracle.expressions.push((anchored, *length_max as usize, number));
                }
            }
        }
        oracle
    }

    pub(crate) fn redacted(&self, raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        loop {
            let rest = &raw[at..];
            let (merged, cut) = self.merged(self.hidden(rest));
            let mut shown = 0;
            for one in merged {
                out.extend_from_slice(&rest[shown..one.start]);
                let replacement = one.rule.map_or("***", |rule| &self.replacements[rule]);
                let mut fresh = true;
                for byte in &rest[one.start..one.end] {
                    if b"\r\n".contains(byte) {
                        out.push(*byte);
                        fresh = true;
                    } else if fresh {
                        out.extend_from_slice(replacement.as_bytes());
                        fresh = false;
                    }
                }
                shown = one.end;
            }
            match cut {
                Some(cut) => at += cut,
                None => {
                    out.extend_from_slice(&rest[shown..]);
                    return out;
                }
            }
        }
    }

    /// Merged ranges, and where all begins anew.
    fn merged(&self, mut hidden: Vec<Hidden>) -> (Vec<Hidden>, Option<usize>) {
        hidden.sort_by_key(|one| (one.start, Reverse(one.end)));
        let mut merged: Vec<Hidden> = Vec::new();
        for one in &hidden {
            let Some(last) = merged.last_mut().filter(|last| one.start < last.end) else {
                merged.push(*one);
                continue;
            };
            let long = one.start - last.start >= self.range_bytes_max;
            let all_found_again = hidden
                .iter()
                .all(|other| other.from >= one.start || (other.end <= one.end && other != one));
            if one.end > last.end && long && all_found_again {
                last.end = one.start;
                return (merged, Some(one.start));
            }
            last.end = last.end.max(one.end);
            if last.rule != one.rule {
                last.rule = None;
            }
        }
        (merged, None)
    }

    fn hidden(&self, raw: &[u8]) -> Vec<Hidden> {
        let mut hidden = self.secrets(raw);
        let mut add = |start, end, rule| {
            hidden.push(Hidden {
                start,
                end,
                from: start,
                rule: Some(rule),
            });
        };
        for (text, rule) in &self.literals {
            for at in (0..raw.len()).filter(|at| raw[*at..].starts_with(text)) {
                add(at, at + text.len(), *rule);
            }
        }
        for (expression, length_max, rule) in &self.expressions {
            let mut at = 0;
            while at < raw.len() {
                match expression.find(&raw[at..raw.len().min(at + length_max)]) {
                    Some(found) => {
                        add(at, at + found.end(), *rule);
                        at += found.end();
                    }
                    None => at += 1,
                }
            }
        }
        for token in self.tokens {
            for from in 0..raw.len() {
                let Some(found) = token.expression.captures(&raw[from..]) else {
                    continue;
                };
                let (whole, inner) = (found.get(0).unwrap(), found.get(1).unwrap());
                let free = !token.not_before.is_match(&raw[from + whole.end()..]);
                if free && (token.check)(whole.as_bytes(), inner.as_bytes()) {
                    hidden.push(Hidden {
                        start: from + inner.start(),
                        end: from + inner.end(),
                        from,
                        rule: None,
                    });
                }
            }
        }
        for from in 0..raw.len() {
            if self.tokens.is_empty() {
                break;
            }
            let Some(header) = KEY_HEADER.find(&raw[from..]) else {
                continue;
            };
            let (start, mut end) = (from + header.end(), from + header.end());
            let in_key = |byte: u8| byte.is_ascii_alphanumeric() || b"+/= \t\r\n\\:,.-".contains(&byte);
            while end < raw.len()
                && end - start < 16 * 1024
                && in_key(raw[end])
                && !raw[end..].starts_with(b"--")
            {
                end += 1;
            }
            if end - start >= 64 && detectors::checks::private_key(&raw[from..end], &raw[start..end]) {
                hidden.push(Hidden {
                    start,
                    end,
                    from,
                    rule: None,
                });
            }
        }
        hidden
    }

    /// All forms of all secrets in what remains of the stream without its gaps.
    fn secrets(&self, raw: &[u8]) -> Vec<Hidden> {
        let mut kept: Vec<(usize, u8)> = Vec::new();
        let mut line_start = false;
        let mut at = 0;
        while at < raw.len() {
            let token = NEXT.captures(&raw[at..]).unwrap();
            let is = |name| token.name(name).is_some();
            if is("line") {
                line_start = true;
            } else if !(is("sequence") || is("blank") && line_start) {
                line_start = false;
                kept.push((at, raw[at]));
            }
            at += token.get(0).unwrap().len();
        }
        let mut hidden = Vec::new();
        for window_start in 0..kept.len() {
            for needle in &self.needles {
                let Some(window) = kept.get(window_start..window_start + needle.len()) else {
                    continue;
                };
                let same = window.iter().map(|(_, byte)| byte).eq(needle);
                let near = window.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 1 + 128);
                if same && near {
                    let (start, end) = (window[0].0, window[needle.len() - 1].0 + 1);
                    hidden.push(Hidden {
                        start,
                        end,
                        from: start,
                        rule: None,
                    });
                }
            }
        }
        hidden
    }
}

fn tokens() -> Vec<Token> {
    use super::super::detectors::checks::{crc32_base62, json_web_token, password, random};
    let token = |expression: &str, not_before: &str, check: Check| Token {
        expression: Regex::new(&format!(r"(?s-u)\A(?:{expression})")).unwrap(),
        not_before: Regex::new(&format!(r"(?s-u)\A(?:{not_before})")).unwrap(),
        check,
    };
    let never = "[^\\x00-\\xff]";
    vec![
        token("(gh[opusr]_[0-9A-Za-z]{36})", "[0-9A-Za-z]", crc32_base62),
        token("(A[KS]IA[A-Z2-7]{16})", "[0-9A-Za-z]", random),
        token(
            "(eyJ[0-9A-Za-z_-]{9,512}\\.[0-9A-Za-z_-]{2,8192}\\.[0-9A-Za-z_-]{20,1024})",
            never,
            json_web_token,
        ),
        token(
            "[Aa]uthorization[ \\t:=\"'\\\\>,]{1,8}(?i:bearer|token)[ \\t]{1,4}([0-9A-Za-z._~+/=:|-]{16,4096})",
            never,
            random,
        ),
        token(
            "://[0-9A-Za-z._~!&*+=%-]{0,128}:([!#-&(-.0-9;=?A-Z\\[\\]^_a-z{|}~]{6,256})@[0-9A-Za-z\\[]",
            never,
            password,
        ),
    ]
}
