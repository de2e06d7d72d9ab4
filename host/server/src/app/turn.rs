//! When this process may work on its data directory: at once and for ever, or, with the setting `standby_lease`, in its turn.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{App, AppError, Opening};
use crate::{
    api::listener,
    config::Config,
    executor::{Executor, kubernetes},
    standby::{self, Active, Standby},
    store::{DataDirError, OpenError, Tenure},
};

/// Between attempts to lock the data directory.
const LOCK_EVERY: Duration = Duration::from_millis(500);
/// For a probe that is under way when the turn comes.
const PROBE_TIME_MAX: Duration = Duration::from_secs(1);
/// The process ends so when its lease is lost.
const EXIT_LOST: i32 = 75;

/// It is this process's turn.
#[derive(Debug)]
pub(super) struct Turn {
    tenure: Tenure,
    /// Keeps the lease until it is told that all is written. None: there is none.
    lease: Option<(JoinHandle<()>, CancellationToken)>,
}

/// Waits for it. While it does, probes are answered at `socket`. None if `closing` came first.
pub(super) async fn turn(
    config: &Config,
    socket: &TcpListener,
    tls: Option<TlsAcceptor>,
    closing: &CancellationToken,
) -> Result<Option<Turn>, AppError> {
    let Some(lease) = &config.standby_lease else {
        return Ok(Some(Turn {
            tenure: Tenure::default(),
            lease: None,
        }));
    };
    // One provider for everything in the process that speaks TLS; a second installation changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = config.kubernetes.as_ref();
    let kubeconfig = settings.and_then(|settings| settings.kubeconfig.as_deref());
    let context = settings.and_then(|settings| settings.context.as_deref());
    let client = kubernetes::connect(kubeconfig, context).await?;
    let standby = Standby::new(client, lease, standby::identity());

    let elected = CancellationToken::new();
    let probes = {
        let socket = again(socket).map_err(|source| AppError::Io {
            doing: "listening while on standby".to_owned(),
            source,
        })?;
        let stop = elected.clone();
        tokio::spawn(listener::serve(
            socket,
            standby::router(),
            tls,
            stop,
            PROBE_TIME_MAX,
        ))
    };
    let active = standby.wait(closing).await;
    elected.cancel();
    let _drained = probes.await;
    Ok(active.map(Turn::of))
}

/// The same socket, for another to accept from.
fn again(socket: &TcpListener) -> std::io::Result<TcpListener> {
    use std::os::fd::AsFd as _;
    let copy = socket.as_fd().try_clone_to_owned()?;
    TcpListener::from_std(copy.into())
}

// === impl Turn ===

impl Turn {
    fn of(active: Active) -> Self {
        let tenure = active.tenure();
        let written = CancellationToken::new();
        let kept = active.keep(written.clone());
        let keeping = tokio::spawn(async move {
            if let Err(lost) = kept.await {
                tracing::error!(error = %lost, "standby.lost");
                // Whatever is under way: the next one may have begun. Runs go on, and are taken up there.
                std::process::exit(EXIT_LOST);
            }
        });
        Self {
            tenure,
            lease: Some((keeping, written)),
        }
    }

    /// Opens the gateway. The one before may need a moment to let go of the data directory. None if `closing` came first.
    pub(super) async fn open(
        &self,
        config: &Config,
        executor: Arc<dyn Executor>,
        closing: &CancellationToken,
    ) -> Result<Option<App>, AppError> {
        loop {
            let opening = Opening {
                tenure: self.tenure.clone(),
                ..Opening::default()
            };
            match App::open_with(config, Arc::clone(&executor), opening).await {
                Err(AppError::Store(OpenError::DataDir(DataDirError::InUse { .. })))
                    if self.lease.is_some() => {}
                opened => return opened.map(Some),
            }
            tokio::select! {
                () = closing.cancelled() => return Ok(None),
                () = tokio::time::sleep(LOCK_EVERY) => {}
            }
        }
    }

    /// All is written: the next one need not wait for the lease to run out.
    pub(super) async fn end(self) {
        if let Some((keeping, written)) = self.lease {
            written.cancel();
            let _ = keeping.await;
        }
    }
}
