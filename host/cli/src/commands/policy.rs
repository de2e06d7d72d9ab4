//! `ignite policy …`.

use std::{io::Read as _, path::Path};

use ignite_core::policy::{DOCUMENT_BYTES_MAX, schema};
use ignite_proto::v1;

use super::{pages, plugin::client, say_there_are_more};
use crate::{
    args::{
        plugin::PageArgs,
        policy::{DryRunArgs, PolicyCommand, PutArgs},
    },
    case::json,
    error::{Error, Result},
    output::{self, Format, policy as shown},
    settings::Settings,
};

mod test;

/// Of a request file: a whole archive may stand in it.
const REQUEST_BYTES_MAX: usize = 8 << 20;
const LOG_SAMPLE_BYTES_MAX: usize = 64 * 1024;
const DOCKERFILE_BYTES_MAX: usize = 1 << 20;

pub(crate) async fn run(command: PolicyCommand, settings: &Settings) -> Result<()> {
    match command {
        PolicyCommand::Get { revision, .. } => get(settings, revision.unwrap_or(0)).await,
        PolicyCommand::Put(args) => put(settings, args).await,
        PolicyCommand::Revisions(args) => revisions(settings, args).await,
        PolicyCommand::Test(args) => test::run(args, settings).await,
        PolicyCommand::DryRun(args) => dry_run(settings, args).await,
        PolicyCommand::Schema => output::stdout(&output::json(&schema(), true)?),
    }
}

async fn get(settings: &Settings, revision: u64) -> Result<()> {
    let response = client(settings).await?.get_policy(revision).await?;
    let policy = response
        .policy
        .as_ref()
        .ok_or(Error::Nonsense("a policy without a record"))?;
    if settings.output == Format::Table {
        output::stderr(&shown::facts(policy));
        return output::stdout(&output::text::lines(&policy.text));
    }
    output::response(settings.output, &response, |_| shown::whole(policy))
}

async fn put(settings: &Settings, args: PutArgs) -> Result<()> {
    let text = text(&args.file, DOCUMENT_BYTES_MAX)?;
    let client = client(settings).await?;
    let etag = match args.etag {
        Some(etag) => etag,
        None if args.force => String::new(),
        None => client.policy().await?.etag,
    };
    let request = v1::PutPolicyRequest {
        text,
        etag,
        validate_only: args.validate_only,
    };
    let response = client.put_policy(request).await?;
    let policy = response
        .policy
        .as_ref()
        .ok_or(Error::Nonsense("a policy without a record"))?;
    output::response(settings.output, &response, |_| shown::facts(policy))?;
    if args.validate_only && !settings.output.is_for_programs() {
        output::stderr("The policy is good; it was not put in force.");
    }
    Ok(())
}

async fn revisions(settings: &Settings, args: PageArgs) -> Result<()> {
    let client = client(settings).await?;
    let mut response = v1::ListPolicyRevisionsResponse::default();
    let next = pages(args, async |limit, cursor| {
        let page = client
            .list_policy_revisions(v1::ListPolicyRevisionsRequest { limit, cursor })
            .await?;
        response.revisions.extend(page.revisions);
        Ok(page.next_cursor)
    })
    .await?;
    response.next_cursor = next;
    output::response(settings.output, &response, |detail| {
        shown::revisions(&response.revisions, detail)
    })?;
    say_there_are_more(settings, &response.next_cursor);
    Ok(())
}

async fn dry_run(settings: &Settings, args: DryRunArgs) -> Result<()> {
    let optional = |path: Option<&Path>, bytes_max| {
        path.map(|path| text(path, bytes_max))
            .transpose()
            .map(Option::unwrap_or_default)
    };
    let request = v1::DryRunPolicyRequest {
        request: Some(build_request(&args.request)?),
        policy_text: optional(args.policy.as_deref(), DOCUMENT_BYTES_MAX)?,
        dockerfile_text: optional(args.dockerfile.as_deref(), DOCKERFILE_BYTES_MAX)?,
        log_sample: optional(args.log_sample.as_deref(), LOG_SAMPLE_BYTES_MAX)?,
    };
    let response = client(settings).await?.dry_run_policy(request).await?;
    output::response(settings.output, &response, |_| shown::dry_run(&response))?;
    match response.decision() {
        v1::PolicyDecision::Deny => Err(Error::NotPassed),
        v1::PolicyDecision::Allow | v1::PolicyDecision::Hold | v1::PolicyDecision::Unspecified => Ok(()),
    }
}

/// A request as JSON, or as TOML where the file's name says so.
fn build_request(path: &Path) -> Result<v1::CreateBuildRequest> {
    let text = text(path, REQUEST_BYTES_MAX)?;
    let wrong = |what: String| Error::input(format!("{}: {what}", path.display()));
    let decoded = if path.extension().is_some_and(|ending| ending == "toml") {
        let table: toml::Table = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        ignite_proto::json::from_value(json(&toml::Value::Table(table)))
    } else {
        ignite_proto::json::from_slice(text.as_bytes())
    };
    decoded.map_err(|error| {
        let all = error.violations.iter();
        let all: Vec<_> = all
            .map(|it| format!("{}: {}", it.field, it.description))
            .collect();
        wrong(all.join("; "))
    })
}

/// A file of at most `bytes_max` bytes; `-` is stdin.
fn text(path: &Path, bytes_max: usize) -> Result<String> {
    let unreadable = |error| Error::input(format!("cannot read {}: {error}", path.display()));
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text))
    }
    .map_err(unreadable)?;
    if text.len() > bytes_max {
        let path = path.display();
        return Err(Error::input(format!("{path}: must be at most {bytes_max} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use ignite_core::policy::Policy;

    #[test]
    fn the_sample_policies_are_policies() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let policy = Policy::parse(&std::fs::read_to_string(&path).unwrap());
            assert!(
                policy.is_ok_and(|it| !it.entries.is_empty()),
                "{}",
                path.display()
            );
            names.push(path);
        }
        assert!(names.len() >= 3, "{names:?}");
    }
}
