use proptest::prelude::*;

use super::*;

fn org(name: &str) -> OrgId {
    name.parse().unwrap()
}

fn due(org_name: &str, count: usize) -> (OrgId, Vec<String>) {
    let items = (0..count).map(|index| format!("{org_name}{index}"));
    (org(org_name), items.collect())
}

#[test]
fn a_notification_is_named_after_its_build_and_entry() {
    let id = NotificationId {
        build: BuildId::new(1_748_390_400_000, 7),
        entry: 12,
    };
    assert_eq!(id.to_string().parse(), Ok(id));
    let build = id.build.to_string();
    for wrong in [
        "",
        ".",
        &build,
        &format!("{build}.01"),
        &format!("{build}.-1"),
        &format!("{build}.65536"),
    ] {
        assert!(wrong.parse::<NotificationId>().is_err(), "{wrong:?}");
    }
}

#[test]
fn the_wait_doubles_from_five_seconds_to_an_hour() {
    let schedule = Schedule::default();
    let longest = |attempts| schedule.next_ms(attempts, 0, 0, 2_500_000_000 - 1).unwrap_or(-1);
    let shortest = |attempts| schedule.next_ms(attempts, 0, 0, 0).unwrap_or(-1);
    assert_eq!(
        [1, 2, 3, 11, 39].map(shortest),
        [2_500, 5_000, 10_000, 1_800_000, 1_800_000]
    );
    assert!((1..40).all(|attempts| longest(attempts) <= 3_600_000));
    assert_eq!(schedule.next_ms(40, 0, 0, 0), None);
}

proptest! {
    #[test]
    fn every_wait_is_within_its_bounds_and_the_last_within_the_age(
        attempts in 1_u32..50,
        age_ms in 0_i64..100_000_000,
        since_ms in 0_i64..2_000_000_000_000,
        random: u64,
    ) {
        let schedule = Schedule::default();
        let now_ms = since_ms + age_ms;
        let whole = 5_000_i64.saturating_mul(1 << (attempts - 1).min(20)).min(3_600_000);
        match schedule.next_ms(attempts, since_ms, now_ms, random) {
            Some(at_ms) => {
                prop_assert!(attempts < 40);
                prop_assert!((whole / 2..=whole).contains(&(at_ms - now_ms)), "{}", at_ms - now_ms);
                prop_assert!(at_ms <= since_ms + 86_400_000);
            }
            None => prop_assert!(attempts >= 40 || age_ms + whole > 86_400_000),
        }
    }

    #[test]
    fn what_is_chosen_fits_and_leaves_no_lane_empty_that_could_be_used(
        waiting in prop::collection::vec(0_usize..9, 0..5),
        under_way in prop::collection::vec(0_usize..4, 5),
        all in 0_usize..12,
        per_org in 0_usize..5,
    ) {
        let names = ["a", "b", "c", "d", "e"];
        let heaps: Vec<_> = waiting.iter().zip(names).map(|(count, name)| due(name, *count)).collect();
        let running: BTreeMap<_, _> = names.iter().zip(&under_way).map(|(name, n)| (org(name), *n)).collect();
        let chosen = choose(heaps, &running, Lanes { all, per_org });
        let busy: usize = under_way.iter().sum();
        prop_assert!(chosen.is_empty() || busy + chosen.len() <= all);
        let mut could_more = false;
        for ((name, count), before) in names.iter().zip(&waiting).zip(&under_way) {
            let taken: Vec<_> = chosen.iter().filter(|item| item.starts_with(name)).collect();
            prop_assert!(taken.is_empty() || before + taken.len() <= per_org);
            let in_order = (0..taken.len()).all(|i| *taken[i] == format!("{name}{i}"));
            prop_assert!(in_order);
            could_more |= taken.len() < *count && before + taken.len() < per_org;
        }
        prop_assert!(!could_more || busy + chosen.len() >= all);
    }
}

#[test]
fn an_organization_with_little_does_not_wait_behind_a_heap() {
    let lanes = Lanes { all: 4, per_org: 4 };
    let heaps = vec![due("big", 100), due("small", 1)];
    assert_eq!(
        choose(heaps, &BTreeMap::new(), lanes),
        ["big0", "small0", "big1", "big2"]
    );
    let heaps = vec![due("big", 100), due("small", 1)];
    let running = BTreeMap::from([(org("big"), 3)]);
    assert_eq!(choose(heaps, &running, lanes), ["small0"]);
}
