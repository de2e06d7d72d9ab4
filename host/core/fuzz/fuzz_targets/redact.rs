//! Cuts and restarts make no difference, nothing that was looked for is shown, and what is held is bounded. The definition itself is
//! checked by the property tests.

#![no_main]

use ignite_core::redact::{Options, Redactor, RuleSet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<String>, Vec<(Vec<u8>, bool)>, bool)| {
    let (secrets, pushes, detectors) = input;
    let options = Options {
        detectors,
        ..Options::default()
    };
    let secrets = secrets.iter().map(String::as_str);
    let new = Redactor::with_options(secrets.clone(), &RuleSet::default(), options);
    let raw: Vec<u8> = pushes.iter().flat_map(|(bytes, _)| bytes).copied().collect();
    let mut expected = Vec::new();
    let mut whole = new.restarted();
    whole.push(&raw, &mut expected);
    whole.finish(&mut expected);

    let mut redactor = new.restarted();
    let (mut out, mut at) = (Vec::new(), 0);
    let mut end = 0;
    for (bytes, restart) in &pushes {
        end += bytes.len();
        redactor.push(&raw[at..end], &mut out);
        at = end;
        assert!(expected.starts_with(&out));
        if *restart {
            at -= usize::try_from(redactor.held_bytes()).unwrap();
            redactor = redactor.restarted();
        }
    }
    redactor.push(&raw[at..], &mut out);
    redactor.finish(&mut out);
    assert_eq!(out, expected);
    for secret in secrets.map(str::trim_ascii).filter(|secret| secret.len() >= options.length_min) {
        let plain = !secret.contains(['*', '\n', '\r', '\x1b', ' ', '\t']);
        let found = expected.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!(plain && found), "{secret:?}");
    }
});
