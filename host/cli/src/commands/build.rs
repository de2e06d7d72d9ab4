//! `ignite build …`, but for what creates builds.

use ignite_proto::v1;

use super::{create, secrets};
use crate::{
    args::build::{BuildCommand, FollowArgs, ListArgs, LogsArgs},
    client::Client,
    error::{Error, Result},
    follow::{Follow, From, Sink, verdict},
    interrupt::until_interrupted,
    output::{self, build as shown, text::now_ms},
    settings::Settings,
};

/// The server's largest page.
const PAGE: i32 = 100;

pub(crate) async fn run(command: BuildCommand, settings: &Settings) -> Result<()> {
    let client = Client::new(settings)?;
    if let Some(org) = &settings.org {
        client.check_org(org).await?;
    }
    match command {
        BuildCommand::Create(args) => create::create(&client, settings, *args).await,
        BuildCommand::Upload(args) => create::upload(&client, settings, args).await,
        BuildCommand::Retry(args) => create::retry(&client, settings, args).await,
        BuildCommand::List(args) => list(&client, settings, args).await,
        BuildCommand::Logs(args) => logs(&client, settings, &args).await,
        BuildCommand::Get { build_id, .. } => {
            let response = client.get(&build_id).await?;
            print_build(settings, &response)
        }
        BuildCommand::Cancel { build_id, .. } => {
            let response = client.cancel(&build_id).await?;
            output::response(settings.output, &response, |_| {
                shown::acknowledged(&build_id, response.status)
            })
        }
        BuildCommand::Approve { build_id, reason, .. } => {
            let request = v1::ApproveBuildRequest {
                build_id: build_id.clone(),
                reason,
            };
            let response = client.approve(request).await?;
            output::response(settings.output, &response, |_| {
                shown::acknowledged(&build_id, response.status)
            })
        }
        BuildCommand::Secrets(command) => secrets::run(&client, settings, command).await,
        BuildCommand::Watch { build_id, .. } => {
            let follow = following(&client, settings, &build_id, Sink::Stdout, From::Now);
            let changed =
                |build: &v1::Build| output::item(settings.output, build, |_| shown::change(build, now_ms()));
            verdict(&follow.changes(changed).await?)
        }
    }
}

fn print_build(settings: &Settings, response: &v1::GetBuildResponse) -> Result<()> {
    let build = response
        .build
        .as_ref()
        .ok_or(Error::Nonsense("a build without a record"))?;
    output::response(settings.output, response, |detail| {
        shown::detail(build, detail, now_ms())
    })
}

async fn list(client: &Client, settings: &Settings, args: ListArgs) -> Result<()> {
    let status = args
        .status
        .map_or(v1::BuildStatus::Unspecified, v1::BuildStatus::from);
    let mut request = v1::ListBuildsRequest {
        limit: if args.all { PAGE } else { args.limit.unwrap_or(0) },
        status_filter: status.into(),
        cursor: args.cursor.unwrap_or_default(),
        name_filter: args.name.unwrap_or_default(),
        label_filter: args.labels.into_iter().collect(),
    };
    let mut response = client.list(request.clone()).await?;
    while args.all && !response.next_cursor.is_empty() {
        if request.cursor == response.next_cursor {
            return Err(Error::Nonsense("a next page that is the same page"));
        }
        request.cursor = std::mem::take(&mut response.next_cursor);
        let page = client.list(request.clone()).await?;
        response.builds.extend(page.builds);
        response.next_cursor = page.next_cursor;
    }
    output::response(settings.output, &response, |detail| {
        shown::list(&response.builds, detail, now_ms())
    })?;
    if !settings.output.is_for_programs() && !response.next_cursor.is_empty() {
        let cursor = output::text::line(&response.next_cursor);
        output::stderr(&format!("There are more: --cursor {cursor}, or --all"));
    }
    Ok(())
}

async fn logs(client: &Client, settings: &Settings, args: &LogsArgs) -> Result<()> {
    let from = if args.tail_from_now {
        From::Now
    } else {
        From::Offset(args.offset.unwrap_or(0))
    };
    let sink = if settings.output.is_for_programs() {
        Sink::Chunks(settings.output)
    } else {
        Sink::Stdout
    };
    let follow = following(client, settings, &args.build_id, sink, from);
    if !args.follow.follow {
        return follow.log_so_far().await;
    }
    let build = until_interrupted(&follow, args.follow.cancel_on_interrupt, follow.log()).await?;
    if !settings.output.is_for_programs() {
        output::stderr(&shown::result(&build));
    }
    verdict(&build)
}

/// Follows a build that was just created, then says what came of it.
pub(crate) async fn follow_to_result(
    client: &Client,
    settings: &Settings,
    build_id: &str,
    args: FollowArgs,
) -> Result<()> {
    let programs = settings.output.is_for_programs();
    let sink = if programs { Sink::Stderr } else { Sink::Stdout };
    if !programs {
        output::stderr(&format!("Build {}", output::text::line(build_id)));
    }
    let follow = following(client, settings, build_id, sink, From::Offset(0));
    let build = until_interrupted(&follow, args.cancel_on_interrupt, follow.log()).await?;
    let end = verdict(&build);
    if programs {
        print_build(settings, &v1::GetBuildResponse { build: Some(build) })?;
    } else {
        output::stderr(&shown::result(&build));
    }
    end
}

fn following<'a>(
    client: &'a Client,
    settings: &Settings,
    build_id: &'a str,
    sink: Sink,
    from: From,
) -> Follow<'a> {
    Follow::new(client, build_id, sink, settings.output.is_for_programs(), from)
}
