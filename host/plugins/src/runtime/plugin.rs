//! A component that is ready, and the functions it is called by.

use std::{collections::BTreeSet, fmt, ops::Range, sync::Arc, time::Duration};

use ignite_core::{
    build::Build,
    hook::{Caller, Changes, ConfigProblem, Description, Found, Hook, NotifyFailure, Rule, Verdict},
    ids::{OrgId, PluginDigest},
    policy::{CallLimits, Settings},
    spec::BuildSpec,
};
use tokio::sync::OnceCell;
use wasmtime::{
    Store,
    component::{Component, Instance, InstancePre},
};

use super::{
    CallError, admission, answer,
    bindings::hooks::{describe, inspect, notify, redact, redact_scan, rewrite, validate},
    call::{self, Work},
    convert,
    metrics::Counters,
    outbound::Outbound,
    shared::Shared,
    state::State,
};

/// For `describe`, which no policy limits.
const DESCRIBE_LIMITS: CallLimits = CallLimits {
    timeout: Duration::from_secs(5),
    memory_bytes: 128 << 20,
};

/// A component ready to be called. A call in progress keeps it, whatever happens to the catalog.
pub struct Plugin {
    shared: Arc<Shared>,
    digest: PluginDigest,
    shape: admission::Shape,
    component: InstancePre<State>,
    exports: Exports,
    description: OnceCell<Description>,
}

/// Where its functions are; looked up once.
#[derive(Clone)]
struct Exports {
    describe: describe::GuestIndices,
    rewrite: Option<rewrite::GuestIndices>,
    validate: Option<validate::GuestIndices>,
    inspect: Option<inspect::GuestIndices>,
    redact: Option<redact::GuestIndices>,
    redact_scan: Option<redact_scan::GuestIndices>,
    notify: Option<notify::GuestIndices>,
}

/// One call of `$guest`'s `$function` on a fresh instance.
macro_rules! work {
    ($exports:expr, $function:ident, $($argument:expr),*) => {{
        let exports = $exports;
        call::work(move |store, instance| {
            Box::pin(async move {
                let guest = exports.load(&mut *store, instance)?;
                guest.$function(store, $($argument),*).await
            })
        })
    }};
}

// === impl Plugin ===

impl Plugin {
    /// Refused, with the reason, if it is not what a plugin is to be.
    pub(crate) fn new(
        shared: Arc<Shared>,
        digest: PluginDigest,
        component: &Component,
    ) -> Result<Self, String> {
        let shape = admission::check(component)?;
        let linker = shared.linker(shape.hooks.contains(&Hook::Notify));
        let unfit = |error: wasmtime::Error| format!("the component does not fit: {error:#}");
        let component = linker.instantiate_pre(component).map_err(unfit)?;
        let exports = Exports::new(&component, &shape.hooks).map_err(unfit)?;
        Ok(Self {
            shared,
            digest,
            shape,
            component,
            exports,
            description: OnceCell::new(),
        })
    }

    pub fn digest(&self) -> PluginDigest {
        self.digest
    }

    pub fn hooks(&self) -> &BTreeSet<Hook> {
        &self.shape.hooks
    }

    pub(crate) fn imports(&self) -> &[String] {
        &self.shape.imports
    }

    /// Of its machine code in memory.
    pub(crate) fn code_bytes(&self) -> u64 {
        let range = self.component.component().image_range();
        (range.end as u64).saturating_sub(range.start as u64)
    }

    /// Asked once. Also finds functions that have other types than `wit/` gives them.
    pub(crate) async fn description(&self) -> Result<&Description, CallError> {
        let ask = async {
            let exports = self.exports.clone();
            let fit = call::work(move |store, instance| {
                Box::pin(async move { exports.check_types(store, instance) })
            });
            self.call(None, None, DESCRIBE_LIMITS, Outbound::none(), fit)
                .await
                .map_err(|error| match error {
                    CallError::Trapped(text) => CallError::Answer(text),
                    other => other,
                })?;
            let work = work!(self.exports.describe.clone(), call_describe,);
            let raw = self
                .call(None, None, DESCRIBE_LIMITS, Outbound::none(), work)
                .await?;
            answer::description(raw)
        };
        self.description.get_or_try_init(|| ask).await
    }

    pub async fn check_config(
        &self,
        config: &str,
        limits: CallLimits,
    ) -> Result<Vec<ConfigProblem>, CallError> {
        let config = config.to_owned();
        let work = work!(self.exports.describe.clone(), call_check_config, &config);
        let raw = self.call(None, None, limits, Outbound::none(), work).await?;
        Ok(raw.err().map(answer::problems).unwrap_or_default())
    }

    pub async fn rewrite(
        &self,
        settings: &Settings,
        caller: &Caller,
        spec: &BuildSpec,
    ) -> Result<Changes, CallError> {
        let exports = exported(self.exports.rewrite.as_ref(), Hook::Rewrite)?;
        let (config, who, request) = (
            settings.config.clone(),
            convert::caller(caller),
            convert::request(spec),
        );
        let work = work!(exports, call_rewrite, &config, &who, &request);
        let check = |raw| answer::said(raw).and_then(answer::changes);
        self.hook(Hook::Rewrite, Some(&caller.org), settings, work, check)
            .await
    }

    pub async fn validate(
        &self,
        settings: &Settings,
        caller: &Caller,
        spec: &BuildSpec,
    ) -> Result<Verdict, CallError> {
        let exports = exported(self.exports.validate.as_ref(), Hook::Validate)?;
        let (config, who, request) = (
            settings.config.clone(),
            convert::caller(caller),
            convert::request(spec),
        );
        let work = work!(exports, call_validate, &config, &who, &request);
        let check = |raw| answer::said(raw).and_then(answer::verdict);
        let verdict = self
            .hook(Hook::Validate, Some(&caller.org), settings, work, check)
            .await?;
        self.count_denial(Hook::Validate, &verdict);
        Ok(verdict)
    }

    pub async fn inspect(
        &self,
        settings: &Settings,
        caller: &Caller,
        spec: &BuildSpec,
        found: &Found,
    ) -> Result<Verdict, CallError> {
        let exports = exported(self.exports.inspect.as_ref(), Hook::Inspect)?;
        let (config, who, request) = (
            settings.config.clone(),
            convert::caller(caller),
            convert::request(spec),
        );
        let found = convert::found(found);
        let work = work!(exports, call_inspect, &config, &who, &request, &found);
        let check = |raw| answer::said(raw).and_then(answer::verdict);
        let verdict = self
            .hook(Hook::Inspect, Some(&caller.org), settings, work, check)
            .await?;
        self.count_denial(Hook::Inspect, &verdict);
        Ok(verdict)
    }

    pub async fn rules(
        &self,
        settings: &Settings,
        caller: &Caller,
        spec: &BuildSpec,
    ) -> Result<Vec<Rule>, CallError> {
        let exports = exported(self.exports.redact.as_ref(), Hook::Redact)?;
        let (config, who, request) = (
            settings.config.clone(),
            convert::caller(caller),
            convert::request(spec),
        );
        let work = work!(exports, call_rules, &config, &who, &request);
        let check = |raw| answer::said(raw).and_then(answer::rules);
        self.hook(Hook::Redact, Some(&caller.org), settings, work, check)
            .await
    }

    /// Ranges of `lines` to take out; each within it, none across a line end.
    pub async fn scan(&self, settings: &Settings, lines: &[u8]) -> Result<Vec<Range<usize>>, CallError> {
        let exports = exported(self.exports.redact_scan.as_ref(), Hook::RedactScan)?;
        let (config, shown) = (settings.config.clone(), lines.to_vec());
        let work = work!(exports, call_scan, &config, &shown);
        let check = |raw| answer::said(raw).and_then(|raw: Vec<_>| answer::ranges(lines, &raw));
        self.hook(Hook::RedactScan, None, settings, work, check).await
    }

    /// The inner result is the plugin's own word on the announcement.
    pub async fn notify(
        &self,
        settings: &Settings,
        idempotency_key: &str,
        attempt: u32,
        build: &Build,
    ) -> Result<Result<(), NotifyFailure>, CallError> {
        let exports = exported(self.exports.notify.as_ref(), Hook::Notify)?;
        let finished = convert::finished(build)
            .ok_or_else(|| CallError::Unavailable("only a build that has ended is announced".to_owned()))?;
        let config = settings.config.clone();
        let delivery = notify::Delivery {
            idempotency_key: idempotency_key.to_owned(),
            attempt,
        };
        let work = work!(exports, call_notify, &config, &delivery, &finished);
        self.hook(Hook::Notify, Some(&build.org), settings, work, |raw| {
            Ok(answer::delivered(raw))
        })
        .await
    }

    /// Calls a hook, checks what it answers, and counts both.
    async fn hook<R: Send + 'static, T>(
        &self,
        hook: Hook,
        org: Option<&OrgId>,
        settings: &Settings,
        work: Work<R>,
        check: impl FnOnce(R) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let outbound = match hook {
            Hook::Notify => self.shared.outbound(&settings.hosts),
            Hook::Rewrite | Hook::Validate | Hook::Inspect | Hook::Redact | Hook::RedactScan => {
                Outbound::none()
            }
        };
        let raw = self.call(Some(hook), org, settings.limits, outbound, work).await;
        raw.and_then(check)
    }

    async fn call<R: Send + 'static>(
        &self,
        hook: Option<Hook>,
        org: Option<&OrgId>,
        limits: CallLimits,
        outbound: Outbound,
        work: Work<R>,
    ) -> Result<R, CallError> {
        let shared = &self.shared;
        let gate = shared.gate(hook);
        let entered = match org {
            Some(org) => gate.enter(org.as_str()).await,
            None => gate.enter(&self.digest.to_string()).await,
        };
        let permit = entered.ok_or(CallError::Busy)?;
        let component = self.component.clone();
        let ended = call::run(
            shared.machinery(),
            self.digest,
            component,
            limits,
            outbound,
            permit,
            work,
        )
        .await;
        if let Some(counters) = self.counters(hook) {
            counters.count(ended.took, ended.memory_bytes_peak, ended.result.as_ref().err());
        }
        ended.result
    }

    fn count_denial(&self, hook: Hook, verdict: &Verdict) {
        if let (Verdict::Deny { .. }, Some(counters)) = (verdict, self.counters(Some(hook))) {
            counters.denied();
        }
    }

    fn counters(&self, hook: Option<Hook>) -> Option<Arc<Counters>> {
        hook.map(|hook| self.shared.metrics.counters(self.digest, hook))
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("digest", &self.digest)
            .field("hooks", &self.shape.hooks)
            .finish_non_exhaustive()
    }
}

fn exported<T: Clone>(indices: Option<&T>, hook: Hook) -> Result<T, CallError> {
    indices.cloned().ok_or(CallError::NotExported(hook))
}

// === impl Exports ===

impl Exports {
    fn new(component: &InstancePre<State>, hooks: &BTreeSet<Hook>) -> wasmtime::Result<Self> {
        let has = |hook| hooks.contains(&hook).then_some(component);
        Ok(Self {
            describe: describe::GuestIndices::new(component)?,
            rewrite: has(Hook::Rewrite).map(rewrite::GuestIndices::new).transpose()?,
            validate: has(Hook::Validate).map(validate::GuestIndices::new).transpose()?,
            inspect: has(Hook::Inspect).map(inspect::GuestIndices::new).transpose()?,
            redact: has(Hook::Redact).map(redact::GuestIndices::new).transpose()?,
            redact_scan: has(Hook::RedactScan)
                .map(redact_scan::GuestIndices::new)
                .transpose()?,
            notify: has(Hook::Notify).map(notify::GuestIndices::new).transpose()?,
        })
    }

    fn check_types(&self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<()> {
        self.describe.load(&mut *store, instance)?;
        self.rewrite
            .as_ref()
            .map(|e| e.load(&mut *store, instance))
            .transpose()?;
        self.validate
            .as_ref()
            .map(|e| e.load(&mut *store, instance))
            .transpose()?;
        self.inspect
            .as_ref()
            .map(|e| e.load(&mut *store, instance))
            .transpose()?;
        self.redact
            .as_ref()
            .map(|e| e.load(&mut *store, instance))
            .transpose()?;
        self.redact_scan
            .as_ref()
            .map(|e| e.load(&mut *store, instance))
            .transpose()?;
        self.notify
            .as_ref()
            .map(|e| e.load(&mut *store, instance))
            .transpose()?;
        Ok(())
    }
}
