//! The cases. Each says in its name what must hold.

use std::time::Duration;

use futures::StreamExt;
use ignite_core::run::{EndCause, FetchFailure, RunPhase};

use crate::executor::{
    ExecutorError, RawCursor,
    conformance::{
        Fixture, Verdict, follow, follow_loss, holds, phase_of, require, run, until_asleep, until_fetched,
        works,
    },
};

/// Builds a pushed image and says what it did.
const GOOD: &str =
    "FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"echo\", \"hello-from-a-step\"]\n";

/// A run that does not wait is well into its build by then.
const GATE_PAUSE: Duration = Duration::from_secs(2);

/// Sleeps for longer than any case, after a line that shows that it is there.
const SLEEPER: &str = "FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"sh\", \"-c\", \"/busybox echo now-asleep; \
                       /busybox sleep 1000\"]\n";

pub async fn a_build_is_fetched_logged_and_pushed(fixture: &dyn Fixture) -> Verdict {
    let plan = fixture.plan(GOOD).await;
    let story = run(fixture, &plan).await?;
    holds(
        story.end.cause == EndCause::Exited { code: 0 },
        "it exits 0",
        &story,
    )?;
    holds(
        story.contains("hello-from-a-step"),
        "the step's output is in the log",
        &story,
    )?;
    holds(
        story.fetched.is_some(),
        "the fetch step's report was sent",
        &story,
    )?;
    let pushed = fixture.pushed(&plan).await;
    holds(pushed.is_some(), "the image is in the registry", &story)?;
    holds(
        story.end.digest == pushed,
        "its digest is the one reported",
        &story,
    )
}

pub async fn a_failing_step_keeps_its_exit_code(fixture: &dyn Fixture) -> Verdict {
    let plan = fixture
        .plan("FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"sh\", \"-c\", \"exit 42\"]\n")
        .await;
    let story = run(fixture, &plan).await?;
    holds(
        story.end.cause == EndCause::Exited { code: 42 },
        "it exits 42",
        &story,
    )?;
    holds(
        fixture.pushed(&plan).await.is_none(),
        "nothing was pushed",
        &story,
    )
}

pub async fn build_args_arrive_and_are_on_no_command_line(fixture: &dyn Fixture) -> Verdict {
    let step = "for f in /proc/[0-9]*/cmdline; do /busybox tr '\\\\\\\\0' ' ' < $f; done; \
                /busybox echo; /busybox echo got-${#TOKEN}-bytes";
    let dockerfile = format!(
        "FROM scratch\nARG TOKEN\nCOPY busybox /busybox\nRUN [\"/busybox\", \"sh\", \"-c\", \"{step}\"]\n"
    );
    let mut plan = fixture.plan(&dockerfile).await;
    let value = ignite_core::spec::ArgValue::new("hunter2-hunter2".to_owned(), true);
    plan.build_args.insert("TOKEN".to_owned(), value);
    plan.kaniko_args.push("--build-arg=TOKEN".to_owned());
    let story = run(fixture, &plan).await?;
    holds(story.contains("got-15-bytes"), "the step sees the value", &story)?;
    holds(
        story.contains("--build-arg=TOKEN"),
        "the step sees command lines",
        &story,
    )?;
    holds(!story.contains("hunter2"), "no command line carries it", &story)
}

pub async fn a_run_starts_once(fixture: &dyn Fixture) -> Verdict {
    let plan = fixture.plan(GOOD).await;
    let executor = fixture.executor();
    let (first, second) = tokio::join!(executor.ensure(&plan), executor.ensure(&plan));
    works("ensure", first)?;
    works("ensure at the same time", second)?;
    works(
        "ensure by another daemon",
        fixture.restarted().await.ensure(&plan).await,
    )?;
    let story = follow(&executor, plan.run, RawCursor::START).await?;
    works("ensure after the end", executor.ensure(&plan).await)?;
    let again = follow(&executor, plan.run, RawCursor::START).await?;
    holds(
        again.end == story.end && again.log == story.log,
        "it has not run again",
        &again,
    )?;
    holds(
        story.count("hello-from-a-step\n") == 1,
        "its step ran once",
        &story,
    )
}

pub async fn a_gated_run_builds_once_it_may_and_not_before(fixture: &dyn Fixture) -> Verdict {
    let mut plan = fixture.plan(GOOD).await;
    plan.gated = true;
    let executor = fixture.executor();
    works("ensure", executor.ensure(&plan).await)?;
    until_fetched(&executor, plan.run).await?;
    // Long enough for a run that does not wait to print something.
    tokio::time::sleep(GATE_PAUSE).await;
    let phase = phase_of(&executor, plan.run).await?;
    require(phase == Some(RunPhase::Live), &format!("it waits: {phase:?}"))?;
    // The go-ahead may come from another daemon, and more than once.
    let restarted = fixture.restarted().await;
    until_fetched(&restarted, plan.run).await?;
    let before = fixture.pushed(&plan).await;
    require(before.is_none(), "nothing was pushed before the go-ahead")?;
    works("go ahead", restarted.go_ahead(plan.run).await)?;
    works("go ahead again", executor.go_ahead(plan.run).await)?;
    let story = follow(&executor, plan.run, RawCursor::START).await?;
    holds(
        story.end.cause == EndCause::Exited { code: 0 },
        "it exits 0",
        &story,
    )?;
    holds(
        story.count("hello-from-a-step\n") == 1,
        "its step ran once",
        &story,
    )?;
    works("go ahead after the end", executor.go_ahead(plan.run).await)
}

pub async fn a_gated_run_that_waits_can_be_stopped(fixture: &dyn Fixture) -> Verdict {
    let mut plan = fixture.plan(GOOD).await;
    plan.gated = true;
    let executor = fixture.executor();
    works("ensure", executor.ensure(&plan).await)?;
    until_fetched(&executor, plan.run).await?;
    works("stop", executor.stop(plan.run).await)?;
    let story = follow(&executor, plan.run, RawCursor::START).await?;
    holds(story.end.cause == EndCause::Stopped, "it ends as stopped", &story)?;
    holds(!story.contains("hello-from-a-step"), "no step of it ran", &story)
}

pub async fn following_from_the_middle_neither_loses_nor_doubles(fixture: &dyn Fixture) -> Verdict {
    let step = "i=0; while [ $i -lt 5000 ]; do /busybox echo line-$i; i=$((i+1)); done";
    let plan = fixture
        .plan(&format!(
            "FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"sh\", \"-c\", \"{step}\"]\n"
        ))
        .await;
    let live = run(fixture, &plan).await?;
    let whole = follow(&fixture.restarted().await, plan.run, RawCursor::START).await?;
    holds(
        live.log == whole.log,
        "live and later followers get the same bytes",
        &whole,
    )?;
    let rising = live.cursors.windows(2).all(|pair| pair.first() < pair.last());
    holds(rising, "cursors rise", &whole)?;
    holds(
        live.cursors.len() > 2,
        "a long log comes in several pieces",
        &whole,
    )?;
    let middle = live
        .cursors
        .get(live.cursors.len() / 2)
        .cloned()
        .unwrap_or_default();
    let rest = follow(&fixture.executor(), plan.run, middle).await?;
    holds(
        whole.log.ends_with(&rest.log),
        "the rest is the end of the whole",
        &rest,
    )?;
    holds(rest.end == whole.end, "the end is the same", &rest)?;
    let last = live.cursors.last().cloned().unwrap_or_default();
    let nothing = follow(&fixture.executor(), plan.run, last).await?;
    holds(
        nothing.log.is_empty(),
        "nothing comes after the last cursor",
        &nothing,
    )
}

pub async fn many_followers_get_the_same(fixture: &dyn Fixture) -> Verdict {
    let plan = fixture.plan(GOOD).await;
    let executor = fixture.executor();
    works("ensure", executor.ensure(&plan).await)?;
    let followers = (0..50).map(|_| follow(&executor, plan.run, RawCursor::START));
    let stories = futures::future::try_join_all(followers).await?;
    let Some(first) = stories.first() else {
        return Ok(());
    };
    let same = stories
        .iter()
        .all(|story| story.log == first.log && story.end == first.end);
    holds(same, "all saw the same", first)
}

pub async fn stopping_a_live_run_kills_it(fixture: &dyn Fixture) -> Verdict {
    let plan = fixture.plan(SLEEPER).await;
    let executor = fixture.executor();
    works("ensure", executor.ensure(&plan).await)?;
    until_asleep(&executor, plan.run).await?;
    works("stop", executor.stop(plan.run).await)?;
    works("stop again", executor.stop(plan.run).await)?;
    let story = follow(&executor, plan.run, RawCursor::START).await?;
    holds(story.end.cause == EndCause::Stopped, "it ends as stopped", &story)?;
    holds(story.contains("now-asleep"), "its log is kept", &story)?;
    holds(
        fixture.processes(plan.run).await == 0,
        "no process of it is left",
        &story,
    )
}

pub async fn stopping_at_once_or_too_late_is_fine(fixture: &dyn Fixture) -> Verdict {
    let executor = fixture.executor();
    let early = fixture.plan(SLEEPER).await;
    works("ensure", executor.ensure(&early).await)?;
    works("stop", executor.stop(early.run).await)?;
    let story = follow(&executor, early.run, RawCursor::START).await?;
    holds(story.end.cause == EndCause::Stopped, "it ends as stopped", &story)?;

    let late = fixture.plan(GOOD).await;
    let before = run(fixture, &late).await?;
    works("stop after the end", executor.stop(late.run).await)?;
    let after = follow(&executor, late.run, RawCursor::START).await?;
    holds(before.end == after.end, "a late stop changes nothing", &after)
}

pub async fn a_deadline_is_kept(fixture: &dyn Fixture) -> Verdict {
    let mut plan = fixture.plan(SLEEPER).await;
    // Enough that the step has begun, on a slow machine too.
    plan.timeout = Duration::from_secs(10);
    let story = run(fixture, &plan).await?;
    holds(story.end.cause == EndCause::TimedOut, "it times out", &story)?;
    holds(story.contains("now-asleep"), "its log is kept", &story)?;
    holds(
        fixture.processes(plan.run).await == 0,
        "no process of it is left",
        &story,
    )
}

pub async fn too_much_memory_is_told_apart(fixture: &dyn Fixture) -> Verdict {
    let plan = fixture
        .plan("FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"tail\", \"/dev/zero\"]\n")
        .await;
    let story = run(fixture, &plan).await?;
    holds(
        story.end.cause == EndCause::OutOfMemory,
        "it ends out of memory",
        &story,
    )
}

pub async fn too_much_disk_is_told_apart(fixture: &dyn Fixture) -> Verdict {
    let step = "/busybox dd if=/dev/zero of=/big bs=1048576 count=400; /busybox sleep 1000";
    let plan = fixture
        .plan(&format!(
            "FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"sh\", \"-c\", \"{step}\"]\n"
        ))
        .await;
    let executor = fixture.executor();
    works("ensure", executor.ensure(&plan).await)?;
    let story = follow_loss(&executor, plan.run, RawCursor::START).await?;
    holds(
        story.end.cause == EndCause::OutOfDisk,
        "it ends out of disk",
        &story,
    )
}

pub async fn a_lost_run_is_known_and_leaves_no_process(fixture: &dyn Fixture) -> Verdict {
    let plan = fixture.plan(SLEEPER).await;
    let executor = fixture.executor();
    works("ensure", executor.ensure(&plan).await)?;
    // What was not read before the loss may be lost too.
    let losing = async {
        until_asleep(&executor, plan.run).await?;
        fixture.lose(plan.run).await;
        Ok(())
    };
    let following = follow_loss(&executor, plan.run, RawCursor::START);
    let (story, ()) = futures::future::try_join(following, losing).await?;
    let is_lost = matches!(
        story.end.cause,
        EndCause::Lost { .. } | EndCause::Disrupted { .. }
    );
    holds(is_lost, "it is lost", &story)?;
    holds(
        story.contains("now-asleep"),
        "what was read of its log stays",
        &story,
    )?;
    holds(
        fixture.processes(plan.run).await == 0,
        "no process of it is left",
        &story,
    )?;
    works("ensure after the loss", executor.ensure(&plan).await)?;
    let phase = phase_of(&executor, plan.run).await?;
    holds(
        phase == Some(RunPhase::Ended(story.end.clone())),
        "it does not start again",
        &story,
    )
}

pub async fn a_restarted_daemon_finds_and_follows_a_live_run(fixture: &dyn Fixture) -> Verdict {
    let plan = fixture.plan(SLEEPER).await;
    let before = fixture.executor();
    works("ensure", before.ensure(&plan).await)?;
    let cursor = until_asleep(&before, plan.run).await?;
    drop(before);
    let after = fixture.restarted().await;
    let phase = phase_of(&after, plan.run).await?;
    require(phase == Some(RunPhase::Live), &format!("it is live: {phase:?}"))?;
    works("stop", after.stop(plan.run).await)?;
    let story = follow(&after, plan.run, cursor).await?;
    holds(
        !story.contains("now-asleep"),
        "what was read is not sent again",
        &story,
    )?;
    holds(story.end.cause == EndCause::Stopped, "it ends as stopped", &story)?;
    let phase = phase_of(&fixture.restarted().await, plan.run).await?;
    holds(
        phase == Some(RunPhase::Ended(story.end.clone())),
        "its end is remembered",
        &story,
    )
}

pub async fn a_failed_fetch_is_told_apart(fixture: &dyn Fixture) -> Verdict {
    let mut plan = fixture.plan(GOOD).await;
    fixture.withhold_source(&mut plan);
    let story = run(fixture, &plan).await?;
    let failed = matches!(
        &story.end.cause,
        EndCause::FetchFailed { failure: FetchFailure::Internal, message } if !message.is_empty()
    );
    holds(failed, "its end says that a blob is missing", &story)
}

pub async fn forgetting_leaves_nothing(fixture: &dyn Fixture) -> Verdict {
    let executor = fixture.executor();
    let ended = fixture.plan(GOOD).await;
    let story = run(fixture, &ended).await?;
    let live = fixture.plan(SLEEPER).await;
    works("ensure", executor.ensure(&live).await)?;
    until_asleep(&executor, live.run).await?;
    for run in [ended.run, live.run] {
        works("forget", executor.forget(run).await)?;
        works("forget again", executor.forget(run).await)?;
        holds(
            phase_of(&executor, run).await?.is_none(),
            "it is not observed",
            &story,
        )?;
        holds(
            fixture.processes(run).await == 0,
            "no process of it is left",
            &story,
        )?;
        let followed = executor.follow(run, RawCursor::START).next().await;
        let unknown = matches!(followed, Some(Err(ExecutorError::UnknownRun(_))));
        holds(unknown, "following it says that it is unknown", &story)?;
    }
    Ok(())
}
