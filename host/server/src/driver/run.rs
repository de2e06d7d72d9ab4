//! One attempt of a build, from its start to its record.
//!
//! Every step may be cut off and begun again: by a crash, by the daemon's end, by an executor that failed. What was
//! done is found done.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, SecondsFormat};
use futures::StreamExt as _;
use ignite_core::{
    build::{Event, Failure, FailureReason, Image, Outcome, Word},
    ids::{ContextId, OrgId, RunId},
    kaniko::{self, CommandPlan, Facts, LogReader, Verdict},
    run::{EndCause, RunEnd},
    secrets::{RunSecrets, SecretText},
    spec::{BuildSpec, MissingSecrets, Source},
};

use super::{
    Driver, Live, inspect, redaction,
    secrets::{self, Known},
};
use crate::{
    clock,
    error::{Error, Result},
    executor::{
        ExecutorError, RawCursor, RunEvent, RunPlan, RunSource,
        classes::ResourceClasses,
        container::{DIGEST_FILE, WORKSPACE},
    },
    hooks::Gate,
    logs::Pipeline,
    secrets::Snapshot,
    sources::contexts::{ContextFile, grants::ContextGrant},
    store::StoreError,
    unsaid::lines,
};
use tokio::time::Instant;

/// Between attempts to do what the machine did not let us do.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often starting a run, or following it, may fail in a row before the run counts as lost. Giving up kills a run that
/// may be well, and the next attempt does all of its steps again: not to be done for a hiccup.
const EXECUTOR_FAILURES_MAX: u32 = 10;
/// A stream of events that lasted this long was no failure, however it ended: some executors cut idle ones.
const STREAM_LASTS_MIN: Duration = Duration::from_secs(10);

/// What a grant to read the context lasts longer than the run may.
const GRANT_SPARE: Duration = Duration::from_secs(300);

/// How often our own side of an attempt may fail in a row before the attempt ends as failed.
const DRIVE_FAILURES_MAX: u32 = 10;

/// Drives the build's current run, or its next, to the end. Errors are ours: they are logged and tried again. What lasts
/// ends the attempt, or the build could neither end nor be cancelled.
pub(super) async fn drive(driver: &Arc<Driver>, live: &Arc<Live>) {
    lines::of_one_build(try_to_end(driver, live)).await;
}

async fn try_to_end(driver: &Arc<Driver>, live: &Arc<Live>) {
    let mut failures = 0_u32;
    loop {
        let Err(error) = attempt(driver, live).await else {
            return;
        };
        failures = failures.saturating_add(1);
        tracing::error!(build = %live.id(), error = %clock::chain(&error), failures, "run.drive_failed");
        if failures >= DRIVE_FAILURES_MAX || live.current().cancel_requested {
            match give_up(driver, live).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(build = %live.id(), error = %clock::chain(&error), "run.give_up_failed");
                }
            }
        }
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
}

/// Ends the current run without having followed it to its end. False if there is none, or if the disk has failed: then
/// nothing can be recorded, and the next process finds the run as it is.
async fn give_up(driver: &Arc<Driver>, live: &Arc<Live>) -> Result<bool> {
    if driver.parts.store.health().is_err() || driver.parts.logs.health().is_err() {
        return Ok(false);
    }
    let Some(run) = live.current().current_run() else {
        return Ok(false);
    };
    let failure = Failure {
        reason: FailureReason::Internal,
        message: "the gateway could not see the run through; its own log says why".to_owned(),
    };
    driver
        .apply(
            live,
            Event::Ended {
                run,
                outcome: Outcome::Infrastructure { failure },
            },
        )
        .await?;
    forget(driver, run).await;
    Ok(true)
}

async fn attempt(driver: &Arc<Driver>, live: &Arc<Live>) -> Result<()> {
    let build = live.current();
    if build.status.is_terminal() {
        return Ok(());
    }
    let (run, is_new) = match build.current_run() {
        Some(run) => (run, false),
        None => {
            let run = build.next_run();
            match driver.apply(live, Event::Started { run }).await {
                Ok(_) => (run, true),
                // Cancelled between the queue and here.
                Err(Error::FailedPrecondition { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    let build = live.current();
    let mut resumed = resume(driver, live, run).await?;
    let spec = resumed.spec.clone();

    // Kept until the run is over: an executor may come back to the file.
    let context = match spec.source() {
        Source::Archive(context) => driver.parts.contexts.open(&build.org, context).await?,
        Source::Git(_) => None,
    };
    let gate = inspect::gate(driver, &build, &spec).await?;
    let plan = plan(
        driver,
        live,
        run,
        &spec,
        &resumed.known.snapshot,
        context.as_ref(),
        gate.is_some(),
    );
    let (end, word) = match &plan {
        // The executor has not heard of it: there is nothing to stop.
        _ if is_new && live.current().cancel_requested => (ended(EndCause::Stopped), Word::Allowed),
        // Nor of this.
        Err(missing) => (
            ended(EndCause::Stopped),
            Word::Denied {
                failure: secrets::missing(missing),
            },
        ),
        Ok(plan) => match ensure(driver, live, plan).await {
            Ok(()) => follow(driver, live, run, gate.as_deref(), &mut resumed).await?,
            Err(error) => (lost(&error), Word::Allowed),
        },
    };
    let mut pipeline = resumed.pipeline;
    pipeline.finish(end.ended_at_ms).await.map_err(Error::internal)?;
    // A run that was not to go on had no go-ahead: nothing was built, however it came to its end.
    let not_built = inspect::note(&word).filter(|_| !live.current().cancel_requested);
    let outcome = match inspect::outcome(word).filter(|_| not_built.is_some()) {
        Some(outcome) => outcome,
        None => {
            let secrets = plan.map(|plan| plan.secrets).unwrap_or_default();
            outcome(driver, live, &spec, &secrets, &end, &pipeline).await
        }
    };
    if let Some(text) = not_built {
        pipeline
            .last_note(&text, clock::now_ms())
            .await
            .map_err(Error::internal)?;
    }
    if let Outcome::Infrastructure { failure } = &outcome {
        note(&mut pipeline, run, failure).await?;
    }
    progress(driver, live, run, &pipeline).await?;
    driver.apply(live, Event::Ended { run, outcome }).await?;
    forget(driver, run).await;
    Ok(())
}

/// Ends a run of which nothing is left but its record and what is stored of its log.
pub(super) async fn report_lost(driver: &Arc<Driver>, live: &Arc<Live>, run: RunId) -> Result<()> {
    let failure = Failure {
        reason: FailureReason::Internal,
        message: "the machine lost the build's run".to_owned(),
    };
    // A cancelled build ends as cancelled, and its log has no such note then.
    if !live.current().cancel_requested
        && let Err(error) = note_lost(driver, live, run, &failure).await
    {
        // A build must be able to end, whatever keeps us from saying so in its log.
        tracing::warn!(run = %run, error = %clock::chain(&error), "run.not_noted");
    }
    driver
        .apply(
            live,
            Event::Ended {
                run,
                outcome: Outcome::Infrastructure { failure },
            },
        )
        .await?;
    Ok(())
}

async fn note_lost(driver: &Driver, live: &Arc<Live>, run: RunId, failure: &Failure) -> Result<()> {
    let mut pipeline = resume(driver, live, run).await?.pipeline;
    note(&mut pipeline, run, failure).await
}

/// What it takes to go on with a run.
struct Resumed {
    spec: BuildSpec,
    /// What the run is given of its organization's secrets, and what is hidden.
    known: Known,
    /// Its log where the store has it.
    pipeline: Pipeline,
    /// Where to follow the executor from.
    from: RawCursor,
}

async fn resume(driver: &Driver, live: &Arc<Live>, run: RunId) -> Result<Resumed> {
    let build = live.current();
    let sealed = driver
        .parts
        .store
        .spec(build.id)
        .await?
        .ok_or(StoreError::Dangling(build.id))?;
    let spec = driver
        .parts
        .vault
        .open_spec(&build.org, build.id, &sealed)
        .await?;
    let snapshot = secrets::of_run(driver, &build, run, &spec).await?;
    let redaction = redaction::redaction(driver, live, run, &spec, &snapshot).await?;
    lines::hide(&redaction.redactor);
    let registry = &driver.settings.registry;
    let reader = LogReader::new(kaniko::image_refs(
        &registry.host,
        &build.org,
        spec.name(),
        spec.tags(),
    ));
    let (mut pipeline, mut from) = Pipeline::resume(
        Arc::clone(&driver.parts.logs),
        Arc::clone(live.log()),
        run,
        redaction.redactor,
        reader,
        driver.settings.log_bytes_max,
    )
    .await
    .map_err(Error::internal)?;
    if let Some(why) = redaction.withhold {
        from = pipeline.withhold(why);
    }
    if let Some(gate) = redaction.scanner {
        pipeline.scan_with(gate);
    }
    Ok(Resumed {
        spec,
        known: Known::new(snapshot),
        pipeline,
        from,
    })
}

/// The last line of an attempt that failed for a reason of ours.
async fn note(pipeline: &mut Pipeline, run: RunId, failure: &Failure) -> Result<()> {
    let text = format!("attempt {} failed: {}", run.attempt, failure.message);
    pipeline
        .last_note(&text, clock::now_ms())
        .await
        .map_err(Error::internal)
}

async fn forget(driver: &Driver, run: RunId) {
    if let Err(error) = driver.parts.executor.forget(run).await {
        // The reconciler finds it again.
        tracing::warn!(run = %run, error = %clock::chain(&error), "run.forget_failed");
    }
}

/// Makes sure that the run exists, through failures that may pass.
async fn ensure(driver: &Driver, live: &Live, plan: &RunPlan) -> std::result::Result<(), ExecutorError> {
    let mut failures = 0_u32;
    loop {
        let error = match driver.parts.executor.ensure(plan).await {
            Ok(()) => return Ok(()),
            Err(error @ (ExecutorError::Unsupported(_) | ExecutorError::UnknownRun(_))) => return Err(error),
            Err(error @ (ExecutorError::Io { .. } | ExecutorError::Other(_))) => error,
        };
        failures = failures.saturating_add(1);
        tracing::warn!(run = %plan.run, error = %clock::chain(&error), failures, "run.start_failed");
        if failures > EXECUTOR_FAILURES_MAX || live.current().cancel_requested {
            return Err(error);
        }
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
}

fn plan(
    driver: &Driver,
    live: &Live,
    run: RunId,
    spec: &BuildSpec,
    snapshot: &Snapshot,
    context: Option<&ContextFile>,
    gated: bool,
) -> std::result::Result<RunPlan, MissingSecrets> {
    let build = live.current();
    let registry = &driver.settings.registry;
    let source = match spec.source() {
        Source::Archive(id) => RunSource::Archive {
            // Without the file the fetch step says so; a run that has fetched before does not need it.
            path: context.map(|file| file.path().to_owned()).unwrap_or_default(),
            sha256: id.sha256_hex(),
        },
        Source::Git(git) => RunSource::Git(git.clone()),
    };
    Ok(RunPlan {
        run,
        org: build.org.clone(),
        source,
        dockerfile: spec.dockerfile().to_owned(),
        kaniko_args: CommandPlan {
            spec,
            org: &build.org,
            registry: &registry.host,
            workspace: WORKSPACE,
            digest_file: DIGEST_FILE,
            insecure_registries: &registry.insecure,
            registry_mirrors: &registry.mirrors,
            extra_args: &[],
        }
        .args(),
        build_args: spec.resolved_build_args(|name| snapshot.build_secret(name))?,
        secrets: snapshot.given.clone(),
        timeout: spec.timeout(),
        context_grant: match spec.source() {
            Source::Archive(id) => Some(grant(driver, &build.org, run, id, spec.timeout())),
            Source::Git(_) => None,
        },
        resource_class: ResourceClasses::asked(spec.labels()).map(str::to_owned),
        gated,
    })
}

/// For as long as a run may wait for its place and then be at work.
fn grant(driver: &Driver, org: &OrgId, run: RunId, context: &ContextId, timeout: Duration) -> ContextGrant {
    let lasts = timeout.saturating_mul(2).saturating_add(GRANT_SPARE);
    let lasts_ms = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
    let expires_at_ms = clock::now_ms().saturating_add(lasts_ms);
    driver.parts.grants.grant(run, org, context, expires_at_ms)
}

/// Follows the run to its end, through broken streams and requests to stop. With the end comes what `gate`, if there is one,
/// said of what was fetched; unless that was to allow it, the run was stopped.
async fn follow(
    driver: &Arc<Driver>,
    live: &Arc<Live>,
    run: RunId,
    gate: Option<&dyn Gate>,
    resumed: &mut Resumed,
) -> Result<(RunEnd, Word)> {
    let Resumed {
        spec,
        known,
        pipeline,
        from,
    } = resumed;
    let build = live.current();
    let mut word = Word::Allowed;
    let executor = &driver.parts.executor;
    let mut failures = 0_u32;
    if live.current().cancel_requested {
        executor.stop(run).await.map_err(Error::internal)?;
    }
    loop {
        let mut events = executor.follow(run, *from);
        let began = Instant::now();
        let failure = loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = live.stop_requested().notified() => {
                    executor.stop(run).await.map_err(Error::internal)?;
                    continue;
                }
            };
            match event {
                Some(Ok(RunEvent::Fetched(report))) => {
                    let fetched = Event::Fetched {
                        run,
                        report: report.clone(),
                    };
                    driver.apply(live, fetched).await?;
                    if let Some(gate) = gate {
                        word = inspect::judge(driver, live, run, spec, gate, &report, pipeline).await?;
                        let acted = match &word {
                            Word::Allowed => executor.go_ahead(run).await,
                            Word::Held { .. } | Word::Denied { .. } => executor.stop(run).await,
                        };
                        acted.map_err(Error::internal)?;
                    }
                }
                Some(Ok(RunEvent::Waiting { reason })) => {
                    // A scheduler's words, and they may name what is not to stand in the record.
                    let reason = reason.map(|reason| pipeline.redact_text(&reason));
                    driver.apply(live, Event::Waiting { run, reason }).await?;
                }
                Some(Ok(RunEvent::Output { bytes, end })) => {
                    failures = 0;
                    let new = known.look(driver, &build, run, spec).await?;
                    if !new.is_empty() {
                        pipeline.hide(new.iter().map(SecretText::reveal));
                        lines::hide(pipeline.redactor());
                    }
                    pipeline
                        .push(&bytes, end, clock::now_ms())
                        .await
                        .map_err(Error::internal)?;
                    *from = end;
                    progress(driver, live, run, pipeline).await?;
                }
                Some(Ok(RunEvent::Gap {
                    bytes,
                    after_ms,
                    before_ms,
                    end,
                })) => {
                    failures = 0;
                    let text = gap_text(bytes, after_ms, before_ms);
                    pipeline
                        .gap(&text, end, clock::now_ms())
                        .await
                        .map_err(Error::internal)?;
                    *from = end;
                }
                Some(Ok(RunEvent::Ended(end))) => return Ok((end, word)),
                Some(Err(error)) => break error,
                None => break ExecutorError::Other("the run's events ended before the run".to_owned()),
            }
        };
        failures = if began.elapsed() > STREAM_LASTS_MIN {
            1
        } else {
            failures.saturating_add(1)
        };
        tracing::warn!(run = %run, error = %clock::chain(&failure), failures, "run.follow_failed");
        if failures > EXECUTOR_FAILURES_MAX {
            return Ok((lost(&failure), word));
        }
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
}

/// What the build's log says where a part of it is gone.
fn gap_text(bytes: Option<u64>, after_ms: Option<i64>, before_ms: Option<i64>) -> String {
    let shown = |ms: Option<i64>| {
        let time = ms.and_then(DateTime::from_timestamp_millis);
        time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
    };
    let when = match (shown(after_ms), shown(before_ms)) {
        (Some(after), Some(before)) => format!(" (between {after} and {before})"),
        (Some(after), None) => format!(" (after {after})"),
        (None, Some(before)) => format!(" (before {before})"),
        (None, None) => String::new(),
    };
    let what = bytes.map_or_else(|| "part".to_owned(), |bytes| format!("{bytes} bytes"));
    format!("lost {what} of the log here{when}")
}

/// Records the steps when they changed.
async fn progress(driver: &Arc<Driver>, live: &Arc<Live>, run: RunId, pipeline: &Pipeline) -> Result<()> {
    let steps = pipeline.steps();
    if live.current().steps != steps {
        let (steps, log_bytes) = (steps.to_vec(), pipeline.end_offset());
        driver
            .apply(
                live,
                Event::Progressed {
                    run,
                    steps,
                    log_bytes,
                },
            )
            .await?;
    }
    Ok(())
}

async fn outcome(
    driver: &Driver,
    live: &Live,
    spec: &BuildSpec,
    secrets: &RunSecrets,
    end: &RunEnd,
    pipeline: &Pipeline,
) -> Outcome {
    let redact = |failure: Failure| Failure {
        message: pipeline.redact_text(&failure.message),
        ..failure
    };
    let class = ResourceClasses::asked(spec.labels());
    let limits = driver.settings.classes.get(class).limits;
    let facts = Facts {
        dockerfile: spec.dockerfile(),
        timeout: spec.timeout(),
        memory_bytes_max: Some(limits.memory_bytes),
        disk_bytes_max: Some(limits.disk_bytes),
        cancel_requested: live.current().cancel_requested,
    };
    match kaniko::classify(end, pipeline.reader(), &facts) {
        Verdict::Pushed { digest, refs } => {
            match pushed_image(driver, live, secrets, pipeline, &refs, digest).await {
                Some(image) => Outcome::Succeeded {
                    image,
                    image_refs: refs,
                },
                None => Outcome::Failed {
                    failure: kaniko::not_pushed(),
                    image_refs: Vec::new(),
                },
            }
        }
        Verdict::Failed { failure, refs } => Outcome::Failed {
            failure: redact(failure),
            image_refs: refs,
        },
        Verdict::Cancelled { refs } => Outcome::Cancelled { image_refs: refs },
        Verdict::Infrastructure { failure } => Outcome::Infrastructure {
            failure: redact(failure),
        },
    }
}

/// None if the registry says that there is no such image: a step can forge all that speaks of a push, but not the image.
async fn pushed_image(
    driver: &Driver,
    live: &Live,
    secrets: &RunSecrets,
    pipeline: &Pipeline,
    refs: &[String],
    digest: String,
) -> Option<Image> {
    let registry = &driver.parts.registry;
    match registry.image(refs, &digest, &secrets.registries).await {
        Ok(image) => Some(image),
        Err(error) if error.is_not_found() => None,
        Err(error) => {
            // That its size cannot be asked for now is no reason to call it failed. What is said of it is partly the
            // registry's word, which was shown a login.
            let error = pipeline.redact_text(&clock::chain(&error));
            tracing::warn!(build = %live.id(), error, "registry.manifest_unread");
            Some(Image {
                digest,
                size_bytes: 0,
                layer_count: 0,
            })
        }
    }
}

fn lost(error: &ExecutorError) -> RunEnd {
    let message = clock::chain(error);
    ended(EndCause::Lost { message })
}

fn ended(cause: EndCause) -> RunEnd {
    RunEnd {
        cause,
        ended_at_ms: clock::now_ms(),
        digest: None,
    }
}
