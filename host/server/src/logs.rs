//! The log of a build on its way from the executor to those who read it.
//!
//! ```text
//!   executor ─▶ redactor ─▶ frames ─▶ store (frames and cursor in one transaction) ─▶ hub ─▶ followers
//!                  └────▶ reader of the builder's steps
//! ```
//!
//! Nothing unredacted is ever stored or sent, and nothing is sent before it is on disk: a follower that comes back
//! after a crash finds every byte it has seen where it saw it.

mod follower;
mod hub;
mod pipeline;
mod position;
mod scan;
#[cfg(test)]
mod tests;

pub use follower::{follow, replay};
pub use hub::LogHub;
pub use pipeline::{Pipeline, PipelineError};
