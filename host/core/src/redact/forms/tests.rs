//! What real programs write, taken down from them.

use super::*;

#[track_caller]
fn has(secret: &str, forms: &[&str]) {
    let needles = needles(secret, 6, usize::MAX).unwrap();
    for form in forms {
        let form = fold::folded(form.as_bytes());
        let found = needles.iter().any(|needle| needle.as_slice() == form);
        assert!(found, "{}", form.escape_ascii());
    }
}

#[test]
fn base64_is_known_wherever_the_secret_stands_in_what_is_encoded() {
    // `printf %s … | base64` of hunter2?>, x…, xx…
    has("hunter2?>", &["aHVudGVyMj8+", "aHVudGVyMj8-"]);
    has("hunter2?>", &["odW50ZXIyPz", "odW50ZXIyPz4=", "odW50ZXIyPz4"]);
    has(
        "hunter2?>",
        &["h1bnRlcjI/P", "h1bnRlcjI_P", "h1bnRlcjI/Pg==", "h1bnRlcjI/Pg"],
    );
    let secret = "a secret of any length";
    for length in 6..secret.len() {
        let needles = needles(&secret[..length], 6, usize::MAX).unwrap();
        for before in 0..7 {
            for behind in 0..4 {
                let text = format!(
                    "{}{}{}",
                    "x".repeat(before),
                    &secret[..length],
                    "y".repeat(behind)
                );
                for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                    let encoded = engine.encode(&text);
                    let shown: usize = needles
                        .iter()
                        .filter_map(|needle| {
                            encoded
                                .as_bytes()
                                .windows(needle.len())
                                .position(|part| part == needle.as_slice())
                                .map(|_| needle.len())
                        })
                        .max()
                        .unwrap_or(0);
                    // All whole characters of it.
                    assert!(
                        shown >= (length * 8 - 10) / 6,
                        "{before} {length} {behind}: {encoded}"
                    );
                }
            }
        }
    }
}

#[test]
fn percent_encodings_of_common_functions() {
    let secret = "p@ss w/rd+~é'(!)*";
    has(
        secret,
        &[
            // encodeURIComponent, encodeURI
            "p%40ss%20w%2Frd%2B~%C3%A9'(!)*",
            "p@ss%20w/rd+~%C3%A9'(!)*",
            // Python: quote, quote_plus
            "p%40ss%20w/rd%2B~%C3%A9%27%28%21%29%2A",
            "p%40ss+w%2Frd%2B~%C3%A9%27%28%21%29%2A",
            // Go: QueryEscape, PathEscape
            "p%40ss+w%2Frd%2B~%C3%A9%27%28%21%29%2A",
            "p@ss%20w%2Frd+~%C3%A9%27%28%21%29%2A",
            // Java
            "p%40ss+w%2Frd%2B%7E%C3%A9%27%28%21%29*",
            // lower case
            "p%40ss%20w%2frd%2b~%c3%a9'(!)*",
        ],
    );
    has("abcdef", &["%61%62%63%64%65%66", "616263646566"]);
    has("jklmno", &["6A6B6C6D6E6F", "6a6b6c6d6e6f", "%6A%6B%6C%6D%6E%6F"]);
}

#[test]
fn escapes_of_common_writers() {
    let secret = "a\"b\\c<d>&'/\té";
    has(
        secret,
        &[
            // JSON: most, Go, PHP, Python
            r#"a\"b\\c<d>&'/\té"#,
            r#"a\"b\\c\u003cd\u003e\u0026'/\té"#,
            r#"a\"b\\c<d>&'\/\t\u00e9"#,
            r#"a\"b\\c<d>&'/\t\u00e9"#,
            // XML: text, attributes, Python's html.escape, Go
            "a\"b\\c&lt;d&gt;&amp;'/\té",
            "a&quot;b\\c&lt;d&gt;&amp;&apos;/\té",
            "a&quot;b\\c&lt;d&gt;&amp;&#x27;/\té",
            "a&#34;b\\c&lt;d&gt;&amp;&#39;/&#x9;é",
            // Shell: '…', "…", none, $'…'
            "a\"b\\c<d>&'\\''/\té",
            "a\"b\\c<d>&'\"'\"'/\té",
            "a\\\"b\\\\c<d>&'/\té",
            "a\\\"b\\\\c\\<d\\>\\&\\'/\té",
            "a\"b\\\\c<d>&\\'/\\té",
            // Go's %+q
            r#"a\"b\\c<d>&'/\t\u00e9"#,
        ],
    );
    has(
        "a\u{1}\u{7f}bcdé😀",
        &[
            r"a\x01\x7fbcd\u00e9\U0001f600",
            "a\\u0001\u{7f}bcd\\u00e9\\ud83d\\ude00",
            r"a\001\177bcdé😀",
        ],
    );
    has("cost$5`x`!", &["cost\\$5\\`x\\`!", "cost\\$5\\`x\\`\\!"]);
}

#[test]
fn a_secret_of_several_lines_is_known_by_its_lines_and_with_either_line_end() {
    let secret = "first line\nsecond line\n}\n";
    has(
        secret,
        &["first line", "second line", "first line\r\n  second line\n}"],
    );
    has(
        secret,
        &[
            "first line\\nsecond line\\n}",
            "first line\\r\\nsecond line\\r\\n}",
        ],
    );
    has(
        secret,
        &[
            "first%20line%0Asecond%20line%0A%7D",
            "first%20line%0D%0Asecond%20line%0D%0A%7D",
        ],
    );
    let needles = needles(secret, 6, usize::MAX).unwrap();
    assert!(!needles.iter().any(|needle| needle.as_slice() == b"}"));
}

#[test]
fn nothing_short_is_looked_for() {
    assert!(needles("12345", 6, usize::MAX).is_none());
    assert!(needles(" 12345\n", 6, usize::MAX).is_none());
    assert!(needles("", 1, usize::MAX).is_none());
    for length_min in [1, 3, 6] {
        let needles = needles("123", length_min, usize::MAX);
        let shortest = needles.into_iter().flatten().map(|needle| needle.len()).min();
        assert!(shortest.is_none_or(|shortest| shortest >= 3));
    }
}

#[test]
fn forms_of_very_long_secrets_are_fewer() {
    let secret = "0123456789\"abcdef\n".repeat(5_000);
    let total = |needles: &Needles| needles.iter().map(|needle| needle.len()).sum::<usize>();
    let some = needles(&secret, 6, 4 << 20).unwrap();
    assert!(total(&some) <= 4 << 20, "{}", total(&some));
    assert!(
        some.iter()
            .any(|needle| needle.starts_with(b"0123456789\\\"abcdef\\n"))
    );
    assert!(
        some.iter()
            .any(|needle| needle.starts_with(b"MDEyMzQ1Njc4OSJhYmNkZWYK"))
    );
    let fewest = needles(&secret, 6, 0).unwrap();
    assert_eq!(fewest.len(), 2);
}
