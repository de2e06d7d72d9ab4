//! Reads a JSON body, up to a size and a time.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use crate::error::{Error, Result};

/// For a whole JSON body.
const READ_TIME_MAX: Duration = Duration::from_secs(60);
/// How much of a body that is too large is still taken and thrown away. Closing the connection on a client that is
/// still sending would lose it the answer.
const DRAIN_BYTES_MAX: usize = 64 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    field: &'static str,
) -> Result<Bytes> {
    if waits_for_leave(headers) && declared_length(headers).is_some_and(|length| length > bytes_max) {
        return Err(too_large(field, bytes_max));
    }
    let mut body = body.into_data_stream();
    let all = async {
        let mut read = BytesMut::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|_| Error::invalid("body", "ended early"))?;
            if read.len().saturating_add(chunk.len()) > bytes_max {
                return Err(too_large(field, bytes_max));
            }
            read.extend_from_slice(&chunk);
        }
        Ok(read.freeze())
    };
    let read = tokio::time::timeout(READ_TIME_MAX, all)
        .await
        .unwrap_or_else(|_| {
            Err(Error::invalid(
                "body",
                format!("did not arrive within {} s", READ_TIME_MAX.as_secs()),
            ))
        });
    if read.is_err() {
        let rest = async {
            let mut drained = 0_usize;
            while let Some(Ok(chunk)) = body.next().await {
                drained = drained.saturating_add(chunk.len());
                if drained > DRAIN_BYTES_MAX {
                    break;
                }
            }
        };
        // Whether it all came or not, the answer is the same.
        let _ = tokio::time::timeout(DRAIN_TIME_MAX, rest).await;
    }
    read
}

/// JSON, or not said: a tool that sends a body without a type means the only one there is.
pub(super) fn may_be_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let media_type = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

pub(super) fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The client sends its body only once it is asked to.
fn waits_for_leave(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn too_large(field: &'static str, bytes_max: usize) -> Error {
    let mib = bytes_max >> 20;
    if field == "zipped_code" {
        let description = format!(
            "is too large to be sent inline (the whole body may have {mib} MiB): upload the archive with \
             POST /v1/ignite/builds/contexts and send its context_id"
        );
        return Error::invalid(field, description);
    }
    Error::invalid(field, format!("is larger than {mib} MiB"))
}
