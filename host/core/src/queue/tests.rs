use std::time::Instant;

use proptest::prelude::*;

use super::*;

fn build(n: u64) -> BuildId {
    BuildId::new(n, 0)
}

fn org(n: usize) -> OrgId {
    format!("org-{n}").parse().unwrap()
}

fn queue(running_max: usize, running_per_org_max: usize) -> FairQueue {
    FairQueue::new(Limits {
        running_max,
        running_per_org_max,
    })
}

fn drain(queue: &mut FairQueue, now_ms: i64) -> Vec<u64> {
    std::iter::from_fn(|| queue.pop_next(now_ms))
        .map(|next| next.build.created_at_ms())
        .collect()
}

#[test]
fn within_an_organization_priority_goes_first_and_then_age() {
    let mut queue = queue(9, 9);
    for (n, priority) in [(3, 0), (1, 0), (4, 5), (2, -5)] {
        queue.push(build(n), &org(0), priority, 0);
    }
    assert_eq!(drain(&mut queue, 0), [4, 1, 3, 2]);
}

#[test]
fn organizations_take_turns_however_much_each_has_queued() {
    let mut queue = queue(99, 99);
    for n in 0..6 {
        queue.push(build(n), &org(0), 100, 0);
    }
    queue.push(build(10), &org(1), 0, 0);
    queue.push(build(20), &org(2), -100, 0);
    queue.push(build(11), &org(1), 0, 0);
    let positions: Vec<_> = [0, 10, 20, 1, 11, 2, 3]
        .map(|n| queue.position(build(n)).unwrap())
        .into();
    assert_eq!(positions, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(drain(&mut queue, 0), [0, 10, 20, 1, 11, 2, 3, 4, 5]);
}

#[test]
fn coming_and_going_earns_no_turns() {
    let mut queue = queue(1, 1);
    queue.push(build(1), &org(0), 0, 0);
    queue.push(build(2), &org(0), 0, 0);
    queue.push(build(3), &org(1), 0, 0);
    let mut served = Vec::new();
    for n in 4..8 {
        let next = queue.pop_next(0).unwrap();
        served.push(next.build.created_at_ms());
        queue.ended(next.build);
        if next.org == org(1) {
            queue.push(build(n), &org(1), 0, 0);
        }
    }
    assert_eq!(served[..3], [1, 3, 2]);
}

#[test]
fn limits_hold_and_an_end_makes_room() {
    let mut queue = queue(3, 2);
    for n in 0..4 {
        queue.push(build(n), &org(0), 0, 0);
    }
    assert_eq!(drain(&mut queue, 0), [0, 1]);
    for n in 4..8 {
        queue.push(build(n), &org(1), 0, 0);
    }
    assert_eq!(drain(&mut queue, 0), [4]);
    assert!(queue.ended(build(0)));
    assert!(!queue.ended(build(0)));
    assert_eq!(drain(&mut queue, 0), [2]);
    queue.started(build(99), &org(2));
    queue.started(build(99), &org(2));
    assert_eq!(queue.running(), 4);
    queue.ended(build(4));
    assert_eq!(drain(&mut queue, 0), [] as [u64; 0]);
}

#[test]
fn delayed_builds_wait_for_their_time() {
    let mut queue = queue(9, 9);
    queue.push(build(1), &org(0), 0, 500);
    queue.push(build(2), &org(0), 0, 300);
    queue.push(build(3), &org(0), 0, 0);
    assert_eq!(queue.position(build(1)), Some(3));
    assert_eq!(drain(&mut queue, 299), [3]);
    assert_eq!(queue.next_due_ms(), Some(300));
    assert_eq!(drain(&mut queue, 300), [2]);
    assert_eq!(drain(&mut queue, 1000), [1]);
    assert_eq!((queue.next_due_ms(), queue.len()), (None, 0));
}

#[test]
fn a_build_is_in_one_place_only() {
    let mut queue = queue(9, 9);
    queue.push(build(1), &org(0), 0, 0);
    queue.push(build(1), &org(0), 7, 900);
    assert_eq!((queue.len(), queue.pop_next(0)), (1, None));
    assert_eq!(drain(&mut queue, 900), [1]);
    queue.push(build(1), &org(0), 0, 0);
    assert_eq!((queue.len(), queue.running()), (1, 0));
    queue.started(build(1), &org(0));
    assert_eq!((queue.len(), queue.running()), (0, 1));
    assert!(!queue.remove(build(1)));
    assert_eq!(queue.position(build(1)), None);
    queue.ended(build(1));
    assert!(queue.orgs.is_empty() && queue.turns.is_empty());
}

#[test]
fn a_hundred_thousand_builds_are_no_burden() {
    let begun = Instant::now();
    let mut queue = queue(usize::MAX, usize::MAX);
    for n in 0..100_000 {
        // One organization with most of them, against the order of age.
        let org = org(if n % 10 == 0 {
            usize::try_from(n % 500).unwrap()
        } else {
            0
        });
        queue.push(build(100_000 - n), &org, 0, i64::from(n % 3 == 0));
    }
    for n in (1..100_000).step_by(1000) {
        assert!(queue.position(build(n)).is_some());
    }
    assert_eq!(drain(&mut queue, 1).len(), 100_000);
    // Quadratic would take minutes.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

// === A model that is slow and plain ===

#[derive(Debug, Default)]
struct Model {
    queued: Vec<(BuildId, OrgId, i32, i64)>,
    running: Vec<(BuildId, OrgId)>,
    /// Who was served longest ago is first; who has nothing is not there.
    turns: Vec<OrgId>,
}

impl Model {
    fn tidy(&mut self) {
        let (queued, running) = (&self.queued, &self.running);
        self.turns
            .retain(|org| queued.iter().any(|it| it.1 == *org) || running.iter().any(|it| it.1 == *org));
        for org in queued
            .iter()
            .map(|it| &it.1)
            .chain(running.iter().map(|it| &it.1))
        {
            if !self.turns.contains(org) {
                self.turns.push(org.clone());
            }
        }
    }

    fn run(&mut self, build: BuildId, org: OrgId) {
        self.turns.retain(|other| *other != org);
        self.turns.push(org.clone());
        self.running.push((build, org));
    }

    fn pop_next(&mut self, now_ms: i64, limits: Limits) -> Option<Next> {
        if self.running.len() >= limits.running_max {
            return None;
        }
        for org in self.turns.clone() {
            if self.running.iter().filter(|it| it.1 == org).count() >= limits.running_per_org_max {
                continue;
            }
            let ready = self.queued.iter().filter(|it| it.1 == org && it.3 <= now_ms);
            if let Some(&(build, ..)) = ready.min_by_key(|it| (Reverse(it.2), it.0)) {
                self.queued.retain(|it| it.0 != build);
                self.run(build, org.clone());
                return Some(Next { build, org });
            }
        }
        None
    }
}

#[derive(Debug, Clone)]
enum Call {
    Push { n: u64, priority: i32, delay_ms: i64 },
    Remove(u64),
    Pop,
    Started(u64),
    Ended(u64),
    Wait(i64),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (0..30_u64, -1..2_i32, prop_oneof![Just(0), 1..50_i64])
            .prop_map(|(n, priority, delay_ms)| Call::Push { n, priority, delay_ms }),
        1 => (0..30_u64).prop_map(Call::Remove),
        4 => Just(Call::Pop),
        1 => (0..30_u64).prop_map(Call::Started),
        3 => (0..30_u64).prop_map(Call::Ended),
        1 => (1..30_i64).prop_map(Call::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_histories_follow_the_model(
        calls in prop::collection::vec(call(), 0..120),
        running_max in 1..6_usize,
        running_per_org_max in 1..4_usize,
    ) {
        let limits = Limits { running_max, running_per_org_max };
        let mut queue = FairQueue::new(limits);
        let mut model = Model::default();
        let mut now_ms = 1;
        // A build belongs to one organization for good.
        let of = |n: u64| org(usize::try_from(n % 4).unwrap());
        for call in calls {
            match call {
                Call::Push { n, priority, delay_ms } => {
                    let not_before_ms = if delay_ms == 0 { 0 } else { now_ms + delay_ms };
                    queue.push(build(n), &of(n), priority, not_before_ms);
                    model.queued.retain(|it| it.0 != build(n));
                    model.running.retain(|it| it.0 != build(n));
                    model.queued.push((build(n), of(n), priority, not_before_ms));
                }
                Call::Remove(n) => {
                    let had = model.queued.len();
                    model.queued.retain(|it| it.0 != build(n));
                    prop_assert_eq!(queue.remove(build(n)), model.queued.len() < had);
                }
                Call::Pop => {
                    let next = queue.pop_next(now_ms);
                    prop_assert_eq!(&next, &model.pop_next(now_ms, limits));
                }
                Call::Started(n) => {
                    queue.started(build(n), &of(n));
                    model.queued.retain(|it| it.0 != build(n));
                    if !model.running.iter().any(|it| it.0 == build(n)) {
                        model.run(build(n), of(n));
                    }
                }
                Call::Ended(n) => {
                    let had = model.running.len();
                    model.running.retain(|it| it.0 != build(n));
                    prop_assert_eq!(queue.ended(build(n)), model.running.len() < had);
                }
                Call::Wait(ms) => now_ms += ms,
            }
            model.tidy();
            prop_assert_eq!(queue.len(), model.queued.len());
            prop_assert_eq!(queue.running(), model.running.len());
        }
        // Nothing is lost: with room and time, all that is queued comes out.
        while let Some((build, _)) = model.running.pop() {
            prop_assert!(queue.ended(build));
        }
        let mut left = model.queued.len();
        while let Some(next) = queue.pop_next(i64::MAX) {
            prop_assert!(queue.ended(next.build));
            left -= 1;
        }
        prop_assert_eq!(left, 0);
        prop_assert!(queue.is_empty() && queue.orgs.is_empty() && queue.turns.is_empty());
    }

    #[test]
    fn nobody_is_served_twice_while_another_waits(counts in prop::collection::vec(1..20_usize, 1..6)) {
        let mut queue = queue(1, 1);
        let mut n = 0;
        for (at, count) in counts.iter().enumerate() {
            for _ in 0..*count {
                queue.push(build(n), &org(at), 0, 0);
                n += 1;
            }
        }
        let mut left = counts.clone();
        let mut served = vec![0_usize; counts.len()];
        while let Some(next) = queue.pop_next(0) {
            queue.ended(next.build);
            let at = (0..counts.len()).find(|at| org(*at) == next.org).unwrap();
            left[at] -= 1;
            served[at] += 1;
            for other in (0..counts.len()).filter(|other| left[*other] > 0) {
                prop_assert!(served[other] + 1 >= served[at]);
            }
        }
        prop_assert!(left.iter().all(|count| *count == 0));
    }

    #[test]
    fn positions_tell_the_order_in_which_builds_come_out(
        builds in prop::collection::btree_map(0..40_u64, (0..4_usize, -1..2_i32), 0..40),
    ) {
        let mut queue = queue(usize::MAX, usize::MAX);
        for (n, (at, priority)) in &builds {
            queue.push(build(*n), &org(*at), *priority, 0);
        }
        let expected: BTreeMap<usize, u64> =
            builds.keys().map(|n| (queue.position(build(*n)).unwrap(), *n)).collect();
        prop_assert_eq!(expected.len(), builds.len());
        prop_assert_eq!(drain(&mut queue, 0), expected.into_values().collect::<Vec<_>>());
    }
}
