//! What stands around every stream: live ones end when the gateway closes, uploads that stall are given up on.

use std::{panic::AssertUnwindSafe, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _, stream, stream::BoxStream};
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Error, Result},
    service::Streaming,
};

/// How soon a follower may come back to a gateway that is restarting.
pub(super) const RECONNECT_AFTER: Duration = Duration::from_secs(1);
/// An upload that sends nothing for so long has lost its client.
const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(60);

/// `live`, but once `closing` is cancelled it ends with `Unavailable`, so that followers reconnect; a panic in it is an
/// internal error, not the connection's end. Nothing follows an error.
pub(super) fn until_closing<T: Send + 'static>(
    live: Streaming<T>,
    closing: CancellationToken,
) -> Streaming<T> {
    stream::unfold(Some((live, closing)), |state| async {
        let (mut live, closing) = state?;
        let item = tokio::select! {
            biased;
            () = closing.cancelled() => Some(Err(Error::Unavailable {
                message: "the gateway is shutting down: follow again".to_owned(),
                retry_after: RECONNECT_AFTER,
            })),
            item = AssertUnwindSafe(live.next()).catch_unwind() => {
                item.unwrap_or_else(|_| Some(Err(Error::internal("a stream panicked"))))
            }
        }?;
        let rest = item.is_ok().then_some((live, closing));
        Some((item, rest))
    })
    .boxed()
}

/// `bytes`, but an error once nothing came for too long. Nothing follows an error.
pub(super) fn until_idle(
    bytes: impl Stream<Item = Result<Bytes>> + Send + 'static,
    field: &'static str,
) -> BoxStream<'static, Result<Bytes>> {
    stream::unfold(Some(bytes.boxed()), move |state| async move {
        let mut bytes = state?;
        let item = match tokio::time::timeout(UPLOAD_IDLE_MAX, bytes.next()).await {
            Ok(item) => item?,
            Err(_) => Err(Error::invalid(
                field,
                format!("the upload stalled for {} s", UPLOAD_IDLE_MAX.as_secs()),
            )),
        };
        let rest = item.is_ok().then_some(bytes);
        Some((item, rest))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(items: Vec<Result<u8>>) -> Streaming<u8> {
        stream::iter(items).boxed()
    }

    fn shown(items: &[Result<u8>]) -> Vec<String> {
        items
            .iter()
            .map(|item| item.as_ref().map_or_else(ToString::to_string, u8::to_string))
            .collect()
    }

    #[tokio::test]
    async fn a_stream_that_ends_by_itself_ends_cleanly() {
        let closing = CancellationToken::new();
        let items: Vec<_> = until_closing(numbers(vec![Ok(1), Ok(2)]), closing)
            .collect()
            .await;
        assert_eq!(shown(&items), ["1", "2"]);
    }

    #[tokio::test]
    async fn closing_ends_a_stream_with_unavailable() {
        let closing = CancellationToken::new();
        let endless = numbers(vec![Ok(1)]).chain(stream::pending()).boxed();
        let mut live = until_closing(endless, closing.clone());
        assert!(matches!(live.next().await, Some(Ok(1))));
        closing.cancel();
        assert!(matches!(live.next().await, Some(Err(Error::Unavailable { .. }))));
        assert!(live.next().await.is_none());
    }

    #[tokio::test]
    async fn nothing_follows_an_error_or_a_panic() {
        let failing = numbers(vec![Err(Error::Unimplemented { what: "x" }), Ok(1)]);
        let items: Vec<_> = until_closing(failing, CancellationToken::new()).collect().await;
        assert_eq!(items.len(), 1);

        let panicking = stream::iter([1, 2]).map(|n| if n == 2 { panic!("two") } else { Ok(n) });
        let items: Vec<_> = until_closing(panicking.boxed(), CancellationToken::new())
            .collect()
            .await;
        assert_eq!(shown(&items), ["1", "internal error"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_upload_is_given_up_on() {
        let stalled = stream::iter([Ok(Bytes::from_static(b"x"))]).chain(stream::pending());
        let items: Vec<_> = until_idle(stalled, "body").collect().await;
        assert_eq!(items.len(), 2);
        assert!(
            items[1]
                .as_ref()
                .unwrap_err()
                .to_string()
                .contains("stalled for 60 s")
        );
    }
}
