//! Announcing builds that have ended: what names an announcement, when it is tried again, whose turn it is.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use crate::ids::{BuildId, InvalidId, OrgId};

#[cfg(test)]
mod tests;

/// One announcement of one build: `bld_<ulid>.<entry>`. It is the idempotency key that receivers see, so it is the same in every
/// attempt, whatever restarts lie between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotificationId {
    pub build: BuildId,
    /// Index into the entries of the policy revision that the build pins.
    pub entry: u16,
}

/// When an announcement that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// After the first failure; doubles with each.
    pub backoff: Duration,
    pub backoff_max: Duration,
    pub attempts_max: u32,
    /// After the first attempt became due nothing is tried any more.
    pub age_max: Duration,
}

/// How much may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lanes {
    pub all: usize,
    pub per_org: usize,
}

// === impl NotificationId ===

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.build, self.entry)
    }
}

impl FromStr for NotificationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parse = || {
            let (build, entry) = text.split_once('.')?;
            let id = Self {
                build: build.parse().ok()?,
                entry: entry.parse().ok()?,
            };
            // One spelling each.
            (id.to_string() == text).then_some(id)
        };
        parse().ok_or(InvalidId {
            what: "notification_id",
            form: "bld_01HZX9ABCDEFGHJKMNPQRSTVWX.0",
        })
    }
}

// === impl Schedule ===

impl Schedule {
    /// When to try again after `attempts` have failed, the last at `now_ms`; None: give up. `since_ms` is when the first attempt was
    /// due. `random` spreads what failed together: each wait is half fixed and half random, so it is never above what it would be
    /// without, nor below half of that.
    pub fn next_ms(&self, attempts: u32, since_ms: i64, now_ms: i64, random: u64) -> Option<i64> {
        if attempts >= self.attempts_max {
            return None;
        }
        let doublings = attempts.saturating_sub(1).min(32);
        let whole = millis(self.backoff)
            .saturating_mul(1 << doublings)
            .min(millis(self.backoff_max));
        let half = whole / 2;
        let wait = whole
            .saturating_sub(half)
            .saturating_add(random % half.saturating_add(1));
        let at_ms = now_ms.saturating_add(signed(wait));
        (at_ms <= since_ms.saturating_add(signed(millis(self.age_max)))).then_some(at_ms)
    }
}

impl Default for Schedule {
    /// A day: waits that double up to an hour, then one an hour.
    fn default() -> Self {
        Self {
            backoff: Duration::from_secs(5),
            backoff_max: Duration::from_secs(3600),
            attempts_max: 40,
            age_max: Duration::from_secs(86_400),
        }
    }
}

/// Which of `due` to begin, given how many of each organization are under way: always the next of one that has the fewest, so
/// that nobody waits behind another's heap. Each organization's own order is kept.
pub fn choose<T>(due: Vec<(OrgId, Vec<T>)>, running: &BTreeMap<OrgId, usize>, lanes: Lanes) -> Vec<T> {
    let mut free = lanes.all.saturating_sub(running.values().sum());
    let mut waiting: Vec<_> = due
        .into_iter()
        .map(|(org, items)| (running.get(&org).copied().unwrap_or(0), items.into_iter()))
        .collect();
    let mut chosen = Vec::new();
    // Level by level: all that have fewer under way come before any that has more.
    for level in 0..lanes.per_org {
        for (under_way, items) in &mut waiting {
            if free == 0 {
                return chosen;
            }
            if *under_way == level
                && let Some(item) = items.next()
            {
                *under_way = under_way.saturating_add(1);
                free = free.saturating_sub(1);
                chosen.push(item);
            }
        }
    }
    chosen
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
