//! Follows a build to its end, over broken connections and server restarts: what was received is never printed twice, and
//! what was not is asked for again.

use std::{
    cell::Cell,
    io::{self, Write},
    time::{Duration, Instant},
};

use bytes::Bytes;
use ignite_proto::v1::{self, BuildStatus};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tonic::{Code, Status};

use crate::{
    client::Client,
    error::{Error, Result},
    output::{self, Format},
    patience::{Patience, is_transient, retry_after},
};

/// A log that is not followed is read to the length its record tells; what comes within this time after it counts too.
const SETTLE: Duration = Duration::from_millis(250);

/// Where a log is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// This byte.
    Offset(u64),
    /// Whatever comes next.
    Now,
}

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sink {
    /// The raw bytes, as the build wrote them.
    Stdout,
    /// The same; stdout is for the result.
    Stderr,
    /// One message a chunk.
    Chunks(Format),
}

/// One build being followed.
#[derive(Debug)]
pub(crate) struct Follow<'a> {
    pub(crate) client: &'a Client,
    pub(crate) build_id: &'a str,
    pub(crate) sink: Sink,
    /// Says nothing of lost connections: a program reads.
    pub(crate) quiet: bool,
    /// The next byte, once it is known; others may look while the log is followed.
    pub(crate) position: Cell<Option<u64>>,
}

/// Whether the build is over, so that no more can come.
pub(crate) fn is_over(build: &v1::Build) -> bool {
    matches!(
        build.status(),
        BuildStatus::Succeeded | BuildStatus::Failed | BuildStatus::Cancelled
    )
}

/// The end of a followed build as the command's: success, or an error that only carries the exit code.
pub(crate) fn verdict(build: &v1::Build) -> Result<()> {
    match build.status() {
        BuildStatus::Succeeded => Ok(()),
        other @ (BuildStatus::Unspecified
        | BuildStatus::Pending
        | BuildStatus::Running
        | BuildStatus::Failed
        | BuildStatus::Cancelled) => Err(Error::BuildEnded(other)),
    }
}

// === impl Follow ===

impl<'a> Follow<'a> {
    pub(crate) fn new(client: &'a Client, build_id: &'a str, sink: Sink, quiet: bool, from: From) -> Self {
        let position = match from {
            From::Offset(offset) => Some(offset),
            From::Now => None,
        };
        Self {
            client,
            build_id,
            sink,
            quiet,
            position: Cell::new(position),
        }
    }

    /// Prints the log until the build is over; returns the build.
    pub(crate) async fn log(&self) -> Result<v1::Build> {
        let mut patience = Patience::new(self.client.timeout());
        loop {
            let before = self.position.get();
            let status = match self.log_once(&mut patience).await? {
                Err(status) => status,
                Ok(()) => match self.client.build(self.build_id).await {
                    Ok(build) if is_over(&build) => {
                        // Something in between may end a stream as if it were done: ask for the rest while some comes.
                        let whole = self.position.get().unwrap_or(0) >= build.log_bytes;
                        if whole || self.position.get() == before {
                            return Ok(build);
                        }
                        continue;
                    }
                    Ok(_) => Status::unavailable("the log ended before the build did"),
                    Err(Error::Rpc(status)) => *status,
                    Err(other) => return Err(other),
                },
            };
            self.wait(&mut patience, status).await?;
        }
    }

    /// Prints what there is of the log by now.
    pub(crate) async fn log_so_far(&self) -> Result<()> {
        let build = self.client.build(self.build_id).await?;
        if is_over(&build) {
            return self.log().await.map(drop);
        }
        let from = self.position.get().unwrap_or(0);
        let mut stream = match self.client.logs(self.request()).await {
            Ok(stream) => stream,
            Err(status) => return Err(self.client.explain(status).into()),
        };
        let first_wait = if build.log_bytes > from {
            self.client.timeout()
        } else {
            SETTLE
        };
        let settled = Instant::now() + SETTLE * 8;
        loop {
            let reached = self.position.get().unwrap_or(0) >= build.log_bytes;
            if reached && Instant::now() >= settled {
                return Ok(());
            }
            let wait = if reached { SETTLE } else { first_wait };
            match timeout(wait, stream.message()).await {
                Ok(Ok(Some(chunk))) => self.print(chunk).await?,
                Ok(Err(status)) => return Err(self.lost(self.client.explain(status).into())),
                Ok(Ok(None)) | Err(_) => return Ok(()),
            }
        }
    }

    /// Calls `changed` with the build at each change until it is over; returns it as it is then.
    pub(crate) async fn changes(
        &self,
        mut changed: impl FnMut(&v1::Build) -> Result<()>,
    ) -> Result<v1::Build> {
        let mut patience = Patience::new(self.client.timeout());
        let mut last: Option<v1::Build> = None;
        loop {
            let status = match self.client.watch(self.build_id).await {
                Err(status) => status,
                Ok(mut stream) => loop {
                    match stream.message().await {
                        Ok(Some(build)) => {
                            patience.succeeded();
                            // After a reconnection the first one tells nothing new.
                            if last.as_ref() != Some(&build) {
                                changed(&build)?;
                                last = Some(build);
                            }
                        }
                        Ok(None) => match last.take_if(|build| is_over(build)) {
                            Some(build) => return Ok(build),
                            None => break Status::unavailable("the watch ended before the build did"),
                        },
                        Err(status) => break status,
                    }
                },
            };
            self.wait(&mut patience, status).await?;
        }
    }

    /// The command that goes on where this one is.
    pub(crate) fn resume(&self) -> String {
        let id = output::text::line(self.build_id);
        match self.position.get() {
            Some(offset @ 1..) => format!("ignite build logs {id} --follow --offset {offset}"),
            Some(0) | None => format!("ignite build logs {id} --follow"),
        }
    }

    /// One connection. The outer error is final; the inner one is what the connection ended with.
    async fn log_once(&self, patience: &mut Patience) -> Result<Result<(), Status>> {
        let mut stream = match self.client.logs(self.request()).await {
            Ok(stream) => stream,
            Err(status) => return Ok(Err(status)),
        };
        patience.connected(Instant::now());
        loop {
            match stream.message().await {
                Ok(Some(chunk)) => {
                    if patience.is_failing() {
                        self.say("Connected again.");
                        patience.succeeded();
                    }
                    self.print(chunk).await?;
                }
                Ok(None) => return Ok(Ok(())),
                Err(status) => return Ok(Err(status)),
            }
        }
    }

    fn request(&self) -> v1::StreamBuildLogsRequest {
        v1::StreamBuildLogsRequest {
            build_id: self.build_id.to_owned(),
            from_start: self.position.get().is_some(),
            offset: self.position.get().unwrap_or(0),
        }
    }

    /// Prints what of the chunk has not been printed yet. A gap is where the server dropped the middle of a long log.
    async fn print(&self, mut chunk: v1::BuildLogChunk) -> Result<()> {
        let next = self.position.get().unwrap_or(chunk.offset);
        let known = usize::try_from(next.saturating_sub(chunk.offset)).unwrap_or(usize::MAX);
        if known >= chunk.data.len() {
            return Ok(());
        }
        chunk.data = chunk.data.split_off(known);
        chunk.offset = chunk.offset.saturating_add(known as u64);
        let end = chunk.offset.saturating_add(chunk.data.len() as u64);
        match self.sink {
            Sink::Stdout => write(io::stdout(), chunk.data).await.map_err(Error::stdout)?,
            Sink::Stderr => write(io::stderr(), chunk.data)
                .await
                .map_err(|error| Error::local("cannot write to stderr", error))?,
            Sink::Chunks(format) => output::item(format, &chunk, |_| String::new())?,
        }
        self.position.set(Some(end));
        Ok(())
    }

    /// Waits before the next connection; an error when there shall be none.
    async fn wait(&self, patience: &mut Patience, status: Status) -> Result<()> {
        if !is_transient(&status) {
            let status_code = status.code();
            let error = self.client.explain(status).into();
            // Before the first byte there is nothing to go on with, nor from an offset that is wrong.
            let usable = status_code != Code::InvalidArgument && self.position.get() > Some(0);
            return Err(if usable { self.lost(error) } else { error });
        }
        let news = patience.disconnected(Instant::now());
        match patience.failed(Instant::now(), retry_after(&status)) {
            Some(wait) => {
                let status = self.client.explain(status);
                if news {
                    self.say(&format!(
                        "{}; trying again.",
                        output::text::line(status.message())
                    ));
                }
                sleep(wait).await;
                Ok(())
            }
            None => Err(self.lost(self.client.explain(status).into())),
        }
    }

    fn lost(&self, error: Error) -> Error {
        match error {
            Error::Rpc(status) => Error::Lost {
                status,
                resume: self.resume(),
            },
            other => other,
        }
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            output::stderr(text);
        }
    }
}

/// Writes on a thread that may block: a paused terminal must not keep Ctrl-C from being seen.
async fn write(mut to: impl Write + Send + 'static, data: Bytes) -> io::Result<()> {
    let writing = spawn_blocking(move || {
        to.write_all(&data)?;
        to.flush()
    });
    writing.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
