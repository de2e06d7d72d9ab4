//! What else must be true of a token than its shape.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

pub(in super::super) fn none(_: &[u8], _: &[u8]) -> bool {
    true
}

/// As GitHub and npm have it: behind `xyz_` and 30 characters, their CRC32 in base 62, six digits.
pub(in super::super) fn crc32_base62(whole: &[u8], _: &[u8]) -> bool {
    let Some((payload, sum)) = whole.get(4..).and_then(|text| text.split_last_chunk::<6>()) else {
        return false;
    };
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digit = |byte: &u8| DIGITS.iter().zip(0_u64..).find(|(digit, _)| *digit == byte);
    let number = sum
        .iter()
        .try_fold(0, |number, byte| Some(number * 62 + digit(byte)?.1));
    number == Some(u64::from(crc32fast::hash(payload)))
}

/// As Grafana has it: behind the last `_`, the CRC32 of what is before it, in hex.
pub(in super::super) fn crc32_hex(whole: &[u8], _: &[u8]) -> bool {
    let Some((payload, sum)) = whole.split_last_chunk::<8>() else {
        return false;
    };
    let payload = payload.strip_suffix(b"_").unwrap_or(payload);
    hex::encode(crc32fast::hash(payload).to_be_bytes()).as_bytes() == sum
}

/// The header of a JSON Web Token names an algorithm.
pub(in super::super) fn json_web_token(whole: &[u8], _: &[u8]) -> bool {
    let header = whole.split(|byte| *byte == b'.').next().unwrap_or_default();
    let Ok(header) = URL_SAFE_NO_PAD.decode(header) else {
        return false;
    };
    let header = serde_json::from_slice::<Value>(&header);
    header.is_ok_and(|header| header.get("alg").is_some_and(Value::is_string))
}

/// Drawn at random rather than written by hand: letters and digits, not few of them, and not what documentation has.
pub(in super::super) fn random(_: &[u8], hidden: &[u8]) -> bool {
    let kinds = [u8::is_ascii_digit, u8::is_ascii_alphabetic];
    if !kinds.iter().all(|kind| hidden.iter().any(kind)) {
        return false;
    }
    various(hidden)
        && !["EXAMPLE", "example"]
            .iter()
            .any(|word| contains(hidden, word.as_bytes()))
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

/// At least one in four of its characters, or ten, are different.
fn various(hidden: &[u8]) -> bool {
    let mut seen = [0_u64; 4];
    for byte in hidden {
        if let Some(word) = seen.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
    }
    let different: u32 = seen.iter().map(|word| word.count_ones()).sum();
    different as usize >= (hidden.len() / 4).clamp(5, 10)
}

/// The header says that the key is private, and lines of base64 follow.
pub(in super::super) fn private_key(whole: &[u8], hidden: &[u8]) -> bool {
    const LINE_MIN: usize = 40;
    let data = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    if !hidden
        .split(|byte| !data(byte))
        .any(|line| line.len() >= LINE_MIN)
    {
        return false;
    }
    let header = whole.strip_prefix(b"-----BEGIN ").unwrap_or_default();
    let header = header.split(|byte| *byte == b'-').next().unwrap_or_default();
    header.ends_with(b"PRIVATE KEY") || header.ends_with(b"PRIVATE KEY BLOCK")
}

/// A password in a URL, and not what stands for one: a variable, a placeholder.
pub(in super::super) fn password(_: &[u8], hidden: &[u8]) -> bool {
    const STAND_INS: [&[u8]; 9] = [
        b"password",
        b"passwd",
        b"pass",
        b"pwd",
        b"secret",
        b"token",
        b"***",
        b"xxx",
        b"...",
    ];
    let lower = hidden.to_ascii_lowercase();
    let stands_in = STAND_INS.contains(&lower.as_slice())
        || matches!(hidden.first(), Some(b'$' | b'<' | b'{' | b'%' | b'['))
            && !matches!(hidden, [b'%', b'0'..=b'9' | b'A'..=b'F' | b'a'..=b'f', ..])
        || hidden.iter().all(|byte| Some(byte) == hidden.first());
    !stands_in
}

/// Base64 of `user:password`.
pub(in super::super) fn basic(_: &[u8], hidden: &[u8]) -> bool {
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(hidden);
    decoded.is_ok_and(|decoded| decoded.contains(&b':'))
}
