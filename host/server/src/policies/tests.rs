//! Without a plugin: what needs one is tested where the real runtime is.

use std::{fs, sync::Arc};

use ignite_core::ids::OrgId;
use ignite_proto::v1;
use tempfile::TempDir;

use super::*;
use crate::{
    driver::tests::{Scene, acme, principal, reason},
    error::Result,
};

async fn put(scene: &Scene, text: &str, etag: &str) -> Result<v1::Policy> {
    let request = v1::PutPolicyRequest {
        text: text.to_owned(),
        etag: etag.to_owned(),
        validate_only: false,
    };
    let put = scene.service().put_policy(&acme(), request).await?;
    Ok(put.policy.unwrap())
}

async fn get(scene: &Scene, revision: u64) -> Result<v1::Policy> {
    let request = v1::GetPolicyRequest { revision };
    let got = scene.service().get_policy(&acme(), request).await?;
    Ok(got.policy.unwrap())
}

async fn in_force(scene: &Scene) -> Option<u64> {
    let policies = &scene.service().policies;
    let policy = policies.in_force(&acme().org).await.unwrap();
    policy.map(|policy| policy.revision)
}

#[tokio::test]
async fn a_policy_is_replaced_only_by_who_saw_the_one_in_force() {
    let scene = Scene::start(&[]).await;
    let none = get(&scene, 0).await.unwrap();
    assert_eq!(
        (none.revision, none.text.as_str(), in_force(&scene).await),
        (0, "", None)
    );
    let first = put(&scene, "# one", &none.etag).await.unwrap();
    assert_eq!(
        (first.revision, first.updated_by.as_str()),
        (1, acme().subject.as_str())
    );
    assert_eq!(in_force(&scene).await, Some(1));
    assert_eq!(
        reason(&put(&scene, "# two", &none.etag).await.unwrap_err()),
        "POLICY_CHANGED"
    );
    let second = put(&scene, "# two", &first.etag).await.unwrap();
    let third = put(&scene, "# three", "").await.unwrap();
    assert_eq!(
        (second.revision, third.revision, in_force(&scene).await),
        (2, 3, Some(3))
    );
    assert_eq!(get(&scene, 2).await.unwrap(), second);
    assert_eq!(get(&scene, 0).await.unwrap(), third);
    assert!(matches!(get(&scene, 4).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn the_same_text_makes_no_revision_and_a_trial_none_either() {
    let mut scene = Scene::start(&[]).await;
    let first = put(&scene, "# one", "").await.unwrap();
    assert_eq!(put(&scene, "# one", "").await.unwrap(), first);
    let trial = v1::PutPolicyRequest {
        text: "# two".to_owned(),
        validate_only: true,
        ..v1::PutPolicyRequest::default()
    };
    let trial = scene.service().put_policy(&acme(), trial).await.unwrap();
    assert_eq!(trial.policy.unwrap().revision, 2);
    scene.restart().await;
    assert_eq!(in_force(&scene).await, Some(1));
    assert_eq!(get(&scene, 0).await.unwrap(), first);
}

#[tokio::test]
async fn all_that_is_wrong_is_told_with_its_place() {
    let scene = Scene::start(&[]).await;
    let text =
        "[[plugin]]\nname = 'a'\nversion = '1.0.0'\n[[plugin]]\nname = 'b'\ndigest = 'x'\ncolour = 1\n";
    let Error::InvalidArgument(violations) = put(&scene, text, "").await.unwrap_err() else {
        panic!("another error");
    };
    let fields: Vec<&str> = violations
        .iter()
        .map(|violation| violation.field.as_str())
        .collect();
    assert!(
        fields.contains(&"plugin[1].digest") && fields.contains(&"plugin[1].colour"),
        "{fields:?}"
    );
    let text = "[[plugin]]\nname = 'a'\nversion = '1.0.0'\n";
    let refused = put(&scene, text, "").await.unwrap_err().to_string();
    assert!(refused.starts_with("plugin[0].version: no plugin"), "{refused}");
    assert_eq!(in_force(&scene).await, None);
}

#[tokio::test]
async fn revisions_come_in_pages_without_texts_and_stay_with_their_organization() {
    let scene = Scene::start(&[]).await;
    for n in 1..=5 {
        put(&scene, &format!("# {n}"), "").await.unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let request = v1::ListPolicyRevisionsRequest { limit: 2, cursor };
        let page = scene
            .service()
            .list_policy_revisions(&acme(), request)
            .await
            .unwrap();
        assert!(page.revisions.iter().all(|revision| revision.text.is_empty()));
        seen.extend(page.revisions.iter().map(|revision| revision.revision));
        cursor = page.next_cursor;
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    let theirs = scene
        .service()
        .list_policy_revisions(&principal("other"), v1::ListPolicyRevisionsRequest::default())
        .await;
    assert_eq!(theirs.unwrap().revisions, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_puts_at_once_with_one_etag_one_wins_and_is_in_force() {
    let scene = Arc::new(Scene::start(&[]).await);
    let etag = get(&scene, 0).await.unwrap().etag;
    let texts: Vec<String> = (0..8).map(|n| format!("# {n}")).collect();
    let puts = texts.iter().map(|text| put(&scene, text, &etag));
    let answers = futures::future::join_all(puts).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(in_force(&scene).await, Some(1));
}

/// A gateway with a directory of policies.
async fn with_files(files: &[(&str, &str)]) -> (Scene, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let path = directory.path().display().to_string();
    (Scene::start(&[("policy_dir", &path)]).await, directory)
}

async fn reload(scene: &Scene) {
    scene.service().policies.reload_files().await.unwrap();
}

#[tokio::test]
async fn a_file_wins_over_the_api_until_it_has_gone() {
    let (scene, directory) = with_files(&[("acme.toml", "# file"), ("README", "x"), ("A.toml", "x")]).await;
    let current = get(&scene, 0).await.unwrap();
    assert_eq!(
        (current.text.as_str(), current.from_file, current.revision),
        ("# file", true, 1)
    );
    assert_eq!(
        reason(&put(&scene, "# api", "").await.unwrap_err()),
        "POLICY_FROM_FILE"
    );
    fs::write(directory.path().join("acme.toml"), "# another file").unwrap();
    reload(&scene).await;
    assert_eq!(in_force(&scene).await, Some(2));
    reload(&scene).await;
    assert_eq!(in_force(&scene).await, Some(2));
    fs::remove_file(directory.path().join("acme.toml")).unwrap();
    reload(&scene).await;
    assert_eq!(in_force(&scene).await, Some(2), "the last revision stays");
    assert_eq!(put(&scene, "# api", "").await.unwrap().revision, 3);
    assert!(!get(&scene, 0).await.unwrap().from_file);
}

#[tokio::test]
async fn a_broken_file_keeps_the_last_good_revision_in_force() {
    let (mut scene, directory) = with_files(&[("acme.toml", "# good")]).await;
    fs::write(directory.path().join("acme.toml"), "[[plugin]").unwrap();
    reload(&scene).await;
    assert_eq!(in_force(&scene).await, Some(1));
    assert_eq!(
        reason(&put(&scene, "# api", "").await.unwrap_err()),
        "POLICY_FROM_FILE"
    );
    scene.restart().await;
    assert_eq!(in_force(&scene).await, Some(1), "after a restart too");
    fs::write(directory.path().join("acme.toml"), "# mended").unwrap();
    reload(&scene).await;
    assert_eq!(in_force(&scene).await, Some(2));
}

#[tokio::test]
async fn a_broken_file_without_an_earlier_revision_refuses_builds_until_it_is_mended() {
    let (scene, directory) = with_files(&[("acme.toml", "colour = 1")]).await;
    let policies = &scene.service().policies;
    let other: OrgId = "other".parse().unwrap();
    // Once from the disk, once from memory.
    for _ in 0..2 {
        let refused = policies.in_force(&acme().org).await.unwrap_err();
        assert_eq!(reason(&refused), "POLICY_UNUSABLE");
        assert!(refused.to_string().contains("colour"), "{refused}");
        assert!(policies.in_force(&other).await.unwrap().is_none());
    }
    fs::write(directory.path().join("acme.toml"), "").unwrap();
    reload(&scene).await;
    assert_eq!(in_force(&scene).await, Some(1));
}

#[tokio::test]
async fn a_policy_directory_that_is_not_there_is_told_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::start(&[]).await;
    let service = scene.service();
    let policies = Policies::new(
        Arc::clone(service.policies.runtime()),
        Arc::clone(&service.store),
        Arc::clone(&service.plugins),
        Vec::new(),
        Some(directory.path().join("missing")),
    );
    let error = policies.reload_files().await.unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
}
