//! Builds as humans read them: the list, the record, the result.

use ignite_proto::v1::{self, BuildStatus, FailureReason};

use super::{
    Detail,
    table::{Stream, columns, record},
    text::{age, between, bytes, line, lines, timestamp, took},
};

/// One row a build. `now_ms` is in ms since the epoch.
pub(crate) fn list(builds: &[v1::Build], detail: Detail, now_ms: i64) -> String {
    if builds.is_empty() {
        return "No builds.\n".to_owned();
    }
    match detail {
        Detail::Table => columns(
            ["ID", "NAME", "STATUS", "AGE", "DURATION", "IMAGE"],
            &builds.iter().map(|build| row(build, now_ms)).collect::<Vec<_>>(),
        ),
        Detail::Wide => {
            let header = [
                "ID", "NAME", "STATUS", "AGE", "DURATION", "IMAGE", "REASON", "DIGEST", "SIZE", "LAYERS",
                "COMMIT", "PLATFORM", "LABELS",
            ];
            let rows: Vec<_> = builds.iter().map(|build| wide_row(build, now_ms)).collect();
            columns(header, &rows)
        }
    }
}

fn row(build: &v1::Build, now_ms: i64) -> [String; 6] {
    [
        cell(&build.id),
        cell(&build.name),
        status(build.status, Stream::Stdout),
        between(build.created_at_ms, now_ms).map_or_else(dash, age),
        duration(build, now_ms).unwrap_or_else(dash),
        match build.image_refs.as_slice() {
            [] => dash(),
            [only] => cell(only),
            [first, rest @ ..] => format!("{} (+{})", line(first), rest.len()),
        },
    ]
}

fn wide_row(build: &v1::Build, now_ms: i64) -> [String; 13] {
    let [id, name, status, age, duration, image] = row(build, now_ms);
    let metrics = build.metrics.unwrap_or_default();
    [
        id,
        name,
        status,
        age,
        duration,
        image,
        reason(build).unwrap_or_else(dash),
        cell(&build.image_digest),
        size(metrics.image_size_bytes).unwrap_or_else(dash),
        if metrics.layer_count == 0 {
            dash()
        } else {
            metrics.layer_count.to_string()
        },
        cell(build.resolved_commit.get(..12).unwrap_or(&build.resolved_commit)),
        cell(&build.platform),
        cell(&pairs(&build.labels).join(",")),
    ]
}

/// Everything about one build that is worth reading, its steps as a table.
pub(crate) fn detail(build: &v1::Build, detail: Detail, now_ms: i64) -> String {
    let metrics = build.metrics.unwrap_or_default();
    let time = |at_ms| timestamp(at_ms).unwrap_or_default();
    let mut fields = vec![
        ("Build", line(&build.id).into_owned()),
        ("Name", line(&build.name).into_owned()),
        ("Status", status(build.status, Stream::Stdout)),
        ("Reason", reason(build).unwrap_or_default()),
        ("Error", lines(&build.error).into_owned()),
        ("Held", line(&build.hold_reason).into_owned()),
        ("Approved by", line(&build.approved_by).into_owned()),
        ("Queue position", nonzero(u64::from(build.queue_position))),
        ("Images", safe_lines(&build.image_refs)),
        ("Digest", line(&build.image_digest).into_owned()),
        ("Size", size(metrics.image_size_bytes).unwrap_or_default()),
        ("Layers", nonzero(u64::from(metrics.layer_count))),
        ("Organization", line(&build.organization_id).into_owned()),
        ("Dockerfile", line(&build.dockerfile).into_owned()),
        ("Tags", line(&build.tags.join(", ")).into_owned()),
        ("Platform", line(&build.platform).into_owned()),
        ("Commit", line(&build.resolved_commit).into_owned()),
        ("Build args", safe_lines(&pairs(&build.build_args))),
        ("Labels", safe_lines(&pairs(&build.labels))),
        ("Created", time(build.created_at_ms)),
        ("Started", time(build.started_at_ms)),
        ("Completed", time(build.completed_at_ms)),
        ("Duration", duration(build, now_ms).unwrap_or_default()),
    ];
    if detail == Detail::Wide || build.attempts > 1 {
        fields.push(("Attempts", nonzero(u64::from(build.attempts))));
    }
    if detail == Detail::Wide {
        fields.push(("Context", size(metrics.context_size_bytes).unwrap_or_default()));
        fields.push(("Log", bytes(build.log_bytes)));
        fields.push((
            "Cache used",
            if metrics.cache_used { "yes" } else { "no" }.to_owned(),
        ));
    }
    let mut text = record(&fields);
    if !build.steps.is_empty() {
        text.push('\n');
        text.push_str(&steps(&build.steps, now_ms));
    }
    if !build.hook_reports.is_empty() {
        text.push('\n');
        text.push_str(&hooks(&build.hook_reports));
    }
    text
}

fn steps(steps: &[v1::BuildStep], now_ms: i64) -> String {
    let rows: Vec<_> = steps
        .iter()
        .zip(1_u32..)
        .map(|(step, number)| {
            let until_ms = if step.completed_at_ms > 0 {
                step.completed_at_ms
            } else {
                now_ms
            };
            let mut took = between(step.started_at_ms, until_ms).map_or_else(dash, took);
            if step.started_at_ms > 0 && step.completed_at_ms == 0 {
                took.push('…');
            }
            let cached = if step.cached { "cached" } else { "" };
            [number.to_string(), took, cached.to_owned(), cell(&step.name)]
        })
        .collect();
    columns(["#", "DURATION", "CACHE", "STEP"], &rows)
}

/// What each call of a plugin came to.
pub(crate) fn hooks(reports: &[v1::HookReport]) -> String {
    let rows: Vec<_> = reports
        .iter()
        .map(|report| {
            let monitored = match report.mode.as_str() {
                "monitor" => " (monitored)",
                _ => "",
            };
            let said = report.changes.iter().chain(&report.messages);
            let said: Vec<&str> = said.map(String::as_str).collect();
            [
                cell(&report.hook),
                cell(&report.plugin),
                format!("{}{monitored}", cell(&report.verdict)),
                cell(&said.join("; ")),
            ]
        })
        .collect();
    columns(["HOOK", "PLUGIN", "VERDICT", "SAID"], &rows)
}

/// A build that was just accepted, approved or asked to be cancelled.
pub(crate) fn acknowledged(build_id: &str, build_status: i32) -> String {
    let row = [cell(build_id), status(build_status, Stream::Stdout)];
    columns(["ID", "STATUS"], &[row])
}

/// What came of a build that was followed: for stderr, behind its log.
pub(crate) fn result(build: &v1::Build) -> String {
    let mut head = format!("{} {}", status(build.status, Stream::Stderr), line(&build.id));
    if let Some(took) = duration(build, 0) {
        head.push_str(&format!(" in {took}"));
    }
    let metrics = build.metrics.unwrap_or_default();
    let layers = match metrics.layer_count {
        0 => String::new(),
        1 => ", 1 layer".to_owned(),
        count => format!(", {count} layers"),
    };
    let fields = [
        ("  reason", reason(build).unwrap_or_default()),
        ("  error", lines(&build.error).into_owned()),
        ("  image", safe_lines(&pinned(build))),
        (
            "  size",
            size(metrics.image_size_bytes).map_or_else(String::new, |size| format!("{size}{layers}")),
        ),
    ];
    format!("{head}\n{}", record(&fields))
}

/// One line for one change of a build.
pub(crate) fn change(build: &v1::Build, now_ms: i64) -> String {
    let done = build.steps.iter().filter(|step| step.completed_at_ms > 0).count();
    let mut text = format!(
        "{}  {}",
        timestamp(now_ms).unwrap_or_default(),
        status(build.status, Stream::Stdout)
    );
    if build.queue_position > 0 {
        text.push_str(&format!("  queue position {}", build.queue_position));
    }
    if !build.hold_reason.is_empty() {
        text.push_str(&format!("  held: {}", line(&build.hold_reason)));
    }
    if let Some(step) = build.steps.last() {
        text.push_str(&format!(
            "  {done}/{} steps done  {}",
            build.steps.len(),
            line(&step.name)
        ));
    }
    text
}

/// `name:tag@sha256:…`: what cannot change any more.
fn pinned(build: &v1::Build) -> Vec<String> {
    let digest = match build.image_digest.as_str() {
        "" => String::new(),
        digest => format!("@{digest}"),
    };
    build
        .image_refs
        .iter()
        .map(|image| format!("{image}{digest}"))
        .collect()
}

/// In lower case and colour.
fn status(status: i32, stream: Stream) -> String {
    let Ok(known) = BuildStatus::try_from(status) else {
        return format!("unknown ({status})");
    };
    let name = known
        .as_str_name()
        .trim_start_matches("BUILD_STATUS_")
        .to_lowercase();
    let name = stream.style(name);
    match known {
        BuildStatus::Succeeded => name.green(),
        BuildStatus::Failed => name.red(),
        BuildStatus::Cancelled => name.yellow(),
        BuildStatus::Running => name.cyan(),
        BuildStatus::Pending | BuildStatus::Unspecified => name,
    }
    .to_string()
}

fn reason(build: &v1::Build) -> Option<String> {
    match FailureReason::try_from(build.failure_reason) {
        Ok(FailureReason::Unspecified) => None,
        Ok(known) => Some(
            known
                .as_str_name()
                .trim_start_matches("FAILURE_REASON_")
                .to_owned(),
        ),
        Err(_) => Some(format!("unknown ({})", build.failure_reason)),
    }
}

/// How long it took, or has been running at `now_ms`.
fn duration(build: &v1::Build, now_ms: i64) -> Option<String> {
    let metrics = build.metrics.unwrap_or_default();
    if let Ok(ms @ 1..) = u64::try_from(metrics.duration_ms) {
        return Some(took(std::time::Duration::from_millis(ms)));
    }
    let end_ms = if build.completed_at_ms > 0 {
        build.completed_at_ms
    } else {
        now_ms
    };
    between(build.started_at_ms, end_ms).map(took)
}

fn size(count: i64) -> Option<String> {
    u64::try_from(count).ok().filter(|count| *count > 0).map(bytes)
}

fn nonzero(count: u64) -> String {
    if count == 0 {
        String::new()
    } else {
        count.to_string()
    }
}

fn pairs(map: &std::collections::BTreeMap<String, String>) -> Vec<String> {
    map.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// Each on a line of its own, whatever it contains.
fn safe_lines(texts: &[String]) -> String {
    texts.iter().map(|text| line(text)).collect::<Vec<_>>().join("\n")
}

fn cell(text: &str) -> String {
    if text.is_empty() {
        dash()
    } else {
        line(text).into_owned()
    }
}

fn dash() -> String {
    "-".to_owned()
}
