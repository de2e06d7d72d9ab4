//! The calls that a chain makes: by the runtime, or from a table in tests.

use std::{
    future::Future,
    ops::Range,
    time::{Duration, Instant},
};

use ignite_core::{
    hook::{Caller, Changes, Found, Rule, Verdict},
    policy::ResolvedEntry,
    spec::BuildSpec,
};

use crate::runtime::{CallError, Runtime};

/// One call of one entry's plugin, with the entry's settings. Loading what is not ready is part of it.
pub(super) trait Calls: Sync {
    fn rewrite(
        &self,
        entry: &ResolvedEntry,
        caller: &Caller,
        spec: &BuildSpec,
    ) -> impl Future<Output = Result<Changes, CallError>> + Send;

    fn validate(
        &self,
        entry: &ResolvedEntry,
        caller: &Caller,
        spec: &BuildSpec,
    ) -> impl Future<Output = Result<Verdict, CallError>> + Send;

    fn inspect(
        &self,
        entry: &ResolvedEntry,
        caller: &Caller,
        spec: &BuildSpec,
        found: &Found,
    ) -> impl Future<Output = Result<Verdict, CallError>> + Send;

    fn rules(
        &self,
        entry: &ResolvedEntry,
        caller: &Caller,
        spec: &BuildSpec,
    ) -> impl Future<Output = Result<Vec<Rule>, CallError>> + Send;

    fn scan(
        &self,
        entry: &ResolvedEntry,
        lines: &[u8],
    ) -> impl Future<Output = Result<Vec<Range<usize>>, CallError>> + Send;
}

impl Calls for Runtime {
    async fn rewrite(
        &self,
        entry: &ResolvedEntry,
        caller: &Caller,
        spec: &BuildSpec,
    ) -> Result<Changes, CallError> {
        let plugin = self.plugin(&entry.digest).await?;
        plugin.rewrite(&entry.settings, caller, spec).await
    }

    async fn validate(
        &self,
        entry: &ResolvedEntry,
        caller: &Caller,
        spec: &BuildSpec,
    ) -> Result<Verdict, CallError> {
        let plugin = self.plugin(&entry.digest).await?;
        plugin.validate(&entry.settings, caller, spec).await
    }

    async fn inspect(
        &self,
        entry: &ResolvedEntry,
        caller: &Caller,
        spec: &BuildSpec,
        found: &Found,
    ) -> Result<Verdict, CallError> {
        let plugin = self.plugin(&entry.digest).await?;
        plugin.inspect(&entry.settings, caller, spec, found).await
    }

    async fn rules(
        &self,
        entry: &ResolvedEntry,
        caller: &Caller,
        spec: &BuildSpec,
    ) -> Result<Vec<Rule>, CallError> {
        let plugin = self.plugin(&entry.digest).await?;
        plugin.rules(&entry.settings, caller, spec).await
    }

    async fn scan(&self, entry: &ResolvedEntry, lines: &[u8]) -> Result<Vec<Range<usize>>, CallError> {
        let plugin = self.plugin(&entry.digest).await?;
        plugin.scan(&entry.settings, lines).await
    }
}

/// What a call came to, and how long it took.
pub(super) async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let answer = call.await;
    (answer, began.elapsed())
}
