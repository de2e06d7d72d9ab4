//! What can cut a run short: its deadline, a request, its appetite for disk.

use std::{
    future::Future,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use ignite_core::run::EndCause;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time,
};

use crate::executor::local::{cgroups, layout::RunDir, tree};

/// Between two measurements of a small tree.
const DISK_PAUSE_MIN: Duration = Duration::from_millis(250);
const DISK_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Measuring takes at most about this share of one core.
const DISK_PAUSE_PER_WALK: u32 = 50;

#[derive(Debug)]
pub(super) struct Watch {
    dir: RunDir,
    /// Of the sandbox: what it holds counts too.
    id: String,
    terminate: Signal,
    interrupt: Signal,
    deadline: Option<time::Instant>,
    disk_bytes_max: u64,
    disk_pause: Duration,
}

// === impl Watch ===

impl Watch {
    /// From here on signals are requests and no longer deadly. Needs a runtime.
    pub(super) fn new(dir: RunDir) -> io::Result<Self> {
        Ok(Self {
            dir,
            id: String::new(),
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            deadline: None,
            disk_bytes_max: u64::MAX,
            disk_pause: DISK_PAUSE_MIN,
        })
    }

    pub(super) fn limit(&mut self, id: String, timeout: Duration, disk_bytes_max: u64) {
        self.id = id;
        self.deadline = time::Instant::now().checked_add(timeout);
        self.disk_bytes_max = disk_bytes_max;
    }

    /// Why the run must not go on, if it was so before it began.
    pub(super) fn stop_request(&self) -> Option<EndCause> {
        self.dir.join("stop").exists().then_some(EndCause::Stopped)
    }

    /// Waits for `work`, or for what cuts it short. The caller then ends what `work` was waiting for.
    pub(super) async fn over<T>(&mut self, work: impl Future<Output = T>) -> Result<T, EndCause> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                _ = self.terminate.recv() => return Err(self.signalled()),
                _ = self.interrupt.recv() => return Err(self.signalled()),
                () = sleep_until(self.deadline) => return Err(EndCause::TimedOut),
                () = time::sleep(self.disk_pause) => {}
            }
            if let Some(cause) = self.stop_request() {
                return Err(cause);
            }
            let measured = tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                measured = measure(self.dir.path().to_owned(), self.id.clone()) => measured,
            };
            if measured.bytes > self.disk_bytes_max {
                return Err(EndCause::OutOfDisk);
            }
            self.disk_pause = measured
                .took
                .saturating_mul(DISK_PAUSE_PER_WALK)
                .clamp(DISK_PAUSE_MIN, DISK_PAUSE_MAX);
        }
    }

    /// A signal without a request is not the driver's doing: most likely the machine shuts down, so the build is to be
    /// tried again.
    fn signalled(&self) -> EndCause {
        self.stop_request().unwrap_or_else(|| EndCause::Lost {
            message: "its supervisor was told to end by a signal: is the machine shutting down?".to_owned(),
        })
    }
}

struct Measured {
    bytes: u64,
    took: Duration,
}

async fn measure(path: PathBuf, id: String) -> Measured {
    let walk = move || {
        let start = Instant::now();
        let nameless = tree::nameless_bytes(&path, &cgroups::threads(&id));
        let bytes = tree::used_bytes(&path).saturating_add(nameless);
        Measured {
            bytes,
            took: start.elapsed(),
        }
    };
    tokio::task::spawn_blocking(walk).await.unwrap_or(Measured {
        bytes: 0,
        took: DISK_PAUSE_MAX,
    })
}

async fn sleep_until(deadline: Option<time::Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
