//! How many calls run at once.
//!
//! A call takes a permit of its organization's share (of its plugin's, where no organization is known) and then one of all.
//! Who waits for its own share waits for nobody else's, so an organization whose plugins always run to their deadline fills
//! its share and no more. Announcements, which mostly wait for a network, have permits of their own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// For both permits together.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// One organization has at most this part of all permits.
const SHARE: usize = 4;
/// Shares nobody holds are forgotten once there are so many.
const SHARES_KEPT: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Gate {
    all: Arc<Semaphore>,
    share_size: usize,
    shares: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Moves into the work it bounds.
#[derive(Debug)]
pub(crate) struct Permit {
    _share: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

// === impl Gate ===

impl Gate {
    pub(crate) fn new(calls_max: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(calls_max)),
            share_size: calls_max.div_ceil(SHARE),
            shares: Mutex::default(),
        }
    }

    /// None if none came free in time.
    pub(crate) async fn enter(&self, who: &str) -> Option<Permit> {
        let share = self.share(who);
        // Mostly nobody waits; then no timer is needed either.
        if let Ok(first) = Arc::clone(&share).try_acquire_owned()
            && let Ok(second) = Arc::clone(&self.all).try_acquire_owned()
        {
            return Some(Permit {
                _share: first,
                _all: second,
            });
        }
        let both = async {
            Some(Permit {
                _share: share.acquire_owned().await.ok()?,
                _all: Arc::clone(&self.all).acquire_owned().await.ok()?,
            })
        };
        timeout(WAIT_MAX, both).await.ok().flatten()
    }

    fn share(&self, who: &str) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(who) {
            return Arc::clone(share);
        }
        if shares.len() >= SHARES_KEPT {
            // Held by a permit or by who waits for one.
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let share = Arc::new(Semaphore::new(self.share_size));
        shares.insert(who.to_owned(), Arc::clone(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_has_taken_its_share_waits_while_others_enter() {
        let gate = Gate::new(8);
        let _held = (
            gate.enter("acme").await.unwrap(),
            gate.enter("acme").await.unwrap(),
        );
        assert!(gate.enter("acme").await.is_none());
        assert!(gate.enter("globex").await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_comes_back_lets_the_next_in() {
        let gate = Gate::new(1);
        let held = gate.enter("acme").await.unwrap();
        let (next, ()) = tokio::join!(gate.enter("globex"), async {
            tokio::time::sleep(WAIT_MAX / 2).await;
            drop(held);
        });
        assert!(next.is_some());
    }
}
