//! The sample plugins, in three languages, and the sample policies: what organizations begin with must work.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ignite_proto::v1;
use ignite_tests::{
    caller,
    cli::Cli,
    gateway::{Gateway, PLATFORM},
    paths,
};

/// Every plugin with test cases: its name and the folder of the cases.
fn samples() -> Vec<(String, PathBuf)> {
    let folders = fs::read_dir(paths::repository().join("plugins")).unwrap();
    let mut samples: Vec<_> = folders
        .map(|entry| entry.unwrap().path())
        .filter(|folder| folder.join("tests").is_dir())
        .map(|folder| {
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            (name, folder.join("tests"))
        })
        .collect();
    samples.sort();
    samples
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|path| path.ends_with(".toml"))
        .collect()
}

#[test]
fn every_case_of_every_sample_passes_offline() {
    let offline = Cli::new("127.0.0.1:1", "none");
    let samples = samples();
    assert!(samples.len() >= 10, "{samples:?}");
    for (name, cases) in samples {
        let component = paths::plugin(&name);
        let cases = files(&cases);
        assert!(cases.len() >= 3, "{name} has {cases:?}");
        let options = cases.iter().flat_map(|case| ["--case", case]);
        let arguments: Vec<&str> = ["plugin", "test", component.as_str()]
            .into_iter()
            .chain(options)
            .collect();
        offline.run(&arguments);
    }
}

#[test]
fn configurations_are_held_against_the_schema_offline_as_by_the_gateway() {
    let offline = Cli::new("127.0.0.1:1", "none");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // The plugin itself would take it: that there must be a rule is in its schema only.
    let component = paths::plugin("tag-rules");
    let case = file(
        "case.toml",
        "hook = 'rewrite'\n[config]\nrules = []\n[request]\nname = 'app'\n\
         [expect]\nverdict = 'failed'\nmessages_contain = ['config/rules: [] has less than 1 item']\n",
    );
    offline.run(&["plugin", "test", &component, "--case", &case]);
    fs::copy(&component, folder.path().join("tag-rules.wasm")).unwrap();
    let policy = |config: &str| {
        let text = format!("[[plugin]]\nname = 'tag-rules'\nversion = '0.1.0'\n[plugin.config]\n{config}\n");
        file("policy.toml", &text)
    };
    let case = file(
        "whole.toml",
        "[request]\nname = 'app'\n[expect]\nverdict = 'allow'\n",
    );
    let folder = folder.path().to_str().unwrap();
    let refused = offline.output(&[
        "policy",
        "test",
        &policy("rules = []"),
        &case,
        "--plugins",
        folder,
    ]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("plugin[0].config.rules: [] has less than 1 item"),
        "{said}"
    );
    let good = policy("rules = [{tags = ['{date}']}]");
    offline.run(&["policy", "test", &good, &case, "--plugins", folder]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_is_taken_and_every_policy_of_them() {
    // Beside other tests: the one in Python alone is 18 MB to compile.
    let gateway = Gateway::builder()
        .setting("plugin_compile_timeout", "300s")
        .start();
    let cli = gateway.cli_of("platform", PLATFORM);
    let samples = samples();
    for (name, _) in &samples {
        cli.run(&[
            "plugin",
            "push",
            &paths::plugin(name),
            "--as",
            &format!("{name}@0.1.0"),
        ]);
    }
    let listed = cli.json(&["plugin", "list"]);
    assert_eq!(
        listed["plugins"].as_array().unwrap().len(),
        samples.len(),
        "{listed}"
    );
    let policies = files(&paths::repository().join("policies"));
    assert!(!policies.is_empty());
    for policy in policies {
        cli.run(&["policy", "put", &policy, "--validate-only"]);
    }

    // One in JavaScript and one in Python judge a real request.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    let policy = "[[plugin]]\nname = 'naming-js'\nversion = '0.1.0'\n\
                  [plugin.config]\nteams = ['payments']\nforbidden_words = ['tmp']\n\
                  [[plugin]]\nname = 'freeze-window-py'\nversion = '0.1.0'\n\
                  [plugin.config]\nanswer = 'deny'\n\
                  freezes = [{ from = '2000-01-01T00:00:00Z', to = '2999-01-01T00:00:00Z', reason = 'for ever' }]\n";
    fs::write(&file, policy).unwrap();
    cli.run(&["policy", "put", file.to_str().unwrap()]);
    let source = v1::create_build_request::Source::GitSource(v1::GitSource {
        url: "https://git.example/app.git".to_owned(),
        ..v1::GitSource::default()
    });
    let mut request = caller::request("payments/app-tmp", source);
    request.labels = [("team".to_owned(), "payments".to_owned())].into();
    let refused = gateway.caller().try_create(request).await.unwrap_err();
    assert_eq!(caller::reason(&refused), "POLICY_DENIED");
    assert!(refused.message().contains("tmp"), "{refused}");
    assert!(refused.message().contains("for ever"), "{refused}");
}
