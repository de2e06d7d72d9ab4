//! `ignite plugin build`: a plugin's folder into a component, by the tools of its language.

use std::{
    fs,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest as _, Sha256};

use crate::{
    args::plugin::{BuildArgs, Language},
    error::{Error, Result},
    offline,
    output::{
        self,
        table::record,
        text::{bytes, line},
    },
    settings::Settings,
};

/// What `requirements.txt` of the templates says too.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
/// Where the templates' builds of JavaScript and Python leave the component.
const DIST: &str = "dist/plugin.wasm";

#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Built {
    path: PathBuf,
    size_bytes: usize,
    digest: String,
}

pub(super) fn run(args: &BuildArgs, settings: &Settings) -> Result<()> {
    let language = language(&args.dir)?;
    let path = match language {
        Language::Rust => rust(&args.dir),
        Language::Javascript => javascript(&args.dir),
        Language::Python => python(&args.dir),
    }?;
    let component = offline::read(&path)?;
    let built = Built {
        size_bytes: component.len(),
        digest: format!("sha256:{}", hex::encode(Sha256::digest(&component))),
        path,
    };
    output::response(settings.output, &built, |_| {
        record(&[
            ("Component", line(&built.path.display().to_string()).into_owned()),
            ("Size", bytes(u64::try_from(built.size_bytes).unwrap_or(u64::MAX))),
            ("Digest", built.digest.clone()),
        ])
    })
}

/// By what lies in the folder.
fn language(folder: &Path) -> Result<Language> {
    if !folder.join("wit").is_dir() {
        return Err(Error::input(format!(
            "{} is not a plugin's folder: it has no wit/. `ignite plugin new` makes one",
            folder.display()
        )));
    }
    let marks = [
        ("Cargo.toml", Language::Rust),
        ("package.json", Language::Javascript),
        ("plugin.py", Language::Python),
    ];
    let found: Vec<_> = marks
        .iter()
        .filter(|(file, _)| folder.join(file).is_file())
        .collect();
    match found.as_slice() {
        [(_, language)] => Ok(*language),
        [] => Err(Error::input(format!(
            "{} has none of Cargo.toml, package.json and plugin.py: there is nothing to build",
            folder.display()
        ))),
        [(one, _), (other, _), ..] => Err(Error::input(format!(
            "{} has both {one} and {other}: keep one language in a folder",
            folder.display()
        ))),
    }
}

/// Where a plugin's folder keeps its component, if it was built.
pub(super) fn component(folder: &Path) -> Result<PathBuf> {
    let path = match language(folder)? {
        Language::Rust => {
            let (name, target) = cargo_facts(folder)?;
            rust_component(&name, &target)
        }
        Language::Javascript | Language::Python => folder.join(DIST),
    };
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::input(format!(
            "{} is not there; `ignite plugin build {}` makes it",
            path.display(),
            folder.display()
        )))
    }
}

fn rust(folder: &Path) -> Result<PathBuf> {
    let (name, target) = cargo_facts(folder)?;
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", "wasm32-wasip2"]);
    run_tool(cargo.current_dir(folder), "curl https://sh.rustup.rs -sSf | sh").map_err(
        |error| match error {
            // rustc says that it cannot find `core`; what to do about it is known.
            Error::Input(text) if !wasm_target_is_installed() => Error::input(format!(
                "{text}; the target is missing: rustup target add wasm32-wasip2"
            )),
            other => other,
        },
    )?;
    Ok(rust_component(&name, &target))
}

fn rust_component(name: &str, target: &Path) -> PathBuf {
    let file = format!("{}.wasm", name.replace('-', "_"));
    target.join("wasm32-wasip2").join("release").join(file)
}

/// The crate's name and its target directory, which the environment and configuration files may move.
fn cargo_facts(folder: &Path) -> Result<(String, PathBuf)> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    #[derive(serde::Deserialize)]
    struct Manifest {
        package: Package,
    }
    #[derive(serde::Deserialize)]
    struct Package {
        name: String,
    }
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .map_err(|error| Error::input(format!("cannot read {}: {error}", manifest.display())))?;
    let parsed: Manifest = toml::from_str(&text)
        .map_err(|error| Error::input(format!("{}: {}", manifest.display(), error.message())))?;
    let mut cargo = Command::new("cargo");
    cargo
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(folder)
        .stdin(Stdio::null());
    let output = cargo
        .output()
        .map_err(|error| missing("cargo", &error, "curl https://sh.rustup.rs -sSf | sh"))?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        Error::input(format!(
            "cargo metadata failed: {}",
            output::text::lines(said.trim())
        ))
    })?;
    Ok((parsed.package.name, metadata.target_directory))
}

fn wasm_target_is_installed() -> bool {
    let rustc = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", "wasm32-wasip2"])
        .output();
    // Without rustc, cargo has said so already.
    rustc.map_or(true, |output| {
        Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    })
}

fn javascript(folder: &Path) -> Result<PathBuf> {
    const INSTALL: &str = "install Node 20 or later: https://nodejs.org/en/download";
    if !folder
        .join("node_modules/@bytecodealliance/componentize-js")
        .is_dir()
    {
        let verb = match folder.join("package-lock.json").is_file() {
            true => "ci",
            false => "install",
        };
        let mut npm = Command::new("npm");
        npm.args([verb, "--no-audit", "--no-fund"]);
        run_tool(npm.current_dir(folder), INSTALL)?;
    }
    run_tool(Command::new("node").arg("build.js").current_dir(folder), INSTALL)?;
    Ok(folder.join(DIST))
}

fn python(folder: &Path) -> Result<PathBuf> {
    const INSTALL: &str = "apt-get install python3 python3-venv";
    // The virtual environment's own programs want an absolute path, whatever the folder they run in.
    let folder = &fs::canonicalize(folder)
        .map_err(|error| Error::input(format!("cannot use {}: {error}", folder.display())))?;
    let tool = folder.join(".venv/bin/componentize-py");
    if !tool.is_file() {
        let mut venv = Command::new("python3");
        run_tool(venv.args(["-m", "venv", ".venv"]).current_dir(folder), INSTALL)?;
        let mut pip = Command::new(folder.join(".venv/bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]);
        match folder.join("requirements.txt").is_file() {
            true => pip.args(["-r", "requirements.txt"]),
            false => pip.arg(COMPONENTIZE_PY),
        };
        run_tool(pip.current_dir(folder), INSTALL)?;
    }
    let path = folder.join(DIST);
    let dist = folder.join("dist");
    fs::create_dir_all(&dist)
        .map_err(|error| Error::local(format!("cannot make {}", dist.display()), error))?;
    let mut build = Command::new(tool);
    build
        .args([
            "--wit-path",
            "wit",
            "--world",
            "plugin",
            "componentize",
            "--stub-wasi",
            "plugin",
            "--output",
        ])
        .arg(&path)
        .current_dir(folder);
    run_tool(&mut build, INSTALL)?;
    Ok(path)
}

/// Runs a tool whose output is for the human. `install` is what would bring it.
fn run_tool(command: &mut Command, install: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    // stdout is for the result.
    let stderr = std::io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| Error::local("cannot use stderr", error))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(stderr)
        .status()
        .map_err(|error| missing(&program, &error, install))?;
    if status.success() {
        return Ok(());
    }
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    Err(Error::input(format!(
        "{program} {} failed: {status}",
        args.join(" ")
    )))
}

fn missing(program: &str, error: &std::io::Error, install: &str) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => Error::input(format!("{program} is not installed: {install}")),
        _ => Error::input(format!("cannot run {program}: {error}")),
    }
}
