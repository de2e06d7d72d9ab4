//! The cases come from moby's own tests of `patternmatcher` v0.6.1.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(patterns: &[&str], path: &str, ignored: bool) {
    let matcher = Matcher::parse(&patterns.join("\n")).unwrap();
    assert_eq!(matcher.is_ignored(path), ignored, "{patterns:?} on {path:?}");
}

#[test]
fn single_patterns() {
    for (pattern, path, ignored) in [
        ("**", "file", true),
        ("**", "file/", true),
        ("**/", "file", true),
        ("**/", "file/", true),
        ("**", "dir/file", true),
        ("**/", "dir/file", true),
        ("**", "dir/file/", true),
        ("**/", "dir/file/", true),
        ("**/**", "dir/file", true),
        ("**/**", "dir/file/", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir/file/", true),
        ("dir/**", "dir/dir2/file", true),
        ("dir/**", "dir/dir2/file/", true),
        ("**/dir", "dir", true),
        ("**/dir", "dir/file", true),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/*", "dir/dir2/file/", true),
        ("**/dir2/**", "dir/dir2/dir3/file", true),
        ("**/dir2/**", "dir/dir2/dir3/file/", true),
        ("**file", "file", true),
        ("**file", "dir/file", true),
        ("**/file", "dir/file", true),
        ("**file", "dir/dir/file", true),
        ("**/file", "dir/dir/file", true),
        ("**/file*", "dir/dir/file", true),
        ("**/file*", "dir/dir/file.txt", true),
        ("**/file*txt", "dir/dir/file.txt", true),
        ("**/file*.txt", "dir/dir/file.txt", true),
        ("**/file*.txt*", "dir/dir/file.txt", true),
        ("**/**/*.txt", "dir/dir/file.txt", true),
        ("**/**/*.txt2", "dir/dir/file.txt", false),
        ("**/*.txt", "file.txt", true),
        ("**/**/*.txt", "file.txt", true),
        ("a**/*.txt", "a/file.txt", true),
        ("a**/*.txt", "a/dir/file.txt", true),
        ("a**/*.txt", "a/dir/dir/file.txt", true),
        ("a/*.txt", "a/dir/file.txt", false),
        ("a/*.txt", "a/file.txt", true),
        ("a/*.txt**", "a/file.txt", true),
        ("a[b-d]e", "ae", false),
        ("a[b-d]e", "ace", true),
        ("a[b-d]e", "aae", false),
        ("a[^b-d]e", "aze", true),
        (".*", ".foo", true),
        (".*", "foo", false),
        ("abc.def", "abcdef", false),
        ("abc.def", "abc.def", true),
        ("abc.def", "abcZdef", false),
        ("abc?def", "abcZdef", true),
        ("abc?def", "abcdef", false),
        ("a\\\\", "a\\", true),
        ("**/foo/bar", "foo/bar", true),
        ("**/foo/bar", "dir/foo/bar", true),
        ("**/foo/bar", "dir/dir2/foo/bar", true),
        ("abc/**", "abc", false),
        ("abc/**", "abc/def", true),
        ("abc/**", "abc/def/ghi", true),
        ("**/.foo", ".foo", true),
        ("**/.foo", "bar.foo", false),
        ("a(b)c/def", "a(b)c/def", true),
        ("a(b)c/def", "a(b)c/xyz", false),
        ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
        (
            "dist/*.whl",
            "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
            true,
        ),
        ("abc", "abc", true),
        ("*", "abc", true),
        ("*c", "abc", true),
        ("a*", "a", true),
        ("a*", "abc", true),
        ("a*", "ab/c", true),
        ("a*/b", "abc/b", true),
        ("a*/b", "a/c/b", false),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
        ("a*b?c*x", "abxbbxdbxebxczzx", true),
        ("a*b?c*x", "abxbbxdbxebxczzy", false),
        ("ab[c]", "abc", true),
        ("ab[b-d]", "abc", true),
        ("ab[e-g]", "abc", false),
        ("ab[^c]", "abc", false),
        ("ab[^b-d]", "abc", false),
        ("ab[^e-g]", "abc", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "ab", false),
        ("a?b", "a☺b", true),
        ("a[^a]b", "a☺b", true),
        ("a???b", "a☺b", false),
        ("a[^a][^a][^a]b", "a☺b", false),
        ("[a-ζ]*", "α", true),
        ("*[a-ζ]", "A", false),
        ("a?b", "a/b", false),
        ("a*b", "a/b", false),
        ("[\\]a]", "]", true),
        ("[\\-]", "-", true),
        ("[x\\-]", "x", true),
        ("[x\\-]", "-", true),
        ("[x\\-]", "z", false),
        ("[\\-x]", "x", true),
        ("[\\-x]", "-", true),
        ("[\\-x]", "a", false),
        ("*x", "xxx", true),
        // Ours: characters that mean something in a class of Rust's regexes and nothing in one of Go's.
        ("[a&&b]", "&", true),
        ("[[a]", "[", true),
        ("[~~]", "~", true),
        ("\\d", "d", true),
        ("\\d", "1", false),
        ("*.go", ".", false),
        ("**", ".", false),
    ] {
        check(&[pattern], path, ignored);
    }
}

#[test]
fn the_last_match_decides() {
    check(&["!fileutils.go", "*.go"], "fileutils.go", true);
    check(&["*.go", "!fileutils.go"], "fileutils.go", false);
    check(&["docs", "!docs/README.md"], "docs/README.md", false);
    check(&["docs/", "!docs/README.md"], "docs/README.md", false);
    check(&["docs/*", "!docs/README.md"], "docs/README.md", false);
    check(&["docs", "!docs/README.md  "], "docs/README.md", false);
    check(&["docs", "  !docs/README.md"], "docs/README.md", false);
    check(&["**", "!util/docker/web"], "util/docker/web/foo", false);
    check(
        &["**", "!util/docker/web", "util/docker/web/foo"],
        "util/docker/web/foo",
        true,
    );
    check(&["**", "!dist/*.whl"], "dist/a-2.4.0rc3.whl", false);
    check(&[], "any/path", false);
}

#[test]
fn lines_are_read_as_moby_reads_them() {
    let text = "\u{feff}# comment\r\n\r\n  /abs/path \r\n #not-a-comment\n! /x/../keep/\nc/./d//e\n/\n";
    let matcher = Matcher::parse(text).unwrap();
    let read: Vec<(bool, &str)> = matcher
        .patterns
        .iter()
        .map(|pattern| (pattern.exception, pattern.text.as_str()))
        .collect();
    assert_eq!(
        read,
        [
            (false, "abs/path"),
            (false, "#not-a-comment"),
            (true, "keep"),
            (false, "c/d/e"),
            (false, "/"),
        ]
    );
    assert!(matcher.is_ignored("/abs/./path/"));
}

#[test]
fn what_is_no_pattern_is_named_by_its_line() {
    for pattern in [
        "!",
        "!  ",
        "[]a]",
        "[-]",
        "[x-]",
        "[-x]",
        "\\",
        "a\\",
        "[a-b-c]",
        "[",
        "[^",
        "[^bc",
        "a[",
        "[z-a]",
        "[Local-Only]/",
    ] {
        let error = Matcher::parse(&format!("ok\n# x\n{pattern}\nok")).unwrap_err();
        assert_eq!(error.line, 3, "{pattern}");
        assert!(error.to_string().starts_with("line 3: "), "{error}");
    }
}

#[test]
fn a_directory_is_skipped_where_no_exception_reaches_into_it() {
    for (patterns, dir, skipped) in [
        (vec!["node_modules"], "node_modules", true),
        (vec!["node_modules"], "node_modules/deep", true),
        (vec!["node_modules"], "src", false),
        (vec!["a", "!a/b/c"], "a", false),
        (vec!["a", "!a/b/c"], "a/b", false),
        (vec!["a", "!a/b/c"], "a/x", true),
        (vec!["a", "!b/c"], "a", true),
        (vec!["a", "!**/*.md"], "a", false),
        (vec!["a", "!*/b"], "a", false),
        (vec!["a", "!*"], "a", false),
        (vec!["!*", "a"], "a", true),
        (vec!["*", "!src"], "target", true),
        (vec!["a", "![^x]b"], "a", false),
    ] {
        let matcher = Matcher::parse(&patterns.join("\n")).unwrap();
        assert_eq!(matcher.skips_whole(dir), skipped, "{patterns:?} {dir}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_in_a_skipped_directory_was_wanted(
        patterns in prop::collection::vec("!?([ab?*]|\\*\\*|[ab]\\*|\\[ab\\]|\\[\\^a\\]|/){1,5}", 1..5),
        dir in "[ab]{1,2}(/[ab]{1,2}){0,2}",
        below in prop::collection::vec("[ab]{1,2}(/[ab]{1,2}){0,2}", 1..20),
    ) {
        if let Ok(matcher) = Matcher::parse(&patterns.join("\n")) && matcher.skips_whole(&dir) {
            for path in below {
                let path = format!("{dir}/{path}");
                prop_assert!(matcher.is_ignored(&path), "{:?} skips {} but wants {}", patterns, dir, path);
            }
        }
    }

    #[test]
    fn any_text_is_read_without_harm(text in "[!#*?\\[\\]^a/\\\\.\\- \n-]{0,30}", path in "[a*./\\-]{0,10}") {
        if let Ok(matcher) = Matcher::parse(&text) {
            matcher.is_ignored(&path);
            matcher.skips_whole(&path);
        }
    }
}
