//! The ways to hurt a host, short of calling out.

use std::{
    hint::black_box,
    io::{Read, Write},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::bindings::wasi::clocks::monotonic_clock;

/// How often this instance was called.
static CALLS: AtomicU32 = AtomicU32::new(0);

pub(crate) fn turn_for_ever() {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

pub(crate) fn ask_the_time_for_ever() {
    loop {
        black_box(monotonic_clock::now());
    }
}

pub(crate) fn ask_for_random_for_ever(bytes: u64) {
    loop {
        black_box(crate::bindings::wasi::random::random::get_random_bytes(bytes));
    }
}

pub(crate) fn spin(million: u64) {
    for n in 0..million.saturating_mul(1_000_000) {
        black_box(n);
    }
}

pub(crate) fn hoard_timers() {
    let mut timers = Vec::new();
    loop {
        // A day, in nanoseconds.
        timers.push(black_box(monotonic_clock::subscribe_duration(86_400_000_000_000)));
    }
}

pub(crate) fn allocate(bytes: usize, touch: bool) {
    let mut block: Vec<u8> = Vec::with_capacity(bytes);
    if touch {
        block.resize(bytes, 1);
    }
    black_box(&block);
}

/// The result depends on every frame, so that none is optimized away.
#[allow(unconditional_recursion)]
#[inline(never)]
pub(crate) fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    recurse(black_box(depth + 1)).wrapping_add(frame.iter().sum())
}

#[allow(clippy::panic)]
pub(crate) fn fall_over(message: &str) {
    panic!("{message}");
}

/// A host that closes the stream ends it early.
pub(crate) fn print_many(bytes: u64) {
    let line = [b'x'; 99];
    let mut out = std::io::stdout().lock();
    for _ in 0..bytes / 100 {
        if out.write_all(&line).and_then(|()| out.write_all(b"\n")).is_err() {
            return;
        }
    }
}

pub(crate) fn print_for_ever() {
    loop {
        drop(writeln!(std::io::stderr(), "and on, and on, and on"));
    }
}

pub(crate) fn environment() -> String {
    let mut input = Vec::new();
    let read = std::io::stdin().take(1024).read_to_end(&mut input);
    serde_json::json!({
        "environment": std::env::vars().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        "arguments": std::env::args().collect::<Vec<_>>(),
        "input": String::from_utf8_lossy(&input),
        "input_error": read.err().map(|e| e.to_string()),
    })
    .to_string()
}

pub(crate) fn count() -> String {
    (CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string()
}

/// Text that is no UTF-8: the contract promises UTF-8, and the host must find out.
#[allow(unsafe_code)]
pub(crate) fn invalid_text() -> String {
    // SAFETY: not sound, and that is the point. Nothing looks at the text before it leaves the guest.
    unsafe { String::from_utf8_unchecked(b"so far so good \xff\xfe".to_vec()) }
}
