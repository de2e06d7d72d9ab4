//! Calling out, in ways a well-meaning plugin would not.

use std::time::Duration;

use serde::Deserialize;

use crate::bindings::wasi::{
    http::{
        outgoing_handler,
        types::{Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme},
    },
    io::streams::StreamError,
};

/// One request, and what to do with its response.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    url: String,
    #[serde(default)]
    body: String,
    /// Sent so many times over.
    #[serde(default = "one")]
    repeat: u32,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// How many redirects to follow: the host never does by itself.
    #[serde(default)]
    redirects: u32,
    /// Between two reads of the response's body.
    #[serde(default)]
    read_pause_ms: u64,
    /// Of each time limit that is set on the request; none if it is missing.
    timeout_ms: Option<u64>,
    /// Fail with what came back even if it was a 2xx.
    #[serde(default)]
    tell: bool,
}

fn one() -> u32 {
    1
}

// === impl Call ===

impl Call {
    /// The error says what came back, such as `200, 12 bytes: hello` or `ErrorCode::HttpRequestDenied`.
    pub(crate) fn make(self) -> Result<(), String> {
        let mut url = self.url.clone();
        for _ in 0..=self.redirects {
            let response = self.send(&url)?;
            let status = response.status();
            let location = response.headers().get("location").into_iter().next();
            if let (300..400, Some(location)) = (status, location)
                && self.redirects > 0
            {
                url = String::from_utf8_lossy(&location).into_owned();
                continue;
            }
            let body = self.read(&response)?;
            let beginning = String::from_utf8_lossy(body.get(..200).unwrap_or(&body)).into_owned();
            let said = format!("{status}, {} bytes: {beginning}", body.len());
            return if self.tell || !(200..300).contains(&status) {
                Err(said)
            } else {
                Ok(())
            };
        }
        Err("too many redirects".to_owned())
    }

    fn send(&self, url: &str) -> Result<IncomingResponse, String> {
        let (scheme, rest) = url.split_once("://").ok_or("no scheme in the URL")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let fields = Fields::new();
        for (name, value) in &self.headers {
            fields
                .append(name, value.as_bytes())
                .map_err(|e| format!("header {name}: {e:?}"))?;
        }
        if !self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            let bytes = self.body.len() as u64 * u64::from(self.repeat);
            fields
                .append("content-length", bytes.to_string().as_bytes())
                .map_err(|e| format!("{e:?}"))?;
        }
        let request = OutgoingRequest::new(fields);
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => Scheme::Other(other.to_owned()),
        };
        let refused = |what: &str| format!("the {what} was refused");
        request
            .set_method(&Method::Post)
            .map_err(|()| refused("method"))?;
        request
            .set_scheme(Some(&scheme))
            .map_err(|()| refused("scheme"))?;
        request
            .set_authority(Some(authority))
            .map_err(|()| refused("authority"))?;
        request
            .set_path_with_query(Some(if path.is_empty() { "/" } else { path }))
            .map_err(|()| refused("path"))?;
        let body = request.body().map_err(|()| refused("body"))?;
        let response = outgoing_handler::handle(request, self.options()?).map_err(|e| format!("{e:?}"))?;
        self.write(body)?;
        response.subscribe().block();
        let response = response
            .get()
            .ok_or("no response")?
            .map_err(|()| "the response was taken before")?;
        response.map_err(|e| format!("{e:?}"))
    }

    fn options(&self) -> Result<Option<RequestOptions>, String> {
        let Some(ms) = self.timeout_ms else {
            return Ok(None);
        };
        let nanos = Some(ms.saturating_mul(1_000_000));
        let options = RequestOptions::new();
        options
            .set_connect_timeout(nanos)
            .map_err(|()| "no connect timeout".to_owned())?;
        options
            .set_first_byte_timeout(nanos)
            .map_err(|()| "no first-byte timeout".to_owned())?;
        options
            .set_between_bytes_timeout(nanos)
            .map_err(|()| "no between-bytes timeout".to_owned())?;
        Ok(Some(options))
    }

    fn write(&self, body: OutgoingBody) -> Result<(), String> {
        let stream = body
            .write()
            .map_err(|()| "the body's stream was taken before".to_owned())?;
        for _ in 0..self.repeat {
            for chunk in self.body.as_bytes().chunks(4096) {
                // A receiver that has heard enough closes the stream; its response says why.
                if stream.blocking_write_and_flush(chunk).is_err() {
                    return Ok(());
                }
            }
        }
        drop(stream);
        OutgoingBody::finish(body, None).map_err(|e| format!("{e:?}"))
    }

    fn read(&self, response: &IncomingResponse) -> Result<Vec<u8>, String> {
        let body = response
            .consume()
            .map_err(|()| "the body was taken before".to_owned())?;
        let stream = body
            .stream()
            .map_err(|()| "the body's stream was taken before".to_owned())?;
        let mut all = Vec::new();
        loop {
            match stream.blocking_read(16 * 1024) {
                Ok(some) => all.extend(some),
                Err(StreamError::Closed) => return Ok(all),
                Err(StreamError::LastOperationFailed(e)) => return Err(e.to_debug_string()),
            }
            if self.read_pause_ms > 0 {
                std::thread::sleep(Duration::from_millis(self.read_pause_ms));
            }
        }
    }
}
