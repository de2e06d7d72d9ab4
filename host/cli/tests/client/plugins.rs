//! Plugins, policies and announcements: what is sent, what is shown, how it ends.

use ignite_proto::v1;
use tonic::Code;

use crate::{
    fake::{Fake, Script},
    harness::{ID, code, ignite, noise, run, stderr, stdout},
    stores::{ETAG, POLICY},
};

#[tokio::test]
async fn a_component_arrives_whole_though_the_server_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.wasm");
    let component = noise(1_500_000);
    std::fs::write(&file, &component).unwrap();
    let server = Fake::start(Script {
        upload_failures: 1,
        ..Script::default()
    })
    .await;
    let push = format!("plugin push {} --as tags@0.1.0 -o json", file.display());
    let output = run(&server.endpoint, &push).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let pushed = server.seen().stored.pushed;
    assert_eq!(pushed.len(), 2);
    for (metadata, bytes) in pushed {
        assert_eq!(
            (metadata.name.as_str(), metadata.version.as_str()),
            ("tags", "0.1.0")
        );
        assert_eq!(bytes, component);
    }
    let response: v1::UploadPluginResponse = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(response.plugin.unwrap().name, "tags");
}

#[tokio::test]
async fn stored_plugins_are_listed_shown_and_deleted() {
    let server = Fake::start(Script::default()).await;
    let output = run(&server.endpoint, "plugin list --all").await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(shown.contains("first") && shown.contains("second"), "{shown}");
    assert!(shown.contains("\\u{1b}") && !shown.contains('\u{1b}'), "{shown}");
    let output = run(&server.endpoint, "plugin list").await;
    assert!(stderr(&output).contains("--cursor more"), "{}", stderr(&output));

    let output = run(&server.endpoint, "plugin get tags").await;
    assert!(stdout(&output).contains("9.9.9"), "{}", stdout(&output));
    let output = run(&server.endpoint, "plugin inspect tags@0.2.0 -o wide").await;
    let shown = stdout(&output);
    assert!(
        shown.contains("0.2.0") && shown.contains("\"type\": \"object\""),
        "{shown}"
    );

    run(&server.endpoint, "plugin delete tags@0.1.0").await;
    run(&server.endpoint, "plugin delete tags").await;
    run(&server.endpoint, "plugin import reg.example/p@sha256:00").await;
    let stored = server.seen().stored;
    let versions: Vec<_> = stored.deleted.iter().map(|it| it.version.as_str()).collect();
    assert_eq!(versions, ["0.1.0", ""]);
    assert_eq!(stored.imported, ["reg.example/p@sha256:00"]);
    for bad in [
        "plugin get Tags",
        "plugin get tags@",
        "plugin delete tags@ -o json",
    ] {
        assert_eq!(code(&run(&server.endpoint, bad).await), 2, "{bad}");
    }
}

#[tokio::test]
async fn a_policy_is_put_over_the_one_that_was_read_unless_told_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.toml");
    std::fs::write(&file, POLICY).unwrap();
    let server = Fake::start(Script::default()).await;
    let put = format!("policy put {}", file.display());
    for (flags, expected) in [
        ("", 0),
        ("--etag old", 11),
        ("--force", 0),
        ("--validate-only", 0),
    ] {
        let output = run(&server.endpoint, &format!("{put} {flags}")).await;
        assert_eq!(code(&output), expected, "{flags}: {}", stderr(&output));
    }
    let put = server.seen().stored.put;
    let etags: Vec<_> = put.iter().map(|request| request.etag.as_str()).collect();
    assert_eq!(etags, [ETAG, "old", "", ETAG]);
    assert!(put.iter().all(|request| request.text == POLICY));
    let validated: Vec<_> = put.iter().map(|request| request.validate_only).collect();
    assert_eq!(validated, [false, false, false, true]);
}

#[tokio::test]
async fn a_policy_goes_to_stdout_as_it_is() {
    let server = Fake::start(Script::default()).await;
    let output = run(&server.endpoint, "policy get --revision 3").await;
    assert_eq!(stdout(&output), POLICY);
    assert!(stderr(&output).contains("Revision  3"), "{}", stderr(&output));
    let output = run(&server.endpoint, "policy get -o json").await;
    let response: v1::GetPolicyResponse = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(response.policy.unwrap().revision, 7);
    let output = run(&server.endpoint, "policy revisions").await;
    assert!(stdout(&output).contains("REVISION"), "{}", stdout(&output));
    // Without a server at all.
    let output = run("http://127.0.0.1:1", "policy schema").await;
    let schema: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(schema["properties"]["plugin"].is_object());
}

#[tokio::test]
async fn a_dry_run_shows_what_would_happen_and_a_denial_is_not_success() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = file("good.toml", "name = 'good'\n[git_source]\nurl = 'https://x/y'\n");
    let bad = file("bad.json", r#"{"name": "bad", "contextId": "ctx_1"}"#);
    let wrong = file("wrong.toml", "nam = 'x'\n");
    let sample = file("sample.log", "the secret\n");
    let server = Fake::start(Script::default()).await;
    let dry_run = async |request: &str, rest: &str| {
        run(
            &server.endpoint,
            &format!("policy dry-run --request {request} {rest}"),
        )
        .await
    };
    let output = dry_run(&good, &format!("--log-sample {sample}")).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("the ***") && stdout(&output).contains("tag 1.2 added"));
    let output = dry_run(&bad, "").await;
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(stdout(&output).contains("name: must be good"));
    let output = dry_run(&wrong, "").await;
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("nam: "), "{}", stderr(&output));

    let policy = file("policy.toml", POLICY);
    let case = file(
        "case.toml",
        "[request]\nname = 'bad'\n[expect]\nverdict = 'deny'\nsample = 'secret'\nredacted = '***'\n",
    );
    let failing = file(
        "failing.toml",
        "[request]\nname = 'bad'\n[expect]\nverdict = 'allow'\n",
    );
    let test =
        async |case: &str| run(&server.endpoint, &format!("policy test {policy} {case} --server")).await;
    let output = test(&case).await;
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let output = test(&failing).await;
    assert_eq!(code(&output), 1);
    let shown = stdout(&output);
    assert!(
        shown.contains("- allow\n+ deny\n") && shown.contains("0 passed; 1 failed"),
        "{shown}"
    );
    assert_eq!(server.seen().stored.dry_runs.last().unwrap().policy_text, POLICY);
}

#[tokio::test]
async fn a_held_build_is_approved_with_a_reason_and_only_once() {
    let server = Fake::start(Script::default()).await;
    let approve = ignite(&server.endpoint, &format!("build approve {ID} --reason"))
        .arg("looked at it")
        .output()
        .await
        .unwrap();
    assert_eq!(code(&approve), 0, "{}", stderr(&approve));
    assert_eq!(server.seen().approved[0].reason, "looked at it");
    assert_eq!(
        code(&run(&server.endpoint, &format!("build approve {ID}")).await),
        2
    );
    let down = Fake::start(Script {
        refusal: Some((Code::Unavailable, "draining".to_owned())),
        ..Script::default()
    })
    .await;
    let output = run(&down.endpoint, &format!("build approve {ID} --reason x")).await;
    assert_eq!(code(&output), 9);
    assert_eq!(down.seen().authorization.len(), 1);
}

#[tokio::test]
async fn a_new_plugin_has_all_it_needs_and_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let new = |name: &str, language: &str| {
        let mut command = ignite("http://127.0.0.1:1", "plugin new --hook validate,redact");
        command
            .args([name, "--language", language])
            .current_dir(dir.path());
        async move { command.output().await.unwrap() }
    };
    for (name, language, source) in [
        ("one", "rust", "src/lib.rs"),
        ("two", "javascript", "src/plugin.js"),
        ("three", "python", "plugin.py"),
    ] {
        let output = new(name, language).await;
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        for file in [
            source,
            "README.md",
            ".gitignore",
            "wit/plugin.wit",
            "wit/types.wit",
            "tests/redact.toml",
        ] {
            assert!(dir.path().join(name).join(file).is_file(), "{name}/{file}");
        }
    }
    let output = new("one", "python").await;
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("exists already"), "{}", stderr(&output));
    assert!(!dir.path().join("one/plugin.py").exists());
    for (name, language) in [
        ("Upper", "rust"),
        ("a/b", "python"),
        ("9", "rust"),
        ("x", "cobol"),
    ] {
        assert_eq!(code(&new(name, language).await), 2, "{name} {language}");
    }
    // Nothing to build, and nothing that was built.
    let output = ignite("http://127.0.0.1:1", "plugin build")
        .current_dir(dir.path())
        .output()
        .await
        .unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("plugin new"), "{}", stderr(&output));
    let output = ignite("http://127.0.0.1:1", "plugin test two")
        .current_dir(dir.path())
        .output()
        .await
        .unwrap();
    assert!(
        stderr(&output).contains("plugin build two"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn announcements_are_listed_and_those_that_were_given_up_are_replayed() {
    let server = Fake::start(Script::default()).await;
    let output = run(&server.endpoint, "notification list --all").await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(shown.contains("one.0") && shown.contains("three.0"), "{shown}");
    assert!(
        shown.contains("dead since") && shown.contains("waits until"),
        "{shown}"
    );
    assert!(shown.contains("\\u{1b}") && !shown.contains('\u{1b}'), "{shown}");
    let output = run(&server.endpoint, "notification list").await;
    assert!(stderr(&output).contains("--cursor two.0"), "{}", stderr(&output));

    let output = run(&server.endpoint, "notification replay --dead -o json").await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(
        server.seen().stored.replayed,
        ["one.0", "three.0"],
        "what is gone is no failure"
    );
    let output = run(&server.endpoint, "notification replay two.0").await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(server.seen().stored.replayed.last().unwrap(), "two.0");
    assert_eq!(
        code(&run(&server.endpoint, "notification replay gone.0").await),
        5
    );
    for bad in ["notification replay", "notification replay one.0 --dead"] {
        assert_eq!(code(&run(&server.endpoint, bad).await), 2, "{bad}");
    }
}
