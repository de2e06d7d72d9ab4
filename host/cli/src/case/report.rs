//! What came of many cases, said as `cargo test` says it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Case, Outcome};
use crate::{
    error::{Error, Result},
    output::{
        self,
        table::Stream,
        text::{line, took},
    },
    settings::Settings,
};

#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Report {
    cases: Vec<Ran>,
}

#[derive(Debug, serde::Serialize)]
struct Ran {
    file: PathBuf,
    passed: bool,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<String>,
    /// `-` what was expected, `+` what came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
}

/// Files as they are, folders as their `*.toml` in order of their names. All must be usable before one is run.
pub(crate) fn load(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Case)>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(cases_in(path)?);
        } else {
            files.push(path.clone());
        }
    }
    let load = |path: PathBuf| Case::load(&path).map(|case| (path, case));
    files.into_iter().map(load).collect()
}

fn cases_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error| Error::input(format!("cannot read {}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            files.push(path);
        }
    }
    if files.is_empty() {
        let what = format!("{} has no cases (*.toml)", folder.display());
        return Err(Error::input(what));
    }
    files.sort();
    Ok(files)
}

// === impl Report ===

impl Report {
    pub(crate) fn add(&mut self, file: PathBuf, case: &Case, outcome: Outcome) {
        let differences = case.expect.differences(&outcome);
        self.cases.push(Ran {
            file,
            passed: differences.is_empty(),
            verdict: outcome.verdict,
            messages: outcome.messages,
            differences,
        });
    }

    /// Prints it all; an error if a case failed.
    pub(crate) fn finish(self, settings: &Settings, elapsed: Duration) -> Result<()> {
        output::response(settings.output, &self, |_| self.human(elapsed))?;
        match self.cases.iter().all(|case| case.passed) {
            true => Ok(()),
            false => Err(Error::NotPassed),
        }
    }

    fn human(&self, elapsed: Duration) -> String {
        let style = |text| Stream::Stdout.style(text);
        let plural = if self.cases.len() == 1 { "" } else { "s" };
        let mut text = format!("running {} case{plural}\n", self.cases.len());
        for case in &self.cases {
            let result = match case.passed {
                true => style("ok").green(),
                false => style("FAILED").red(),
            };
            text.push_str(&format!("case {} ... {result}\n", name(case)));
        }
        for case in self.cases.iter().filter(|case| !case.passed) {
            text.push_str(&format!("\n---- {} ----\n", name(case)));
            for difference in &case.differences {
                let difference = line(difference);
                let shown = match difference.chars().next() {
                    Some('-') => Stream::Stdout.style(difference).red(),
                    Some('+') => Stream::Stdout.style(difference).green(),
                    Some(_) | None => Stream::Stdout.style(difference),
                };
                text.push_str(&format!("{shown}\n"));
            }
        }
        let passed = self.cases.iter().filter(|case| case.passed).count();
        let failed = self.cases.len() - passed;
        let word = match failed {
            0 => style("ok").green(),
            _ => style("FAILED").red(),
        };
        let time = took(elapsed);
        text.push_str(&format!(
            "\ntest result: {word}. {passed} passed; {failed} failed; finished in {time}\n"
        ));
        text
    }
}

fn name(case: &Ran) -> String {
    line(&case.file.display().to_string()).into_owned()
}
