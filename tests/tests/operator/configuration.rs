//! What an operator gets wrong is told by the daemon itself, all of it at once and before anything is opened.

use std::{fs, process::Command};

use ignite_tests::{command::output, paths};

#[test]
fn everything_wrong_is_told_together_and_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("ignited.toml"),
        "registri = 'x'\nbuild_timeout_max = 'soon'\ndata_dir = 'data'\n",
    )
    .unwrap();
    let refused = |arguments: &[&str]| {
        let ended = output(
            Command::new(paths::binary("ignited"))
                .args(arguments)
                .args(["--config", "ignited.toml", "--listen", "everywhere"])
                .env("IGNITED_BUILDS_RUNNING_MAX", "0")
                .env("IGNITED_LOG_FORMAT", "xml")
                .current_dir(folder.path()),
        );
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stdout.is_empty(), "{ended:?}");
        String::from_utf8(ended.stderr).unwrap()
    };
    for arguments in [&[][..], &["config", "check"]] {
        let said = refused(arguments);
        for expected in [
            "registri (from ignited.toml): is no setting; did you mean registry?",
            "build_timeout_max (from ignited.toml): \"soon\" is not a duration",
            "listen (from --listen): \"everywhere\" is not an address",
            "builds_running_max (from IGNITED_BUILDS_RUNNING_MAX): \"0\" is not a whole number, 1 or more",
            "log_format (from IGNITED_LOG_FORMAT): \"xml\" is not text or json",
        ] {
            assert!(said.contains(expected), "{expected:?} is not in:\n{said}");
        }
    }
    assert!(!folder.path().join("data").exists());
}

#[test]
fn every_setting_is_shown_with_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ignited.toml"), "attempts_max = 7\n").unwrap();
    let printed = output(
        Command::new(paths::binary("ignited"))
            .args([
                "config",
                "print",
                "--config",
                "ignited.toml",
                "--log-level",
                "debug",
            ])
            .env("IGNITED_REGISTRY", "registry.example:5000")
            .current_dir(folder.path()),
    );
    let printed = String::from_utf8(printed.stdout).unwrap();
    for line in [
        r#"attempts_max = "7"  # ignited.toml"#,
        r#"registry = "registry.example:5000"  # IGNITED_REGISTRY"#,
        r#"log_level = "debug"  # --log-level"#,
        r#"listen = "127.0.0.1:8080"  # the default"#,
    ] {
        assert!(
            printed.lines().any(|printed| printed == line),
            "{line} is not in:\n{printed}"
        );
    }
}

#[test]
fn a_token_is_made_for_somebody_and_for_what_exists() {
    let folder = tempfile::tempdir().unwrap();
    for (wrong, arguments) in [
        (
            "subject",
            [
                "--organization",
                "acme",
                "--subject",
                "",
                "--scopes",
                "builds:read",
            ],
        ),
        (
            "organization",
            [
                "--organization",
                "A B",
                "--subject",
                "ci",
                "--scopes",
                "builds:read",
            ],
        ),
        (
            "scopes",
            [
                "--organization",
                "acme",
                "--subject",
                "ci",
                "--scopes",
                "everything",
            ],
        ),
    ] {
        let refused = output(
            Command::new(paths::binary("ignited"))
                .args(["token", "create", "--file", "tokens.toml"])
                .args(arguments)
                .current_dir(folder.path()),
        );
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(wrong), "{said}");
    }
    assert!(!folder.path().join("tokens.toml").exists());
}
