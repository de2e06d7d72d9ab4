//! What is taken, and what is said of what is not.

use std::{collections::BTreeSet, fs, time::Duration};

use ignite_core::hook::{Hook, Verdict};
use ignite_plugins::{AdmitError, CallError};

use crate::common::{Scene, VALIDATOR, caller, settings, spec};

fn refused(error: &AdmitError) -> String {
    assert!(matches!(error, AdmitError::Refused(_)), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_component_built_against_the_first_contract_is_taken_and_called_for_ever() {
    let scene = Scene::fresh();
    let admitted = scene
        .runtime
        .admit(fs::read(VALIDATOR).unwrap().into())
        .await
        .unwrap();
    assert_eq!(admitted.hooks, BTreeSet::from([Hook::Validate]));
    assert_eq!(admitted.description.version, "0.1.0");
    let plugin = scene.runtime.plugin(&admitted.digest).await.unwrap();
    let verdict = plugin
        .validate(&settings("{}"), &caller("acme"), &spec())
        .await
        .unwrap();
    assert_eq!(verdict, Verdict::Allow { warnings: Vec::new() });
    let rewritten = plugin.rewrite(&settings("{}"), &caller("acme"), &spec()).await;
    assert_eq!(rewritten, Err(CallError::NotExported(Hook::Rewrite)));
}

#[tokio::test]
async fn what_is_no_component_is_refused_with_what_would_be_right() {
    let scene = Scene::with(|options| options.component_bytes_max = 1_000);
    let admit = async |bytes: &[u8]| scene.runtime.admit(bytes.to_vec().into()).await.unwrap_err();
    assert!(refused(&admit(b"#!/bin/sh").await).contains("not WebAssembly"));
    assert!(refused(&admit(b"\0asm\x01\0\0\0").await).contains("not a component"));
    assert!(refused(&admit(b"\0asm\x0d\0\x01\0").await).contains("ignite:plugin/describe@0.1.0"));
    let broken = admit(b"\0asm\x0d\0\x01\0\xff\xff\xff").await;
    assert!(refused(&broken).contains("does not compile"));
    let too_large = admit(&[0; 1_001]).await;
    assert!(matches!(
        too_large,
        AdmitError::TooLarge {
            bytes: 1_001,
            bytes_max: 1_000
        }
    ));
}

#[tokio::test]
async fn compiling_takes_no_longer_and_no_more_than_it_may() {
    let bytes = fs::read(VALIDATOR).unwrap();
    let scene = Scene::with(|options| options.compile_timeout = Duration::from_millis(1));
    let error = scene.runtime.admit(bytes.clone().into()).await.unwrap_err();
    assert!(refused(&error).contains("more than 1ms to compile"));
    let scene = Scene::with(|options| options.compile_memory_bytes = 16 << 20);
    let error = scene.runtime.admit(bytes.into()).await.unwrap_err();
    assert!(refused(&error).contains("16 MiB of memory to compile"), "{error}");
}

#[tokio::test]
async fn a_compiled_file_that_was_tampered_with_is_compiled_anew() {
    let scene = Scene::fresh();
    let bytes = fs::read(VALIDATOR).unwrap();
    scene.runtime.admit(bytes.clone().into()).await.unwrap();
    let cache = scene.folder.path().join("cache");
    let file = fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let written = fs::read(&file).unwrap();
    let mut spoilt = written.clone();
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 1;
    fs::write(&file, &spoilt).unwrap();

    let again = Scene::with(|options| options.cache_dir = cache.clone());
    again.runtime.admit(bytes.into()).await.unwrap();
    assert!(
        fs::read(&file).unwrap() == written,
        "the spoilt file is still there"
    );
}

#[tokio::test]
async fn a_compiled_file_spares_the_compiler_but_not_under_another_key() {
    let scene = Scene::fresh();
    let bytes = fs::read(VALIDATOR).unwrap();
    scene.runtime.admit(bytes.clone().into()).await.unwrap();
    let cache = scene.folder.path().join("cache");
    let restarted = |key| {
        Scene::with(|options| {
            options.cache_dir.clone_from(&cache);
            options.cache_key = key;
            options.compiler = vec!["/bin/false".to_owned()];
        })
    };
    assert!(
        restarted([7; 32])
            .runtime
            .admit(bytes.clone().into())
            .await
            .is_ok()
    );
    let stranger = restarted([8; 32]).runtime.admit(bytes.into()).await;
    assert!(matches!(stranger, Err(AdmitError::Runtime(_))));
}

#[tokio::test]
async fn what_was_let_go_is_gone_but_not_for_who_has_it() {
    let scene = Scene::fresh();
    let plugin = scene.plugin(VALIDATOR).await;
    scene.runtime.evict(&plugin.digest()).await;
    let gone = scene.runtime.plugin(&plugin.digest()).await.unwrap_err();
    assert!(matches!(gone, CallError::Unavailable(_)));
    assert!(
        plugin
            .validate(&settings("{}"), &caller("acme"), &spec())
            .await
            .is_ok()
    );
}
