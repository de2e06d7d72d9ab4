//! The forms in which programs print a secret. Written without a look at the gateway's redactor: this is what it is judged by.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

/// One way to print a secret.
#[derive(Debug, Clone)]
pub struct Form {
    pub name: &'static str,
    /// What a program writes.
    pub printed: Vec<u8>,
    /// What must not be found of it: the part of what is written that tells the secret.
    pub telling: Vec<Vec<u8>>,
}

/// Lines of a secret that are shorter are not looked for by themselves.
const LINE_BYTES_MIN: usize = 6;
/// Where `base64` and mail wrap.
const WRAP: usize = 76;
/// Shorter ends of what is wrapped are no secret by themselves.
const WRAPPED_BYTES_MIN: usize = 4;

/// The same number for every secret: sixteen.
pub fn of(secret: &str) -> Vec<Form> {
    let mut forms = vec![
        whole("plain", secret.as_bytes().to_vec()),
        base64_at(0, secret),
        base64_at(1, secret),
        base64_at(2, secret),
        whole("base64url", URL_SAFE_NO_PAD.encode(secret).into_bytes()),
        whole("percent", percent(secret)),
        quoted("json", &json(secret), "\""),
        whole("xml", xml(secret)),
        quoted("shell", &secret.replace('\'', r"'\''"), "'"),
        quoted("go", &go(secret), "\""),
        whole("hex", hex(secret)),
    ];
    forms.push(lines(secret));
    let wrapped_base64 = STANDARD.encode(secret);
    forms.push(whole("wrapped", wrap(wrapped_base64.as_bytes(), WRAP, b"\n")));
    forms.push(whole("crlf", wrap(secret.as_bytes(), WRAP, b"\r\n    ")));
    forms.push(at_spaces(secret));
    forms.push(whole("ansi", wrap(secret.as_bytes(), 7, b"\x1b[0m\x1b[1;31m")));
    forms
}

fn whole(name: &'static str, printed: Vec<u8>) -> Form {
    Form {
        name,
        telling: vec![trimmed(&printed).to_vec()],
        printed,
    }
}

/// As text is wrapped in a narrow column: a new line, indented, for each of its own spaces.
fn at_spaces(secret: &str) -> Form {
    let words: Vec<&str> = secret.split_ascii_whitespace().collect();
    whole("at spaces", words.join("\n  ").into_bytes())
}

fn quoted(name: &'static str, inner: &str, quote: &str) -> Form {
    Form {
        name,
        printed: format!("{quote}{inner}{quote}").into_bytes(),
        telling: vec![trimmed(inner.as_bytes()).to_vec()],
    }
}

/// As part of a longer text, of which the characters that also hold bits of its neighbours tell nothing.
fn base64_at(offset: usize, secret: &str) -> Form {
    let before = &"user:"[..3 + offset];
    let all = STANDARD.encode(format!("{before}{secret};more"));
    let start = (before.len() * 8).div_ceil(6);
    let end = (before.len() + secret.len()) * 8 / 6;
    Form {
        name: ["base64-0", "base64-1", "base64-2"][offset],
        telling: vec![all.as_bytes()[start..end].to_vec()],
        printed: all.into_bytes(),
    }
}

/// As `encodeURIComponent` does it.
fn percent(secret: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in secret.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(byte),
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => out.push(byte),
            other => out.extend(format!("%{other:02X}").into_bytes()),
        }
    }
    out
}

fn json(secret: &str) -> String {
    let text = serde_json::to_string(secret).unwrap();
    text[1..text.len() - 1].to_owned()
}

/// As Python's `html.escape` does it.
fn xml(secret: &str) -> Vec<u8> {
    let escaped = secret.replace('&', "&amp;").replace('<', "&lt;");
    let escaped = escaped.replace('>', "&gt;").replace('"', "&quot;");
    escaped.replace('\'', "&#x27;").into_bytes()
}

/// As `%q` does it; letters of all scripts count as printable.
fn go(secret: &str) -> String {
    let mut out = String::new();
    for c in secret.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
    }
    out
}

fn hex(secret: &str) -> Vec<u8> {
    let digits = secret.bytes().map(|byte| format!("{byte:02x}"));
    digits.collect::<String>().into_bytes()
}

/// Each line with something before it, as loggers do.
fn lines(secret: &str) -> Form {
    let mut printed = Vec::new();
    let mut telling = Vec::new();
    for line in secret.lines() {
        printed.extend_from_slice(format!("stdout | {line}\n").as_bytes());
        // Every key of a kind begins and ends alike: that tells nothing.
        if line.trim().len() >= LINE_BYTES_MIN && !line.starts_with("-----") {
            telling.push(line.trim().as_bytes().to_vec());
        }
    }
    Form {
        name: "lines",
        printed,
        telling,
    }
}

/// With `between` after each `every` bytes, or in the middle of what is shorter. Never before a space of the secret's own, which
/// nobody could tell from indentation.
fn wrap(bytes: &[u8], every: usize, between: &[u8]) -> Vec<u8> {
    let every = every.min(bytes.len() / 2).max(WRAPPED_BYTES_MIN);
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        if !out.is_empty() {
            out.extend_from_slice(between);
        }
        let spaces = rest
            .iter()
            .skip(every)
            .take_while(|byte| byte.is_ascii_whitespace());
        let (piece, behind) = rest.split_at((every + spaces.count()).min(rest.len()));
        out.extend_from_slice(piece);
        rest = behind;
    }
    out
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

/// Without line ends, what lines begin with, and colours: so that a secret is found however it is wrapped.
pub fn folded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    let mut line_begins = false;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\n' | b'\r' => line_begins = true,
            b' ' | b'\t' if line_begins => {}
            0x1b if bytes.get(at) == Some(&b'[') => {
                at += 1;
                while bytes.get(at).is_some_and(|byte| !(0x40..=0x7e).contains(byte)) {
                    at += 1;
                }
                at += 1;
            }
            other => {
                line_begins = false;
                out.push(other);
            }
        }
    }
    out
}
