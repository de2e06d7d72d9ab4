//! Builds that print all planted secrets in all forms, by their steps and by the words of Kaniko.

use std::time::Duration;

use ignite_proto::v1::{self, BuildStatus, FailureReason, create_build_request::Source};
use ignite_tests::{
    caller::{BUILD_DEADLINE, inline, request},
    command,
    context::Context,
    gateway::Gateway,
    paths,
    planted::{forms, values},
    registry::Registry,
    wait::eventually,
};

use super::scene::{Given, Scene, arg_lines, with_args};

/// All secrets in all forms.
fn every_form() -> usize {
    values::COUNT * forms::of("any").len()
}

/// With the program that leaks.
fn leaking(lines: &str) -> Source {
    let leak = std::fs::read(paths::binary("ignite-leak")).unwrap();
    let from = Registry::shared().debian();
    let context = Context::new(&format!("FROM {from}\nCOPY ignite-leak /\n{lines}")).file_with_mode(
        "ignite-leak",
        leak,
        0o755,
    );
    Source::ZippedCode(context.tar_gz().into())
}

/// The same as a context of its own: it is too large for a request.
async fn uploaded(scene: &Scene, lines: &str) -> Source {
    let Source::ZippedCode(archive) = leaking(lines) else {
        unreachable!()
    };
    let uploaded = scene.caller.upload(archive.to_vec()).await.unwrap();
    Source::ContextId(uploaded.context_id)
}

async fn until_it_drips(scene: &Scene, id: &str) {
    eventually("the step that drips", BUILD_DEADLINE, async || {
        let build = scene.caller.get(id).await;
        let drips = |step: &v1::BuildStep| step.name.contains("ignite-leak drip");
        build.steps.iter().any(drips).then_some(())
    })
    .await;
}

/// Steps print every form in every way, and the last one fails; twice the daemon dies while a form is on its way, byte by byte.
async fn what_steps_print_is_nowhere(given: Given) {
    let mut scene = Scene::start(Gateway::builder(), given).await;
    let lines = "RUN /ignite-leak lines errors names\nRUN /ignite-leak drip\nRUN /ignite-leak borders\n\
                 RUN /ignite-leak lines exit=7\n";
    let source = uploaded(&scene, &format!("{}{lines}", arg_lines())).await;
    let asked = match given {
        Given::AsArgs => with_args(request("leaking", source)),
        Given::AsStored => request("leaking", source),
    };
    let id = scene.begin(asked).await;
    for wait_ms in [300, 2500] {
        until_it_drips(&scene, &id).await;
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        scene.kill_and_restart();
        scene.follow(&id);
    }
    let build = scene.caller.wait_terminal(&id).await;
    let log = scene.log(&id).await;
    assert_eq!(
        (build.status(), build.failure_reason(), build.attempts),
        (BuildStatus::Failed, FailureReason::UserStep, 1),
        "{build:#?}"
    );
    assert_eq!(
        scene.printed(&id).len(),
        every_form(),
        "not every form was printed"
    );
    assert!(log.matches("leaked 30 secrets in").count() >= 3);
    scene.nothing_is_found().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_steps_print_of_secret_args_is_nowhere_though_the_daemon_dies() {
    what_steps_print_is_nowhere(Given::AsArgs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_steps_print_of_stored_secrets_is_nowhere_though_the_daemon_dies() {
    what_steps_print_is_nowhere(Given::AsStored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mounted_is_in_neither_log_nor_image() {
    let mut scene = Scene::start(Gateway::builder(), Given::AsStored).await;
    let mounts: String = (0..values::COUNT)
        .map(|index| format!("--mount=type=secret,id={} ", values::arg_name(index)))
        .collect();
    let source = uploaded(&scene, &format!("RUN {mounts}/ignite-leak lines drip\n")).await;
    let id = scene.begin(request("mounted", source)).await;
    let build = scene.caller.wait_terminal(&id).await;
    let log = scene.log(&id).await;
    assert_eq!(
        build.status(),
        BuildStatus::Succeeded,
        "{build:#?}\n{}",
        log.len()
    );
    assert_eq!(
        scene.printed(&id).len(),
        every_form(),
        "not every form was printed"
    );
    // Manifest, configuration with its history, and the layers' tar files.
    let folder = tempfile::tempdir().unwrap();
    Registry::shared().export(&build.image_refs[0], folder.path(), "image");
    for entry in std::fs::read_dir(folder.path().join("blobs/sha256")).unwrap() {
        let blob = entry.unwrap().path();
        let unpacked = command::output(std::process::Command::new("gzip").args(["-dc"]).arg(&blob));
        let is_packed = unpacked.status.success();
        let bytes = if is_packed {
            unpacked.stdout
        } else {
            std::fs::read(&blob).unwrap()
        };
        scene.look_at_binary("a blob of the image", &bytes);
    }
    scene.nothing_is_found().await;
}

/// Instructions whose words Kaniko repeats, expanded: in its log and in how it fails.
const REPEATED: [&str; 6] = [
    "COPY $IT /x",
    "WORKDIR /a/$IT\nRUN [\"/bin/none\"]",
    "USER $IT\nRUN [\"/bin/none\"]",
    "ADD http://127.0.0.1:1/$IT /x",
    "FROM $IT",
    "LABEL a=$IT\nENV B=$IT\nVOLUME /$IT\nEXPOSE $IT",
];

/// Those that fit into an instruction.
const ONE_LINE: [&str; 9] = [
    "digits",
    "spaces",
    "unicode",
    "hex upper",
    "base64url",
    "token",
    "registry",
    "repeating",
    "beginning of longer",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_kaniko_repeats_of_secrets_is_nowhere() {
    let mut scene = Scene::start(Gateway::builder(), Given::AsArgs).await;
    let all = values::all();
    let names: Vec<String> = (0..)
        .zip(&all)
        .filter(|(_, (kind, _))| ONE_LINE.contains(kind))
        .map(|(index, _)| format!("${{{}}}", values::arg_name(index)))
        .collect();
    assert_eq!(names.len(), ONE_LINE.len());
    let mut ids = Vec::new();
    for (index, instruction) in REPEATED.iter().enumerate() {
        let instruction = instruction.replace("$IT", &names.join("-"));
        let dockerfile = match instruction.starts_with("FROM") {
            true => format!("{}{instruction}\n", arg_lines()),
            false => format!("FROM scratch\n{}{instruction}\n", arg_lines()),
        };
        let asked = with_args(inline(&format!("kaniko-{index}"), &Context::new(&dockerfile)));
        ids.push((instruction, scene.begin(asked).await));
    }
    for (instruction, id) in ids {
        let build = scene.caller.wait_terminal(&id).await;
        let log = scene.log(&id).await;
        let printed = scene.printed(&id);
        println!(
            "{} printed {} forms, failed with {:?}",
            &instruction[..6],
            printed.len(),
            build.error
        );
        assert!(
            !printed.is_empty(),
            "Kaniko repeated nothing of {instruction}: {build:#?}\n{log}"
        );
        assert!(log.contains("***"), "{log}");
    }
    scene.nothing_is_found().await;
}
