//! A trait for each hook, over the configuration's type.

use std::ops;

use crate::{
    BuildRequest, Caller, Changes, ConfigProblem, Delivery, Failure, FinishedBuild, Found, Rule, Verdict,
};

/// The configuration, which is all that a plugin has.
pub trait Plugin {
    /// What is wrong with a configuration that deserialized: an expression that does not compile, a template with an unknown field.
    /// Called when a policy is put, not in every call.
    fn check(&self) -> Vec<ConfigProblem> {
        Vec::new()
    }
}

/// Changes a request before it is judged.
pub trait Rewrite: Plugin {
    /// # Errors
    ///
    /// The plugin could not do its work; the policy's `on_failure` decides.
    fn rewrite(&self, caller: &Caller, request: &BuildRequest) -> Result<Changes, String>;
}

/// Judges the final request.
pub trait Validate: Plugin {
    /// # Errors
    ///
    /// The plugin could not judge; the policy's `on_failure` decides.
    fn validate(&self, caller: &Caller, request: &BuildRequest) -> Result<Verdict, String>;
}

/// Judges the Dockerfile that will be built.
pub trait Inspect: Plugin {
    /// # Errors
    ///
    /// The plugin could not judge; the policy's `on_failure` decides.
    fn inspect(&self, caller: &Caller, request: &BuildRequest, found: &Found) -> Result<Verdict, String>;
}

/// Says what else to take out of a build's log and record.
pub trait Redact: Plugin {
    /// At most 256.
    ///
    /// # Errors
    ///
    /// The plugin could not say; the policy's `on_failure` decides.
    fn rules(&self, caller: &Caller, request: &BuildRequest) -> Result<Vec<Rule>, String>;
}

/// Looks at the log itself.
pub trait RedactScan: Plugin {
    /// Ranges of bytes to take out, each within `lines` and none across a line's end. `lines` is whole lines, at most 64 KiB.
    ///
    /// # Errors
    ///
    /// The plugin could not look; the policy's `on_failure` decides whether the text is withheld.
    fn scan(&self, lines: &[u8]) -> Result<Vec<ops::Range<u32>>, String>;
}

/// Announces a build that has ended.
pub trait Notify: Plugin {
    /// # Errors
    ///
    /// [`Failure::Again`] is tried again later, [`Failure::Never`] is not.
    fn notify(&self, delivery: &Delivery, build: &FinishedBuild) -> Result<(), Failure>;
}
