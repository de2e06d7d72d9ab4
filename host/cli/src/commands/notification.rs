//! `ignite notification …`.

use ignite_proto::v1::{self, NotificationState};

use super::{pages, plugin::client, say_there_are_more};
use crate::{
    args::{
        CallTimeout,
        notification::{NotificationCommand, ReplayArgs},
        plugin::PageArgs,
    },
    client::Client,
    error::{Error, Result},
    output::{self, notification as shown},
    settings::Settings,
};

pub(crate) async fn run(command: NotificationCommand, settings: &Settings) -> Result<()> {
    match command {
        NotificationCommand::List(args) => list(settings, args).await,
        NotificationCommand::Replay(args) => replay(settings, args).await,
    }
}

async fn list(settings: &Settings, args: PageArgs) -> Result<()> {
    let client = client(settings).await?;
    let mut response = v1::ListNotificationsResponse::default();
    let next = pages(args, async |limit, cursor| {
        let page = client
            .list_notifications(v1::ListNotificationsRequest { limit, cursor })
            .await?;
        response.notifications.extend(page.notifications);
        Ok(page.next_cursor)
    })
    .await?;
    response.next_cursor = next;
    output::response(settings.output, &response, |_| {
        shown::list(&response.notifications)
    })?;
    say_there_are_more(settings, &response.next_cursor);
    Ok(())
}

async fn replay(settings: &Settings, args: ReplayArgs) -> Result<()> {
    let client = client(settings).await?;
    let ids = match args.dead {
        true => dead(&client, args.timeout).await?,
        false => args.ids,
    };
    let mut replayed = v1::ListNotificationsResponse::default();
    for id in ids {
        match client.replay_notification(&id).await {
            Ok(response) => replayed.notifications.extend(response.notification),
            // Delivered or expired since it was listed.
            Err(Error::Rpc(status)) if args.dead && status.code() == tonic::Code::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    output::response(settings.output, &replayed, |_| {
        shown::list(&replayed.notifications)
    })
}

/// The ids of all that were given up.
async fn dead(client: &Client, timeout: CallTimeout) -> Result<Vec<String>> {
    let all = PageArgs {
        limit: None,
        cursor: None,
        all: true,
        timeout,
    };
    let mut ids = Vec::new();
    pages(all, async |limit, cursor| {
        let page = client
            .list_notifications(v1::ListNotificationsRequest { limit, cursor })
            .await?;
        let dead = page
            .notifications
            .into_iter()
            .filter(|notification| notification.state() == NotificationState::Dead);
        ids.extend(dead.map(|notification| notification.id));
        Ok(page.next_cursor)
    })
    .await?;
    Ok(ids)
}
