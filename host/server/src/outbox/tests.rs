//! Announcements out of a real store, to a receiver that does as it is told.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ignite_core::{
    build::Status,
    ids::{BuildId, PluginDigest},
    request::{Rules, Submission, SubmittedSource, check},
};
use tempfile::TempDir;
use tokio::{sync::Semaphore, task::JoinHandle};

use super::*;
use crate::{
    driver::tests::eventually,
    store::{DataDir, Live, StoreOptions},
};

/// Waits so short that a test sees several.
const QUICK: Schedule = Schedule {
    backoff: Duration::from_millis(1),
    backoff_max: Duration::from_millis(4),
    attempts_max: 3,
    age_max: Duration::from_secs(3600),
};

/// Who is told; each build has as many announcements as it is made with.
#[derive(Debug)]
pub(crate) struct Receiver {
    entries: u16,
    /// To the next attempts; then all are taken.
    answers: Mutex<VecDeque<std::result::Result<(), NotifyFailure>>>,
    /// An attempt comes back when there is a permit for it.
    open: Semaphore,
    told: Mutex<Vec<(OrgId, String, u32)>>,
    under_way: Mutex<Vec<OrgId>>,
    most: Mutex<(usize, usize)>,
}

impl Receiver {
    pub(crate) fn of(entries: u16) -> Self {
        Self {
            entries,
            answers: Mutex::default(),
            open: Semaphore::new(10_000),
            told: Mutex::default(),
            under_way: Mutex::default(),
            most: Mutex::default(),
        }
    }

    fn answering<const N: usize>(answers: [std::result::Result<(), NotifyFailure>; N]) -> Self {
        Self {
            answers: Mutex::new(answers.into()),
            ..Self::of(1)
        }
    }

    fn closed(entries: u16) -> Self {
        Self {
            open: Semaphore::new(0),
            ..Self::of(entries)
        }
    }

    /// Whom, under which key, at which attempt, in the order in which it came.
    pub(crate) fn told(&self) -> Vec<(OrgId, String, u32)> {
        locked(&self.told).clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait::async_trait]
impl Announcer for Receiver {
    async fn announcements(&self, _build: &Build) -> Result<Vec<Announcement>> {
        let entry = |entry| Announcement {
            entry,
            policy_revision: 1,
            plugin: format!("webhook-{entry}"),
            digest: PluginDigest::from_sha256([1; 32]),
        };
        Ok((0..self.entries).map(entry).collect())
    }

    async fn announce(
        &self,
        build: &Build,
        _row: &OutboxRow,
        id: NotificationId,
        attempt: u32,
    ) -> Result<Announced> {
        locked(&self.told).push((build.org.clone(), id.to_string(), attempt));
        {
            let mut under_way = locked(&self.under_way);
            under_way.push(build.org.clone());
            let of_org = under_way.iter().filter(|org| **org == build.org).count();
            let mut most = locked(&self.most);
            *most = (most.0.max(under_way.len()), most.1.max(of_org));
        }
        self.open.acquire().await.unwrap().forget();
        let mut under_way = locked(&self.under_way);
        let at = under_way.iter().position(|org| *org == build.org).unwrap();
        under_way.remove(at);
        Ok(Announced {
            result: locked(&self.answers).pop_front().unwrap_or(Ok(())),
            monitored: false,
            micros: 5,
        })
    }
}

/// A store, and the outbox at work on it.
struct Scene {
    directory: TempDir,
    _data: Option<DataDir>,
    store: Arc<Store>,
    outbox: Arc<Outbox>,
    task: JoinHandle<()>,
    entries: u16,
}

impl Scene {
    async fn start(receiver: &Arc<Receiver>, lanes: Lanes) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::open(directory, receiver, lanes)
    }

    fn open(directory: TempDir, receiver: &Arc<Receiver>, lanes: Lanes) -> Self {
        let data = DataDir::open(directory.path()).unwrap();
        let store = Arc::new(Store::open(&data, StoreOptions::default()).unwrap());
        let settings = OutboxSettings {
            schedule: QUICK,
            lanes,
        };
        let outbox = Arc::new(Outbox::new(settings, Arc::clone(&store), receiver.clone()));
        Self {
            directory,
            _data: Some(data),
            task: tokio::spawn(Arc::clone(&outbox).run(CancellationToken::new())),
            store,
            outbox,
            entries: receiver.entries,
        }
    }

    /// As a process that is killed, whatever is under way; and the next one.
    async fn killed(mut self, receiver: &Arc<Receiver>) -> Self {
        self.task.abort();
        let _cancelled = (&mut self.task).await;
        while Arc::strong_count(&self.outbox) > 1 {
            tokio::task::yield_now().await;
        }
        self.store.shutdown().await;
        drop((self.store, self.outbox, self._data.take()));
        Self::open(self.directory, receiver, LANES)
    }

    /// A build that has just ended, with its announcements.
    async fn ended(&self, org: &str, random: u128) -> Arc<Build> {
        let mut build = Build::new(
            BuildId::new(1_748_390_400_000, random),
            org.parse().unwrap(),
            "ci".to_owned(),
            &spec(),
        );
        self.store
            .create_build(Arc::new(build.clone()), b"sealed".to_vec(), None)
            .await
            .unwrap();
        build.status = Status::Succeeded;
        build.generation += 1;
        let build = Arc::new(build);
        let rows = self.outbox.announcements(&build, clock::now_ms()).await.unwrap();
        self.store
            .update_build_and_announce(Arc::clone(&build), Live::Retire, &rows)
            .await
            .unwrap();
        self.outbox.wake();
        build
    }

    async fn reports(&self, build: &Build) -> Vec<HookReport> {
        let stored = self.store.get_build(&build.org, build.id).await.unwrap().unwrap();
        stored.hook_reports.clone()
    }

    async fn rows(&self, build: &Build) -> Vec<OutboxEntry> {
        self.store
            .list_notifications(&build.org, None, 100)
            .await
            .unwrap()
            .entries
    }

    /// Waits until nothing is left to announce, and the record says so: rows are seen before they are on disk, the record after.
    async fn done(&self, build: &Build) {
        eventually("all to be delivered", async || {
            let reports = self.reports(build).await;
            let delivered = |report: &&HookReport| report.verdict == ReportVerdict::Delivered;
            let all = reports.iter().filter(delivered).count() == usize::from(self.entries);
            (all && self.rows(build).await.is_empty()).then_some(())
        })
        .await;
    }

    async fn dead(&self, build: &Build) -> OutboxEntry {
        eventually("it to be given up", async || {
            let entry = self.rows(build).await.pop()?;
            let reported = !self.reports(build).await.is_empty();
            (entry.1.state == OutboxState::Dead && reported).then_some(entry)
        })
        .await
    }
}

const LANES: Lanes = Lanes { all: 8, per_org: 4 };

fn spec() -> ignite_core::spec::BuildSpec {
    let rules = Rules {
        timeout_default: Duration::from_secs(60),
        timeout_max: Duration::from_secs(60),
        registry: "registry.example.com".to_owned(),
        git_http_allowed: false,
        private_addresses_allowed: false,
        resource_classes: Vec::new(),
    };
    let submission = Submission {
        name: "web".to_owned(),
        source: Some(SubmittedSource::Git {
            url: "https://git.example.com/web.git".to_owned(),
            reference: String::new(),
            context_dir: String::new(),
        }),
        ..Submission::default()
    };
    check(submission, &rules).unwrap()
}

fn again() -> std::result::Result<(), NotifyFailure> {
    Err(NotifyFailure::Again("nobody there".to_owned()))
}

fn never() -> std::result::Result<(), NotifyFailure> {
    Err(NotifyFailure::Never("no such channel".to_owned()))
}

fn attempts(receiver: &Receiver) -> Vec<u32> {
    receiver
        .told()
        .into_iter()
        .map(|(_, _, attempt)| attempt)
        .collect()
}

#[tokio::test]
async fn each_announcement_is_made_and_reported_in_the_builds_record() {
    let receiver = Arc::new(Receiver::of(3));
    let scene = Scene::start(&receiver, LANES).await;
    let build = scene.ended("acme", 1).await;
    scene.done(&build).await;
    let reports = scene.reports(&build).await;
    let mut plugins: Vec<_> = reports.iter().map(|report| report.plugin.as_str()).collect();
    plugins.sort_unstable();
    assert_eq!(plugins, ["webhook-0", "webhook-1", "webhook-2"]);
    let delivered = |report: &HookReport| {
        (report.hook, report.verdict, report.micros) == (Hook::Notify, ReportVerdict::Delivered, 5)
    };
    assert!(reports.iter().all(delivered));
    assert_eq!(receiver.told().len(), 3);
}

#[tokio::test]
async fn a_kill_while_announcing_leads_to_another_announcement_under_the_same_key() {
    let receiver = Arc::new(Receiver::closed(1));
    let scene = Scene::start(&receiver, LANES).await;
    let build = scene.ended("acme", 1).await;
    eventually("it to be under way", async || {
        (receiver.told().len() == 1).then_some(())
    })
    .await;
    let key = format!("{}.0", build.id);
    // What the receiver would have answered is lost.
    let scene = scene.killed(&receiver).await;
    receiver.open.add_permits(10);
    scene.done(&build).await;
    let told: Vec<_> = receiver.told().into_iter().map(|(_, key, _)| key).collect();
    assert!(
        told.len() == 2 && told.iter().all(|told| *told == key),
        "{told:?}"
    );
    assert_eq!(scene.reports(&build).await.len(), 1);
}

#[tokio::test]
async fn what_fails_is_tried_again_until_it_is_taken() {
    let receiver = Arc::new(Receiver::answering([again(), again()]));
    let scene = Scene::start(&receiver, LANES).await;
    let build = scene.ended("acme", 1).await;
    scene.done(&build).await;
    assert_eq!(attempts(&receiver), [1, 2, 3]);
    let reports = scene.reports(&build).await;
    assert_eq!(reports.len(), 1, "only the last one counts");
    assert_eq!(reports[0].messages, ["delivered at attempt 3"]);
}

#[tokio::test]
async fn what_failed_too_often_is_kept_as_dead_over_a_restart_and_told_anew_when_replayed() {
    let receiver = Arc::new(Receiver::answering([again(), again(), again()]));
    let scene = Scene::start(&receiver, LANES).await;
    let build = scene.ended("acme", 1).await;
    let before = scene.dead(&build).await;
    assert_eq!(
        (before.1.attempts, before.1.last_error.as_str()),
        (3, "nobody there")
    );
    let reports = scene.reports(&build).await;
    assert_eq!(reports[0].verdict, ReportVerdict::Failed);
    assert_eq!(reports[0].messages, ["given up after attempt 3: nobody there"]);

    let scene = scene.killed(&receiver).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(scene.dead(&build).await, before);
    assert_eq!(receiver.told().len(), 3, "nobody is told of a dead one");

    let fresh = scene
        .outbox
        .replay(&before.0, clock::now_ms())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((fresh.state, fresh.attempts), (OutboxState::Pending, 0));
    scene.done(&build).await;
    let told = receiver.told();
    assert!(told.iter().all(|(_, key, _)| *key == told[0].1), "{told:?}");
    assert_eq!(attempts(&receiver), [1, 2, 3, 1]);
    let verdicts: Vec<_> = scene
        .reports(&build)
        .await
        .iter()
        .map(|report| report.verdict)
        .collect();
    assert_eq!(verdicts, [ReportVerdict::Failed, ReportVerdict::Delivered]);
    assert_eq!(scene.outbox.replay(&before.0, 0).await.unwrap(), None);
}

#[tokio::test]
async fn what_can_never_be_told_is_given_up_at_once() {
    let receiver = Arc::new(Receiver::answering([never()]));
    let scene = Scene::start(&receiver, LANES).await;
    let build = scene.ended("acme", 1).await;
    let (_, row) = scene.dead(&build).await;
    assert_eq!((row.attempts, row.last_error.as_str()), (1, "no such channel"));
    assert_eq!(receiver.told().len(), 1);
}

#[tokio::test]
async fn one_organizations_heap_neither_fills_all_lanes_nor_keeps_another_waiting() {
    let receiver = Arc::new(Receiver::closed(1));
    let scene = Scene::start(&receiver, Lanes { all: 3, per_org: 2 }).await;
    let mut builds = Vec::new();
    for random in 0..20 {
        builds.push(scene.ended("big", random).await);
    }
    let small = scene.ended("small", 100).await;
    eventually("three to be under way", async || {
        (receiver.told().len() == 3).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let orgs: Vec<_> = receiver
        .told()
        .into_iter()
        .map(|(org, _, _)| org.to_string())
        .collect();
    assert_eq!(orgs, ["big", "big", "small"]);
    receiver.open.add_permits(100);
    scene.done(&small).await;
    scene.done(&builds[0]).await;
    assert_eq!(receiver.told().len(), 21, "each once");
    assert_eq!(*locked(&receiver.most), (3, 2));
}
