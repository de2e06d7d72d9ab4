//! When to try again, how soon, and when to give up.

use std::time::{Duration, Instant};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A connection that lived as long as this was a good one, whatever came over it.
const STABLE: Duration = Duration::from_secs(10);

/// Waits that grow while nothing succeeds, up to a total that is given.
#[derive(Debug)]
pub(crate) struct Patience {
    window: Duration,
    failing_since: Option<Instant>,
    connected_at: Option<Instant>,
    wait: Duration,
}

// === impl Patience ===

impl Patience {
    /// Gives up `window` after the first failure in a row.
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            window,
            failing_since: None,
            connected_at: None,
            wait: WAIT_FIRST,
        }
    }

    pub(crate) fn succeeded(&mut self) {
        self.failing_since = None;
        self.wait = WAIT_FIRST;
    }

    /// A connection stands, though nothing has come over it yet.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// The connection is gone; says whether that is news.
    pub(crate) fn disconnected(&mut self, now: Instant) -> bool {
        if self
            .connected_at
            .take()
            .is_some_and(|at| now.saturating_duration_since(at) >= STABLE)
        {
            self.succeeded();
        }
        !self.is_failing()
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// How long to wait before the next attempt; `None` when it is time to give up.
    pub(crate) fn failed(&mut self, now: Instant, retry_after: Option<Duration>) -> Option<Duration> {
        let since = *self.failing_since.get_or_insert(now);
        let wait = retry_after.unwrap_or(self.wait);
        self.wait = self.wait.saturating_mul(2).min(WAIT_MAX);
        // Many clients may have lost the same server at the same moment.
        let spread = wait.mul_f64(rand::random_range(0.75..1.25));
        (now.saturating_duration_since(since).saturating_add(spread) < self.window).then_some(spread)
    }
}

/// Whether the same call may well succeed a little later.
pub(crate) fn is_transient(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        // Only a status that was made on this side has a source: the connection broke, whatever code that became.
        Code::Unknown | Code::Internal | Code::Cancelled => std::error::Error::source(status).is_some(),
        Code::ResourceExhausted => retry_after(status).is_some(),
        Code::Ok
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// What the server asks to wait.
pub(crate) fn retry_after(status: &Status) -> Option<Duration> {
    status
        .get_error_details()
        .retry_info()
        .and_then(|info| info.retry_delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_with_the_window() {
        let mut now = Instant::now();
        let mut patience = Patience::new(Duration::from_secs(20));
        let mut waits = Vec::new();
        while let Some(wait) = patience.failed(now, None) {
            waits.push(wait);
            now += wait;
        }
        assert!((5..12).contains(&waits.len()), "{waits:?}");
        assert!(waits.iter().sum::<Duration>() < Duration::from_secs(20));
        assert!(waits[3] > waits[0].mul_f64(3.0), "{waits:?}");
        patience.succeeded();
        assert!(
            patience
                .failed(now, None)
                .is_some_and(|wait| wait < Duration::from_secs(1))
        );
    }

    #[test]
    fn a_connection_that_lived_counts_even_if_nothing_came_over_it() {
        let mut now = Instant::now();
        let mut patience = Patience::new(Duration::from_secs(20));
        assert!(patience.disconnected(now));
        for _ in 0..10 {
            assert!(patience.failed(now, None).is_some());
            patience.connected(now);
            now += Duration::from_secs(60);
            assert!(patience.disconnected(now));
        }
        patience.failed(now, None);
        patience.connected(now);
        assert!(!patience.disconnected(now));
    }

    #[test]
    fn a_servers_own_internal_error_is_not_tried_again() {
        assert!(!is_transient(&Status::internal("internal error")));
        assert!(!is_transient(&Status::resource_exhausted("too many builds")));
        assert!(is_transient(&Status::unavailable("draining")));
    }
}
