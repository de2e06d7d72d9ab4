//! Gets a run's context from the gateway, however often that goes away meanwhile.

#[cfg(test)]
mod tests;

use std::{
    io::{self, SeekFrom},
    path::Path,
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode, header, redirect};
use tokio::{
    fs::File,
    io::{AsyncSeekExt, AsyncWriteExt},
    time,
};

use super::{super::Failed, PodContext};
use crate::clock;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two pieces of the body, too.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const DOING: &str = "downloading the context";

/// A file that is being downloaded.
struct Download<'a> {
    client: Client,
    context: &'a PodContext,
    file: File,
    /// What is in the file.
    have_bytes: u64,
}

/// Why a request did not bring the rest.
enum Trouble {
    /// It may go better next time.
    Passing(String),
    Lasting(Failed),
}

/// Downloads into the file `to`, which is emptied first. Goes on where it was cut off, until `deadline`.
pub(super) fn download(
    context: &PodContext,
    to: &Path,
    deadline: Instant,
    log: &mut dyn FnMut(&str),
) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed::internal(DOING, error))?;
    runtime.block_on(async {
        let mut last = "the gateway does not answer".to_owned();
        let whole = Download::new(context, to).await?.whole(&mut last, log);
        let done = time::timeout_at(deadline.into(), whole).await;
        done.unwrap_or_else(|_| {
            let why = format!("it took longer than the build may take; at last: {last}");
            Err(Failed::internal(DOING, why))
        })
    })
}

// === impl Download ===

impl<'a> Download<'a> {
    async fn new(context: &'a PodContext, to: &Path) -> Result<Self, Failed> {
        // A second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            // The token is for the gateway alone.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .map_err(|error| Failed::internal(DOING, clock::chain(&error)))?;
        let file = File::create(to).await;
        Ok(Self {
            client,
            context,
            file: file.map_err(|error| Failed::internal("making a file for the context", error))?,
            have_bytes: 0,
        })
    }

    async fn whole(mut self, last: &mut String, log: &mut dyn FnMut(&str)) -> Result<(), Failed> {
        log("Downloading the context");
        let mut pause = PAUSE_MIN;
        let mut is_known = false;
        loop {
            let had_bytes = self.have_bytes;
            match self.rest().await {
                Ok(()) => return Ok(()),
                Err(Trouble::Lasting(failed)) => return Err(failed),
                Err(Trouble::Passing(why)) => *last = why,
            }
            if self.have_bytes > had_bytes {
                pause = PAUSE_MIN;
                is_known = false;
            }
            if !is_known {
                log(&format!(
                    "[ignite] the context does not come ({last}): trying again"
                ));
                is_known = true;
            }
            // Many pods wait for the same gateway.
            time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks for what is missing and writes it down as it comes.
    async fn rest(&mut self) -> Result<(), Trouble> {
        let mut request = self
            .client
            .get(&self.context.url)
            .bearer_auth(self.context.token.reveal());
        if self.have_bytes > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.have_bytes));
        }
        let mut response = request.send().await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(response.headers(), self.have_bytes) => {}
            StatusCode::OK => self.start_over().await?,
            // What we have is no part of what there is.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                self.start_over().await?;
                return Err(Trouble::Passing("the gateway has another range of it".to_owned()));
            }
            status if is_passing(status) => {
                return Err(Trouble::Passing(format!("the gateway answers {status}")));
            }
            status => {
                let why = format!("the gateway answers {status}");
                return Err(Trouble::Lasting(Failed::internal(DOING, why)));
            }
        }
        while let Some(piece) = response.chunk().await? {
            self.file.write_all(&piece).await?;
            self.have_bytes = self.have_bytes.saturating_add(piece.len() as u64);
        }
        self.file.flush().await?;
        Ok(())
    }

    async fn start_over(&mut self) -> io::Result<()> {
        self.file.set_len(0).await?;
        self.file.seek(SeekFrom::Start(0)).await?;
        self.have_bytes = 0;
        Ok(())
    }
}

/// Whether `Content-Range: bytes N-…/…` begins at this byte.
fn starts_at(headers: &header::HeaderMap, offset: u64) -> bool {
    let range = headers
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    start == Some(offset)
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}

impl From<reqwest::Error> for Trouble {
    fn from(error: reqwest::Error) -> Self {
        match error.is_builder() {
            true => Self::Lasting(Failed::internal(DOING, clock::chain(&error.without_url()))),
            false => Self::Passing(clock::chain(&error.without_url())),
        }
    }
}

/// Of our own disk.
impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Lasting(Failed::internal("writing the context to disk", error))
    }
}
