//! The redactor against its definition, on texts that are made of what secrets become, cut, wrapped and coloured.
//!
//! `PROPTEST_CASES` sets how many are tried; a million are, by night or after a change:
//!
//!     PROPTEST_CASES=1000000 cargo test --release -p ignite-core --lib redact::tests::random

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::hook::Pattern;

/// Where merged ranges are cut in these tests: soon.
const CUT: usize = 40;

fn cases(default: u32) -> ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(wanted.unwrap_or(default))
}

/// A piece of a text.
#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    /// A part of a form of a secret, with gaps in it.
    Form {
        which: Index,
        part: (Index, Index),
        gaps: Vec<(Index, String)>,
    },
    /// A part of what a detector knows, or all.
    Token {
        which: Index,
        part: (Index, Index),
        all: bool,
    },
}

const TOKENS: [&str; 9] = [
    "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",
    "AKIAIOSFODNN7ABCDEFG",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n",
    "Authorization: Bearer abcdef0123456789",
    "authorization=\"token abab-abab-abab-1",
    "https://user:pw1-pw2@host",
    "://:abcdef@a",
    "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY\nPuoAoGCCqGSM49-\n-----END",
    "-----BEGIN PRIVATE KEY-----\\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY+0123456789-\"",
];

fn gap() -> impl Strategy<Value = String> {
    let short = [
        "\n",
        "\r\n",
        "\r",
        "\n  ",
        "\n\t",
        "\x1b[0m",
        "\x1b[1;31m",
        "\x1b[m\n \x1b[K ",
        "\x1b",
        "\x1b[3",
        " ",
        "\x1b[\n",
    ];
    let long = ["\n".repeat(127), "\n".repeat(129), "\x1b[0m".repeat(33)];
    prop_oneof![
        5 => prop::sample::select(short.to_vec()).prop_map(str::to_owned),
        1 => prop::sample::select(long.to_vec()),
    ]
}

fn piece() -> impl Strategy<Value = Piece> {
    let part = || any::<(Index, Index)>();
    prop_oneof![
        3 => "[ab1 \n\"%\\\\-]{0,12}".prop_map(Piece::Text),
        1 => gap().prop_map(Piece::Text),
        6 => (any::<Index>(), part(), prop::collection::vec((any::<Index>(), gap()), 0..3))
            .prop_map(|(which, part, gaps)| Piece::Form { which, part, gaps }),
        2 => (any::<Index>(), part(), any::<bool>()).prop_map(|(which, part, all)| Piece::Token { which, part, all }),
    ]
}

fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]{6,9}",
        "[ab1-]{7,12}",
        "(a|b|ab ){4,6}",
        "[ab\"'\\\\/<&$%+ ü\n]{6,10}",
        "a[b\n]{8}",
        "[a-z0-9]{20,40}",
        "(ab){3}[\t\x1b]?(ba){3}",
        "[ab]{5}",
        "[ -~]{8,16}",
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let expression = (
        prop::sample::select(vec!["a+1", "b.*?a", "(?s)1.*b", "-+", "\\n[ab]"]),
        1..9_u32,
    )
        .prop_map(|(text, length_max)| Pattern::Expression {
            text: text.to_owned(),
            length_max,
        });
    let literal = "[ab1 \n-]{6,8}".prop_map(Pattern::Literal);
    (prop_oneof![expression, literal], prop::option::of("[xyz]{0,2}")).prop_map(|(pattern, replacement)| {
        Rule {
            name: "a".to_owned(),
            pattern,
            replacement,
        }
    })
}

fn cut<'a>(bytes: &'a [u8], part: &(Index, Index)) -> &'a [u8] {
    let (a, b) = (part.0.index(bytes.len() + 1), part.1.index(bytes.len() + 1));
    // Mostly an end of it, or nearly all.
    &bytes[a.min(b) / 3..bytes.len() - (bytes.len() - a.max(b)) / 3]
}

fn text(pieces: &[Piece], secrets: &[&str], length_min: usize) -> Vec<u8> {
    let forms: Vec<_> = secrets
        .iter()
        .filter_map(|secret| forms::needles(secret, length_min, usize::MAX))
        .flatten()
        .collect();
    let mut raw = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => raw.extend_from_slice(text.as_bytes()),
            Piece::Form { which, part, gaps } if !forms.is_empty() => {
                let mut form = cut(&forms[which.index(forms.len())], part).to_vec();
                for (at, gap) in gaps {
                    let at = at.index(form.len() + 1);
                    form.splice(at..at, gap.bytes());
                }
                raw.extend(form);
            }
            Piece::Form { .. } => raw.extend_from_slice(b"none"),
            Piece::Token { which, part, all } => {
                let token = which.get(&TOKENS).as_bytes();
                raw.extend_from_slice(if *all { token } else { cut(token, part) });
            }
        }
    }
    raw
}

#[derive(Debug, Clone)]
struct Case {
    secrets: Vec<String>,
    rules: Vec<Rule>,
    pieces: Vec<Piece>,
    /// Lengths of pushes, and whether the stream is taken up again behind each.
    pushes: Vec<(usize, bool)>,
    options: Options,
    range_bytes_max: usize,
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(secret(), 0..4),
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(rule(), 1..3)],
        prop::collection::vec(piece(), 0..8),
        prop::collection::vec(
            (prop_oneof![4 => 1..9_usize, 1 => 9..600_usize], any::<bool>()),
            1..20,
        ),
        (prop::sample::select(vec![1_usize, 5, 6, 6, 6]), any::<bool>()),
        prop::sample::select(vec![CUT, CUT, RANGE_BYTES_MAX]),
    )
        .prop_map(
            |(secrets, rules, pieces, pushes, (length_min, detectors), range_bytes_max)| Case {
                secrets,
                rules,
                pieces,
                pushes,
                options: Options {
                    length_min,
                    detectors,
                },
                range_bytes_max,
            },
        )
}

fn redactor_of(case: &Case, secrets: &[&str]) -> Redactor {
    let mut redactor = redactor(secrets, &case.rules, case.options);
    let search = Arc::get_mut(&mut redactor.search).unwrap();
    search.range_bytes_max = case.range_bytes_max;
    redactor
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn cuts_and_restarts_make_no_difference(case in case()) {
        let secrets: Vec<&str> = case.secrets.iter().map(String::as_str).collect();
        let raw = text(&case.pieces, &secrets, case.options.length_min);
        let oracle = Oracle::new(&secrets, &case.rules, case.options, case.range_bytes_max);
        let expected = oracle.redacted(&raw);

        let mut redactor = redactor_of(&case, &secrets);
        prop_assert_eq!(shown(&whole(redactor.restarted(), &raw)), shown(&expected), "at once: {:?}", shown(&raw));
        let mut out = Vec::new();
        let mut at = 0;
        let mut restarts = 0;
        for (length, restart) in case.pushes.iter().cycle() {
            if at == raw.len() {
                break;
            }
            let end = (at + length).min(raw.len());
            redactor.push(&raw[at..end], &mut out);
            at = end;
            prop_assert!(expected.starts_with(&out), "{:?} is no beginning of {:?}", shown(&out), shown(&expected));
            // A restart reads the held bytes again, so each must leave room for progress.
            if *restart && restarts < 20 {
                restarts += 1;
                at -= usize::try_from(redactor.held_bytes()).unwrap();
                redactor = redactor.restarted();
            }
        }
        redactor.finish(&mut out);
        prop_assert_eq!(shown(&out), shown(&expected), "{:?}", shown(&raw));
        prop_assert_eq!(redactor.held_bytes(), 0);
    }

    #[test]
    fn secrets_that_become_known_count_from_there_on(case in case(), later in prop::collection::vec(secret(), 1..3), after in any::<Index>()) {
        let mut secrets: Vec<&str> = case.secrets.iter().map(String::as_str).collect();
        let all: Vec<&str> = secrets.iter().copied().chain(later.iter().map(String::as_str)).collect();
        let raw = text(&case.pieces, &all, case.options.length_min);
        let known_at = after.index(raw.len() + 1);

        let mut redactor = redactor_of(&case, &secrets);
        let mut out = Vec::new();
        let push_in_pieces = |redactor: &mut Redactor, mut raw: &[u8], out: &mut Vec<u8>| {
            for (length, _) in case.pushes.iter().cycle() {
                if raw.is_empty() {
                    break;
                }
                let (piece, rest) = raw.split_at(*length.min(&raw.len()));
                redactor.push(piece, out);
                raw = rest;
            }
        };
        push_in_pieces(&mut redactor, &raw[..known_at], &mut out);
        let stands_at = known_at - usize::try_from(redactor.held_bytes()).unwrap();
        secrets.extend(later.iter().map(String::as_str));
        let oracle = Oracle::new(&secrets, &case.rules, case.options, case.range_bytes_max);
        let mut expected = out.clone();
        expected.extend(oracle.redacted(&raw[stands_at..]));
        redactor.add(later.iter().map(String::as_str));
        prop_assert_eq!(redactor.held_bytes(), (known_at - stands_at) as u64);
        push_in_pieces(&mut redactor, &raw[known_at..], &mut out);
        redactor.finish(&mut out);
        prop_assert_eq!(shown(&out), shown(&expected), "{:?}", shown(&raw));
    }

    /// What is held may become something: it is a range, or the beginning of one.
    #[test]
    fn held_bytes_are_bounded_by_the_longest_secret_where_nothing_was_found(raw in "[ab]{0,40}") {
        let mut redactor = redactor(&["abbabba"], &[], plain());
        let mut out = Vec::new();
        redactor.push(raw.as_bytes(), &mut out);
        if !raw.contains("abbabba") {
            prop_assert!(redactor.held_bytes() <= 6);
            prop_assert_eq!(out.len() as u64 + redactor.held_bytes(), raw.len() as u64);
        }
    }
}
