//! `ignite plugin new`: a folder with a plugin that works, its contract and test cases.

use std::{collections::BTreeSet, fs, path::Path};

use ignite_core::hook::Hook;

use crate::{
    args::plugin::{Language, NewArgs, check_name},
    error::{Error, Result},
    output::{self, text::line},
    settings::Settings,
};

mod files;

use files::File;

pub(super) fn run(args: NewArgs, settings: &Settings) -> Result<()> {
    check_name(&args.name).map_err(Error::Input)?;
    let starts_with_letter = args.name.starts_with(|c: char| c.is_ascii_lowercase());
    if args.language == Language::Rust && !starts_with_letter {
        return Err(Error::input(
            "the name of a plugin in Rust must begin with a letter",
        ));
    }
    let hooks: BTreeSet<Hook> = args.hooks.into_iter().collect();
    let folder = args.dir.unwrap_or_else(|| args.name.clone().into());
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(|error| cannot_make(&folder, error))?;
    }
    // Not `create_dir_all`: what is there already is somebody's.
    fs::create_dir(&folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::input(format!(
            "{} exists already; name another with --dir",
            folder.display()
        )),
        _ => cannot_make(&folder, error),
    })?;
    let mut written = Vec::new();
    for File { path, text } in project(&args.name, args.language, &hooks) {
        let target = folder.join(&path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|error| cannot_make(&target, error))?;
        }
        fs::write(&target, text).map_err(|error| cannot_make(&target, error))?;
        written.push(path);
    }
    #[derive(serde::Serialize)]
    struct Made<'a> {
        folder: &'a Path,
        files: &'a [String],
    }
    let made = Made {
        folder: &folder,
        files: &written,
    };
    output::response(settings.output, &made, |_| {
        let name = folder.display().to_string();
        let name = line(&name);
        format!("Made {name}\n\n  cd {name}\n  ignite plugin build\n  ignite plugin test\n")
    })
}

fn cannot_make(path: &Path, error: std::io::Error) -> Error {
    Error::local(format!("cannot make {}", path.display()), error)
}

/// All files of a new project.
fn project(name: &str, language: Language, hooks: &BTreeSet<Hook>) -> Vec<File> {
    let notifies = hooks.contains(&Hook::Notify);
    let listed: Vec<&str> = hooks.iter().copied().map(Hook::as_str).collect();
    let (builds, component, needs, versioned) = match language {
        Language::Rust => (
            "cargo build --target wasm32-wasip2 --release",
            // Cargo names a library's file after its crate.
            format!("target/wasm32-wasip2/release/{}.wasm", name.replace('-', "_")),
            "Rust with `rustup target add wasm32-wasip2`",
            "`Cargo.toml`",
        ),
        Language::Javascript => (
            "npm install, then the componentize-js API",
            "dist/plugin.wasm".to_owned(),
            "Node 20 or later with npm",
            "`src/plugin.js`",
        ),
        Language::Python => (
            "componentize-py in a virtual environment of its own, `.venv`",
            "dist/plugin.wasm".to_owned(),
            "Python 3.10 or later with venv and pip",
            "`plugin.py`",
        ),
    };
    let fill = |text: &str| {
        kept(text, hooks)
            .replace("{{name}}", name)
            .replace("{{hooks}}", &listed.join(", "))
            .replace("{{builds}}", builds)
            .replace("{{component}}", &component)
            .replace("{{needs}}", needs)
            .replace("{{versioned}}", versioned)
            // Two interfaces named `types` are told apart by their packages.
            .replace(
                "{{types}}",
                if notifies { "ignite_plugin_types" } else { "types" },
            )
    };
    let sources = match language {
        Language::Rust => files::RUST,
        Language::Javascript => files::JAVASCRIPT,
        Language::Python => files::PYTHON,
    };
    let cases = files::CASES.iter().filter(|(hook, _)| hooks.contains(hook));
    let chosen = sources
        .iter()
        .filter(|(path, _)| notifies || !path.contains("http"))
        .chain(cases.map(|(_, file)| file))
        .map(|(path, text)| File::new(path, fill(text)));
    let contract = files::WIT
        .iter()
        .map(|(path, text)| File::new(path, (*text).to_owned()));
    let world = File::new("wit/plugin.wit", world(hooks));
    chosen.chain(contract).chain([world]).collect()
}

/// The text with those of its parts that are for one of the hooks: `//@ validate inspect` up to `//@ end`.
fn kept(text: &str, hooks: &BTreeSet<Hook>) -> String {
    let mut out = String::new();
    let mut keep = true;
    for line in text.lines() {
        match line.strip_prefix("//@ ") {
            Some("end") => keep = true,
            Some(names) => {
                keep = names
                    .split(' ')
                    .any(|name| hooks.iter().any(|hook| hook.as_str() == name));
            }
            None if keep => {
                out.push_str(line);
                out.push('\n');
            }
            None => {}
        }
    }
    out
}

/// The world that the plugin is: one for each of its hooks.
fn world(hooks: &BTreeSet<Hook>) -> String {
    let includes: String = hooks
        .iter()
        .map(|hook| {
            let world = match hook {
                Hook::Rewrite => "rewriter",
                Hook::Validate => "validator",
                Hook::Inspect => "inspector",
                Hook::Redact => "redactor",
                Hook::RedactScan => "scanner",
                Hook::Notify => "notifier",
            };
            format!("  include {world};\n")
        })
        .collect();
    format!("package ignite:plugin@0.1.0;\n\n/// What this plugin is.\nworld plugin {{\n{includes}}}\n")
}

#[cfg(test)]
mod tests;
