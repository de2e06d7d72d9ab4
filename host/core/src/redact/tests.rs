use super::*;
use crate::hook::Rule;

mod examples;
mod oracle;
mod random;

pub(crate) use oracle::Oracle;

pub(crate) fn plain() -> Options {
    Options {
        detectors: false,
        ..Options::default()
    }
}

pub(crate) fn redactor(secrets: &[&str], rules: &[Rule], options: Options) -> Redactor {
    let rules = RuleSet::new(rules).unwrap();
    Redactor::with_options(secrets.iter().copied(), &rules, options)
}

pub(crate) fn whole(mut redactor: Redactor, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    redactor.push(raw, &mut out);
    redactor.finish(&mut out);
    out
}

/// All at once, byte by byte, and by definition, this is what comes out.
#[track_caller]
pub(crate) fn shows_with(secrets: &[&str], rules: &[Rule], options: Options, raw: &str, expected: &str) {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let redactor = redactor(secrets, rules, options);
    assert_eq!(text(whole(redactor.restarted(), raw.as_bytes())), expected);
    let mut slow = redactor.restarted();
    let mut out = Vec::new();
    for byte in raw.as_bytes() {
        slow.push(&[*byte], &mut out);
    }
    slow.finish(&mut out);
    assert_eq!(text(out), expected, "byte by byte");
    let oracle = Oracle::new(secrets, rules, options, RANGE_BYTES_MAX);
    assert_eq!(text(oracle.redacted(raw.as_bytes())), expected, "by definition");
    // In the middle of much else, where the fast way goes.
    let much = format!("{}{raw}{}", ". ".repeat(300), " .".repeat(300));
    let shown = format!("{}{expected}{}", ". ".repeat(300), " .".repeat(300));
    assert_eq!(text(whole(redactor, much.as_bytes())), shown, "in the middle");
}
