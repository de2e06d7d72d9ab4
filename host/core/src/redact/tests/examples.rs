use super::*;

#[track_caller]
fn shows(secrets: &[&str], raw: &str, expected: &str) {
    shows_with(secrets, &[], plain(), raw, expected);
    assert_eq!(redactor(secrets, &[], plain()).redact_text(raw), expected);
}

/// So short that only few letters are needed to show something.
#[track_caller]
fn shows_short(secrets: &[&str], raw: &str, expected: &str) {
    let options = Options {
        length_min: 1,
        ..plain()
    };
    shows_with(secrets, &[], options, raw, expected);
}

#[test]
fn every_occurrence_goes() {
    shows(&["hunter2"], "a hunter2 b hunter2", "a *** b ***");
    shows(&["hunter2"], "hunter hunter22", "hunter ***2");
    shows(&[], "hunter2", "hunter2");
    shows(&[""], "hunter2", "hunter2");
    shows(&["ü€ü€"], "aü€ü€bü", "a***bü");
}

#[test]
fn overlapping_secrets_go_as_one_and_touching_ones_as_two() {
    shows_short(&["abcd", "cdef"], "xabcdefx", "x***x");
    shows_short(&["abcd", "bc"], "xabcdx abx bc", "x***x abx ***");
    shows_short(&["ab", "cd"], "xabcdx", "x******x");
    shows_short(&["aa"], "xaaaaax", "x***x");
    shows_short(&["aba", "bab"], "ababab ab", "*** ab");
    shows(&["secret", "secret-long"], "secret-long secret-lo", "*** ***-lo");
}

#[test]
fn lines_of_a_long_secret_go_alone_too_but_not_short_ones() {
    let key = "-----BEGIN-----\nMIIEabc123\n}\n-----END-----\n";
    shows(&[key], "MIIEabc123 }", "*** }");
    shows(&[key], &format!("x{key}y"), "x***\n***\n***\n***\ny");
    shows(&[key], "a\r\nMIIEabc123\r\n", "a\r\n***\r\n");
    shows(&["abcdef\n"], "abcdef abcdef\n", "*** ***\n");
}

#[test]
fn a_secret_is_found_across_line_ends_indentation_and_colours() {
    shows(&["hunter2"], "hun\nter2", "***\n***");
    shows(&["hunter2"], "x h\r\nunter\r\n    2\n", "x ***\r\n***\r\n***\n");
    shows(
        &["hunter2"],
        "\x1b[31mhun\x1b[1;32mter2\x1b[0m",
        "\x1b[31m***\x1b[0m",
    );
    shows(
        &["hunter2"],
        "h\nu\nn\nt\ne\nr\n2",
        "***\n***\n***\n***\n***\n***\n***",
    );
    shows(&["hunter2"], "hun\x1b[1;32", "hun\x1b[1;32");
    shows(&["hunter2"], "hun\x1b(ter2", "hun\x1b(ter2");
    shows(&["hunter2"], "hun ter2", "hun ter2");
    shows(&["one\ntwo 3"], "one\r\n  two 3", "***\r\n***");
    shows(&["one\ntwo 3"], "onetwo 3", "***");
    let gap = |bytes: usize| format!("hun{}ter2", "\n".repeat(bytes));
    shows(&["hunter2"], &gap(128), &format!("***{}***", "\n".repeat(128)));
    shows(&["hunter2"], &gap(129), &gap(129));
    // `base64` wraps its output.
    let secret = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-and-more";
    let wrapped = "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6QUJDREVGR0hJSktMTU5PUFFSU1RV\nVldYWVotYW5kLW1vcmU=\n";
    shows(&[secret], wrapped, "***\n***\n");
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
fn short_secrets_are_not_looked_for_and_are_told_of() {
    let mut redactor = redactor(&["short", "", " \n", "longer", "  five5  "], &[], plain());
    assert_eq!(redactor.too_short(), [0, 2, 4]);
    redactor.add(["also", "longer still"]);
    assert_eq!(redactor.too_short(), [0, 2, 4, 5]);
    assert_eq!(
        redactor.redact_text("short longer five5 also"),
        "short *** five5 also"
    );
}

#[test]
fn what_may_become_a_secret_is_held_back_and_no_more() {
    let mut redactor = redactor(&["hunter2"], &[], plain());
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
fn at_a_pause_lines_are_out_and_what_is_cut_off_is_not() {
    let mut redactor = redactor(&["hunter2"], &[], Options::default());
    let mut out = Vec::new();
    let mut step = |raw: &str, shown: &str, held: u64| {
        out.clear();
        redactor.push(raw.as_bytes(), &mut out);
        assert_eq!(
            (String::from_utf8_lossy(&out).as_ref(), redactor.held_bytes()),
            (shown, held),
            "{raw:?}"
        );
    };
    step("a line.\n", "a line.\n", 0);
    step("another.\r\n  ", "another.\r\n  ", 0);
    step("\x1b[3", "", 3);
    step("1m.", "\x1b[31m.", 0);
    step(" h\n", " ", 2);
    step("as come.\n", "h\nas come.\n", 0);
    step("https://deb.example", "https", 14);
    step("/x.\n", "://deb.example/x.\n", 0);
    step("AKIA", "", 4);
    step(" is none.\n", "AKIA is none.\n", 0);
    step(&"\n".repeat(500), &"\n".repeat(500), 0);
    step("\nh", "\n", 1);
    step(&"\n".repeat(128), "", 129);
    step("\n", &format!("h{}", "\n".repeat(129)), 0);
}

#[test]
fn a_secret_is_found_wherever_two_long_chunks_meet() {
    let secret = "https://X7#kQ!9Z@example.com/and/more";
    let (before, behind) = (". ".repeat(300), " .".repeat(300));
    let new = redactor(&[secret], &[], plain());
    for form in &new.search.secrets {
        let form = String::from_utf8_lossy(form);
        let whole = format!("{before}{form}{behind}");
        for cut in before.len()..before.len() + form.len().min(50) {
            let mut redactor = new.restarted();
            let mut out = Vec::new();
            redactor.push(&whole.as_bytes()[..cut], &mut out);
            redactor.push(&whole.as_bytes()[cut..], &mut out);
            redactor.finish(&mut out);
            assert_eq!(
                String::from_utf8_lossy(&out),
                format!("{before}***{behind}"),
                "{form} {cut}"
            );
        }
    }
}

#[test]
fn output_never_stands_within_a_control_sequence() {
    let mut redactor = redactor(&["ab-aaa"], &[], Options::default());
    let mut out = Vec::new();
    // The sequence ends with what a detector's text begins with.
    redactor.push(b".\x1b[3a", &mut out);
    assert_eq!((out.as_slice(), redactor.held_bytes()), (&b"."[..], 4));
    redactor.push(b"b-aaa", &mut out);
    redactor.finish(&mut out);
    assert_eq!(out, b".\x1b[3ab-aaa");
}

#[test]
fn an_endless_overlap_takes_no_memory() {
    let mut redactor = redactor(&["aaaaaaaa"], &[], plain());
    let mut out = Vec::new();
    for _ in 0..1000 {
        redactor.push(&[b'a'; 1000], &mut out);
        assert!(redactor.held_bytes() <= RANGE_BYTES_MAX as u64 + 16);
        assert!(redactor.stream.kept() < RANGE_BYTES_MAX + 1000);
    }
    assert_eq!(out, b"***".repeat(1_000_000 / (RANGE_BYTES_MAX + 1)));
    out.clear();
    redactor.push(b"b", &mut out);
    assert_eq!(out, b"***b");
}

#[test]
fn what_is_kept_from_being_decided_without_end_is_withheld() {
    let mut redactor = redactor(&[], &[], Options::default());
    let mut out = Vec::new();
    let line = b"Authorization: Bearer 0123456789abcdefghijklmnopqrstuvwxyz.".repeat(100);
    for _ in 0..100 {
        redactor.push(&line, &mut out);
        assert!(redactor.stream.kept() < 512 * 1024);
    }
    redactor.finish(&mut out);
    assert!(
        !out.windows(9).any(|part| part == b"123456789"),
        "{}",
        String::from_utf8_lossy(&out)
    );
}

#[test]
fn nothing_shows_a_secret() {
    let mut redactor = redactor(&["hunter2"], &[], Options::default());
    redactor.push(b"hunter", &mut Vec::new());
    assert!(!format!("{redactor:?}").contains("hunt"));
}

#[test]
fn many_and_large_secrets_are_found_too() {
    let large: Vec<String> = (0..50_u32).map(|n| format!("{n}-").repeat(200)).collect();
    let secrets: Vec<&str> = large.iter().map(String::as_str).collect();
    let raw = format!("x{}y{}z", large[7], &large[8][1..]);
    let oracle = Oracle::new(&secrets, &[], plain(), RANGE_BYTES_MAX);
    assert_eq!(
        whole(redactor(&secrets, &[], plain()), raw.as_bytes()),
        oracle.redacted(raw.as_bytes())
    );
}

#[test]
fn a_secret_that_becomes_known_counts_from_where_the_output_stands() {
    let mut redactor = redactor(&["hunter2"], &[], plain());
    let mut out = Vec::new();
    redactor.push(b"swordfish hunt", &mut out);
    assert_eq!(out, b"swordfish ");
    redactor.add(["huntsman"]);
    assert_eq!(redactor.held_bytes(), 4);
    redactor.push(b"sman swordfish hunter2 ", &mut out);
    redactor.add(["swordfish"]);
    redactor.push(b"swordfish", &mut out);
    redactor.finish(&mut out);
    assert_eq!(out, b"swordfish *** swordfish *** ***");
}

#[test]
fn secrets_as_large_as_they_may_be_are_looked_for_within_bounds() {
    let large: Vec<String> = (0..3_u32)
        .map(|n| format!("{n} line of a file\n").repeat(5_000))
        .collect();
    let secrets: Vec<&str> = large.iter().map(String::as_str).collect();
    let redactor = redactor(&secrets, &[], plain());
    let forms: usize = redactor.search.secrets.iter().map(|form| form.len()).sum();
    assert!(forms <= 2 * FORMS_BYTES_MAX, "{forms}");
    assert_eq!(redactor.redact_text("x2 line of a file."), "x***.");
}

#[test]
fn a_secret_that_is_wrapped_at_its_own_spaces_is_hidden() {
    let secret = "correct horse battery staple 91";
    for (raw, expected) in [
        ("say correct\nhorse battery staple 91.", "say ***\n***."),
        (
            "say correct\n    horse battery\r\n\tstaple 91.",
            "say ***\n***\r\n***.",
        ),
        ("| correct \n horse battery staple\n91", "| ***\n***\n***"),
        ("correct\nhorse\nbattery\nstaple\n91", "***\n***\n***\n***\n***"),
        ("correct horse\nbattery staple", "correct horse\nbattery staple"),
    ] {
        shows_with(&[secret], &[], plain(), raw, expected);
    }
    // As JSON, and one line of several.
    let quoted = "a \"fine\" word";
    shows_with(
        &[quoted],
        &[],
        plain(),
        "{\"it\": \"a\n \\\"fine\\\" word\"}",
        "{\"it\": \"***\n***\"}",
    );
    shows_with(
        &["first\nthe second line"],
        &[],
        plain(),
        "the\nsecond\nline",
        "***\n***\n***",
    );
}

/// What stands before it on its line, and how wide lines are, does not matter.
#[test]
fn a_passphrase_of_many_words_is_hidden_in_lines_of_any_width() {
    let words = "abacus zigzag of ten or more words which nobody would ever guess at all 7 times";
    let redactor = redactor(&[words], &[], plain());
    for width in 7..words.len() + 20 {
        for before in 0..width.min(20) {
            let mut raw = "x".repeat(before);
            let mut column = before;
            for (number, word) in words.split(' ').enumerate() {
                if number > 0 || (column > 0 && column + 1 + word.len() > width) {
                    let fits = column + 1 + word.len() <= width;
                    raw.push(if fits { ' ' } else { '\n' });
                    column = if fits { column + 1 } else { 0 };
                }
                raw.push_str(word);
                column += word.len();
            }
            let shown = redactor.redact_text(&raw);
            assert!(
                !shown.contains(|c: char| c.is_ascii_lowercase() && c != 'x'),
                "{width}: {shown}"
            );
        }
    }
}

/// With room taken by wrapped forms, the forms of secrets that come later were fewer.
#[test]
fn wrapped_forms_take_no_room_from_other_secrets() {
    let first = "many words ".repeat(40);
    let taken: usize = forms::needles(&first, 6, FORMS_BYTES_MAX)
        .unwrap()
        .iter()
        .map(|form| form.len())
        .sum();
    assert!(!forms::wrapped(&first, 6, WRAPS_BYTES_MAX).is_empty());
    // As long as it may be and still be looked for in all forms.
    let length = (FORMS_BYTES_MAX - taken) / 40;
    let second = format!("{:z<length$}", "tab\ttab");
    let redactor = redactor(&[&first, &second], &[], plain());
    assert_eq!(redactor.redact_text(&second.replace('\t', "%09")), "***");
    let mut later = super::redactor(&[&first], &[], plain());
    later.add([second.as_str()]);
    assert_eq!(later.redact_text(&second.replace('\t', "%09")), "***");
    let wraps: usize = later.search.wraps_bytes;
    assert!(wraps <= WRAPS_BYTES_MAX, "{wraps}");
}

#[test]
fn a_redactor_may_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Redactor>();
}
