//! The raw uploads: the bytes are the body, their metadata the path, the query and the headers.

use axum::http::header;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use ignite_proto::v1::UploadBuildContextMetadata;

use super::{super::guard, body, call::Call};
use crate::error::{Error, Result};

/// A `Content-Length` is the expected size; one that is given too must be the same.
pub(super) fn metadata(call: &Call) -> Result<UploadBuildContextMetadata> {
    let mut metadata: UploadBuildContextMetadata = call.message_from_query()?;
    if let Some(declared) = body::declared_length(&call.headers).and_then(|length| i64::try_from(length).ok())
    {
        if metadata.expected_size_bytes != 0 && metadata.expected_size_bytes != declared {
            let description = format!("differs from the Content-Length, which is {declared}");
            return Err(Error::invalid("expected_size_bytes", description));
        }
        metadata.expected_size_bytes = declared;
    }
    if metadata.content_type.is_empty()
        && let Some(content_type) = call.headers.get(header::CONTENT_TYPE)
    {
        content_type
            .to_str()
            .unwrap_or_default()
            .clone_into(&mut metadata.content_type);
    }
    Ok(metadata)
}

/// The body as it arrives.
pub(super) fn body(call: &mut Call) -> BoxStream<'static, Result<Bytes>> {
    let bytes = std::mem::take(&mut call.body)
        .into_data_stream()
        .map(|chunk| chunk.map_err(|_| Error::invalid("body", "ended before all of it was sent")));
    guard::until_idle(bytes, "body")
}
