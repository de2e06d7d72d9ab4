//! Secrets from files and stdin; none from the command line, and none on the screen.

use std::{path::Path, process::Stdio};

use ignite_proto::v1::{self, SecretGroup};
use tokio::io::AsyncWriteExt as _;

use crate::{
    fake::{Fake, Script},
    harness::{code, ignite, run, stderr, stdout},
};

const VALUE: &str = "hunter2-hunter2";

/// With this on stdin.
async fn run_with(endpoint: &str, args: &str, stdin: &str) -> std::process::Output {
    let mut child = ignite(endpoint, args).stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // It may have ended before it reads.
    let _broken = pipe.write_all(stdin.as_bytes()).await;
    drop(pipe);
    child.wait_with_output().await.unwrap()
}

fn file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn all_groups_go_in_one_call() {
    let server = Fake::start(Script::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let token = file(dir.path(), "token", "of-a-file\n");
    let cert = file(dir.path(), "cert", "BEGIN\nEND\n");
    let auth = file(dir.path(), "auth", "bot:of-another-file\n");
    let key = file(dir.path(), "key", "BEGIN\nkey\nEND\n");
    let hosts = file(dir.path(), "hosts", "github.com ssh-ed25519 AAAA\n");
    let args = format!(
        "build secrets set NPM_TOKEN=- --from-file PIP_TOKEN={token} --from-file CERT={cert} --registry-from-file \
         r.example.com={auth} --ssh-key {key} --known-hosts {hosts} --git-host github.com"
    );
    let output = run_with(&server.endpoint, &args, &format!("{VALUE}\n")).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("CERT, NPM_TOKEN, PIP_TOKEN"), "{said}");
    for secret in [VALUE, "of-a-file", "of-another-file", "BEGIN"] {
        assert!(!said.contains(secret) && !stderr(&output).contains(secret));
    }
    let seen = server.seen().secrets.remove(0);
    assert_eq!(seen.build_secrets["NPM_TOKEN"], VALUE);
    assert_eq!(seen.build_secrets["PIP_TOKEN"], "of-a-file");
    assert_eq!(seen.build_secrets["CERT"], "BEGIN\nEND\n");
    assert_eq!(seen.registry_credentials["r.example.com"], "bot:of-another-file");
    let git = seen.git_credentials.unwrap();
    assert_eq!(
        (git.username.as_str(), git.hosts),
        ("", vec!["github.com".to_owned()])
    );
    assert_eq!(git.ssh_private_key, "BEGIN\nkey\nEND\n");

    let listed = run(&server.endpoint, "build secrets get").await;
    let listed = stdout(&listed);
    assert!(listed.starts_with("GROUP  NAME"), "{listed}");
    assert!(listed.contains("NPM_TOKEN"), "{listed}");
    let json = run(&server.endpoint, "build secrets get -o json").await;
    let json: v1::GetBuildSecretsResponse = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(json.secrets.len(), 3);
}

#[tokio::test]
async fn logins_are_given_as_docker_login_takes_them() {
    let server = Fake::start(Script::default()).await;
    let args = "build secrets set --registry docker.io --username bot --password-stdin";
    let output = run_with(&server.endpoint, args, &format!("{VALUE}\n")).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let args = "build secrets set --git-username oauth2 --git-password-stdin";
    let output = run_with(&server.endpoint, args, VALUE).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let output = run(&server.endpoint, "build secrets clear git build").await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let seen = server.seen().secrets;
    assert_eq!(seen[0].registry_credentials["docker.io"], format!("bot:{VALUE}"));
    let git = seen[1].git_credentials.clone().unwrap();
    assert_eq!((git.username.as_str(), git.password.as_str()), ("oauth2", VALUE));
    assert_eq!(
        seen[2].clear,
        [
            i32::from(SecretGroup::GitCredentials),
            i32::from(SecretGroup::BuildSecrets)
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_read_or_is_given_openly_is_refused_before_the_call() {
    let server = Fake::start(Script::default()).await;
    for (args, says) in [
        ("build secrets set", "required"),
        ("build secrets set TOKEN=value-of-it", "--from-file"),
        // No terminal here.
        ("build secrets set TOKEN", "there is no terminal"),
        ("build secrets set A=- B=-", "only one value can come from stdin"),
        ("build secrets set A=- A=-", "only one value"),
        ("build secrets set --from-file A=/nonexistent", "cannot read"),
        ("build secrets set --from-file A", "NAME=PATH"),
        (
            "build secrets set --registry r.example.com --password-stdin",
            "--username",
        ),
        ("build secrets set A=- --git-host github.com", "goes with"),
        ("build secrets set --ssh-key /dev/null", "--known-hosts"),
        ("build secrets clear", "required"),
        ("build secrets clear all", "possible values"),
    ] {
        let output = run_with(&server.endpoint, args, "some-value").await;
        assert_eq!(code(&output), 2, "{args}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{args}: {}", stderr(&output));
    }
    assert_eq!(server.seen().secrets.len(), 0);
}
