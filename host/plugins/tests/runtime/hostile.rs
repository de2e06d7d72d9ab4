//! Components that must not be taken, as they were really built: `plugins/_hostile/odd` and `forge`.

use std::{error::Error, fs, path::PathBuf, time::Duration};

use crate::common::Scene;

fn hostile(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("IGNITE_TEST_PLUGINS")
        .expect("run this by `make test-fast`, which builds the plugins");
    fs::read(PathBuf::from(folder).join(format!("hostile/{name}.wasm"))).unwrap()
}

/// What its uploader is told, causes included.
async fn refusal(scene: &Scene, name: &str) -> String {
    let error = scene.runtime.admit(hostile(name).into()).await.unwrap_err();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[tokio::test]
async fn what_asks_for_more_than_it_may_or_is_not_what_it_should_be_is_refused_by_name() {
    let scene = Scene::new();
    let mut wrong = Vec::new();
    for (name, told) in [
        ("imports-files", "wasi:filesystem"),
        ("imports-sockets", "wasi:sockets"),
        ("next-version", "0.2.0"),
        ("no-hook", "does not export"),
        ("core-module", "not a component"),
        ("garbage", "not WebAssembly"),
        ("empty", "not WebAssembly"),
        ("cut-off", "does not compile"),
        ("describe-lies", "name"),
        ("describe-traps", "trapped"),
        ("describe-loops", "longer than"),
        ("many-memories", "more than a plugin may"),
    ] {
        let refusal = refusal(&scene, name).await;
        if !refusal.contains(told) {
            wrong.push(format!("{name}: {refusal}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_is_built_to_keep_the_compiler_busy_is_given_up_in_time() {
    let limit = Duration::from_secs(3);
    let scene = Scene::with(|options| options.compile_timeout = limit);
    let began = std::time::Instant::now();
    let refusal = refusal(&scene, "compile-bomb").await;
    assert!(refusal.contains("to compile"), "{refusal}");
    assert!(began.elapsed() < 4 * limit, "{:?}", began.elapsed());
}
