use clap::{CommandFactory as _, Parser as _};

use super::*;
use build::BuildCommand;

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_of_every_build_command_is_as_recorded() {
    let mut cli = Cli::command().term_width(100);
    cli.build();
    let build = cli.find_subcommand_mut("build").unwrap();
    let mut text = build.render_long_help().to_string();
    for name in ["create", "upload", "list", "logs", "retry"] {
        text.push_str(&format!("\n=== {name} ===\n"));
        text.push_str(&build.find_subcommand_mut(name).unwrap().render_help().to_string());
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_help_of_plugins_and_policies_is_as_recorded() {
    let mut cli = Cli::command().term_width(100);
    cli.build();
    let mut text = String::new();
    for (group, names) in [
        (
            "plugin",
            &[
                "new", "build", "inspect", "test", "bench", "push", "import", "delete",
            ][..],
        ),
        ("policy", &["get", "put", "test", "dry-run"]),
    ] {
        let command = cli.find_subcommand_mut(group).unwrap();
        text.push_str(&command.render_long_help().to_string());
        for name in names {
            text.push_str(&format!("\n=== {group} {name} ===\n"));
            text.push_str(
                &command
                    .find_subcommand_mut(name)
                    .unwrap()
                    .render_help()
                    .to_string(),
            );
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_build_has_exactly_one_source() {
    let parse = |rest: &str| {
        Cli::try_parse_from(format!("ignite build create app {rest}").split_whitespace()).map(drop)
    };
    for good in [
        "--context .",
        "--context-id ctx_1",
        "--git-url https://x/y --git-ref v1 --git-dir d",
    ] {
        assert!(parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "--context . --context-id ctx_1",
        "--context . --git-url https://x/y",
        "--context . --git-ref v1",
        "--git-dir d",
        "--context . --cancel-on-interrupt",
        "--context . --label x",
        "--context . --timeout 0",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_calls_and_the_builds_timeout_are_two_things() {
    let cli = Cli::parse_from("ignite --timeout 30s build create app --context . --timeout 10m".split(' '));
    assert_eq!(cli.timeout.call_timeout, Some(Duration::from_secs(30)));
    let Command::Build(BuildCommand::Create(args)) = cli.command else {
        panic!("another command")
    };
    assert_eq!(args.build_timeout, Some(Duration::from_secs(600)));

    let cli = Cli::parse_from("ignite build get bld_1 --timeout 90 -o json --debug".split(' '));
    assert_eq!(cli.global.output, Some(Format::Json));
    assert!(cli.global.debug);
    let Command::Build(command) = cli.command else {
        panic!("another command")
    };
    assert_eq!(command.call_timeout(), Some(Duration::from_secs(90)));
}

#[test]
fn a_build_arg_without_a_value_takes_it_from_the_environment() {
    let parse = |arg: &str| {
        Cli::try_parse_from([
            "ignite",
            "build",
            "create",
            "a",
            "--context",
            ".",
            "--build-arg",
            arg,
        ])
    };
    let value = |arg: &str| match parse(arg).unwrap().command {
        Command::Build(BuildCommand::Create(args)) => args.build_args[0].value.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(value("A=b=c"), "b=c");
    assert_eq!(value("A="), "");
    assert_eq!(value("CARGO_PKG_NAME"), std::env::var("CARGO_PKG_NAME").unwrap());
    assert!(parse("SURELY_NOT_SET_ANYWHERE").is_err());
    assert!(parse("=x").is_err());
    assert!(!format!("{:?}", parse("A=hunter2").unwrap()).contains("hunter2"));
}
