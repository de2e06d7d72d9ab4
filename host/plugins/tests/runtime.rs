//! The runtime with real components: what a well-behaved one gets, and what a hostile one does not.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "runtime/common.rs"]
mod common;

#[path = "runtime/admission.rs"]
mod admission;
#[path = "runtime/calls.rs"]
mod calls;
#[path = "runtime/failures.rs"]
mod failures;
#[path = "runtime/hostile.rs"]
mod hostile;
#[path = "runtime/neighbours.rs"]
mod neighbours;
#[path = "runtime/notify.rs"]
mod notify;
#[path = "runtime/outside.rs"]
mod outside;
