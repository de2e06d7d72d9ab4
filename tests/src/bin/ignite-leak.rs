//! Runs inside of a build, and prints what it should not: every planted secret that it finds in its environment or below
//! `/run/secrets`, in every form, in the ways that its arguments name. The forms are worked out here, so that nothing of
//! them stands in the build's context.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what goes wrong fails the build, and so the test"
)]

use std::{
    env, fs,
    io::{self, Write as _},
    process, thread,
    time::Duration,
};

use ignite_tests::planted::{
    forms::{self, Form},
    values,
};

/// How a program's output is cut by its buffers.
const BUFFERS: [usize; 2] = [4096, 16384];
/// Long enough for a look at the log in between.
const PAUSE: Duration = Duration::from_millis(15);
/// So many bytes of a form are dripped one by one; what is longer goes on in one piece.
const DRIPPED_BYTES_MAX: usize = 600;
const NAME_BYTES_MAX: usize = 255;

fn main() {
    let secrets = secrets();
    let mut printed = 0;
    for way in env::args().skip(1) {
        if let Some(code) = way.strip_prefix("exit=") {
            process::exit(code.parse().unwrap());
        }
        for secret in &secrets {
            for form in forms::of(secret) {
                match way.as_str() {
                    "lines" => say(&[b"[", form.printed.as_slice(), b"]\n"].concat()),
                    "errors" => io::stderr()
                        .write_all(&[&form.printed[..], b"\n"].concat())
                        .unwrap(),
                    "borders" => borders(&form),
                    "drip" => drip(&form),
                    "names" => names(&form),
                    _ => panic!("{way} is no way to leak"),
                }
                printed += 1;
            }
        }
    }
    say(format!("leaked {} secrets in {printed} forms\n", secrets.len()).as_bytes());
}

fn secrets() -> Vec<String> {
    let from = |index| {
        let name = values::arg_name(index);
        let mounted = fs::read_to_string(format!("/run/secrets/{name}"));
        env::var(&name).ok().or(mounted.ok())
    };
    (0..values::COUNT).filter_map(from).collect()
}

fn say(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    out.write_all(bytes).unwrap();
    out.flush().unwrap();
}

/// Each form across the end of a full buffer.
fn borders(form: &Form) {
    for size in BUFFERS {
        let head = form.printed.len() / 2;
        let filler = size.saturating_sub(head % size + 1);
        let text = [&vec![b'.'; filler][..], b" ", &form.printed].concat();
        for piece in text.chunks(size) {
            say(piece);
        }
        say(b"\n");
    }
}

/// Byte by byte, with a pause in the middle.
fn drip(form: &Form) {
    let dripped = form.printed.len().min(DRIPPED_BYTES_MAX);
    for (index, byte) in form.printed[..dripped].iter().enumerate() {
        say(&[*byte]);
        if index == dripped / 2 {
            #[allow(clippy::disallowed_methods, reason = "a program of one thread")]
            thread::sleep(PAUSE);
        }
    }
    say(&form.printed[dripped..]);
    say(b"\n");
}

/// As the name of a file, which then stands in what lists it.
fn names(form: &Form) {
    if form.printed.len() > NAME_BYTES_MAX || form.printed.contains(&b'/') {
        return;
    }
    let name = String::from_utf8(form.printed.clone()).unwrap();
    let folder = env::temp_dir().join("named");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(&name), "").unwrap();
    for entry in fs::read_dir(&folder).unwrap() {
        say(entry.unwrap().path().as_os_str().as_encoded_bytes());
        say(b"\n");
    }
    fs::remove_file(folder.join(&name)).unwrap();
    // As a program says what it did not find.
    let gone = fs::File::open(folder.join(&name)).unwrap_err();
    say(format!("{}: {gone}\n", folder.join(&name).display()).as_bytes());
}
