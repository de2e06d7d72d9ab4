//! What plugins take out of a build's log and record.

use ignite_core::hook::Hook;

use super::*;

async fn ended_after(scene: &Scene, id: BuildId, run: RunId, text: &str) -> (v1::Build, String) {
    scene.executor.print(run, text);
    scene.executor.end(run, EndCause::Exited { code: 1 });
    let build = scene.ended(id).await;
    (build, scene.log(id).await)
}

#[tokio::test]
async fn plugins_are_asked_for_rules_once_whatever_restarts_and_attempts_there_are() {
    let (mut scene, gates) = Scene::judged(&[], &[Hook::Redact]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.print(run, "one\n");
    scene.logged(id, 4).await;
    gates.script().withhold = Some("a later word does not count".to_owned());
    scene.restart().await;
    scene.executor.print(run, "two\n");
    scene.logged(id, 8).await;
    scene.executor.end(run, lost());
    let second = scene.started(id, 2).await;
    let (build, log) = ended_after(&scene, id, second, "three\n").await;
    assert_eq!(gates.calls(Hook::Redact), 1);
    assert!(log.starts_with("one\ntwo\n") && log.contains("three"), "{log}");
    let reports: Vec<&str> = build
        .hook_reports
        .iter()
        .map(|report| report.hook.as_str())
        .collect();
    assert_eq!(reports, ["validate", "redact"]);
}

#[tokio::test]
async fn a_withheld_log_is_one_line_and_the_build_ends_as_it_would() {
    let (mut scene, gates) = Scene::judged(&[], &[Hook::Redact]).await;
    gates.script().withhold = Some("plugin judge failed".to_owned());
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene
        .executor
        .print(run, "hunter2\nINFO[0001] RUN echo hunter2\n");
    scene.until(id, |build| build.log_bytes > 0).await;
    // What stands in the store says nothing of how the builder ended: it is read again.
    scene.restart().await;
    let (build, log) = ended_after(&scene, id, run, "error building image: hunter2\n").await;
    assert_eq!(log, "[ignite] the log is withheld: plugin judge failed\n");
    assert_eq!(build.status(), BuildStatus::Failed);
    assert_eq!(build.error, "withheld: plugin judge failed");
    assert_eq!(build.steps.len(), 0);
}

#[tokio::test]
async fn scanners_see_whole_lines_and_what_they_name_is_neither_shown_nor_stored() {
    let (mut scene, gates) = Scene::judged(&[], &[Hook::RedactScan]).await;
    gates.script().scan = |lines| {
        assert!(lines.ends_with(b"\n"), "{:?}", String::from_utf8_lossy(lines));
        let text = String::from_utf8_lossy(lines);
        Ok(text
            .match_indices("hunter2")
            .map(|(at, word)| at..at + word.len())
            .collect())
    };
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.print(run, "first hun");
    scene.executor.print(run, "ter2\nsecond hunt");
    scene.logged(id, "first ***\n".len()).await;
    // What waits for the end of its line is read again.
    scene.restart().await;
    let (_, log) = ended_after(&scene, id, run, "er2\nthird\n").await;
    assert_eq!(log, "first ***\nsecond ***\nthird\n");
}

#[tokio::test]
async fn what_cannot_be_scanned_is_withheld_and_the_build_goes_on() {
    let (scene, gates) = Scene::judged(&[], &[Hook::RedactScan]).await;
    gates.script().scan = |lines| match lines.starts_with(b"bad") {
        true => Ok(std::iter::once(0..lines.len() + 1).collect()),
        false => Ok(Vec::new()),
    };
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.print(run, "good\n");
    scene.logged(id, 5).await;
    let (build, log) = ended_after(&scene, id, run, "bad hunter2\n").await;
    assert!(
        log.starts_with("good\n[ignite] 12 bytes of the log are withheld:"),
        "{log}"
    );
    assert!(!build.error.contains("hunter2"));
    assert_eq!(build.failure_reason(), v1::FailureReason::Internal);
}
