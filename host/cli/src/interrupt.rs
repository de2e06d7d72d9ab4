//! Ctrl-C while a build is followed: the first detaches, a second one soon after cancels; or the first cancels, if asked to.

use std::{future::Future, time::Duration};

use ignite_proto::v1;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::{
    error::{Error, Result},
    follow::Follow,
    output::{stderr, text::line},
};

/// How long after the first Ctrl-C a second one counts.
const SECOND_CHANCE: Duration = Duration::from_secs(2);

/// Runs `following` to its end unless Ctrl-C comes before.
pub(crate) async fn until_interrupted(
    follow: &Follow<'_>,
    cancel_at_once: bool,
    following: impl Future<Output = Result<v1::Build>>,
) -> Result<v1::Build> {
    let mut interrupts =
        signal(SignalKind::interrupt()).map_err(|error| Error::local("cannot listen for Ctrl-C", error))?;
    let mut following = std::pin::pin!(following);
    tokio::select! {
        result = &mut following => return result,
        _ = interrupts.recv() => {}
    }
    if !cancel_at_once {
        detach(
            follow,
            "Detached; the build goes on. Ctrl-C again now cancels it.",
        );
        // The log rests meanwhile: what is said must not scroll away.
        if timeout(SECOND_CHANCE, interrupts.recv()).await.is_err() {
            return Err(Error::Interrupted);
        }
    }
    let cancelling = async {
        follow.client.cancel(follow.build_id).await?;
        stderr("Cancellation requested; Ctrl-C again leaves.");
        following.await
    };
    tokio::select! {
        result = cancelling => result,
        _ = interrupts.recv() => {
            detach(follow, "Detached; the build is being cancelled.");
            Err(Error::Interrupted)
        }
    }
}

fn detach(follow: &Follow<'_>, how: &str) {
    let id = line(follow.build_id);
    let resume = follow.resume();
    stderr(&format!(
        "\n{how}\n  cancel: ignite build cancel {id}\n  follow: {resume}"
    ));
}
