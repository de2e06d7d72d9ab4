//! The redactor against every form of every planted secret, however the log is cut. Quick, so that whoever changes the
//! redactor sees what it lets through at once; that builds keep to it, end to end, is for `tests/secrets`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what does not hold fails the test"
)]

use std::{collections::BTreeSet, ops::Range, process::Command};

use ignite_core::redact::Redactor;
use ignite_tests::{
    command,
    planted::{
        forms::{self, folded},
        search::Search,
        values,
    },
};

/// The log of a build that prints everything, and where each form stands in it.
fn leaking() -> (Vec<u8>, Vec<(String, Range<usize>)>) {
    let mut log = Vec::new();
    let mut places = Vec::new();
    for (kind, value) in values::all() {
        for form in forms::of(&value) {
            log.extend_from_slice(b"#[");
            let start = log.len();
            log.extend_from_slice(&form.printed);
            places.push((format!("{kind}: {}", form.name), start..log.len()));
            log.extend_from_slice(b"]#\n");
        }
    }
    (log, places)
}

fn redactor() -> Redactor {
    let secrets = values::all();
    Redactor::new(secrets.iter().map(|(_, value)| value.as_str()))
}

/// What is shown of a log that comes in pieces of these sizes, over and over.
fn shown(redactor: &Redactor, log: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut redactor = redactor.restarted();
    let mut out = Vec::new();
    let (mut rest, mut sizes) = (log, sizes.iter().cycle());
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        redactor.push(piece, &mut out);
        rest = behind;
    }
    redactor.finish(&mut out);
    out
}

/// The same, by a process that dies after each piece: the next one begins where the output stands.
fn shown_by_mortals(redactor: &Redactor, log: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut from, mut to) = (0, 0);
    for size in sizes.iter().cycle() {
        let mut mortal = redactor.restarted();
        to = log.len().min(to + size);
        mortal.push(&log[from..to], &mut out);
        if to == log.len() {
            mortal.finish(&mut out);
            break;
        }
        from = to - usize::try_from(mortal.held_bytes()).unwrap();
    }
    out
}

fn assert_hidden(search: &Search, out: &[u8], how: &str) {
    assert_eq!(search.find(out), BTreeSet::new(), "{how}");
    // What is not secret is there: a redactor that hides everything would be a poor one.
    let count = |what: &[u8]| out.windows(what.len()).filter(|window| *window == what).count();
    let forms = forms::of("any").len() * values::all().len();
    assert_eq!((count(b"#["), count(b"]#\n")), (forms, forms), "{how}");
}

#[test]
fn the_search_finds_every_form_that_is_printed() {
    let (log, places) = leaking();
    let search = Search::new();
    let all: BTreeSet<String> = places.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(all.len(), 30 * 16);
    assert_eq!(search.find(&log), all);
    assert_eq!(search.find_as_printed(&log), all);
    for (name, place) in places {
        assert!(search.find(&log[place]).contains(&name), "{name}");
    }
}

#[test]
fn no_form_of_a_secret_gets_past_the_redactor_at_any_size_of_pieces() {
    let ((log, _), redactor, search) = (leaking(), redactor(), Search::new());
    for sizes in [
        &[usize::MAX][..],
        &[1],
        &[4095],
        &[4096],
        &[4097],
        &[16383],
        &[16384],
        &[16385],
        &[1, 4096, 7, 16384, 64],
    ] {
        assert_hidden(
            &search,
            &shown(&redactor, &log, sizes),
            &format!("in pieces of {sizes:?}"),
        );
    }
}

#[test]
fn no_form_of_a_secret_gets_past_a_redactor_that_is_begun_anew_where_the_last_one_stood() {
    let ((log, _), redactor, search) = (leaking(), redactor(), Search::new());
    let whole = shown(&redactor, &log, &[usize::MAX]);
    for sizes in [&[4096][..], &[16383], &[97, 1, 1, 5, 4096, 331]] {
        let out = shown_by_mortals(&redactor, &log, sizes);
        assert_hidden(
            &search,
            &out,
            &format!("in pieces of {sizes:?}, begun anew after each"),
        );
        assert!(
            out == whole,
            "begun anew it shows something else, in pieces of {sizes:?}"
        );
    }
}

/// Each form by itself, cut in two at each of its bytes. Nothing of it is left either.
#[test]
fn no_form_of_a_secret_gets_past_the_redactor_wherever_it_is_cut() {
    const BYTES_MAX: usize = 260;
    const PIECE_BYTES: usize = 8;
    let redactor = redactor();
    let mut failed = BTreeSet::new();
    for (kind, value) in values::all() {
        for form in forms::of(&value) {
            let name = format!("{kind}: {}", form.name);
            let alone = [b"\n#[", form.printed.as_slice(), b"]#\n"].concat();
            let whole = shown(&redactor, &alone, &[usize::MAX]);
            let shown_folded = folded(&whole);
            let is_left = |piece: &[u8]| shown_folded.windows(PIECE_BYTES).any(|window| window == piece);
            let mut telling = form.telling.iter().map(|telling| folded(telling));
            if telling.any(|telling| telling.windows(PIECE_BYTES).any(is_left)) {
                failed.insert(format!("{name}: {}", String::from_utf8_lossy(&whole)));
            }
            for cut in (1..alone.len()).take_while(|_| alone.len() <= BYTES_MAX) {
                if shown(&redactor, &alone, &[cut, alone.len()]) != whole {
                    failed.insert(format!("{name} cut at {cut}"));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of them: {failed:#?}", failed.len());
}

/// A text of the record or of an error message: there is no stream.
#[test]
fn no_form_of_a_secret_gets_past_the_redactor_in_a_text() {
    let (log, _) = leaking();
    let text = String::from_utf8(log).unwrap();
    let out = redactor().redact_text(&text);
    assert_hidden(&Search::new(), out.as_bytes(), "as a text");
}

#[test]
fn the_forms_are_those_that_other_programs_make() {
    const SCRIPT: &str = r"
import base64, html, json, shlex, sys, urllib.parse
s = sys.stdin.buffer.read().decode()
b = s.encode()
for form in [
    base64.b64encode(b'user' [:3] + b + b';more').decode(),
    base64.b64encode(b'user' + b + b';more').decode(),
    base64.b64encode(b'user:' + b + b';more').decode(),
    base64.urlsafe_b64encode(b).decode().rstrip('='),
    urllib.parse.quote(s, safe='-_.!~*\x27()'),
    json.dumps(s, ensure_ascii=False),
    html.escape(s),
    b.hex(),
]:
    sys.stdout.write(form + '\0')
";
    for (kind, value) in values::all() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("secret");
        std::fs::write(&input, &value).unwrap();
        let printed = command::run(
            Command::new("python3")
                .args(["-c", SCRIPT])
                .stdin(std::fs::File::open(&input).unwrap()),
        );
        let made: Vec<&str> = printed.split_terminator('\0').collect();
        let ours = forms::of(&value);
        for (name, made) in [
            "base64-0",
            "base64-1",
            "base64-2",
            "base64url",
            "percent",
            "json",
            "xml",
            "hex",
        ]
        .iter()
        .zip(made)
        {
            let form = ours.iter().find(|form| form.name == *name).unwrap();
            assert_eq!(String::from_utf8_lossy(&form.printed), made, "{kind}: {name}");
        }
    }
}

#[test]
fn folding_leaves_nothing_of_line_ends_indentation_and_colours() {
    assert_eq!(
        folded(b"one\r\n  \ttwo\x1b[1;31m three\n\n four\x1b[m"),
        b"onetwo threefour"
    );
}
