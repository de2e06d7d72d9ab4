//! From one state of a build to the next.

use super::{
    Applied, Build, Denied, Effect, Event, Failure, FailureReason, Hold, Outcome, RetryPolicy, Run, Status,
    Word, judgement,
};
use crate::ids::RunId;

/// Moves `build` on by one event. On `Denied` and `AlreadySo` the build is unchanged.
pub fn apply(build: &mut Build, event: Event, now_ms: i64, retry: &RetryPolicy) -> Result<Applied, Denied> {
    let effects = match event {
        Event::Started { run } => match build.status {
            Status::Running if build.current_run() == Some(run) => return Ok(Applied::AlreadySo),
            Status::Running => return Err(Denied::OtherRun(run)),
            Status::Pending if build.hold.is_some() => return Err(Denied::Held),
            Status::Pending if run == build.next_run() => {
                build.status = Status::Running;
                build.started_at_ms.get_or_insert(now_ms);
                build.runs.push(Run {
                    id: run,
                    started_at_ms: now_ms,
                    ended_at_ms: None,
                    held: false,
                });
                build.steps.clear();
                vec![Effect::Dequeue]
            }
            Status::Pending => return Err(Denied::OtherRun(run)),
            terminal @ (Status::Succeeded | Status::Failed | Status::Cancelled) => {
                return Err(Denied::Terminal(terminal));
            }
        },
        Event::Fetched { run, report } => {
            require_current(build, run)?;
            if build.resolved_commit == report.resolved_commit
                && build.context_size_bytes == report.context_size_bytes
            {
                return Ok(Applied::AlreadySo);
            }
            build.resolved_commit = report.resolved_commit;
            build.context_size_bytes = report.context_size_bytes;
            Vec::new()
        }
        Event::Waiting { run, reason } => {
            require_current(build, run)?;
            if build.waiting == reason {
                return Ok(Applied::AlreadySo);
            }
            build.waiting = reason;
            Vec::new()
        }
        Event::Progressed {
            run,
            steps,
            log_bytes,
        } => {
            require_current(build, run)?;
            if build.steps == steps && build.log_bytes == log_bytes {
                return Ok(Applied::AlreadySo);
            }
            build.cache_used = steps.iter().any(|step| step.cached);
            build.steps = steps;
            build.log_bytes = log_bytes;
            Vec::new()
        }
        Event::CancelRequested => match build.status {
            Status::Pending => {
                let was_due = build.is_due();
                finish(build, Status::Cancelled, Some(cancelled()), now_ms);
                was_due.then_some(Effect::Dequeue).into_iter().collect()
            }
            Status::Running if build.cancel_requested => return Ok(Applied::AlreadySo),
            Status::Running => {
                build.cancel_requested = true;
                build.current_run().map(Effect::StopRun).into_iter().collect()
            }
            Status::Succeeded | Status::Failed | Status::Cancelled => return Ok(Applied::AlreadySo),
        },
        Event::Inspected {
            run,
            inspected,
            reports,
        } => {
            require_current(build, run)?;
            if build.inspected.as_ref() == Some(&inspected) && reports.is_empty() {
                return Ok(Applied::AlreadySo);
            }
            build.inspected = Some(inspected);
            judgement::add_reports(&mut build.hook_reports, reports);
            Vec::new()
        }
        Event::Reported { run, reports } => {
            require_current(build, run)?;
            if reports.is_empty() {
                return Ok(Applied::AlreadySo);
            }
            judgement::add_reports(&mut build.hook_reports, reports);
            Vec::new()
        }
        Event::Approved(approval) => {
            if build.hold.is_none() && build.approved_by.is_some() {
                return Ok(Applied::AlreadySo);
            }
            require_held(build)?;
            build.hold = None;
            build.approved_by = Some(approval);
            if let Some(inspected) = &mut build.inspected
                && let Word::Held { .. } = inspected.word
            {
                inspected.word = Word::Allowed;
            }
            vec![Effect::Requeue]
        }
        Event::HoldExpired => {
            require_held(build)?;
            finish(build, Status::Failed, Some(judgement::not_approved()), now_ms);
            Vec::new()
        }
        Event::Ended { run, outcome } => {
            if build.status.is_terminal() && build.runs.last().is_some_and(|last| last.id == run) {
                return Ok(Applied::AlreadySo);
            }
            require_current(build, run)?;
            if let Some(last) = build.runs.last_mut() {
                last.ended_at_ms = Some(now_ms);
            }
            build.waiting = None;
            end(build, run, outcome, now_ms, retry)
        }
    };
    build.generation = build.generation.saturating_add(1);
    Ok(Applied::Changed(effects))
}

fn end(build: &mut Build, run: RunId, outcome: Outcome, now_ms: i64, retry: &RetryPolicy) -> Vec<Effect> {
    let mut effects = vec![Effect::ForgetRun(run)];
    match outcome {
        // A push that was already done is not undone by a late cancellation.
        Outcome::Succeeded { image, image_refs } => {
            build.image = Some(image);
            build.image_refs = image_refs;
            finish(build, Status::Succeeded, None, now_ms);
        }
        Outcome::Failed { failure, image_refs } => {
            build.image_refs = image_refs;
            finish(build, Status::Failed, Some(failure), now_ms);
        }
        Outcome::Cancelled { image_refs } => {
            build.image_refs = image_refs;
            finish(build, Status::Cancelled, Some(cancelled()), now_ms);
        }
        Outcome::Infrastructure { .. } | Outcome::Held { .. } if build.cancel_requested => {
            finish(build, Status::Cancelled, Some(cancelled()), now_ms);
        }
        Outcome::Held { reasons } => {
            build.status = Status::Pending;
            // Who released it before did not release this.
            build.approved_by = None;
            build.hold = Some(Hold::new(reasons, now_ms));
            if let Some(last) = build.runs.last_mut() {
                last.held = true;
            }
        }
        Outcome::Infrastructure { failure } => {
            let attempts = build.failed_attempts();
            if attempts < retry.attempts_max {
                build.status = Status::Pending;
                build.not_before_ms = now_ms.saturating_add(retry.backoff_ms_after(attempts));
                effects.push(Effect::Requeue);
            } else {
                finish(build, Status::Failed, Some(failure), now_ms);
            }
        }
    }
    effects
}

fn finish(build: &mut Build, status: Status, failure: Option<Failure>, now_ms: i64) {
    build.status = status;
    build.hold = None;
    build.failure = failure;
    build.completed_at_ms = Some(now_ms);
    for step in &mut build.steps {
        step.completed_at_ms.get_or_insert(now_ms);
    }
}

fn cancelled() -> Failure {
    Failure {
        reason: FailureReason::Cancelled,
        message: "cancelled on request".to_owned(),
    }
}

fn require_current(build: &Build, run: RunId) -> Result<(), Denied> {
    match build.current_run() {
        Some(current) if current == run => Ok(()),
        Some(_) => Err(Denied::OtherRun(run)),
        None if build.status.is_terminal() => Err(Denied::Terminal(build.status)),
        None => Err(Denied::NotRunning),
    }
}

fn require_held(build: &Build) -> Result<(), Denied> {
    match build.status {
        terminal @ (Status::Succeeded | Status::Failed | Status::Cancelled) => {
            Err(Denied::Terminal(terminal))
        }
        Status::Pending if build.hold.is_some() => Ok(()),
        Status::Pending | Status::Running => Err(Denied::NotHeld),
    }
}
