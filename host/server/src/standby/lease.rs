//! Whose turn it is, from what the Lease says and how long it has said so.
//!
//! The holder's time of renewal is never compared with our clock: what counts is for how long we have seen it unchanged (as client-go
//! does it).

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};

use crate::store::tenure::Instant;

/// One who would hold the Lease.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    duration: Duration,
    /// What it said when it was last seen to change, and when that was.
    seen: Option<(LeaseSpec, Instant)>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Turn {
    /// To be written, so that it is ours.
    Mine(LeaseSpec),
    Taken {
        by: String,
    },
}

// === impl Candidate ===

impl Candidate {
    pub(super) fn new(identity: String, duration: Duration) -> Self {
        Self {
            identity,
            duration,
            seen: None,
        }
    }

    pub(super) fn look(&mut self, lease: Option<&Lease>, now: Instant) -> Turn {
        let Some(spec) = lease.and_then(|lease| lease.spec.as_ref()) else {
            return Turn::Mine(self.taken(None));
        };
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return Turn::Mine(self.taken(Some(spec)));
        }
        let since = match &self.seen {
            Some((seen, since)) if seen == spec => *since,
            Some(_) | None => {
                self.seen = Some((spec.clone(), now));
                now
            }
        };
        let seconds = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        let duration = seconds.map_or(self.duration, Duration::from_secs);
        if now.saturating_sub(since) >= duration {
            return Turn::Mine(self.taken(Some(spec)));
        }
        Turn::Taken {
            by: holder.to_owned(),
        }
    }

    pub(super) fn holds(&self, spec: Option<&LeaseSpec>) -> bool {
        spec.and_then(|spec| spec.holder_identity.as_ref()) == Some(&self.identity)
    }

    pub(super) fn renewed(&self, held: Option<&LeaseSpec>) -> LeaseSpec {
        LeaseSpec {
            renew_time: Some(MicroTime(Timestamp::now())),
            ..held.cloned().unwrap_or_else(|| self.taken(None))
        }
    }

    /// Free for anybody, at once.
    pub(super) fn given_back(&self, held: Option<&LeaseSpec>) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(String::new()),
            ..self.renewed(held)
        }
    }

    fn taken(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            acquire_time: now.clone(),
            renew_time: now,
            lease_transitions: Some(match before {
                Some(_) => transitions.saturating_add(1),
                None => transitions,
            }),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn lease(spec: LeaseSpec) -> Lease {
        Lease {
            spec: Some(spec),
            ..Lease::default()
        }
    }

    fn at(seconds: u64) -> Instant {
        Duration::from_secs(1000 + seconds)
    }

    fn is_mine(turn: &Turn) -> bool {
        matches!(turn, Turn::Mine(_))
    }

    #[test]
    fn a_lease_that_is_not_there_or_given_back_is_ours() {
        let mut candidate = Candidate::new("a".to_owned(), DURATION);
        let Turn::Mine(spec) = candidate.look(None, at(0)) else {
            panic!("it is nobody's");
        };
        assert_eq!(spec.holder_identity.as_deref(), Some("a"));
        assert_eq!(spec.lease_transitions, Some(0));
        let other = Candidate::new("b".to_owned(), DURATION);
        let free = lease(other.given_back(Some(&other.taken(None))));
        let Turn::Mine(spec) = candidate.look(Some(&free), at(0)) else {
            panic!("it was given back");
        };
        assert_eq!(spec.lease_transitions, Some(1));
    }

    #[test]
    fn a_lease_is_taken_when_it_was_seen_unchanged_for_its_own_duration() {
        let mut candidate = Candidate::new("a".to_owned(), DURATION);
        let other = Candidate::new("b".to_owned(), Duration::from_secs(20));
        // However old it says it is: the clocks may differ.
        let mut spec = other.taken(None);
        spec.renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
        let held = lease(spec.clone());
        assert!(!is_mine(&candidate.look(Some(&held), at(0))));
        assert!(!is_mine(&candidate.look(Some(&held), at(19))));
        let renewed = lease(other.renewed(Some(&spec)));
        assert!(!is_mine(&candidate.look(Some(&renewed), at(20))));
        assert!(!is_mine(&candidate.look(Some(&renewed), at(39))));
        assert!(is_mine(&candidate.look(Some(&renewed), at(40))));
    }

    #[test]
    fn what_was_seen_of_one_holder_does_not_count_for_the_next() {
        let mut candidate = Candidate::new("a".to_owned(), DURATION);
        let held = |by: &str| lease(Candidate::new(by.to_owned(), DURATION).taken(None));
        assert!(!is_mine(&candidate.look(Some(&held("b")), at(0))));
        assert!(!is_mine(&candidate.look(Some(&held("c")), at(16))));
    }

    #[test]
    fn renewing_keeps_what_others_put_there() {
        let candidate = Candidate::new("a".to_owned(), DURATION);
        let mut spec = candidate.taken(None);
        spec.lease_transitions = Some(7);
        let renewed = candidate.renewed(Some(&spec));
        assert!(candidate.holds(Some(&renewed)));
        assert_eq!(renewed.lease_transitions, Some(7));
        assert_eq!(renewed.acquire_time, spec.acquire_time);
        assert!(!candidate.holds(None));
    }
}
