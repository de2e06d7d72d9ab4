//! `kill -9` of the daemon at any moment: nothing acknowledged is lost, nothing runs twice, no byte of a log is missing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::future::join_all;
use ignite_proto::v1::{self, BuildStatus, FailureReason};
use ignite_tests::{
    caller::{Caller, inline},
    context::Context,
    counter::Counter,
    gateway::Gateway,
    raw_logs::{Phase, RawLogs},
    registry::Registry,
};
use tokio::task::JoinHandle;

/// Killed while one of the builds is in such a phase, which is short; the other rounds by how many are over.
const AIMED_ROUNDS: [Phase; 4] = [Phase::Fetching, Phase::Fetching, Phase::Pushing, Phase::Pushing];
const OTHER_ROUNDS: usize = 8;
const BUILDS: u64 = 20;
const LINES: u64 = 300;
/// Its name makes it a secret: it must be in no log that the gateway serves.
const SECRET_ARG: &str = "API_TOKEN";
const SECRET: &str = "kQ7-vR2_xW9.tail";

/// Every third build fails, so that both ends are seen.
fn exit_code(build: u64) -> u64 {
    if build.is_multiple_of(3) { 7 } else { 0 }
}

/// Counts its visit, then prints numbered lines with pauses in between. The secret is printed whole and in two halves a
/// moment apart, so that a kill can come while half of it is held back.
fn request(name: &str, build: u64, counter: &Counter) -> v1::CreateBuildRequest {
    let step = format!(
        "/bin/busybox wget -q -O /dev/null {}; i=0; while [ $i -lt {LINES} ]; do echo {name} line $i; i=$((i+1)); \
         [ $((i % 60)) -ne 0 ] || {{ printf %s \"whole ${SECRET_ARG} halves ${{{SECRET_ARG}%.tail}}\"; /bin/busybox sleep 0.3; \
         echo .tail; }}; done; exit {}",
        counter.url(name),
        exit_code(build)
    );
    let run = serde_json::json!(["/bin/busybox", "sh", "-c", step]);
    let context = Context::scratch(&format!("ARG {SECRET_ARG}\nRUN {run}"));
    v1::CreateBuildRequest {
        no_cache: true,
        build_args: [(SECRET_ARG.to_owned(), SECRET.to_owned())].into(),
        ..inline(name, &context)
    }
}

/// A build that was asked for.
struct Asked {
    name: String,
    build: u64,
    request: v1::CreateBuildRequest,
    /// None if the gateway ended before it answered.
    answer: JoinHandle<Option<String>>,
}

struct Scene {
    caller: Caller,
    counter: Counter,
    raw_logs: RawLogs,
}

impl Scene {
    fn new(gateway: &Gateway, counter: Counter) -> Self {
        Self {
            caller: gateway.caller(),
            counter,
            raw_logs: RawLogs::keep(gateway),
        }
    }

    /// Asks for each of these builds at once.
    fn ask(&self, names: impl Iterator<Item = String>) -> Vec<Asked> {
        let ask = |(build, name): (u64, String)| {
            let request = v1::CreateBuildRequest {
                idempotency_key: name.clone(),
                ..request(&name, build, &self.counter)
            };
            let (caller, again) = (self.caller.reconnected(), request.clone());
            Asked {
                name,
                build,
                request,
                answer: tokio::spawn(async move { caller.try_create(again).await.ok() }),
            }
        };
        (0..).zip(names).map(ask).collect()
    }

    /// Asks again for what was not answered, and for the rest too: the answer must be the same. Then waits for the end of
    /// each build and holds it against what really happened. Returns how many were acknowledged the first time.
    async fn check_all(&self, asked: Vec<Asked>) -> usize {
        let check = |asked: Asked| async move {
            let answered = asked.answer.await.unwrap();
            let id = self.caller.create(asked.request).await;
            if let Some(before) = &answered {
                assert_eq!(*before, id, "{} is another build now", asked.name);
            }
            self.check(&id, &asked.name, asked.build).await;
            usize::from(answered.is_some())
        };
        join_all(asked.into_iter().map(check)).await.into_iter().sum()
    }

    /// Waits for the end of the build and holds it against what really happened.
    async fn check(&self, id: &str, name: &str, build: u64) {
        let ended = self.caller.wait_terminal(id).await;
        let log = self.caller.log(id).await;
        let (status, reason) = match exit_code(build) {
            0 => (BuildStatus::Succeeded, FailureReason::Unspecified),
            _ => (BuildStatus::Failed, FailureReason::UserStep),
        };
        assert_eq!(
            (ended.status(), ended.failure_reason()),
            (status, reason),
            "{ended:#?}\n{log}"
        );
        if status == BuildStatus::Succeeded {
            let pushed = Registry::shared().digest(&ended.image_refs[0]);
            assert_eq!(ended.image_digest, pushed, "{name} is not what the registry has");
        }
        assert_eq!(self.counter.visits(name), 1, "{name} did not run once:\n{log}");
        assert_eq!(ended.attempts, 1);
        self.check_log(id, name, &log);
        assert_eq!(ended.log_bytes, log.len() as u64);
    }

    /// The log is byte for byte what the one run wrote, but for the secret.
    fn check_log(&self, id: &str, name: &str, log: &str) {
        let raw = String::from_utf8(self.raw_logs.of_only_run(id)).unwrap();
        let lines = raw
            .lines()
            .filter(|line| line.starts_with(&format!("{name} line ")));
        assert_eq!(
            lines.count() as u64,
            LINES,
            "{name} did not say what it was told to"
        );
        assert!(raw.matches(SECRET).count() >= 10, "nothing was to be redacted");
        let expected = raw.replace(SECRET, "***");
        if log != expected {
            let same = log
                .bytes()
                .zip(expected.bytes())
                .take_while(|(a, b)| a == b)
                .count();
            panic!(
                "{name}: from byte {same} on, of {} for {} expected:\n{}\n--- expected ---\n{}",
                log.len(),
                expected.len(),
                log.get(same.saturating_sub(200)..(same + 200).min(log.len()))
                    .unwrap_or(log),
                expected
                    .get(same.saturating_sub(200)..(same + 200).min(expected.len()))
                    .unwrap_or(&expected),
            );
        }
    }
}

/// Waits for the moment of this round's kill: the first rounds' while a build is in a phase, the others' when ever more of the
/// builds are over; and then a little longer, by chance.
async fn moment(round: usize, over_before: usize, raw_logs: &RawLogs) {
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    let chance = f64::from(nanos % 1_000_003) / 1_000_003.0;
    let longest = match AIMED_ROUNDS.get(round) {
        Some(phase) => {
            let all = over_before + usize::try_from(BUILDS).unwrap();
            while !raw_logs.phases().contains_key(phase) && raw_logs.over() < all {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Duration::from_millis(20)
        }
        None => {
            let builds = usize::try_from(BUILDS).unwrap();
            let over = over_before + (round - AIMED_ROUNDS.len()) * builds / OTHER_ROUNDS;
            while raw_logs.over() < over {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Duration::from_millis(500)
        }
    };
    tokio::time::sleep(longest.mul_f64(chance)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_the_gateway_loses_doubles_and_mixes_nothing() {
    let mut gateway = Gateway::builder()
        .setting("builds_running_max", BUILDS)
        .setting("builds_running_per_org_max", BUILDS)
        .start();
    let scene = Scene::new(&gateway, Counter::start().await);
    let mut met = BTreeMap::<Phase, usize>::new();
    for round in 0..AIMED_ROUNDS.len() + OTHER_ROUNDS {
        let over_before = scene.raw_logs.over();
        let begin = Instant::now();
        let asked = scene.ask((0..BUILDS).map(|build| format!("round-{round}-build-{build}")));
        moment(round, over_before, &scene.raw_logs).await;
        gateway.kill9();
        let phases = scene.raw_logs.phases();
        let over = scene.raw_logs.over() - over_before;
        println!(
            "round {round}: killed after {:?}, {over} over, {phases:?}",
            begin.elapsed()
        );
        gateway.restart();
        let acknowledged = scene.check_all(asked).await;
        println!("  {acknowledged} of {BUILDS} were acknowledged before");
        for (phase, count) in phases {
            *met.entry(phase).or_default() += count;
        }
    }
    println!("phases met: {met:?}");
    for phase in [Phase::Fetching, Phase::Building, Phase::Pushing] {
        assert!(met.contains_key(&phase), "no run was met in {phase:?}: {met:?}");
    }
}

/// Killed in the middle of a burst of requests: what was answered is there, and asking again with the same key is safe.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_builds_are_accepted_the_gateway_keeps_what_it_acknowledged() {
    let mut gateway = Gateway::builder().setting("builds_running_max", 2).start();
    let scene = Scene::new(&gateway, Counter::start().await);
    let asked = scene.ask((0..BUILDS).map(|build| format!("burst-{build}")));
    // As soon as the first are answered, while the others are on their way.
    while scene.raw_logs.phases().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gateway.kill9();
    gateway.restart();
    let acknowledged = scene.check_all(asked).await;
    println!("{acknowledged} of {BUILDS} were acknowledged before the kill");
}
