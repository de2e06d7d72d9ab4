//! What every executor must do, as cases that any of them can be put through: see [`Executor`].
//!
//! A case fails with a text instead of a panic, so that this needs no test harness and can be run against an installation.

use std::{future::Future, sync::Arc, time::Duration};

use futures::StreamExt;
use ignite_core::{
    ids::RunId,
    run::{EndCause, FetchReport, RunEnd, RunPhase},
};

mod cases;

pub use cases::*;

use crate::executor::{
    Executor, ExecutorError, RawCursor, RunEvent, RunPlan, RunSource,
    container::{DIGEST_FILE, WORKSPACE},
};

/// Nothing a case waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a case found wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

pub type Verdict = Result<(), Broken>;

/// Gives the names of all cases to the macro `$test`, which makes a test of each: no executor is spared one.
#[macro_export]
macro_rules! conformance_cases {
    ($test:ident) => {
        $test![
            a_build_is_fetched_logged_and_pushed,
            a_failing_step_keeps_its_exit_code,
            build_args_arrive_and_are_on_no_command_line,
            a_run_starts_once,
            a_gated_run_builds_once_it_may_and_not_before,
            a_gated_run_that_waits_can_be_stopped,
            following_from_the_middle_neither_loses_nor_doubles,
            many_followers_get_the_same,
            stopping_a_live_run_kills_it,
            stopping_at_once_or_too_late_is_fine,
            a_deadline_is_kept,
            too_much_memory_is_told_apart,
            too_much_disk_is_told_apart,
            a_lost_run_is_known_and_leaves_no_process,
            a_restarted_daemon_finds_and_follows_a_live_run,
            a_failed_fetch_is_told_apart,
            forgetting_leaves_nothing,
        ];
    };
}

/// Kaniko's arguments in a plan that pushes to `destination`.
pub fn kaniko_args(destination: &str) -> Vec<String> {
    vec![
        format!("--context=dir://{WORKSPACE}"),
        "--dockerfile=Dockerfile".to_owned(),
        format!("--destination={destination}"),
        "--insecure".to_owned(),
        "--insecure-pull".to_owned(),
        "--log-format=text".to_owned(),
        format!("--digest-file={DIGEST_FILE}"),
    ]
}

/// What the cases need of an executor's surroundings.
#[async_trait::async_trait]
pub trait Fixture: Send + Sync {
    fn executor(&self) -> Arc<dyn Executor>;

    /// The executor as a restarted daemon would have it: nothing remembered.
    async fn restarted(&self) -> Arc<dyn Executor>;

    /// A plan for a run of its own: `dockerfile` in a context that also has a static `busybox`, pushed to a repository of
    /// its own, limited to 96 MiB of memory and 256 MiB of disk.
    async fn plan(&self, dockerfile: &str) -> RunPlan;

    /// Has the run's source away, so that its fetch step cannot get it.
    fn withhold_source(&self, plan: &mut RunPlan) {
        if let RunSource::Archive { path, .. } = &mut plan.source {
            path.set_extension("missing");
        }
    }

    /// Takes the ground from under a live run, as a lost node or a killed supervisor would.
    async fn lose(&self, run: RunId);

    /// The digest the registry has for what this plan pushes, if it was pushed.
    async fn pushed(&self, plan: &RunPlan) -> Option<String>;

    /// Processes on the machine that work for the run.
    async fn processes(&self, run: RunId) -> usize;
}

/// All there is to know of a run that was followed to its end.
#[derive(Debug)]
pub struct Story {
    pub log: Vec<u8>,
    pub cursors: Vec<RawCursor>,
    /// Parts of the log that are gone.
    pub gaps: usize,
    pub fetched: Option<FetchReport>,
    pub end: RunEnd,
}

// === impl Story ===

impl Story {
    fn contains(&self, text: &str) -> bool {
        self.count(text) > 0
    }

    fn count(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.log).matches(text).count()
    }
}

/// Ensures the run and follows it to its end. Its log is whole.
pub async fn run(fixture: &dyn Fixture, plan: &RunPlan) -> Result<Story, Broken> {
    let executor = fixture.executor();
    works("ensure", executor.ensure(plan).await)?;
    follow(&executor, plan.run, RawCursor::START).await
}

/// Follows a run to its end. Its log is whole.
pub async fn follow(executor: &Arc<dyn Executor>, run: RunId, from: RawCursor) -> Result<Story, Broken> {
    let story = follow_loss(executor, run, from).await?;
    holds(story.gaps == 0, "no part of the log is gone", &story)?;
    Ok(story)
}

/// Follows a run to its end, which may have taken the end of its log along.
async fn follow_loss(executor: &Arc<dyn Executor>, run: RunId, from: RawCursor) -> Result<Story, Broken> {
    let mut story = Story {
        log: Vec::new(),
        cursors: Vec::new(),
        gaps: 0,
        fetched: None,
        end: RunEnd {
            cause: EndCause::Stopped,
            ended_at_ms: 0,
            digest: None,
        },
    };
    let mut events = executor.follow(run, from);
    let to_the_end = async {
        while let Some(event) = events.next().await {
            match event {
                Ok(RunEvent::Fetched(report)) => story.fetched = Some(report),
                Ok(RunEvent::Output { bytes, end }) => {
                    story.log.extend_from_slice(&bytes);
                    story.cursors.push(end);
                }
                Ok(RunEvent::Gap { .. }) => story.gaps += 1,
                Ok(RunEvent::Waiting { .. }) => {}
                Ok(RunEvent::Ended(end)) => {
                    story.end = end;
                    require(events.next().await.is_none(), "the end is the last event")?;
                    return Ok(());
                }
                Err(error) => return Err(Broken(format!("follow: {error:?}"))),
            }
        }
        Err(Broken("the stream ends before the run".to_owned()))
    };
    patiently("the end", to_the_end).await??;
    Ok(story)
}

/// Follows until [`SLEEPER`] sleeps; gives the cursor behind the line that says so.
async fn until_asleep(executor: &Arc<dyn Executor>, run: RunId) -> Result<RawCursor, Broken> {
    let mut events = executor.follow(run, RawCursor::START);
    let mut log = Vec::new();
    let asleep = async {
        while let Some(event) = events.next().await {
            if let Ok(RunEvent::Output { bytes, end }) = event {
                log.extend_from_slice(&bytes);
                // With the newline: Kaniko shows the command itself before.
                if String::from_utf8_lossy(&log).contains("\nnow-asleep\n") {
                    return Ok(end);
                }
            }
        }
        Err(Broken("the sleeper never slept".to_owned()))
    };
    patiently("the sleeper", asleep).await?
}

/// Follows until the fetch step is done.
async fn until_fetched(executor: &Arc<dyn Executor>, run: RunId) -> Verdict {
    let mut events = executor.follow(run, RawCursor::START);
    let fetched = async {
        while let Some(event) = events.next().await {
            if let Ok(RunEvent::Fetched(_)) = event {
                return Ok(());
            }
        }
        Err(Broken("the run's fetch step did not report".to_owned()))
    };
    patiently("the fetch step's report", fetched).await?
}

async fn phase_of(executor: &Arc<dyn Executor>, run: RunId) -> Result<Option<RunPhase>, Broken> {
    let observed = works("observe", executor.observe().await)?;
    let found = observed.into_iter().find(|observed| observed.run == run);
    Ok(found.map(|observed| observed.phase))
}

async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> Result<T, Broken> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .map_err(|_| Broken(format!("{what} did not come within {PATIENCE:?}")))
}

fn works<T>(what: &str, result: Result<T, ExecutorError>) -> Result<T, Broken> {
    result.map_err(|error| Broken(format!("{what}: {error:?}")))
}

fn holds(condition: bool, what: &str, story: &Story) -> Verdict {
    let log = String::from_utf8_lossy(&story.log);
    require(condition, &format!("{what}; end: {:?}; log:\n{log}", story.end))
}

fn require(condition: bool, what: &str) -> Verdict {
    if condition {
        Ok(())
    } else {
        Err(Broken(format!("does not hold: {what}")))
    }
}
