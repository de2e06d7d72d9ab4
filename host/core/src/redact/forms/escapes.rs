//! Escapes of one character at a time: JSON, XML, shells, Go and what is like them.

use std::fmt::Write as _;

use zeroize::Zeroizing;

type Forms = Vec<Zeroizing<String>>;

pub(super) fn add(text: &str, forms: &mut Forms) {
    add_json(text, forms);
    add_xml(text, forms);
    add_shell(text, forms);
    add_go(text, forms);
}

/// As JSON and Go have it, nearly always.
pub(super) fn add_common(text: &str, forms: &mut Forms) {
    forms.push(escaped(text, |c, out| match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ => out.push(c),
    }));
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> Zeroizing<String> {
    // Room for the longest escapes, so that no copy is left behind by growing.
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 6));
    for c in text.chars() {
        escape(c, &mut out);
    }
    out
}

/// What comes in place of a character; most stay.
fn put(out: &mut String, c: char, instead: Option<&str>) {
    match instead {
        Some(text) => out.push_str(text),
        None => out.push(c),
    }
}

/// Of a `char` in UTF-16, in either case of digits. Writing to a string cannot fail.
fn put_utf16(out: &mut String, c: char, upper: bool) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = match upper {
            true => write!(out, "\\u{unit:04X}"),
            false => write!(out, "\\u{unit:04x}"),
        };
    }
}

/// Choices that JSON writers differ in: Go escapes for HTML, PHP escapes `/`, Python and PHP write ASCII only.
fn add_json(text: &str, forms: &mut Forms) {
    for html in [false, true] {
        for slash in [false, true] {
            for (ascii, upper) in [(false, false), (false, true), (true, false), (true, true)] {
                forms.push(escaped(text, |c, out| match c {
                    '"' => out.push_str("\\\""),
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    '\u{8}' => out.push_str("\\b"),
                    '\u{c}' => out.push_str("\\f"),
                    '/' if slash => out.push_str("\\/"),
                    '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if html => put_utf16(out, c, upper),
                    '\0'..' ' => put_utf16(out, c, upper),
                    _ if ascii && !c.is_ascii() => put_utf16(out, c, upper),
                    _ => out.push(c),
                }));
            }
        }
    }
}

/// How a writer of XML or HTML writes `"`, `'`, `>`, line feed, carriage return and tab; none means as they are.
struct Xml {
    quote: Option<&'static str>,
    apostrophe: Option<&'static str>,
    greater: Option<&'static str>,
    controls: Option<[&'static str; 3]>,
}

const HEX: Option<[&str; 3]> = Some(["&#xA;", "&#xD;", "&#x9;"]);
const DECIMAL: Option<[&str; 3]> = Some(["&#10;", "&#13;", "&#9;"]);
const GT: Option<&str> = Some("&gt;");
const QUOT: Option<&str> = Some("&quot;");

const fn xml(
    quote: Option<&'static str>,
    apostrophe: Option<&'static str>,
    greater: Option<&'static str>,
    controls: Option<[&'static str; 3]>,
) -> Xml {
    Xml {
        quote,
        apostrophe,
        greater,
        controls,
    }
}

const XML: [Xml; 12] = [
    // Text.
    xml(None, None, GT, None),
    xml(None, None, None, None),
    // Attributes.
    xml(QUOT, None, GT, None),
    xml(QUOT, None, None, None),
    xml(QUOT, None, GT, DECIMAL),
    xml(QUOT, None, None, HEX),
    xml(QUOT, Some("&apos;"), GT, None),
    xml(QUOT, Some("&apos;"), GT, HEX),
    xml(QUOT, Some("&#39;"), GT, None),
    xml(QUOT, Some("&#x27;"), GT, None),
    // Go's encoding/xml and html/template.
    xml(Some("&#34;"), Some("&#39;"), GT, HEX),
    xml(Some("&#34;"), Some("&#39;"), GT, None),
];

fn add_xml(text: &str, forms: &mut Forms) {
    for how in &XML {
        let [feed, ret, tab] = how.controls.map_or([None; 3], |controls| controls.map(Some));
        forms.push(escaped(text, |c, out| {
            let instead = match c {
                '&' => Some("&amp;"),
                '<' => Some("&lt;"),
                '>' => how.greater,
                '"' => how.quote,
                '\'' => how.apostrophe,
                '\n' => feed,
                '\r' => ret,
                '\t' => tab,
                _ => None,
            };
            put(out, c, instead);
        }));
    }
}

fn add_shell(text: &str, forms: &mut Forms) {
    let replaced =
        |from: char, to: &'static str| escaped(text, move |c, out| put(out, c, (c == from).then_some(to)));
    // Within '…'.
    forms.push(replaced('\'', "'\\''"));
    forms.push(replaced('\'', "'\"'\"'"));
    forms.push(replaced('\'', "\\'"));
    // Within "…".
    for special in ["\"\\$`", "\"\\$`!", "\"\\", "\""] {
        forms.push(escaped(text, |c, out| {
            if special.contains(c) {
                out.push('\\');
            }
            out.push(c);
        }));
    }
    // Without quotes: what a shell leaves alone.
    for safe in ["_@%+=:,./-", "_./-", "_"] {
        forms.push(escaped(text, |c, out| {
            if c.is_ascii() && !c.is_ascii_alphanumeric() && !safe.contains(c) && !c.is_ascii_control() {
                out.push('\\');
            }
            out.push(c);
        }));
    }
    // Within $'…'.
    for octal in [false, true] {
        forms.push(escaped(text, |c, out| match c {
            '\'' => out.push_str("\\'"),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{1b}' => out.push_str("\\E"),
            _ if c.is_ascii_control() || (octal && !c.is_ascii()) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(out, "\\{byte:03o}");
                }
            }
            _ => out.push(c),
        }));
    }
}

/// As Go's `%q` and `%+q` write it between their quotes, and `%q` of programs that only know of the first five.
fn add_go(text: &str, forms: &mut Forms) {
    for (controls, ascii) in [(false, false), (true, false), (true, true)] {
        forms.push(escaped(text, |c, out| match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' if controls => out.push_str("\\a"),
            '\u{8}' if controls => out.push_str("\\b"),
            '\u{b}' if controls => out.push_str("\\v"),
            '\u{c}' if controls => out.push_str("\\f"),
            _ if controls && c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            _ if ascii && !c.is_ascii() => {
                let _ = match u32::from(c) {
                    code @ 0..0x1_0000 => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                };
            }
            _ => out.push(c),
        }));
    }
}
