//! Until when this process may write to a store that another one may take over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

/// Without end, unless it was made with one. Clones share the end, which only ever moves on.
///
/// Measured by the clock that goes on while the machine sleeps: a process that was stopped for a while finds its time over
/// before it does anything else.
#[derive(Debug, Clone, Default)]
pub struct Tenure(Option<Arc<AtomicU64>>);

/// Since the machine was booted.
pub type Instant = Duration;

#[derive(Debug, thiserror::Error)]
#[error("another gateway may have taken over: the lease of this one was not renewed in time")]
pub struct Over;

// === impl Tenure ===

impl Tenure {
    pub fn until(end: Instant) -> Self {
        Self(Some(Arc::new(AtomicU64::new(millis(end)))))
    }

    pub fn now() -> Instant {
        // A clock that every kernel has; without it nothing may be written.
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Instant::MAX, Duration::from)
    }

    /// Nothing changes if it lasts longer already, or has no end.
    pub fn extend(&self, end: Instant) {
        if let Some(until) = &self.0 {
            until.fetch_max(millis(end), Ordering::AcqRel);
        }
    }

    /// How long it lasts yet; None: for ever.
    pub fn left(&self) -> Option<Duration> {
        let until = Duration::from_millis(self.0.as_ref()?.load(Ordering::Acquire));
        Some(until.saturating_sub(Self::now()))
    }

    /// # Errors
    /// Once it is over.
    pub fn check(&self) -> Result<(), Over> {
        match self.left() {
            Some(Duration::ZERO) => Err(Over),
            Some(_) | None => Ok(()),
        }
    }
}

fn millis(at: Instant) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "on a test's own thread")]

    use super::*;

    #[test]
    fn it_is_over_when_it_was_not_extended() {
        let tenure = Tenure::until(Tenure::now() + Duration::from_millis(30));
        let clone = tenure.clone();
        assert!(tenure.check().is_ok());
        clone.extend(Tenure::now() + Duration::from_millis(80));
        std::thread::sleep(Duration::from_millis(40));
        assert!(tenure.check().is_ok());
        // Back is not where it goes.
        tenure.extend(Duration::ZERO);
        assert!(tenure.check().is_ok());
        std::thread::sleep(Duration::from_millis(60));
        assert!(tenure.check().is_err() && clone.check().is_err());
    }

    #[test]
    fn without_an_end_it_lasts() {
        let tenure = Tenure::default();
        tenure.extend(Duration::ZERO);
        assert!(tenure.check().is_ok() && tenure.left().is_none());
    }
}
