//! The forms that a secret takes in a log: what programs write in its place when they encode, quote or escape it.
//!
//! All but base64 go character by character, so the form of a part of a text is a part of the text's form: it does not matter
//! what else stands in the string that a program escaped.

use base64::{
    Engine as _,
    engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

use super::fold;

mod escapes;
mod percent;
#[cfg(test)]
mod tests;
mod wraps;

/// Shorter lines of a secret of several would blank out half of a log: `}`, `EOF`. Shorter encodings are those of too few bytes.
const PIECE_BYTES_MIN: usize = 6;

pub(super) use wraps::wrapped;

/// Byte strings of secrets. Wiped when they go.
pub(super) type Needles = Vec<Zeroizing<Vec<u8>>>;

/// All forms of a text take at most so many times its bytes, and the common ones so many.
const ALL_TIMES: usize = 40;
const COMMON_TIMES: usize = 8;

/// How many of the forms are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breadth {
    All,
    /// JSON and base64.
    Common,
    AsIs,
}

/// What to look for in the folded stream ([`fold`]) for one secret: the whole without the white space around it, and each of
/// its lines that is long enough, in all forms; in fewer forms if they would take more than `room` bytes, as those of very
/// long secrets do. None if the secret is shorter than `length_min` bytes without that space.
pub(super) fn needles(secret: &str, length_min: usize, room: usize) -> Option<Needles> {
    let whole = secret.trim_ascii();
    if whole.len() < length_min.max(1) {
        return None;
    }
    let several = whole.contains(['\n', '\r']);
    // The whole with either kind of line end, and the lines.
    let bytes = whole.len().saturating_mul(if several { 4 } else { 1 });
    let breadth = match room / bytes {
        ALL_TIMES.. => Breadth::All,
        COMMON_TIMES.. => Breadth::Common,
        _ => Breadth::AsIs,
    };
    let mut needles = Needles::new();
    add_forms(whole, length_min, breadth, &mut needles);
    if several {
        // Encoded with either kind of line end.
        let unix = Zeroizing::new(whole.replace("\r\n", "\n"));
        if breadth != Breadth::AsIs {
            let dos = Zeroizing::new(unix.replace('\n', "\r\n"));
            add_forms(&unix, length_min, breadth, &mut needles);
            add_forms(&dos, length_min, breadth, &mut needles);
        }
        for line in whole.split(['\n', '\r']).map(str::trim_ascii) {
            if line.len() >= length_min.max(PIECE_BYTES_MIN) {
                add_forms(line, length_min, breadth, &mut needles);
            }
        }
    }
    needles.sort_by(|a, b| a.as_slice().cmp(b));
    needles.dedup();
    Some(needles)
}

fn add_forms(text: &str, length_min: usize, breadth: Breadth, needles: &mut Needles) {
    let mut add = |form: &[u8], bytes_min: usize| {
        let folded = Zeroizing::new(fold::folded(form));
        let folded = folded.trim_ascii();
        if folded.len() >= bytes_min {
            needles.push(Zeroizing::new(folded.to_vec()));
        }
    };
    add(text.as_bytes(), length_min.max(1));
    let mut encoded: Vec<Zeroizing<String>> = Vec::new();
    match breadth {
        Breadth::All => {
            escapes::add(text, &mut encoded);
            percent::add(text, &mut encoded);
            add_hex(text, &mut encoded);
            add_base64(text, &[&STANDARD_NO_PAD, &URL_SAFE_NO_PAD], &mut encoded);
        }
        Breadth::Common => {
            escapes::add_common(text, &mut encoded);
            add_base64(text, &[&STANDARD_NO_PAD], &mut encoded);
        }
        Breadth::AsIs => {}
    }
    encoded.sort_by(|a, b| a.as_str().cmp(b));
    encoded.dedup();
    for form in &encoded {
        add(form.as_bytes(), length_min.max(PIECE_BYTES_MIN));
    }
}

fn add_hex(text: &str, forms: &mut Vec<Zeroizing<String>>) {
    forms.push(Zeroizing::new(hex::encode(text)));
    forms.push(Zeroizing::new(hex::encode_upper(text)));
}

/// Where a text begins at the first, second or third byte of a group, its first characters and its last one depend on what
/// stands beside it: those are left out. A text that ends what is encoded has a last character of its own, and padding.
fn add_base64(text: &str, alphabets: &[&GeneralPurpose], forms: &mut Vec<Zeroizing<String>>) {
    for offset in 0..3_usize {
        let mut bytes = Zeroizing::new(vec![0; offset]);
        bytes.extend_from_slice(text.as_bytes());
        // Whole bytes before the text fill the first characters, and a part of one more.
        let before = (offset * 8).div_ceil(6);
        let whole = bytes.len() * 8 / 6;
        for engine in alphabets {
            let all = Zeroizing::new(engine.encode(&*bytes));
            let mut add = |end: usize| {
                if let Some(form) = all.get(before..end) {
                    forms.push(Zeroizing::new(form.to_owned()));
                }
            };
            add(whole);
            add(all.len());
            let padding = (4 - all.len() % 4) % 4;
            if let (1.., Some(ending)) = (padding, all.get(before..)) {
                forms.push(Zeroizing::new(format!("{ending}{}", "=".repeat(padding))));
            }
        }
    }
}
