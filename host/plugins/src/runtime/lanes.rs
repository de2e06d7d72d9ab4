//! Where calls run.
//!
//! Most take microseconds: those run where their caller is, without a change of threads. One that is still computing after
//! a few milliseconds moves to the slow lane, threads of low priority that all such calls share tick by tick, so that
//! neither the callers' threads nor quick calls wait for it.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::Poll,
};

use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

use super::engine::Overrun;

/// Against the callers' threads, which have 0.
pub(crate) const NICE: i32 = 10;

pub(crate) struct Lanes {
    /// None only while it is dropped.
    slow: Option<Runtime>,
}

// === impl Lanes ===

impl Lanes {
    pub(crate) fn start() -> io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        let slow = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("plugin-slow")
            .on_thread_start(|| {
                // On Linux this is the thread's own; without it the lane is merely less polite.
                let _kept_as_it_is = rustix::process::setpriority_process(None, NICE);
            })
            .enable_all()
            .build()?;
        Ok(Self { slow: Some(slow) })
    }

    /// Runs `work` to its end, or until this future is dropped. None if the slow lane is gone.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        mut work: Pin<Box<dyn Future<Output = T> + Send>>,
        overrun: &Overrun,
    ) -> Option<T> {
        let quick = poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if overrun.happened() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        if quick.is_some() {
            return quick;
        }
        AbortOnDropHandle::new(self.slow.as_ref()?.spawn(work)).await.ok()
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        if let Some(slow) = self.slow.take() {
            // Dropping it would wait, which an async caller must not.
            slow.shutdown_background();
        }
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lanes")
    }
}
