//! How fast are secrets taken out of a log, on one core? Twenty secrets in all their forms, the built-in detectors and forty
//! literals of rules, on a log of many kinds of lines: without a secret in it, with one every 10 KB, and written byte by byte.
//!
//! Then against Go's `strings.Replacer`, with which other CI servers mask logs, though it finds nothing that two writes have a part of
//! each: 160 literals and the same text for both, rounds in turn, the median round counts. The Go program is built here.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    missing_debug_implementations,
    reason = "a benchmark that cannot run should stop"
)]

use std::{
    fmt::Write as _,
    fs,
    hint::black_box,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ignite_core::{
    hook::{Pattern, Rule},
    redact::{Options, Redactor, RuleSet},
};

const ROUNDS: usize = 7;
const TEXT_BYTES: usize = 32 << 20;
/// A push of the log pipeline.
const PUSH_BYTES: usize = 64 << 10;
const HIT_EVERY: usize = 10 << 10;
const SINGLE_BYTES: usize = 4 << 20;

const CLEAN_MIN: f64 = 1000.0;
const HITS_MIN: f64 = 500.0;
const SINGLE_MIN: f64 = 30.0;
const RATIO_MIN: f64 = 10.0;

fn main() -> ExitCode {
    let secrets: Vec<String> = (0..20).map(secret).collect();
    let clean = log(None);
    let hits = log(Some(&secrets));
    let all = redactor(&secrets, &literals(40), Options::default());
    let expressions = redactor(&secrets, &expressions(), Options::default());

    let mut met = true;
    met &= verdict("log without hits", CLEAN_MIN, || rate(&all, &clean, PUSH_BYTES));
    met &= verdict("a hit every 10 KB", HITS_MIN, || rate(&all, &hits, PUSH_BYTES));
    met &= verdict("one byte at a time", SINGLE_MIN, || {
        rate(&all, &hits[..SINGLE_BYTES], 1)
    });
    met &= verdict("forty expressions in place of literals", CLEAN_MIN, || {
        rate(&expressions, &clean, PUSH_BYTES)
    });
    met &= against_go(&secrets, &hits);
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints how the median of some rounds, in MB/s, compares with what is wanted.
fn verdict(what: &str, min: f64, mut round: impl FnMut() -> f64) -> bool {
    let rates = (0..ROUNDS).map(|_| round()).collect();
    let (low, median, high) = spread(rates);
    let met = median >= min;
    println!(
        "redact, {what}: {median:.0} MB/s ({low:.0} to {high:.0}; median of {ROUNDS}; at least {min:.0} wanted: {})",
        if met { "met" } else { "MISSED" }
    );
    met
}

fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}

fn against_go(secrets: &[String], text: &[u8]) -> bool {
    let literals: Vec<String> = secrets.iter().flat_map(|secret| eight_forms(secret)).collect();
    let rules: Vec<Rule> = literals
        .iter()
        .map(|text| rule(Pattern::Literal(text.clone())))
        .collect();
    let no_detectors = Options {
        detectors: false,
        ..Options::default()
    };
    let ours = redactor(&[], &rules, no_detectors);
    let mut go = Go::start(&literals, text);
    let mut met = true;
    for mode in ["lines", "whole"] {
        let mut ratios = Vec::new();
        let (mut ours_rate, mut go_rate) = (0.0, 0.0);
        for _ in 0..ROUNDS {
            go_rate = go.rate(mode);
            ours_rate = rate(&ours, text, PUSH_BYTES);
            ratios.push(ours_rate / go_rate);
        }
        let (low, median, high) = spread(ratios);
        let round_met = median >= RATIO_MIN;
        println!(
            "redact / strings.Replacer, {mode}: ratio {median:.1} ({low:.1} to {high:.1}; median of {ROUNDS}; last {ours_rate:.0} and \
             {go_rate:.0} MB/s; at least {RATIO_MIN:.1} wanted: {})",
            if round_met { "met" } else { "MISSED" }
        );
        met &= round_met;
    }
    met
}

/// In MB/s.
fn rate(redactor: &Redactor, text: &[u8], push_bytes: usize) -> f64 {
    let mut redactor = redactor.restarted();
    let mut out = Vec::with_capacity(2 * PUSH_BYTES);
    let begun = Instant::now();
    for piece in text.chunks(push_bytes) {
        redactor.push(piece, &mut out);
        if out.len() >= PUSH_BYTES {
            black_box(&out);
            out.clear();
        }
    }
    redactor.finish(&mut out);
    black_box(&out);
    text.len() as f64 / 1e6 / begun.elapsed().as_secs_f64()
}

fn redactor(secrets: &[String], rules: &[Rule], options: Options) -> Redactor {
    let rules = RuleSet::new(rules).unwrap();
    Redactor::with_options(secrets.iter().map(String::as_str), &rules, options)
}

fn rule(pattern: Pattern) -> Rule {
    Rule {
        name: "bench".to_owned(),
        pattern,
        replacement: None,
    }
}

fn literals(count: u64) -> Vec<Rule> {
    let one = |n| {
        rule(Pattern::Literal(format!(
            "{}.internal.example",
            &random_text(n + 1000)[..12]
        )))
    };
    (0..count).map(one).collect()
}

fn expressions() -> Vec<Rule> {
    let one = |n: u64| {
        rule(Pattern::Expression {
            text: format!("{}_[0-9A-Za-z]{{{}}}", &random_text(n + 2000)[..5], 20 + n),
            length_max: 100,
        })
    };
    (0..40).map(one).collect()
}

/// Letters and digits, the same for the same number.
fn random_text(seed: u64) -> String {
    const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[(state % 62) as usize])
    };
    (0..32).map(|_| letter()).collect()
}

fn secret(number: u64) -> String {
    format!(
        "{}/{}+",
        &random_text(number)[..8],
        &random_text(number + 100)[..24]
    )
}

/// What it takes to find a secret without knowing about forms: eight literals.
fn eight_forms(secret: &str) -> [String; 8] {
    let base64 = |offset: usize| {
        let all = STANDARD_NO_PAD.encode("\0".repeat(offset) + secret);
        let end = (offset + secret.len()) * 8 / 6;
        all[(offset * 8).div_ceil(6)..end].to_owned()
    };
    let percent = |slash: &str, plus: &str| secret.replace('/', slash).replace('+', plus);
    [
        secret.to_owned(),
        base64(0),
        base64(1),
        base64(2),
        hex::encode(secret),
        hex::encode_upper(secret),
        percent("%2F", "%2B"),
        percent("\\/", "+"),
    ]
}

/// Lines as builds print them; with a form of a secret every 10 KB, if there are any.
fn log(secrets: Option<&[String]>) -> Vec<u8> {
    let mut log = String::with_capacity(TEXT_BYTES + 1024);
    let mut next_hit = HIT_EVERY;
    let mut n = 0_u64;
    while log.len() < TEXT_BYTES {
        n += 1;
        let word = random_text(n);
        let written = match n % 8 {
            0 => writeln!(
                log,
                "Get:{n} http://deb.example/debian bookworm/main amd64 lib{}-dev amd64 1.2.{n} [12.3 kB]",
                &word[..6]
            ),
            1 => writeln!(
                log,
                "#12 {n}.301 Unpacking {}-perl (2:{n}.4-1+deb12u1) over (2:8.39-1) ...",
                &word[..4]
            ),
            2 => writeln!(log, "   Compiling {} v0.{n}.2", &word[..9]),
            3 => writeln!(
                log,
                "npm warn deprecated {}@{n}.0.0: this package is no longer supported, see its page",
                &word[..7]
            ),
            4 => writeln!(
                log,
                "go: downloading github.com/{}/{} v1.{n}.0",
                &word[..5],
                &word[5..12]
            ),
            5 => writeln!(
                log,
                "sha256:{}{} 0B / 32.17MB {n}.2s",
                hex::encode(&word[..16]),
                hex::encode(&word[16..])
            ),
            6 => writeln!(
                log,
                "time=\"2026-01-02T03:04:05Z\" level=info msg=\"Taking snapshot of full filesystem\" step={n}"
            ),
            _ => writeln!(
                log,
                "  \x1b[32m✓\x1b[0m renders the {} table in {n} ms without touching the network",
                &word[..3]
            ),
        };
        written.unwrap();
        if let Some(secrets) = secrets.filter(|_| log.len() >= next_hit) {
            next_hit += HIT_EVERY;
            let n = usize::try_from(n).unwrap();
            let form = &eight_forms(&secrets[n % secrets.len()])[n / 7 % 8];
            writeln!(log, "fetching with {form} as the token").unwrap();
        }
    }
    log.into_bytes()
}

/// The Go program, with its text loaded.
struct Go {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Go {
    fn start(literals: &[String], text: &[u8]) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = directory.join("replacer");
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/replacer"))
            .status();
        assert!(built.unwrap().success(), "go build failed");
        let (literals_file, text_file) = (directory.join("literals"), directory.join("text"));
        fs::write(&literals_file, literals.join("\n")).unwrap();
        fs::write(&text_file, text).unwrap();
        let mut child = Command::new(program)
            .args([literals_file, text_file])
            .env("GOMAXPROCS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    /// In MB/s.
    fn rate(&mut self, mode: &str) -> f64 {
        writeln!(self.child.stdin.as_mut().unwrap(), "{mode}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}
