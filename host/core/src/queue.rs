//! Which build is next: first in, first out within an organization, turn by turn between them, within limits.
//!
//! Within an organization the higher priority goes first, then the older build; age is the id's, so the order survives a
//! restart and a retried build does not go to the back. Between organizations the one that was served longest ago goes first,
//! so each that has something to run is served once before any is served twice.
//!
//! ```text
//!   push ─▶ delayed ─ not_before passed ─▶ ready ─ pop_next ─▶ running ─ ended ─▶ (gone)
//!      └─────────────────────────────────────▲                    │
//!           ▲──────────────────── push (another attempt) ─────────┘
//! ```
//!
//! A build is in at most one of the three places. Each call takes time logarithmic in the number of builds, or nearly so;
//! a position also takes a look at each organization.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use crate::ids::{BuildId, OrgId};

mod ranked;

#[cfg(test)]
mod tests;

use ranked::RankedSet;

/// How many builds run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub running_max: usize,
    pub running_per_org_max: usize,
}

/// A build whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    pub build: BuildId,
    pub org: OrgId,
}

#[derive(Debug)]
pub struct FairQueue {
    limits: Limits,
    queued: HashMap<BuildId, Entry>,
    delayed: RankedSet<(i64, BuildId)>,
    orgs: HashMap<OrgId, Org>,
    running: HashMap<BuildId, OrgId>,
    /// The organizations that could be served now; the least turn is next.
    turns: BTreeMap<u64, OrgId>,
    turn_next: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    org: OrgId,
    priority: i32,
    /// Set while the build is delayed.
    not_before_ms: Option<i64>,
}

/// An organization with anything queued or running.
#[derive(Debug)]
struct Org {
    ready: RankedSet<(Reverse<i32>, BuildId)>,
    delayed: usize,
    running: usize,
    turn: u64,
}

impl FairQueue {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            queued: HashMap::new(),
            delayed: RankedSet::default(),
            orgs: HashMap::new(),
            running: HashMap::new(),
            turns: BTreeMap::new(),
            turn_next: 0,
        }
    }

    /// Queues a build to start no earlier than `not_before_ms` (0 for at once). Replaces what was queued of it before, and
    /// takes it off the running ones.
    pub fn push(&mut self, build: BuildId, org: &OrgId, priority: i32, not_before_ms: i64) {
        // Seen first, so that the organization keeps its turn.
        self.org(org);
        let before = [self.take_queued(build), self.take_running(build)];
        for other in before.iter().flatten().filter(|other| *other != org) {
            self.refresh(other);
        }
        let delayed = not_before_ms > 0;
        self.queued.insert(
            build,
            Entry {
                org: org.clone(),
                priority,
                not_before_ms: delayed.then_some(not_before_ms),
            },
        );
        let entry = self.org(org);
        if delayed {
            entry.delayed += 1;
            self.delayed.insert((not_before_ms, build));
        } else {
            entry.ready.insert((Reverse(priority), build));
        }
        self.refresh(org);
    }

    /// Takes a build out of the queue. False if it was not in it.
    pub fn remove(&mut self, build: BuildId) -> bool {
        let org = self.take_queued(build);
        if let Some(org) = &org {
            self.refresh(org);
        }
        org.is_some()
    }

    /// The next build that may start, counted as running from here on. None when nothing is ready or a limit is met.
    pub fn pop_next(&mut self, now_ms: i64) -> Option<Next> {
        self.promote(now_ms);
        if self.running.len() >= self.limits.running_max {
            return None;
        }
        let org = self.turns.first_key_value().map(|(_, org)| org.clone())?;
        let (_, build) = self.orgs.get_mut(&org)?.ready.pop_first()?;
        self.queued.remove(&build);
        self.run(build, &org);
        Some(Next { build, org })
    }

    /// Counts a build as running that was not popped here: it ran before a restart. Takes it out of the queue.
    pub fn started(&mut self, build: BuildId, org: &OrgId) {
        self.org(org);
        self.remove(build);
        if !self.running.contains_key(&build) {
            self.run(build, org);
        }
    }

    /// A running build ended or did not start after all. False if it was not running.
    pub fn ended(&mut self, build: BuildId) -> bool {
        let org = self.take_running(build);
        if let Some(org) = &org {
            self.refresh(org);
        }
        org.is_some()
    }

    /// An estimate of the place in the queue; 1 is next. None if the build is not queued.
    ///
    /// Exact while nothing is pushed and limits hold nobody back. Delayed builds count as behind all ready ones.
    pub fn position(&self, build: BuildId) -> Option<usize> {
        let entry = self.queued.get(&build)?;
        if let Some(not_before_ms) = entry.not_before_ms {
            let ready = self.queued.len() - self.delayed.len();
            return Some(ready + self.delayed.rank(&(not_before_ms, build)) + 1);
        }
        let own = self.orgs.get(&entry.org)?;
        let rounds = own.ready.rank(&(Reverse(entry.priority), build));
        let ahead: usize = self
            .orgs
            .values()
            .map(|org| {
                org.ready
                    .len()
                    .min(if org.turn < own.turn { rounds + 1 } else { rounds })
            })
            .sum();
        Some(ahead + 1)
    }

    /// When the next of the delayed builds becomes ready.
    pub fn next_due_ms(&self) -> Option<i64> {
        self.delayed.first().map(|(not_before_ms, _)| *not_before_ms)
    }

    /// Of one organization, ready and delayed.
    pub fn queued(&self, org: &OrgId) -> usize {
        self.orgs.get(org).map_or(0, |org| org.ready.len() + org.delayed)
    }

    /// Queued, ready and delayed.
    pub fn len(&self) -> usize {
        self.queued.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    pub fn running(&self) -> usize {
        self.running.len()
    }

    fn promote(&mut self, now_ms: i64) {
        while let Some(&(_, build)) = self.delayed.first().filter(|(due_ms, _)| *due_ms <= now_ms) {
            self.delayed.pop_first();
            let Some(entry) = self.queued.get_mut(&build) else {
                continue;
            };
            entry.not_before_ms = None;
            let Entry { org, priority, .. } = entry.clone();
            let queue = self.org(&org);
            queue.delayed -= 1;
            queue.ready.insert((Reverse(priority), build));
            self.refresh(&org);
        }
    }

    /// Leaves `refresh` to the caller, as do the other two that take.
    fn take_queued(&mut self, build: BuildId) -> Option<OrgId> {
        let entry = self.queued.remove(&build)?;
        if let Some(org) = self.orgs.get_mut(&entry.org) {
            match entry.not_before_ms {
                Some(not_before_ms) => {
                    org.delayed -= 1;
                    self.delayed.remove(&(not_before_ms, build));
                }
                None => {
                    org.ready.remove(&(Reverse(entry.priority), build));
                }
            }
        }
        Some(entry.org)
    }

    fn take_running(&mut self, build: BuildId) -> Option<OrgId> {
        let org = self.running.remove(&build)?;
        if let Some(entry) = self.orgs.get_mut(&org) {
            entry.running -= 1;
        }
        Some(org)
    }

    /// Being served is what ends an organization's turn.
    fn run(&mut self, build: BuildId, org: &OrgId) {
        self.running.insert(build, org.clone());
        let turn = self.take_turn();
        let entry = self.org(org);
        entry.running += 1;
        let before = std::mem::replace(&mut entry.turn, turn);
        self.turns.remove(&before);
        self.refresh(org);
    }

    fn take_turn(&mut self) -> u64 {
        self.turn_next += 1;
        self.turn_next
    }

    /// One that comes new waits behind all others, or coming and going would be rewarded.
    fn org(&mut self, org: &OrgId) -> &mut Org {
        let turn_next = &mut self.turn_next;
        self.orgs.entry(org.clone()).or_insert_with(|| {
            *turn_next += 1;
            Org {
                ready: RankedSet::default(),
                delayed: 0,
                running: 0,
                turn: *turn_next,
            }
        })
    }

    /// Puts an organization in or out of the turns after a change, and forgets one that has nothing left.
    fn refresh(&mut self, org: &OrgId) {
        let Some(entry) = self.orgs.get(org) else {
            return;
        };
        let turn = entry.turn;
        let idle = entry.ready.is_empty() && entry.delayed == 0 && entry.running == 0;
        if !entry.ready.is_empty() && entry.running < self.limits.running_per_org_max {
            self.turns.insert(turn, org.clone());
        } else {
            self.turns.remove(&turn);
        }
        if idle {
            self.orgs.remove(org);
        }
    }
}
