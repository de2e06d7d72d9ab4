//! Build contexts: archives that are checked and unpacked, git repositories that are cloned.
//!
//! The daemon checks and keeps archives ([`contexts`]); a process of its own puts a source into a run's workspace
//! ([`fetch`]). Both read archives by the same rules ([`archive`]).

pub mod archive;
pub mod contexts;
pub mod fetch;
pub mod git;
