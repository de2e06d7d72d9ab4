//! Many builds of several organizations on a node that has room for few of them at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::future::join_all;
use ignite_proto::v1::{self, BuildStatus};
use ignite_tests::{
    caller::{Caller, inline, is_terminal},
    cluster::{Cluster, PodChange, PodWatch},
    context::Context,
    counter::Counter,
    gateway::{Gateway, READ_WRITE},
};

const ORGS: [&str; 5] = ["early", "late-a", "late-b", "late-c", "late-d"];
const BUILDS_EACH: usize = 40;
const RUNNING_MAX: usize = 6;
const RUNNING_PER_ORG_MAX: usize = 2;
/// In how many starts one organization may be ahead of another while both have builds that wait: its turn, and one that
/// the other could not take because its limit was met.
const AHEAD_MAX: usize = 2;
const DEADLINE: Duration = Duration::from_secs(900);

/// How many are in something at once, over all and for each organization.
#[derive(Debug, Default)]
struct Inside {
    now: BTreeMap<String, BTreeSet<String>>,
    most: usize,
    most_of_one: usize,
}

// === impl Inside ===

impl Inside {
    fn enter(&mut self, org: &str, who: &str) {
        self.now.entry(org.to_owned()).or_default().insert(who.to_owned());
        self.most = self.most.max(self.now.values().map(BTreeSet::len).sum());
        self.most_of_one = self.most_of_one.max(self.now[org].len());
    }

    fn leave(&mut self, org: &str, who: &str) {
        if let Some(inside) = self.now.get_mut(org) {
            inside.remove(who);
        }
    }

    #[track_caller]
    fn kept_limits(&self) {
        assert!(self.most <= RUNNING_MAX, "{} at once", self.most);
        assert!(
            self.most_of_one <= RUNNING_PER_ORG_MAX,
            "{} of one organization at once",
            self.most_of_one
        );
        // Otherwise there was no crowd.
        assert_eq!(self.most, RUNNING_MAX);
    }
}

fn name(org: &str, number: usize) -> String {
    format!("{org}-{number}")
}

/// Each visits the counter once, so that it is known how often it really ran.
async fn create(caller: &Caller, org: &str, number: usize, base: &str, counter: &Counter) -> String {
    let name = name(org, number);
    let context = Context::new(&format!(
        "FROM {base}\nRUN wget -q -O /dev/null {}\n",
        counter.url(&name)
    ));
    caller
        .create(v1::CreateBuildRequest {
            no_cache: true,
            ..inline(&name, &context)
        })
        .await
}

/// Of the builds that started once all were there, in the order of their starts: the most that one organization was ahead of
/// another that had builds waiting.
fn most_ahead(builds: &[(&str, v1::Build)], from_ms: i64) -> usize {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    let mut started: BTreeMap<&str, usize> = BTreeMap::new();
    let mut order: Vec<(i64, &str)> = builds
        .iter()
        .map(|(org, build)| (build.started_at_ms, *org))
        .filter(|(at_ms, _)| *at_ms > from_ms)
        .collect();
    order.sort_unstable();
    for (_, org) in &order {
        *left.entry(org).or_default() += 1;
    }
    let mut most = 0;
    for (_, org) in &order {
        *started.entry(org).or_default() += 1;
        *left.entry(org).or_default() -= 1;
        let waiting = left.iter().filter(|(_, left)| **left > 0);
        let behind = waiting
            .map(|(other, _)| started.get(other).copied().unwrap_or_default())
            .min();
        most = most.max(started[org].saturating_sub(behind.unwrap_or(usize::MAX)));
    }
    most
}

/// As the pods themselves show it.
fn pods_at_once(changes: &[PodChange]) -> Inside {
    let mut inside = Inside::default();
    for change in changes {
        let org = change.pod["metadata"]["labels"]["ignite.dodil.io/org"]
            .as_str()
            .unwrap();
        if change.is_over() {
            inside.leave(org, change.name());
        } else {
            inside.enter(org, change.name());
        }
    }
    inside
}

/// As the builds' records show it.
fn builds_at_once(builds: &[(&str, v1::Build)]) -> Inside {
    let mut inside = Inside::default();
    let mut moments: Vec<(i64, bool, &str, &str)> = Vec::new();
    for (org, build) in builds {
        // What ends when another starts has made room for it.
        moments.push((build.completed_at_ms, false, org, &build.id));
        moments.push((build.started_at_ms, true, org, &build.id));
    }
    moments.sort_unstable();
    for (_, enters, org, id) in moments {
        match enters {
            true => inside.enter(org, id),
            false => inside.leave(org, id),
        }
    }
    inside
}

async fn all_ended(caller: &Caller, ids: &[String]) -> Vec<v1::Build> {
    let began = Instant::now();
    let mut ended = Vec::new();
    for id in ids {
        loop {
            let build = caller.get(id).await;
            if is_terminal(build.status()) {
                ended.push(build);
                break;
            }
            assert!(began.elapsed() < DEADLINE, "{id} does not end: {build:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_builds_of_five_organizations_take_turns_within_the_limits_and_none_is_lost() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("crowd");
    let watch = PodWatch::start(&namespace);
    let counter = Counter::start_on(cluster.host_address()).await;
    let gateway = Gateway::builder()
        .on_cluster(&cluster, namespace.name())
        .setting("builds_running_max", RUNNING_MAX)
        .setting("builds_running_per_org_max", RUNNING_PER_ORG_MAX)
        .setting("build_memory_bytes_max", "256MiB")
        .setting("build_cpu_millis_max", 200)
        .setting("build_disk_bytes_max", "256MiB")
        .start();
    let base = cluster.registry().busybox();
    let callers: Vec<Caller> = ORGS
        .iter()
        .map(|org| gateway.caller_of(org, READ_WRITE))
        .collect();

    let began = Instant::now();
    let mut ids: Vec<Vec<String>> = Vec::new();
    for (org, caller) in ORGS.iter().zip(&callers) {
        let all = (0..BUILDS_EACH).map(|number| create(caller, org, number, &base, &counter));
        ids.push(join_all(all).await);
    }
    let last = ids.last().unwrap().last().unwrap();
    let all_there_ms = callers.last().unwrap().get(last).await.created_at_ms;
    println!(
        "all {} were there after {:?}",
        ORGS.len() * BUILDS_EACH,
        began.elapsed()
    );

    let mut builds: Vec<(&str, v1::Build)> = Vec::new();
    for ((org, caller), ids) in ORGS.iter().zip(&callers).zip(&ids) {
        let ended = all_ended(caller, ids).await;
        builds.extend(ended.into_iter().map(|build| (*org, build)));
    }
    println!("all ended after {:?}", began.elapsed());

    for (org, build) in &builds {
        assert_eq!(
            (build.status(), build.attempts, build.organization_id.as_str()),
            (BuildStatus::Succeeded, 1, *org),
            "{build:?}"
        );
        assert_eq!(counter.visits(&build.name), 1, "{} ran as often", build.name);
    }
    let pods = pods_at_once(&watch.changes());
    let records = builds_at_once(&builds);
    let ahead = most_ahead(&builds, all_there_ms);
    println!(
        "at once: {} pods, {} of one organization; {} builds, {} of one; ahead of each other by {ahead}",
        pods.most, pods.most_of_one, records.most, records.most_of_one
    );
    pods.kept_limits();
    records.kept_limits();
    assert!(ahead <= AHEAD_MAX, "one organization was ahead by {ahead} builds");
    // No run had two pods.
    let names: BTreeSet<String> = watch
        .changes()
        .iter()
        .map(|change| change.name().to_owned())
        .collect();
    assert_eq!(names.len(), builds.len(), "pods");
}
