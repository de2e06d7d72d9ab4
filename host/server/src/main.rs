//! `ignited`: the build gateway daemon, and what an operator does beside it.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, builder::NonEmptyStringValueParser, value_parser};
use ignite_core::{ids::OrgId, notification::NotificationId};
use ignite_plugins::schema;
use ignite_server::{
    api::tokens::{self, Expiry, NewToken},
    app::{
        self,
        announcements::{self, Act, Selection},
        keys, logging,
    },
    clock,
    config::{Config, ConfigError, Sources, settings::SETTINGS},
    executor,
    principal::Scope,
    sources::{
        self,
        fetch::pod::{self, PodFolders},
    },
    store::{
        DataDir,
        backup::{self, BackupError},
    },
};
use nix::sys::prctl;

/// The scopes of a token that names none.
const SCOPES_DEFAULT: &str = "builds:read,builds:write";

/// For threads that are still in a blocking call when everything else has ended.
const STUCK_THREADS_PATIENCE: Duration = Duration::from_secs(5);

/// What a command may end with; the message is for the operator.
type Outcome = Result<ExitCode, String>;

fn main() -> ExitCode {
    // Children that judge what others wrote: within their limits before anything else is done.
    match std::env::args_os().nth(1) {
        Some(command) if command == app::COMPILE_PLUGIN => return ignite_plugins::runtime::compile_child(),
        Some(command) if command == schema::CHILD_COMMAND => return schema::child(),
        Some(_) | None => {}
    }
    if let Err(error) = keep_memory_to_ourselves() {
        eprintln!("ignited: {error}");
        return ExitCode::FAILURE;
    }
    let matches = command().get_matches();
    let outcome = match matches.subcommand() {
        None | Some(("serve", _)) => serve(sources_of(&matches)),
        Some(("config", sub)) => config(sub, sources_of(&matches)),
        Some(("token", sub)) => token(sub, sources_of(&matches)),
        Some(("export", sub)) => export(sub, sources_of(&matches)),
        Some(("import", sub)) => import(sub, sources_of(&matches)),
        Some(("rotate-keys", sub)) => rotate_keys(sub, sources_of(&matches)),
        Some(("outbox", sub)) => outbox(sub, sources_of(&matches)),
        Some(("supervise", sub)) => Ok(executor::local::supervise(run_dir(sub))),
        Some(("fetch", sub)) => Ok(fetch(sub)),
        Some((name, _)) => Err(format!("{name} is no command")),
    };
    outcome.unwrap_or_else(|message| {
        eprintln!("ignited: {message}");
        ExitCode::FAILURE
    })
}

/// It holds keys and secrets: it is neither dumped when it crashes nor read by other processes of its user. What it starts is
/// dumped as ever.
fn keep_memory_to_ourselves() -> Result<(), String> {
    prctl::set_dumpable(false).map_err(|error| format!("its memory cannot be kept from core dumps: {error}"))
}

fn command() -> Command {
    let file = Arg::new("config")
        .long("config")
        .env("IGNITED_CONFIG")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help("TOML file with settings; variables and flags win over it");
    let flags = SETTINGS.iter().map(|setting| {
        let help = match setting.default {
            Some(default) => format!("{} [default: {default}]", setting.help),
            None => setting.help.to_owned(),
        };
        Arg::new(setting.name)
            .long(setting.flag())
            .value_name("VALUE")
            .global(true)
            .help(help)
    });
    Command::new("ignited")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The build gateway: takes container-image builds over gRPC and HTTP and runs them with Kaniko")
        .after_help("Every flag is a variable IGNITED_… and a key of the file as well.")
        .arg(file)
        .args(flags)
        .subcommand(Command::new("serve").about("Runs the gateway (the default)"))
        .subcommand(
            Command::new("config")
                .about("Shows or checks the settings")
                .subcommand_required(true)
                .subcommand(Command::new("print").about("Shows every setting and where its value comes from"))
                .subcommand(Command::new("check").about("Tells everything that is wrong with the settings")),
        )
        .subcommand(token_command())
        .subcommand(
            Command::new("export")
                .about("Writes state and logs into one portable file; the daemon must not be running")
                .arg(path_arg("to", "File to write"))
                .arg(
                    Arg::new("force")
                        .long("force")
                        .action(ArgAction::SetTrue)
                        .help("Replace the file if it is there"),
                ),
        )
        .subcommand(
            Command::new("import")
                .about("Fills an empty data directory from an exported file")
                .arg(path_arg("from", "File to read")),
        )
        .subcommand(rotate_keys_command())
        .subcommand(outbox_command())
        .subcommand(
            Command::new("supervise")
                .hide(true)
                .arg(path_arg("run-dir", "The run's directory")),
        )
        .subcommand(fetch_command())
}

fn fetch_command() -> Command {
    let folder =
        |name: &'static str, help: &'static str| path_arg(name, help).required(false).requires("pod");
    Command::new("fetch")
        .hide(true)
        .arg(path_arg("run-dir", "The run's directory").required(false))
        .arg(
            Arg::new("pod")
                .long("pod")
                .action(ArgAction::SetTrue)
                .help("The step is a container of a pod"),
        )
        .arg(folder("plan-dir", "The folder with the plan"))
        .arg(folder("pod-dir", "The folder with the pod's annotations"))
        .arg(folder("bin-dir", "The folder that the shim is put into"))
        .arg(folder("shim", "The shim"))
        .group(
            ArgGroup::new("where")
                .args(["run-dir", "pod"])
                .required(true)
                .multiple(true),
        )
}

fn token_command() -> Command {
    let text =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("TEXT").help(help);
    Command::new("token").about("Manages the bearer tokens").subcommand_required(true).subcommand(
        Command::new("create")
            .about("Makes a token, adds its hash to the tokens file, and prints the token: the only time it is seen")
            .arg(text("organization", "The organization that it acts for").required(true))
            .arg(
                text("subject", "Who holds it")
                    .required(true)
                    .value_parser(NonEmptyStringValueParser::new()),
            )
            .arg(text("scopes", "What it may do, separated by commas").default_value(SCOPES_DEFAULT))
            .arg(text("expires", "When it ends, such as 90d or 2027-01-31T00:00:00Z"))
            .arg(
                Arg::new("file")
                    .long("file")
                    .value_name("FILE")
                    .value_parser(value_parser!(PathBuf))
                    .help("The tokens file [default: the setting tokens_file]"),
            ),
    )
}

fn rotate_keys_command() -> Command {
    Command::new("rotate-keys")
        .about("Replaces the keys that the store is sealed with; the daemon must not be running")
        .after_help("Safe to break off and to repeat.")
        .arg(
            path_arg(
                "new-key-file",
                "Put the store under the master key in this file, which is made if it is not there",
            )
            .required(false),
        )
        .arg(
            Arg::new("data-keys")
                .long("data-keys")
                .action(ArgAction::SetTrue)
                .help("Seal everything anew with new data keys and remove the old ones"),
        )
        .group(
            ArgGroup::new("keys")
                .args(["new-key-file", "data-keys"])
                .required(true)
                .multiple(true),
        )
}

fn outbox_command() -> Command {
    let ids = || {
        Arg::new("ids")
            .value_name("ID")
            .num_args(1..)
            .value_parser(value_parser!(NotificationId))
            .help("As `list` shows them")
    };
    let organization = || {
        Arg::new("organization")
            .long("organization")
            .value_name("TEXT")
            .value_parser(value_parser!(OrgId))
            .help("Of this organization only")
    };
    let dead = || {
        Arg::new("dead")
            .long("dead")
            .action(ArgAction::SetTrue)
            .help("Those that were given up")
    };
    let some = |name: &'static str, about: &'static str| {
        let which = ArgGroup::new("which").args(["ids", "dead"]).required(true);
        let command = Command::new(name).about(about);
        command.arg(ids()).arg(organization()).arg(dead()).group(which)
    };
    Command::new("outbox")
        .about("Shows and changes the announcements of ended builds; the daemon must not be running")
        .after_help("While it runs, `ignite notification` lists and replays those of one organization.")
        .subcommand_required(true)
        .subcommand(
            Command::new("list")
                .about("Shows what waits and what was given up, in columns between tabs")
                .arg(organization())
                .arg(dead()),
        )
        .subcommand(some(
            "replay",
            "Has them made, under the same key, when the daemon starts",
        ))
        .subcommand(some("drop", "Removes them: nobody will be told"))
}

fn path_arg(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("PATH")
        .value_parser(value_parser!(PathBuf))
        .required(true)
        .action(ArgAction::Set)
        .help(help)
}

fn sources_of(matches: &ArgMatches) -> Sources {
    // Global flags stand at whatever level they were given.
    let mut deepest = matches;
    while let Some((_, sub)) = deepest.subcommand() {
        deepest = sub;
    }
    let flag = |name: &str| {
        deepest
            .get_one::<String>(name)
            .map(|value| (name.to_owned(), value.clone()))
    };
    Sources {
        file: deepest.get_one::<PathBuf>("config").cloned(),
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect::<BTreeMap<_, _>>(),
        flags: SETTINGS.iter().filter_map(|setting| flag(setting.name)).collect(),
    }
}

fn load(sources: Sources) -> Result<Config, String> {
    Config::load(sources).map_err(|errors| {
        let lines: Vec<String> = errors
            .iter()
            .map(|error: &ConfigError| format!("  {error}"))
            .collect();
        format!("the configuration cannot be used:\n{}", lines.join("\n"))
    })
}

fn run_dir(matches: &ArgMatches) -> &Path {
    matches
        .get_one::<PathBuf>("run-dir")
        .map_or(Path::new(""), PathBuf::as_path)
}

fn fetch(matches: &ArgMatches) -> ExitCode {
    if !matches.get_flag("pod") {
        return sources::fetch::run(run_dir(matches));
    }
    let given = |name: &str, default: PathBuf| matches.get_one(name).cloned().unwrap_or(default);
    let default = PodFolders::default();
    pod::run(&PodFolders {
        plan: given("plan-dir", default.plan),
        pod: given("pod-dir", default.pod),
        run: given("run-dir", default.run),
        bin: given("bin-dir", default.bin),
        shim: given("shim", default.shim),
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
}

fn serve(sources: Sources) -> Outcome {
    keys::take_key_out_of_environment()
        .map_err(|error| format!("taking the master key out of the environment: {error}"))?;
    let config = load(sources)?;
    logging::start(config.log_format, &config.log_level);
    let runtime = runtime()?;
    let served = runtime.block_on(app::serve(config));
    // A thread that hangs on a disk or a name server must not keep the process.
    runtime.shutdown_timeout(STUCK_THREADS_PATIENCE);
    match served {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(clock::chain(&error)),
    }
}

fn config(matches: &ArgMatches, sources: Sources) -> Outcome {
    match matches.subcommand_name() {
        Some("print") => {
            let mut out = io::stdout().lock();
            for (name, value, origin) in sources.effective() {
                // Who has read enough, `head` for one, closes it.
                if writeln!(out, "{name} = {value:?}  # {origin}").is_err() {
                    break;
                }
            }
        }
        Some(_) | None => {
            load(sources)?;
            println!("the configuration is in order");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn token(matches: &ArgMatches, sources: Sources) -> Outcome {
    let Some(("create", matches)) = matches.subcommand() else {
        return Err("token create is the only one".to_owned());
    };
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let scopes = text("scopes")
        .split(',')
        .map(str::trim)
        .map(str::parse::<Scope>)
        .collect::<Result<_, _>>();
    let expires = matches
        .get_one::<String>("expires")
        .map(|text| text.parse::<Expiry>())
        .transpose();
    let token = NewToken {
        org: text("organization")
            .parse::<OrgId>()
            .map_err(|error| format!("--organization: {error}"))?,
        subject: text("subject").to_owned(),
        scopes: scopes.map_err(|error| format!("--scopes: {error}"))?,
        expires: expires.map_err(|error| format!("--expires: {error}"))?,
    };
    let file = match matches.get_one::<PathBuf>("file") {
        Some(file) => file.clone(),
        None => load(sources)?.tokens_file,
    };
    let created = tokens::create(&token, &file).map_err(|error| error.to_string())?;
    println!("{created}");
    Ok(ExitCode::SUCCESS)
}

fn export(matches: &ArgMatches, sources: Sources) -> Outcome {
    let config = load(sources)?;
    let path = run_path(matches, "to");
    let data = DataDir::open(&config.data_dir).map_err(|error| error.to_string())?;
    backup::export_to(&data, path, matches.get_flag("force")).map_err(|error| match error {
        BackupError::Exists(_) => format!("{error}: --force replaces it"),
        error => clock::chain(&error),
    })?;
    println!(
        "exported {} to {}; not in it, to be kept apart: {}, the uploaded archives in {}, and the plugins' components in {}",
        config.data_dir.display(),
        path.display(),
        config.master_key,
        config.data_dir.join("contexts").display(),
        config.data_dir.join("plugins/components").display()
    );
    Ok(ExitCode::SUCCESS)
}

fn import(matches: &ArgMatches, sources: Sources) -> Outcome {
    let config = load(sources)?;
    let path = run_path(matches, "from");
    let file = backup::open_export(path).map_err(|error| clock::chain(&error))?;
    let data = DataDir::open(&config.data_dir).map_err(|error| error.to_string())?;
    backup::import(&data, file).map_err(|error| clock::chain(&error))?;
    println!("imported {} into {}", path.display(), config.data_dir.display());
    Ok(ExitCode::SUCCESS)
}

fn rotate_keys(matches: &ArgMatches, sources: Sources) -> Outcome {
    let config = load(sources)?;
    let new_key_file = matches.get_one::<PathBuf>("new-key-file").map(PathBuf::as_path);
    let rotating = keys::rotate_keys(&config, new_key_file, matches.get_flag("data-keys"));
    let said = runtime()?
        .block_on(rotating)
        .map_err(|error| clock::chain(&error))?;
    print!("{said}");
    Ok(ExitCode::SUCCESS)
}

fn outbox(matches: &ArgMatches, sources: Sources) -> Outcome {
    let (act, matches) = match matches.subcommand() {
        Some(("replay", matches)) => (Act::Replay, matches),
        Some(("drop", matches)) => (Act::Drop, matches),
        Some((_, matches)) => (Act::List, matches),
        None => return Err("outbox list, replay or drop".to_owned()),
    };
    let config = load(sources)?;
    let ids = matches.try_get_many::<NotificationId>("ids").ok().flatten();
    let selection = Selection {
        org: matches.get_one::<OrgId>("organization").cloned(),
        ids: ids.into_iter().flatten().copied().collect(),
        dead: matches.get_flag("dead"),
    };
    let lines = runtime()?
        .block_on(announcements::act(&config, act, &selection))
        .map_err(|error| clock::chain(&error))?;
    let mut out = io::stdout().lock();
    for line in lines {
        // Who has read enough, `head` for one, closes it.
        if writeln!(out, "{line}").is_err() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn run_path<'a>(matches: &'a ArgMatches, name: &str) -> &'a Path {
    matches
        .get_one::<PathBuf>(name)
        .map_or(Path::new(""), PathBuf::as_path)
}
