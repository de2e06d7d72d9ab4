use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::redact::{
    Options, Redactor,
    tests::{Oracle, plain, redactor, shows_with},
};

fn literal(text: &str) -> Rule {
    Rule {
        name: "a".to_owned(),
        pattern: Pattern::Literal(text.to_owned()),
        replacement: None,
    }
}

fn expression(text: &str, length_max: u32) -> Rule {
    Rule {
        name: "a".to_owned(),
        pattern: Pattern::Expression {
            text: text.to_owned(),
            length_max,
        },
        replacement: None,
    }
}

fn shown_as(replacement: &str, rule: Rule) -> Rule {
    Rule {
        replacement: Some(replacement.to_owned()),
        ..rule
    }
}

/// What is wrong with the rule.
#[track_caller]
fn refused(rule: Rule, message: &str) {
    let problems = RuleSet::new(&[rule]).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains(message), "{problems:?}");
}

fn whole(secrets: &[&str], rules: &[Rule], raw: &[u8]) -> Vec<u8> {
    super::super::tests::whole(redactor(secrets, rules, every_length()), raw)
}

fn oracle(secrets: &[&str], rules: &[Rule], raw: &[u8]) -> Vec<u8> {
    Oracle::new(secrets, rules, every_length(), usize::MAX).redacted(raw)
}

/// So that few letters are enough to show something.
fn every_length() -> Options {
    Options {
        length_min: 1,
        ..plain()
    }
}

#[track_caller]
fn shows(secrets: &[&str], rules: &[Rule], raw: &str, expected: &str) {
    shows_with(secrets, rules, every_length(), raw, expected);
}

#[test]
fn what_rules_match_goes() {
    shows(
        &[],
        &[literal("internal.example")],
        "at internal.example:1",
        "at ***:1",
    );
    shows(
        &[],
        &[expression("AKIA[0-9A-Z]{16}", 20)],
        "AAKIA0123456789ABCDEF7 x",
        "A***7 x",
    );
    shows(
        &[],
        &[expression("(?i)token=\\S+", 40)],
        "a Token=b\nc TOKEN=d e",
        "a ***\nc *** e",
    );
    shows(
        &[],
        &[expression("(?s)BEGIN.*?END", 64)],
        "xBEGIN a\nb END c END",
        "x***\n*** c END",
    );
    shows(&[], &[expression("(?-u:\\xff)+", 8)], "ÿ", "ÿ");
    shows(&[], &[], "nothing", "nothing");
}

#[test]
fn a_match_alone_shows_its_replacement_and_others_a_mask() {
    let rules = [
        shown_as("[host]", literal("db.internal")),
        shown_as("[key]", expression("k[0-9]+", 10)),
        shown_as("", literal("deleted")),
    ];
    shows(&[], &rules, "db.internal k123 deleted.", "[host] [key] .");
    shows(&["internal"], &rules, "db.internal", "***");
    shows(&["k1"], &rules, "k12 k2", "*** [key]");
    shows(&[], &[shown_as("r", literal("abcabc"))], "abcabcabc", "r");
    shows(
        &[],
        &[shown_as("r", literal("abcdef")), shown_as("s", literal("cdefgh"))],
        "abcdefgh",
        "***",
    );
    shows(&[], &[shown_as("r", expression("ab", 2))], "abab", "rr");
}

#[test]
fn matches_go_as_far_as_length_max() {
    shows(&[], &[expression("a+", 4)], &"a".repeat(10), "*********");
    shows(&[], &[expression("a.*z", 4)], "abcdz a12z", "abcdz ***");
    shows(&[], &[expression("a.*z", 4)], "azbz1z", "***1z");
    shows(&[], &[expression("a.*c|a", 3)], "ab.c", "***b.c");
}

#[test]
fn an_expression_may_be_back_in_its_first_state_with_a_match_under_way() {
    for text in ["a*b", "a?b", "(?:ab)*c", "[ab]+c"] {
        let rules = RuleSet::new(&[expression(text, 10)]).unwrap();
        let mut redactor = Redactor::with_rules([], &rules);
        let mut out = Vec::new();
        for byte in b"xababc abc" {
            redactor.push(&[*byte], &mut out);
        }
        redactor.finish(&mut out);
        assert_eq!(out, oracle(&[], &[expression(text, 10)], b"xababc abc"), "{text}");
    }
}

#[test]
fn nothing_is_held_back_where_no_match_may_have_begun() {
    let rules = RuleSet::new(&[
        expression("AKIA[0-9A-Z]{16}", 4096),
        expression("(?s)BEGIN.*?END", 100),
    ])
    .unwrap();
    let mut redactor = Redactor::with_rules([], &rules);
    let mut out = Vec::new();
    redactor.push(b"a line\nAK", &mut out);
    assert_eq!((out.as_slice(), redactor.held_bytes()), (&b"a line\n"[..], 2));
    redactor.push(b" other\n", &mut out);
    assert_eq!(redactor.held_bytes(), 0);
    // What began and never ends holds no more than its length, and not for ever.
    redactor.push(b"BEGIN END", &mut out);
    for _ in 0..5000 {
        redactor.push(b" x", &mut out);
        // A match that was found is not cut, so it may add its own length.
        assert!(redactor.held_bytes() < 4096 + 100, "{}", redactor.held_bytes());
    }
    assert!(out.starts_with(b"a line\nAK other\n*** x"));
    redactor.push(b"\n", &mut out);
    assert_eq!(redactor.held_bytes(), 0);
}

#[test]
fn all_that_is_wrong_with_rules_comes_together() {
    let wrong = [
        Rule {
            name: "A b".to_owned(),
            ..literal("short")
        },
        shown_as("a\nb", expression("a**", 0)),
    ];
    let problems = RuleSet::new(&wrong).unwrap_err();
    let rules: Vec<&str> = problems.iter().map(|problem| problem.rule.as_str()).collect();
    assert_eq!(rules, ["A b", "A b", "a", "a"]);
    assert!(RuleSet::new(&vec![literal("abcdef"); 256]).is_ok());
    assert!(RuleSet::new(&vec![literal("abcdef"); 257]).is_err());
    assert!(RuleSet::new(&vec![literal(&"x".repeat(64 * 1024)); 4]).is_ok());
    assert!(RuleSet::new(&vec![literal(&"x".repeat(64 * 1024)); 5]).is_err());
}

#[test]
fn what_cannot_be_searched_for_is_refused() {
    refused(literal("12345"), "6 to 65536 bytes");
    refused(literal(&"x".repeat(64 * 1024 + 1)), "6 to 65536 bytes");
    refused(expression("a", 0), "1 to 4096");
    refused(expression("a", 4097), "1 to 4096");
    refused(expression(&"a".repeat(4097), 1), "at most 4096 bytes");
    refused(expression("a*", 5), "empty");
    refused(expression("a|", 5), "empty");
    refused(expression("[^\\s\\S]", 5), "match something");
    refused(expression("(", 5), "unclosed group");
    for look in ["^a", "a$", "\\ba", "(?m)^a", "a\\z"] {
        refused(expression(look, 5), "surrounds");
    }
    refused(expression("(?=a)b", 5), "look-around");
    refused(expression("(a)\\1", 5), "backreferences");
    refused(
        expression(&format!("{}a{}", "(".repeat(100), ")".repeat(100)), 5),
        "nest",
    );
    refused(expression("(((a{100}){100}){100}){100}", 5), "too large");
    refused(expression("\\w{5000}", 5), "too large");
    refused(shown_as(&"x".repeat(65), literal("abcdef")), "replacement");
    refused(shown_as("a\rb", literal("abcdef")), "replacement");
}

#[test]
fn enormous_sets_are_refused_quickly() {
    let started = Instant::now();
    let many: Vec<Rule> = (0..256)
        .map(|n| expression(&format!("{n}[a-z]{{1000}}"), 2000))
        .collect();
    let problems = RuleSet::new(&many).unwrap_err();
    assert!(problems[0].message.contains("together"), "{problems:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn hostile_expressions_hold_up_a_log_no_longer_than_it_may_take() {
    let started = Instant::now();
    let rules = [
        expression("(?s)a.*z|a", 4096),
        expression("(?:[ab]?){60}[ab]{60}c", 4096),
        expression("(?s-u)[ab].{2000}c", 4096),
    ];
    let raw = "ab".repeat(30_000);
    let out = whole(&[], &rules, raw.as_bytes());
    assert!(!out.contains(&b'a'), "every a is a match, or all is withheld");
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn what_cannot_be_searched_in_time_is_withheld() {
    let rules = RuleSet::new(&[expression("(?s-u)[ab].{100}[ab].{100}[ab].{300}!", 4096)]).unwrap();
    let mut redactor = Redactor::with_rules(["hunter2"], &rules);
    let mut out = Vec::new();
    let mut state = 1_u32;
    for _ in 0..3000 {
        let line: Vec<u8> = (0..100)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if state & 0x1000_0000 == 0 { b'a' } else { b'x' }
            })
            .collect();
        redactor.push(&line, &mut out);
    }
    redactor.finish(&mut out);
    assert!(out.ends_with(b"***"), "{} bytes", out.len());
}

#[test]
fn nothing_shows_a_pattern() {
    let rules = RuleSet::new(&[literal("hunter2")]).unwrap();
    assert!(!format!("{rules:?}").contains("hunter"));
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let texts = prop::sample::select(vec![
        "a+",
        "ab*c",
        "a.*?c",
        "(?s)b.*c",
        "c|cab",
        "[ab]{2,3}",
        "a.*c|a",
        "a?b",
        "(?:ab)*c",
        "(?s:.)b",
        "\\n",
        "a*b|b*a",
        "(?s)a.*b.*a",
    ]);
    let expressions = (texts, 1..9_u32).prop_map(|(text, length_max)| expression(text, length_max));
    let rules = prop_oneof![3 => expressions, 1 => "[abc]{6,7}".prop_map(|text| literal(&text))];
    (rules, prop::option::of("[xyz]{0,2}")).prop_map(|(rule, replacement)| Rule { replacement, ..rule })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn cuts_and_restarts_make_no_difference(
        secrets in prop::collection::vec("[ab]{1,3}", 0..2),
        rules in prop::collection::vec(any_rule(), 0..4),
        raw in "[abc\n]{0,60}",
        chunks in prop::collection::vec((1..12_usize, any::<bool>()), 1..60),
    ) {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let raw = raw.as_bytes();
        let expected = oracle(&secrets, &rules, raw);

        let mut redactor = redactor(&secrets, &rules, every_length());
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
        prop_assert_eq!(redactor.held_bytes(), 0);
    }
}
