use proptest::prelude::*;

use super::*;

/// What comes out, by definition: all occurrences, merged where they share a byte.
fn oracle(patterns: &[Zeroizing<String>], raw: &[u8]) -> Vec<u8> {
    let mut hidden: Vec<(usize, usize)> = Vec::new();
    for pattern in patterns {
        let pattern = pattern.as_bytes();
        let starts = (0..raw.len()).filter(|&at| raw[at..].starts_with(pattern));
        hidden.extend(starts.map(|at| (at, at + pattern.len())));
    }
    hidden.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (start, end) in hidden {
        match merged.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    let mut out = Vec::new();
    let mut from = 0;
    for (start, end) in merged {
        out.extend_from_slice(&raw[from..start]);
        out.extend_from_slice(b"***");
        from = end;
    }
    out.extend_from_slice(&raw[from..]);
    out
}

fn patterns(secrets: &[&str]) -> Vec<Zeroizing<String>> {
    secrets.iter().flat_map(|secret| forms(secret)).collect()
}

fn whole(secrets: &[&str], raw: &[u8]) -> Vec<u8> {
    let mut redactor = Redactor::new(secrets.iter().copied());
    let mut out = Vec::new();
    redactor.push(raw, &mut out);
    redactor.finish(&mut out);
    out
}

#[track_caller]
fn shows(secrets: &[&str], raw: &str, expected: &str) {
    assert_eq!(
        String::from_utf8(whole(secrets, raw.as_bytes())).unwrap(),
        expected
    );
    assert_eq!(oracle(&patterns(secrets), raw.as_bytes()), expected.as_bytes());
    assert_eq!(Redactor::new(secrets.iter().copied()).redact_text(raw), expected);
}

#[test]
fn every_occurrence_goes() {
    shows(&["hunter2"], "a hunter2 b hunter2", "a *** b ***");
    shows(&["hunter2"], "hunter hunter22", "hunter ***2");
    shows(&[], "hunter2", "hunter2");
    shows(&[""], "hunter2", "hunter2");
    shows(&["ü€"], "aü€bü", "a***bü");
}

#[test]
fn overlapping_secrets_go_as_one_and_touching_ones_as_two() {
    shows(&["abcd", "cdef"], "xabcdefx", "x***x");
    shows(&["abcd", "bc"], "xabcdx abx bc", "x***x abx ***");
    shows(&["ab", "cd"], "xabcdx", "x******x");
    shows(&["aa"], "xaaaaax", "x***x");
    shows(&["aba", "bab"], "ababab ab", "*** ab");
}

#[test]
fn lines_of_a_long_secret_go_alone_too_but_not_short_ones() {
    let key = "-----BEGIN-----\nMIIEabc123\n}\n-----END-----\n";
    shows(&[key], "MIIEabc123 }", "*** }");
    shows(&[key], &format!("x{key}y"), "x***y");
    shows(&[key], "a\r\nMIIEabc123\r\n", "a\r\n***\r\n");
    shows(&["abc\n"], "abc abc\n", "*** ***");
}

#[test]
fn secrets_are_found_as_kaniko_quotes_them() {
    shows(
        &["pa\"ss\\wo\nrd"],
        r#"msg="Args: [-c echo pa\"ss\\wo\nrd]""#,
        r#"msg="Args: [-c echo ***]""#,
    );
}

#[test]
fn what_may_become_a_secret_is_held_back_and_no_more() {
    let mut redactor = Redactor::new(["hunter2"]);
    let mut out = Vec::new();
    redactor.push(b"a hunhunter", &mut out);
    assert_eq!((out.as_slice(), redactor.held_bytes()), (&b"a hun"[..], 6));
    redactor.push(b"2", &mut out);
    assert_eq!((out.as_slice(), redactor.held_bytes()), (&b"a hun***"[..], 0));
    redactor.push(b"hunter", &mut out);
    redactor.finish(&mut out);
    assert_eq!(
        (out.as_slice(), redactor.held_bytes()),
        (&b"a hun***hunter"[..], 0)
    );
}

#[test]
fn an_endless_overlap_takes_no_memory() {
    let mut redactor = Redactor::new(["aaaaaaaa"]);
    let mut out = Vec::new();
    for _ in 0..1000 {
        redactor.push(&[b'a'; 1000], &mut out);
    }
    assert_eq!((out.len(), redactor.held_bytes()), (0, 1_000_000));
    assert!(redactor.stream.kept() < 10);
    redactor.push(b"b", &mut out);
    assert_eq!(out, b"***b");
}

#[test]
fn nothing_shows_a_secret() {
    let mut redactor = Redactor::new(["hunter2"]);
    redactor.push(b"hunter", &mut Vec::new());
    assert!(!format!("{redactor:?}").contains("hunt"));
}

#[test]
fn many_and_large_secrets_use_the_compact_automaton_with_the_same_result() {
    let large: Vec<String> = (0..50_u32).map(|n| format!("{n}-").repeat(200)).collect();
    let secrets: Vec<&str> = large.iter().map(String::as_str).collect();
    let raw = format!("x{}y{}z", large[7], &large[8][1..]);
    assert_eq!(
        whole(&secrets, raw.as_bytes()),
        oracle(&patterns(&secrets), raw.as_bytes())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Few letters, so that secrets overlap, nest and repeat; cut anywhere, taken up again anywhere.
    #[test]
    fn splits_and_restarts_make_no_difference(
        secrets in prop::collection::vec("[ab\n\"]{1,5}|a{1,4}|[abc]{6,9}", 0..4),
        raw in "[abc\n\"\\\\]{0,60}",
        chunks in prop::collection::vec((1..8_usize, any::<bool>()), 1..60),
    ) {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let raw = raw.as_bytes();
        let expected = oracle(&patterns(&secrets), raw);

        let mut redactor = Redactor::new(secrets.iter().copied());
        let mut out = Vec::new();
        let mut at = 0;
        let mut chunks = chunks.into_iter().cycle();
        let mut restarts = 0;
        while at < raw.len() {
            let (length, restart) = chunks.next().unwrap();
            let end = (at + length).min(raw.len());
            redactor.push(&raw[at..end], &mut out);
            at = end;
            prop_assert!(expected.starts_with(&out), "{:?} is no beginning of {:?}", out, expected);
            // A restart reads the held bytes again, so each must leave room for progress.
            if restart && restarts < 20 {
                restarts += 1;
                at -= usize::try_from(redactor.held_bytes()).unwrap();
                redactor = redactor.restarted();
            }
        }
        redactor.finish(&mut out);
        prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
    }

    /// Output never lags behind more than it must: what is held is a range, or the beginning of a pattern.
    #[test]
    fn held_bytes_are_bounded_by_the_longest_secret_where_nothing_was_found(raw in "[ab]{0,40}") {
        let mut redactor = Redactor::new(["abbabba"]);
        let mut out = Vec::new();
        redactor.push(raw.as_bytes(), &mut out);
        if !raw.contains("abbabba") {
            prop_assert!(redactor.held_bytes() <= 6);
            prop_assert_eq!(out.len() as u64 + redactor.held_bytes(), raw.len() as u64);
        }
    }
}
