//! What the build gateway decides: requests checked, builds moved from state to state, queues ordered, plans made,
//! builder logs read, secrets found.
//!
//! Everything here is pure: no I/O, no async, time and randomness passed in. The manifest names no crate that could do
//! otherwise.

pub mod build;
pub mod dockerfile;
pub mod dockerignore;
pub mod hook;
pub mod ids;
pub mod kaniko;
pub mod notification;
pub mod policy;
pub mod queue;
pub mod reconcile;
pub mod redact;
pub mod request;
pub mod run;
pub mod secrets;
pub mod spec;
pub mod text;
