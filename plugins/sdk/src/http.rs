//! Calling out of `notify`: one POST of JSON, its status made into what the gateway needs to know.
//!
//! Only hosts that the policy grants can be reached. Redirects are not followed: a receiver that moves wants its new address
//! in the configuration.

#[cfg(target_arch = "wasm32")]
mod send;
mod url;

use std::time::Duration;

use serde::Serialize;

use crate::Failure;
pub use url::{InvalidUrl, Url};

/// One POST of JSON.
#[derive(Debug, Clone)]
pub struct Post {
    pub url: Url,
    /// Beside `content-type`, which is there by itself.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// For connecting, for the first byte of the answer and between two bytes of it, each.
    pub timeout: Duration,
}

// === impl Post ===

impl Post {
    /// With ten seconds of patience.
    ///
    /// # Errors
    ///
    /// [`Failure::Never`] if the value is not to be had as JSON, such as a map whose keys are no texts.
    pub fn json(url: Url, body: &impl Serialize) -> Result<Self, Failure> {
        let body = serde_json::to_vec(body).map_err(|e| Failure::Never(format!("no JSON of it: {e}")))?;
        Ok(Self {
            url,
            headers: Vec::new(),
            body,
            timeout: Duration::from_secs(10),
        })
    }

    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends it and judges the answer by [`judge`].
    ///
    /// # Errors
    ///
    /// [`Failure::Again`] if there was no answer, or as [`judge`] says; [`Failure::Never`] if the host will not call out there.
    #[cfg(target_arch = "wasm32")]
    pub fn send(&self) -> Result<(), Failure> {
        let (status, beginning) = send::send(self)?;
        judge(status, &beginning)
    }

    /// Unit tests run on a machine that has no `wasi:http`.
    ///
    /// # Errors
    ///
    /// Always.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn send(&self) -> Result<(), Failure> {
        Err(Failure::Again(format!(
            "nothing calls out to {} from here",
            self.url
        )))
    }
}

/// What an HTTP status means for an announcement: 2xx is delivered; 408, 429 and 5xx are worth another attempt; all else will
/// be the same next time. `body` is the beginning of what the receiver said.
///
/// # Errors
///
/// What it was, for people.
pub fn judge(status: u16, body: &str) -> Result<(), Failure> {
    let said = match body.trim() {
        "" => format!("the receiver answered {status}"),
        text => format!("the receiver answered {status}: {text}"),
    };
    match status {
        200..300 => Ok(()),
        300..400 => Err(Failure::Never(format!("{said}; redirects are not followed"))),
        408 | 429 | 500.. => Err(Failure::Again(said)),
        _ => Err(Failure::Never(said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_receiver_is_asked_again_and_one_that_refuses_is_not() {
        for status in [200, 202, 204] {
            assert_eq!(judge(status, ""), Ok(()));
        }
        for status in [408, 429, 500, 503] {
            assert!(matches!(judge(status, ""), Err(Failure::Again(_))), "{status}");
        }
        for status in [101, 301, 400, 401, 404, 410] {
            assert!(matches!(judge(status, ""), Err(Failure::Never(_))), "{status}");
        }
    }

    #[test]
    fn what_the_receiver_said_is_told() {
        let said = judge(403, " no such hook\n");
        assert_eq!(
            said,
            Err(Failure::Never(
                "the receiver answered 403: no such hook".to_owned()
            ))
        );
    }
}
