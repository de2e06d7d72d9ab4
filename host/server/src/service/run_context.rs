//! What the fetch step of a run that happens elsewhere may ask for: the run's context, and nothing else.

use ignite_core::ids::RunId;

use super::Service;
use crate::{
    clock,
    error::{Error, Result},
    sources::contexts::ContextBytes,
};

impl Service {
    /// The bytes from `offset` on of the context that `token` lets the run read.
    ///
    /// # Errors
    /// `Unauthenticated` whatever is wrong with the token; `NotFound` if the run is over or the context is not there.
    pub(crate) async fn run_context(&self, run: RunId, token: &str, offset: u64) -> Result<ContextBytes> {
        let granted = self.grants.check(run, token, clock::now_ms());
        let (org, context) = granted.ok_or_else(refused)?;
        let gone = || Error::NotFound {
            kind: "context",
            name: run.to_string(),
        };
        // While it is live, its context does not expire.
        let live = self.driver.live(run.build);
        if live.and_then(|live| live.current().current_run()) != Some(run) {
            return Err(gone());
        }
        self.contexts.read(&org, &context, offset).await?.ok_or_else(gone)
    }
}

/// The same for whoever has no token, another's, or an old one.
pub(crate) fn refused() -> Error {
    Error::Unauthenticated {
        message: "this needs the token of the run".to_owned(),
    }
}
