//! An upload's client stream: its metadata, first and once, then the bytes.

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use ignite_proto::v1::{
    UploadBuildContextMetadata, UploadBuildContextRequest, UploadPluginMetadata, UploadPluginRequest,
    upload_build_context_request, upload_plugin_request,
};
use tonic::{Code, Status};

use super::guard;
use crate::error::{Error, Result};

/// What a message of an upload carries.
pub(super) enum Part<M> {
    Metadata(M),
    Chunk(Bytes),
}

/// A message of an upload.
pub(super) trait Upload: Send + 'static {
    type Metadata: Send;

    /// None if the message carries nothing.
    fn part(self) -> Option<Part<Self::Metadata>>;
}

impl Upload for UploadBuildContextRequest {
    type Metadata = UploadBuildContextMetadata;

    fn part(self) -> Option<Part<Self::Metadata>> {
        use upload_build_context_request::Payload;
        Some(match self.payload? {
            Payload::Metadata(metadata) => Part::Metadata(metadata),
            Payload::Chunk(bytes) => Part::Chunk(bytes),
        })
    }
}

impl Upload for UploadPluginRequest {
    type Metadata = UploadPluginMetadata;

    fn part(self) -> Option<Part<Self::Metadata>> {
        use upload_plugin_request::Payload;
        Some(match self.payload? {
            Payload::Metadata(metadata) => Part::Metadata(metadata),
            Payload::Chunk(bytes) => Part::Chunk(bytes),
        })
    }
}

/// # Errors
/// `InvalidArgument` here if the metadata is not first, and in the stream if it comes again.
pub(super) async fn split<U: Upload>(
    messages: impl Stream<Item = std::result::Result<U, Status>> + Send + 'static,
) -> Result<(U::Metadata, BoxStream<'static, Result<Bytes>>)> {
    let mut messages = messages.boxed();
    let metadata = match messages
        .next()
        .await
        .transpose()
        .map_err(|status| broken(&status))?
    {
        None => return Err(Error::invalid("metadata", "is required, in the first message")),
        Some(message) => match message.part() {
            Some(Part::Metadata(metadata)) => metadata,
            Some(Part::Chunk(_)) => {
                return Err(Error::invalid("metadata", "must come before the first chunk"));
            }
            None => return Err(Error::invalid("payload", "must be the metadata or a chunk")),
        },
    };
    let chunks = messages
        .map_err(|status| broken(&status))
        .map(|message| chunk(message?));
    Ok((metadata, guard::until_idle(chunks, "chunk")))
}

fn chunk<U: Upload>(message: U) -> Result<Bytes> {
    match message.part() {
        Some(Part::Chunk(bytes)) => Ok(bytes),
        Some(Part::Metadata(_)) => Err(Error::invalid("metadata", "must come once, before the chunks")),
        None => Err(Error::invalid("payload", "must be a chunk")),
    }
}

fn broken(status: &Status) -> Error {
    match status.code() {
        Code::OutOfRange => Error::invalid(
            "chunk",
            format!(
                "is larger than {} MiB: send about 512 KB at once",
                super::MESSAGE_BYTES_MAX >> 20
            ),
        ),
        _ => Error::invalid("chunk", format!("the upload broke off: {}", status.message())),
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::{upload_build_context_request::Payload, *};

    type Received = std::result::Result<UploadBuildContextRequest, Status>;

    fn metadata(name: &str) -> Received {
        let metadata = UploadBuildContextMetadata {
            name: name.to_owned(),
            ..Default::default()
        };
        Ok(UploadBuildContextRequest {
            payload: Some(Payload::Metadata(metadata)),
        })
    }

    fn chunk(text: &'static str) -> Received {
        Ok(UploadBuildContextRequest {
            payload: Some(Payload::Chunk(text.into())),
        })
    }

    async fn read(messages: Vec<Received>) -> Result<(String, Vec<u8>)> {
        let (metadata, archive) = split(stream::iter(messages)).await?;
        let chunks: Vec<Bytes> = archive.try_collect().await?;
        Ok((metadata.name, chunks.concat()))
    }

    #[tokio::test]
    async fn chunks_after_the_metadata_are_the_archive() {
        let read = read(vec![metadata("app"), chunk("ab"), chunk(""), chunk("c")])
            .await
            .unwrap();
        assert_eq!(read, ("app".to_owned(), b"abc".to_vec()));
    }

    #[tokio::test]
    async fn every_other_order_is_refused_by_name() {
        let empty = || Ok(UploadBuildContextRequest { payload: None });
        for (messages, expected) in [
            (vec![], "metadata: is required"),
            (vec![chunk("a"), metadata("app")], "metadata: must come before"),
            (
                vec![metadata("app"), chunk("a"), metadata("app")],
                "metadata: must come once",
            ),
            (vec![empty()], "payload: must be the metadata or a chunk"),
            (vec![metadata("app"), empty()], "payload: must be a chunk"),
            (
                vec![metadata("app"), Err(Status::out_of_range(""))],
                "chunk: is larger than 8 MiB",
            ),
            (
                vec![metadata("app"), Err(Status::cancelled("gone"))],
                "chunk: the upload broke off: gone",
            ),
        ] {
            let error = read(messages).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
