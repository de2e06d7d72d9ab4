//! The harness of the end-to-end tests: a real registry, a real git server, the real daemon, and clients for it.
//!
//! Each part owns its state in a temporary folder, listens on a free loopback port and is gone when dropped; a gateway
//! then also asserts that nothing of it is left on the machine. `make setup` provides what is not built here.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of this is test code: what does not hold fails the test"
)]

pub mod caller;
pub mod cli;
pub mod cluster;
pub mod command;
pub mod context;
pub mod counter;
pub mod gateway;
pub mod git_server;
pub mod http;
pub mod image;
pub mod leash;
pub mod leftovers;
pub mod parrot;
pub mod paths;
pub mod planted;
pub mod processes;
pub mod raw_logs;
pub mod receiver;
pub mod registry;
pub mod release;
pub mod site;
pub mod times;
pub mod wait;
