//! A response's body that ends with an error when it is too large or too slow.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::Error;

pub(super) struct Bounded<B> {
    body: B,
    bytes_left: u64,
    bytes_max: u64,
    between_bytes: Duration,
    /// When the next bytes are overdue.
    overdue: Pin<Box<Sleep>>,
}

// === impl Bounded ===

impl<B> Bounded<B> {
    pub(super) fn new(body: B, bytes_max: u64, between_bytes: Duration) -> Self {
        Self {
            body,
            bytes_left: bytes_max,
            bytes_max,
            between_bytes,
            overdue: Box::pin(sleep(between_bytes)),
        }
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    Error: From<B::Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.overdue.as_mut().poll(cx));
            return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
        };
        let overdue = Instant::now() + self.between_bytes;
        self.overdue.as_mut().reset(overdue);
        let Some(Ok(frame)) = frame else {
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(left) = self.bytes_left.checked_sub(bytes) else {
            return Poll::Ready(Some(Err(Error::HttpResponseBodySize(Some(self.bytes_max)))));
        };
        self.bytes_left = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    async fn read(bytes: usize) -> Result<usize, Error> {
        let body = Full::new(Bytes::from(vec![0; bytes]));
        let read = Bounded::new(body, 100, Duration::from_secs(1)).collect().await?;
        Ok(read.to_bytes().len())
    }

    #[tokio::test]
    async fn a_body_ends_with_an_error_where_its_limit_is() {
        assert_eq!(read(100).await.ok(), Some(100));
        assert!(matches!(
            read(101).await,
            Err(Error::HttpResponseBodySize(Some(100)))
        ));
    }
}
