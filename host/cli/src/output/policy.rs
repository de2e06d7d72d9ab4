//! Policies, their revisions and dry runs as humans read them.

use ignite_proto::v1::{self, PolicyDecision};

use super::{
    Detail, build,
    table::{Stream, columns, record},
    text::{line, lines, timestamp},
};

/// What is known of a policy, without its text.
pub(crate) fn facts(policy: &v1::Policy) -> String {
    if policy.revision == 0 && policy.text.is_empty() {
        return "No policy is in force: no plugin acts.\n".to_owned();
    }
    let mut text = record(&[
        ("Revision", policy.revision.to_string()),
        ("Etag", line(&policy.etag).into_owned()),
        ("Updated", timestamp(policy.updated_at_ms).unwrap_or_default()),
        ("Updated by", line(&policy.updated_by).into_owned()),
        (
            "From",
            if policy.from_file {
                "the operator's policy directory".to_owned()
            } else {
                String::new()
            },
        ),
    ]);
    if !policy.plugins.is_empty() {
        let rows: Vec<_> = policy
            .plugins
            .iter()
            .map(|plugin| {
                [
                    cell(&plugin.name),
                    cell(&plugin.version),
                    cell(&plugin.hooks.join(",")),
                    cell(&plugin.mode),
                    cell(&plugin.digest),
                ]
            })
            .collect();
        text.push('\n');
        text.push_str(&columns(["PLUGIN", "VERSION", "HOOKS", "MODE", "DIGEST"], &rows));
    }
    text
}

/// The facts, then the document.
pub(crate) fn whole(policy: &v1::Policy) -> String {
    format!("{}\n{}", facts(policy), lines(&policy.text))
}

/// One row a revision.
pub(crate) fn revisions(policies: &[v1::Policy], detail: Detail) -> String {
    if policies.is_empty() {
        return "No policy was ever put.\n".to_owned();
    }
    let rows = |etag: bool| {
        policies.iter().map(move |policy| {
            let plugins = policy
                .plugins
                .iter()
                .map(|it| format!("{}@{}", it.name, it.version));
            [
                policy.revision.to_string(),
                timestamp(policy.updated_at_ms).unwrap_or_else(|| "-".to_owned()),
                cell(&policy.updated_by),
                if etag { cell(&policy.etag) } else { String::new() },
                cell(&plugins.collect::<Vec<_>>().join(",")),
            ]
        })
    };
    match detail {
        Detail::Wide => columns(
            ["REVISION", "UPDATED", "BY", "ETAG", "PLUGINS"],
            &rows(true).collect::<Vec<_>>(),
        ),
        Detail::Table => columns(
            ["REVISION", "UPDATED", "BY", "PLUGINS"],
            &rows(false)
                .map(|[revision, updated, by, _, plugins]| [revision, updated, by, plugins])
                .collect::<Vec<_>>(),
        ),
    }
}

/// What a policy would do to a build.
pub(crate) fn dry_run(response: &v1::DryRunPolicyResponse) -> String {
    let mut text = record(&[
        ("Decision", decision(response.decision())),
        ("Policy revision", response.policy_revision.to_string()),
        ("Reasons", safe(&response.reasons)),
        ("Changes", safe(&response.changes)),
    ]);
    if !response.hook_reports.is_empty() {
        text.push('\n');
        text.push_str(&build::hooks(&response.hook_reports));
    }
    if !response.redacted_log_sample.is_empty() {
        text.push_str("\nThe log would show:\n");
        text.push_str(&lines(&response.redacted_log_sample));
        text.push('\n');
    }
    text
}

fn decision(decision: PolicyDecision) -> String {
    let styled = |text| Stream::Stdout.style(text);
    match decision {
        PolicyDecision::Allow => styled("allow").green(),
        PolicyDecision::Deny => styled("deny").red(),
        PolicyDecision::Hold => styled("hold").yellow(),
        PolicyDecision::Unspecified => styled("unknown"),
    }
    .to_string()
}

fn safe(texts: &[String]) -> String {
    texts.iter().map(|text| line(text)).collect::<Vec<_>>().join("\n")
}

fn cell(text: &str) -> String {
    match text {
        "" => "-".to_owned(),
        text => line(text).into_owned(),
    }
}
