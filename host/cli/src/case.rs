//! A test case of a plugin or a policy: what it is shown and what it should say, as a TOML file.
//!
//! What is in the file goes through the gateway's own checks, so that a plugin sees what it would see there. A file that
//! cannot be used is an input error that names the line.

use std::path::Path;

use ignite_core::{
    build::Build,
    dockerfile,
    hook::{Caller, Found, Hook},
    policy::{CallLimits, Settings},
    request::{Rules, check},
    spec::BuildSpec,
};
use ignite_proto::v1;
use toml::Spanned;

use crate::error::{Error, Result};

pub(crate) mod expect;
pub(crate) mod report;
pub(crate) mod run;
mod shape;

pub(crate) use expect::{Expect, Outcome};
pub(crate) use shape::json;

/// When a build is submitted if its case does not say: always the same, so that a case decides alike every day.
const SUBMITTED_AT: &str = "2026-01-05T12:00:00Z";

/// A case, checked.
#[derive(Debug)]
pub(crate) struct Case {
    /// Which of the plugin's hooks; none in a case for a whole policy.
    pub(crate) hook: Option<Hook>,
    /// With the configuration and the hosts.
    pub(crate) settings: Settings,
    pub(crate) caller: Caller,
    /// As it is written, for a server.
    pub(crate) request: v1::CreateBuildRequest,
    pub(crate) spec: BuildSpec,
    pub(crate) found: Option<Found>,
    pub(crate) build: Build,
    pub(crate) expect: Expect,
}

/// The file as it is written.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    hook: Option<Spanned<String>>,
    #[serde(default)]
    hosts: Vec<String>,
    config: Option<Spanned<toml::Table>>,
    caller: Option<Spanned<CallerTable>>,
    request: Option<Spanned<toml::Table>>,
    found: Option<Spanned<FoundTable>>,
    build: Option<Spanned<toml::Table>>,
    expect: Spanned<Expect>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CallerTable {
    organization: Option<String>,
    subject: Option<String>,
    submitted_at: Option<toml::Value>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FoundTable {
    dockerfile: String,
    resolved_commit: Option<String>,
    #[serde(default)]
    context_size_bytes: u64,
}

/// Says where in a file something is wrong.
struct Source<'a> {
    name: String,
    text: &'a str,
}

// === impl Case ===

impl Case {
    /// What the gateway allows, as the case assumes it.
    pub(crate) fn rules(&self) -> Rules {
        shape::rules()
    }

    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::input(format!("cannot read {}: {error}", path.display())))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// `name` is how errors call the file.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self> {
        let source = Source {
            name: name.to_owned(),
            text,
        };
        let document: Document =
            toml::from_str(text).map_err(|error| source.wrong(error.span(), error.message()))?;
        let hook = match &document.hook {
            None => None,
            Some(hook) => Some(hook.get_ref().parse::<Hook>().map_err(|invalid| {
                source.wrong(Some(hook.span()), &format!("hook: must be {}", invalid.form))
            })?),
        };
        let caller = caller(document.caller, &source)?;
        let mut build: v1::Build = shape::message(document.build.as_ref(), "build", &source)?;
        let mut request: v1::CreateBuildRequest =
            shape::message(document.request.as_ref(), "request", &source)?;
        // What a hook is not about need not be written.
        if request.name.is_empty() {
            request.name = match build.name.as_str() {
                "" => "app".to_owned(),
                name => name.to_owned(),
            };
        }
        if build.name.is_empty() {
            build.name.clone_from(&request.name);
        }
        if request.source.is_none() {
            request.source = Some(shape::assumed_source());
        }
        let at = document.request.as_ref().map(Spanned::span);
        let spec = check(shape::submission(request.clone()), &shape::rules()).map_err(|violations| {
            let all: Vec<_> = violations
                .iter()
                .map(|it| format!("request.{}: {}", it.field, it.description))
                .collect();
            source.wrong(at.clone(), &all.join("; "))
        })?;
        let at = document.build.as_ref().map(Spanned::span);
        let build = shape::build(build, &caller, &spec).map_err(|what| source.wrong(at, &what))?;
        let found = match document.found {
            None => None,
            Some(found) => Some(read_found(found, &spec, &source)?),
        };
        let expect_at = document.expect.span();
        let expect = document.expect.into_inner();
        expect
            .check(hook)
            .map_err(|what| source.wrong(Some(expect_at), &what))?;
        if hook == Some(Hook::Inspect) && found.is_none() {
            return Err(source.wrong(None, "found.dockerfile is needed: what inspect looks at"));
        }
        let config = document.config.map(Spanned::into_inner).unwrap_or_default();
        let settings = Settings {
            mode: Default::default(),
            on_failure: Default::default(),
            config: json(&toml::Value::Table(config)).to_string(),
            limits: CallLimits::default(),
            hosts: document.hosts,
        };
        Ok(Self {
            hook,
            settings,
            caller,
            request,
            spec,
            found,
            build,
            expect,
        })
    }
}

fn caller(table: Option<Spanned<CallerTable>>, source: &Source<'_>) -> Result<Caller> {
    let at = table.as_ref().map(Spanned::span);
    let table = table.map(Spanned::into_inner).unwrap_or_default();
    let org = table.organization.unwrap_or_else(|| "acme".to_owned());
    let org = org.parse().map_err(|invalid: ignite_core::ids::InvalidId| {
        let what = format!("caller.organization: must look like {}", invalid.form);
        source.wrong(at.clone(), &what)
    })?;
    let submitted_at = match &table.submitted_at {
        None => SUBMITTED_AT.to_owned(),
        Some(toml::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let time = humantime::parse_rfc3339(&submitted_at).map_err(|_| {
        let what = "caller.submitted_at: must be a time in UTC as RFC 3339, such as 2026-01-05T12:00:00Z";
        source.wrong(at, what)
    })?;
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(Caller {
        org,
        subject: table.subject.unwrap_or_else(|| "ann".to_owned()),
        submitted_at_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
    })
}

fn read_found(table: Spanned<FoundTable>, spec: &BuildSpec, source: &Source<'_>) -> Result<Found> {
    let at = table.span();
    let table = table.into_inner();
    let dockerfile = dockerfile::parse(&table.dockerfile, spec.build_args())
        .map_err(|error| source.wrong(Some(at), &format!("found.dockerfile: {error}")))?;
    Ok(Found {
        dockerfile,
        resolved_commit: table.resolved_commit,
        context_size_bytes: table.context_size_bytes,
    })
}

// === impl Source ===

impl Source<'_> {
    /// `file:line: what`.
    fn wrong(&self, at: Option<std::ops::Range<usize>>, what: &str) -> Error {
        let before = at.and_then(|span| self.text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        Error::input(format!("{}:{line}: {what}", self.name))
    }
}

#[cfg(test)]
mod tests;
