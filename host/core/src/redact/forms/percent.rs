//! Percent encoding, as the common functions for it do it: they differ in what they leave alone.

use zeroize::Zeroizing;

/// What is left alone besides letters and digits, and how a space is written.
const SETS: [(&str, &str); 9] = [
    // JavaScript's encodeURI, for whole addresses.
    ("-_.~!*'();,/?:@&=+$#", "%20"),
    // JavaScript's encodeURIComponent.
    ("-_.~!*'()", "%20"),
    // Python's quote.
    ("-_.~/", "%20"),
    // RFC 3986: Python's quote with nothing safe, PHP's rawurlencode.
    ("-_.~", "%20"),
    // Go's QueryEscape, Python's quote_plus.
    ("-_.~", "+"),
    // Go's PathEscape.
    ("-_.~$&+:=@", "%20"),
    // Go's user information in a URL.
    ("-_.~$&+,;=", "%20"),
    // Forms: Java's URLEncoder, JavaScript's URLSearchParams.
    ("-_.*", "+"),
    // All that may be encoded.
    ("", "%20"),
];

pub(super) fn add(text: &str, forms: &mut Vec<Zeroizing<String>>) {
    for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
        for (safe, space) in SETS {
            forms.push(encode(text, digits, space, |byte| {
                byte.is_ascii_alphanumeric() || safe.as_bytes().contains(&byte)
            }));
        }
        forms.push(encode(text, digits, "%20", |_| false));
    }
}

fn encode(text: &str, digits: &[u8; 16], space: &str, safe: impl Fn(u8) -> bool) -> Zeroizing<String> {
    let digit = |value: u8| {
        digits
            .get(usize::from(value))
            .map_or('0', |digit| char::from(*digit))
    };
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 3));
    for byte in text.bytes() {
        match byte {
            b' ' => out.push_str(space),
            _ if safe(byte) => out.push(char::from(byte)),
            _ => out.extend(['%', digit(byte >> 4), digit(byte & 15)]),
        }
    }
    out
}
