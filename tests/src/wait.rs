//! Waiting for what will be true soon, with a deadline.

use std::time::{Duration, Instant};

const POLL_EVERY: Duration = Duration::from_millis(50);

/// Asks until there is an answer; panics with `what` when `deadline` has passed.
pub async fn eventually<T>(what: &str, deadline: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            start.elapsed() < deadline,
            "waited {deadline:?} in vain for {what}"
        );
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// [`eventually`] where there is no runtime: in constructors and `drop`.
#[allow(
    clippy::disallowed_methods,
    reason = "called from threads that have nothing else to do"
)]
pub fn eventually_blocking<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            start.elapsed() < deadline,
            "waited {deadline:?} in vain for {what}"
        );
        std::thread::sleep(POLL_EVERY);
    }
}
